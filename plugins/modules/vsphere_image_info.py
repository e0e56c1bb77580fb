#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_image_info
short_description: Find templates in vSphere
version_added: "0.1.0"
description:
  - Returns the templates that machines can be cloned from, each with what it is and what keeps it from being one.
options:
  id:
    description:
      - Name, path or instance UUID of one template. A name that two have is refused with their paths.
      - Left out, all templates are returned that the account sees.
    type: str
  server:
    description: The vCenter. Left out, the one in C(VMWARE_HOST).
    type: str
requirements:
  - pyvmomi 8.0.3.0.1 or newer, where the module runs
notes:
  - The login comes from C(VMWARE_USER), C(VMWARE_PASSWORD), C(VMWARE_PORT) and C(VMWARE_VALIDATE_CERTS), as AWX gives them. Authorities
    next to those of the system are in C(SSL_CERT_FILE).
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.vsphere_machines
"""

EXAMPLES = r"""
- name: List the templates
  flotilla.kubernetes.vsphere_image_info:
    server: vcenter.example.com
  register: templates

- name: Look at one of them
  flotilla.kubernetes.vsphere_image_info:
    server: vcenter.example.com
    id: templates/debian-13
  register: template
  failed_when: not template.images[0].ready
"""

RETURN = r"""
images:
  description: The templates, ordered by path.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: Its instance UUID, which stays when it is renamed or moved. C(image.id) of a definition takes it, a name or a path.
      type: str
      sample: 421f0c5a-7d0e-4b5e-9a43-9d8e3f0c7a10
    name:
      description: Its name.
      type: str
    path:
      description: Its path.
      type: str
      sample: /dc-1/vm/templates/debian-13
    os:
      description: The guest's operating system, as the template says.
      type: str
    firmware:
      description: V(bios) or V(efi).
      type: str
    hardware:
      description: Version of its virtual hardware.
      type: str
    disk_gib:
      description: Size of its first disk in GiB.
      type: int
    network_cards:
      description: How many network cards it has. Machines get one where it has none.
      type: int
    template:
      description: Whether it is a template and not a virtual machine.
      type: bool
    snapshot:
      description: Whether it has a snapshot, which linked clones need.
      type: bool
    tools:
      description: What vSphere knows of open-vm-tools in it.
      type: str
    ready:
      description: Whether machines can be cloned from it.
      type: bool
    problems:
      description: What keeps them from it.
      type: list
      elements: str
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.vsphere import image
from ..module_utils._clouds.vsphere.session import close_sessions, session_for
from ..module_utils._errors import FlotillaError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(argument_spec={"id": {"type": "str"}, "server": {"type": "str"}}, supports_check_mode=True)
    try:
        session = session_for({"name": "", "vsphere": {"server": module.params["server"]}})
        found = image.find(session, module.params["id"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
        raise
    finally:
        close_sessions()
    module.exit_json(changed=False, images=[one.as_dict() for one in found])


if __name__ == "__main__":
    main()
