#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_machines
short_description: Machines of a cluster in vSphere
version_added: "0.1.0"
description:
  - Clones, starts, changes and removes the virtual machines of a cluster whose C(cloud) is C(vsphere).
  - The definition asks for a number of machines per pool; the module decides which to create where and which to remove. Many are cloned at
    once, under names that follow from what is there, so that a run that was cut off makes none twice.
  - Whose a virtual machine is, is in its advanced configuration (C(guestinfo.flotilla.*)). It may be renamed, moved to another folder or
    host, and tagged; a copy that somebody makes of it is left alone.
  - Places are looked up by name or path. A name that two things have is refused with their paths.
  - The template is settled with a pool's first machine; later machines of the pool are cloned from the same one.
  - An item of a content library is deployed once for a cluster, as a template that carries its marks, and removed with the machines.
  - Tags of C(vsphere.tags) are given to machines and taken away with them; those of other people stay. No machine is found by a tag.
  - DRS rules keep the machines of a pool apart, and those of a zone on its host group.
  - A disk that somebody attached to a machine is detached before the machine goes, and never destroyed.
  - The SSH host key is kept with the machine on first contact. It is returned, so that every later connection is a checked one.
options:
  cluster:
    description:
      - The cluster definition as the inventory plugin or the role gives it in C(flotilla_cluster), merged and validated.
      - Used here are C(name), C(foundation), C(control_plane), C(pools), C(image), C(access), C(api_endpoint) and C(vsphere).
    type: dict
    required: true
  state:
    description:
      - With V(present) the machines are as the definition says.
      - With V(absent) there are none, and their disks are gone.
      - With V(observed) nothing is planned or changed; what there is, is returned.
    type: str
    choices: [present, absent, observed]
    default: present
  network:
    description:
      - What M(flotilla.kubernetes.nsx_network) returned as C(network), for a cluster whose network is in NSX. New machines are connected to
        the segment of their role, which the vCenter shows a moment after NSX made it, instead of C(vsphere.network).
      - Used here are C(segments), C(dhcp) and C(dns_servers). Where NSX has no DHCP server for them, machines get addresses of their
        segment.
      - In check mode the segments need not be there yet.
    type: dict
extends_documentation_fragment: [flotilla.kubernetes.machines, flotilla.kubernetes.machines.cloud]
requirements:
  - pyvmomi 8.0.3.0.1 or newer and the OpenSSH client, where the module runs
  - vCenter 7.0 or newer
notes:
  - Runs on the cluster's own host with C(connection=local).
  - The vCenter and its login come from C(VMWARE_HOST), C(VMWARE_USER), C(VMWARE_PASSWORD), C(VMWARE_PORT) and C(VMWARE_VALIDATE_CERTS), as
    AWX gives them. Authorities next to those of the system are in C(SSL_CERT_FILE).
  - A second run with the same input changes nothing.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.vsphere_load_balancer
  - module: flotilla.kubernetes.vsphere_image_info
  - module: flotilla.kubernetes.nsx_network
"""

EXAMPLES = r"""
- name: Make the machines
  flotilla.kubernetes.vsphere_machines:
    cluster: "{{ flotilla_cluster }}"
  register: infrastructure_machines

- name: Make the machines on segments of NSX
  flotilla.kubernetes.vsphere_machines:
    cluster: "{{ flotilla_cluster }}"
    network: "{{ infrastructure_network.network }}"
  register: infrastructure_machines

- name: Scale down, machines drained by the tasks between the two
  flotilla.kubernetes.vsphere_machines:
    cluster: "{{ flotilla_cluster }}"
    removal: defer
  register: infrastructure_machines

- name: Remove what is drained
  flotilla.kubernetes.vsphere_machines:
    cluster: "{{ flotilla_cluster }}"
    state: absent
    ids: "{{ infrastructure_machines.leaving | map(attribute='id') }}"

- name: Remove all machines
  flotilla.kubernetes.vsphere_machines:
    cluster: "{{ flotilla_cluster }}"
    state: absent
"""

RETURN = r"""
machines:
  description:
    - The machines that exist, ordered by name, those of RV(leaving) among them.
    - In check mode those that would stay; new ones are in RV(planned).
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: Instance UUID of the virtual machine.
      type: str
      sample: 6f1f3c04-52d1-5b86-a0a1-950fc4770b11
    name:
      description: Name of machine and node, also where the virtual machine was renamed.
      type: str
      sample: payments-general-950fc477
    cluster:
      description: Name of the cluster.
      type: str
    pool:
      description: Name of the pool, C(control-plane) for control planes.
      type: str
    role:
      description: V(control_plane) or V(worker).
      type: str
    zone:
      description: Zone of the machine.
      type: str
    state:
      description: V(running), V(stopped), V(pending), or vSphere's word for anything else.
      type: str
    addresses:
      description: Addresses C(private) and C(public), each null where there is none.
      type: dict
    host_key:
      description: Public SSH host key as in known_hosts.
      type: str
    spec_hash:
      description: Hash of what the definition asked for when the machine was made.
      type: str
    uid:
      description: Random identity of the cluster.
      type: str
planned:
  description: In check mode the machines that would be created, with the fields of RV(machines); they have no host key yet.
  type: list
  elements: dict
  returned: success
neighbours:
  description: Names of the machines of each other cluster of the foundation.
  type: dict
  returned: when O(neighbours=true)
leaving:
  description: With O(removal=defer) the machines that the caller is to take away next, in this order; with the fields of RV(machines).
  type: list
  elements: dict
  returned: when O(state=present)
consented:
  description: Ids of all machines that this plan and those after it take away.
  type: list
  elements: str
  returned: when O(state=present)
plan_id:
  description: Identity of the plan, the same as long as cloud and definition ask for the same steps.
  type: str
  returned: when O(state=present)
  sample: 5f2b8a91c0d4
steps:
  description: What was done, or in check mode would be done, with the reason of each step; what is in RV(leaving) was not done.
  type: list
  elements: dict
  returned: success
  contains:
    action:
      description: V(create), V(start), V(update), V(replace), V(keep) or V(delete).
      type: str
    pool:
      description: Name of the pool.
      type: str
    role:
      description: V(control_plane) or V(worker).
      type: str
    zone:
      description: Zone of the machine.
      type: str
    machine:
      description: Name of the machine; null for a machine that is to be created.
      type: str
    reason:
      description: Why, in words.
      type: str
failed:
  description: What did not become what it was to be, with vSphere's own reason.
  type: list
  elements: dict
  returned: when machines failed
  contains:
    pool:
      description: Name of the pool.
      type: str
    zone:
      description: Zone of the machine.
      type: str
    machine:
      description: Name of the machine; null where it was never made.
      type: str
    code:
      description: Code of the error.
      type: str
    message:
      description: The reason.
      type: str
made:
  description: Ids of the machines that the failed run made all the same, and that are kept.
  type: list
  elements: str
  returned: when machines failed
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.entry import MACHINES, run_machines
from ..module_utils._clouds.vsphere import machines
from ..module_utils._clouds.vsphere.session import close_sessions, session_for


def main() -> None:
    """Run the module."""
    try:
        spec = {**MACHINES, "network": {"type": "dict"}}
        run_machines(AnsibleModule(argument_spec=spec, supports_check_mode=True), machines, session_for)
    finally:
        close_sessions()


if __name__ == "__main__":
    main()
