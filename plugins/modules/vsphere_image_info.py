#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vsphere_image_info
short_description: Find templates and items of content libraries in vSphere
version_added: "0.1.0"
description:
  - Returns the templates that machines can be cloned from, and the items of content libraries that such templates can be made from, each
    with what it is and what keeps it from being used.
options:
  id:
    description:
      - Name, path or instance UUID of one template. A name that two have is refused with their paths.
      - With O(content_library) name or id of one item of it.
      - Left out, all are returned that the account sees.
    type: str
  content_library:
    description:
      - Name or id of a content library. Its items are returned, and no templates.
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

- name: Look at an item of a content library
  flotilla.kubernetes.vsphere_image_info:
    server: vcenter.example.com
    content_library: images
    id: debian-13
  register: item
"""

RETURN = r"""
images:
  description: The templates, ordered by path, and then the items of content libraries. Of an item only RV(images[].id), RV(images[].name),
    RV(images[].path), RV(images[].kind), RV(images[].version), RV(images[].content_library), RV(images[].ready) and RV(images[].problems)
    say something; a vCenter tells no more before it is deployed.
  type: list
  elements: dict
  returned: success
  contains:
    id:
      description: Its instance UUID, which stays when it is renamed or moved; of an item its id. C(image.id) takes it, a name or a path.
      type: str
      sample: 421f0c5a-7d0e-4b5e-9a43-9d8e3f0c7a10
    name:
      description: Its name.
      type: str
    path:
      description: Its path.
      type: str
      sample: /dc-1/vm/templates/debian-13
    kind:
      description: V(template), or the type of an item, such as V(ovf) and V(vm-template), from which machines can be made.
      type: str
    content_library:
      description: The content library of an item; empty for a template.
      type: str
    version:
      description: Version of an item's content; empty for a template.
      type: str
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
    disk_uuid:
      description: Whether its disks show their identity, which a CSI driver needs. Machines' always do, whatever the template says.
      type: bool
    cloud_init:
      description: Whether it asks for the settings of cloud-init, as cloud images do. Null where the vCenter can not know, which is no
        problem.
      type: bool
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
    spec = {name: {"type": "str"} for name in ("id", "content_library", "server")}
    module = AnsibleModule(argument_spec=spec, supports_check_mode=True)
    try:
        session = session_for({"name": "", "vsphere": {"server": module.params["server"]}})
        found = image.find(session, module.params["id"], module.params["content_library"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
        raise
    finally:
        close_sessions()
    module.exit_json(changed=False, images=[one.as_dict() for one in found])


if __name__ == "__main__":
    main()
