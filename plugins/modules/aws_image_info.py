#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: aws_image_info
short_description: Find an image in AWS
version_added: "0.1.0"
description:
  - Returns the newest image of a family, the one that an SSM parameter names, or the newest that fits a name, with its exact id.
options:
  region:
    description: The region to look in.
    type: str
    required: true
  family:
    description: Operating system, whose publisher's newest image is taken.
    type: str
    choices: [debian-13]
  id:
    description: Id of the image.
    type: str
  ssm_parameter:
    description: SSM parameter that holds the id.
    type: str
  name:
    description: Name of the image; C(*) stands for anything. Needs O(owners).
    type: str
  owners:
    description: Accounts that the image may be of, such as V(self) or V(amazon). An image of anybody else can be anything.
    type: list
    elements: str
  architecture:
    description: What the image has to be for.
    type: str
    choices: [amd64, arm64]
    default: amd64
requirements:
  - boto3, where the module runs
notes:
  - Credentials come from boto3's usual chain.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.aws_machines
"""

EXAMPLES = r"""
- name: Find the newest Debian
  flotilla.kubernetes.aws_image_info:
    region: eu-west-1
    family: debian-13
  register: newest_image

- name: Find our own image
  flotilla.kubernetes.aws_image_info:
    region: eu-west-1
    name: node-*
    owners: [self]
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
      sample: ami-0123456789abcdef0
    name:
      description: Its name.
      type: str
    created:
      description: When it was made.
      type: str
    owner:
      description: Account of its owner.
      type: str
    architecture:
      description: V(amd64) or V(arm64).
      type: str
    root_device:
      description: Name of its root disk.
      type: str
      sample: /dev/xvda
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._clouds.aws import image
from ..module_utils._clouds.aws.session import Session
from ..module_utils._errors import FlotillaError


def main() -> None:
    """Run the module."""
    module = AnsibleModule(
        argument_spec={
            "region": {"type": "str", "required": True},
            "family": {"type": "str", "choices": ["debian-13"]},
            "id": {"type": "str"},
            "ssm_parameter": {"type": "str"},
            "name": {"type": "str"},
            "owners": {"type": "list", "elements": "str"},
            "architecture": {"type": "str", "choices": ["amd64", "arm64"], "default": "amd64"},
        },
        mutually_exclusive=[("family", "id", "ssm_parameter", "name")],
        required_one_of=[("family", "id", "ssm_parameter", "name")],
        required_by={"name": "owners", "owners": "name"},
        supports_check_mode=True,
    )
    params = module.params
    try:
        found = image.resolve(Session(params["region"]), params, params["architecture"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=False, image=asdict(found))


if __name__ == "__main__":
    main()
