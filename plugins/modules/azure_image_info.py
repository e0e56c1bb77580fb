#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: azure_image_info
short_description: Find an image in Azure
version_added: "0.1.0"
description:
  - Returns the newest image of a family, or one of the marketplace, with its exact id and the plan that a machine made from it has to name.
options:
  location:
    description: The location to look in.
    type: str
    required: true
  subscription_id:
    description: The subscription; C(AZURE_SUBSCRIPTION_ID) when left out.
    type: str
  family:
    description: Operating system, whose publisher's newest image is taken.
    type: str
    choices: [debian-13]
  id:
    description: C(publisher:offer:sku:version); the version may be C(latest). Or the id of an image of yours, which is returned as it is.
    type: str
  architecture:
    description: What the image has to be for.
    type: str
    choices: [amd64, arm64]
    default: amd64
requirements:
  - azure-identity and azure-mgmt-compute >= 37, where the module runs
notes:
  - Credentials come from azure-identity's usual chain, or from C(AZURE_TENANT), C(AZURE_CLIENT_ID) and C(AZURE_SECRET), as AWX sets them.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.azure_machines
"""

EXAMPLES = r"""
- name: Find the newest Debian
  flotilla.kubernetes.azure_image_info:
    location: westeurope
    family: debian-13
  register: newest_image

- name: Find a version of an image of the marketplace
  flotilla.kubernetes.azure_image_info:
    location: westeurope
    id: Canonical:ubuntu-24_04-lts:server:latest
"""

RETURN = r"""
image:
  description: The image.
  type: dict
  returned: success
  contains:
    id:
      description: Its exact id, for C(image.id) of a definition.
      type: str
      sample: Debian:debian-13:13-gen2:0.20261101.2300
    name:
      description: Its name.
      type: str
    architecture:
      description: V(amd64), V(arm64), or nothing where Azure was not asked.
      type: str
    plan:
      description: Plan under which its publisher sells it; empty where it is free.
      type: dict
    generation:
      description: V(V1) or V(V2), the generation of machines that it starts on; nothing where Azure was not asked.
      type: str
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.azure import image
from ..module_utils._clouds.azure.session import session_for
from ..module_utils._errors import FlotillaError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "location": {"type": "str", "required": True},
            "subscription_id": {"type": "str"},
            "family": {"type": "str", "choices": ["debian-13"]},
            "id": {"type": "str"},
            "architecture": {"type": "str", "choices": ["amd64", "arm64"], "default": "amd64"},
        },
        mutually_exclusive=[("family", "id")],
        required_one_of=[("family", "id")],
        supports_check_mode=True,
    )
    params = module.params
    try:
        session = session_for({"name": "image", "azure": {"subscription_id": params["subscription_id"]}})
        found = image.resolve(session, params["location"], params, params["architecture"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, image=asdict(found))


if __name__ == "__main__":
    main()
