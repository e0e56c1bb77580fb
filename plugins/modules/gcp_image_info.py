#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: gcp_image_info
short_description: Find an image in Google Cloud
version_added: "0.1.0"
description:
  - Returns the newest image of a family, or an exact one, with its exact id.
options:
  project:
    description: The project of the machines, and of images that name none.
    type: str
    required: true
  family:
    description: Operating system, whose publisher's newest image is taken.
    type: str
    choices: [debian-13]
  id:
    description:
      - The image, such as V(projects/debian-cloud/global/images/debian-13-trixie-v20261015).
      - Or a family of images, such as V(projects/my-images/global/images/family/node), whose newest is taken.
    type: str
  architecture:
    description: What the image has to be for.
    type: str
    choices: [amd64, arm64]
    default: amd64
requirements:
  - google-cloud-compute, where the module runs
notes:
  - Credentials come from Google's usual chain (C(GOOGLE_APPLICATION_CREDENTIALS), gcloud, or the machine's own).
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.gcp_machines
"""

EXAMPLES = r"""
- name: Find the newest Debian
  flotilla.kubernetes.gcp_image_info:
    project: payments-production
    family: debian-13
  register: newest_image

- name: Find our own image
  flotilla.kubernetes.gcp_image_info:
    project: payments-production
    id: global/images/family/node
"""

RETURN = r"""
image:
  description: The image.
  type: dict
  returned: success
  contains:
    id:
      description: Its id, for C(image.id) of a definition.
      type: str
      sample: projects/debian-cloud/global/images/debian-13-trixie-v20261015
    name:
      description: Its name.
      type: str
    family:
      description: Its family.
      type: str
    created:
      description: When it was made.
      type: str
    project:
      description: Project of its owner.
      type: str
    architecture:
      description: V(amd64) or V(arm64).
      type: str
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.gcp import image
from ..module_utils._clouds.gcp.session import Session
from ..module_utils._errors import FlotillaError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "project": {"type": "str", "required": True},
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
        found = image.resolve(Session(params["project"], ""), params, params["architecture"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, image=asdict(found))


if __name__ == "__main__":
    main()
