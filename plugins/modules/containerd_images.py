#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: containerd_images
short_description: Bring container images of a bundle into containerd
version_added: "0.1.0"
description:
  - Copies those image archives of a bundle on the controller that containerd does not have, checks their SHA-256 on the machine, and
    imports them into the namespace that Kubernetes uses. Nothing is pulled from a registry.
options:
  directory:
    description: The bundle's directory on the controller.
    type: str
    required: true
  images:
    description: The images, as the manifest of the bundle lists them.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Full name with tag.
        type: str
        required: true
      path:
        description: Path of the archive inside the bundle.
        type: str
        required: true
      sha256:
        description: SHA-256 of the archive.
        type: str
        required: true
extends_documentation_fragment:
  - flotilla.kubernetes.delivery
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Import what the node runs
  flotilla.kubernetes.containerd_images:
    directory: "{{ flotilla_bundle.directory }}"
    images: "{{ images_of_this_node }}"
"""

RETURN = r"""
missing:
  description: Names of images that containerd did not have, or had from another archive.
  returned: always
  type: list
  elements: str
  sample: ["registry.k8s.io/pause:3.10.2"]
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._delivered import ARGUMENTS, between
from ..module_utils._errors import FlotillaError
from ..module_utils._installed import ImportedImages, forget_staged


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "str", "required": True},
            "images": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "path": {"type": "str", "required": True},
                    "sha256": {"type": "str", "required": True},
                },
            },
            **ARGUMENTS,
        },
        supports_check_mode=True,
    )
    images = module.params["images"]
    imported = ImportedImages()
    if module.params["remote_tmp"] and not module.check_mode:
        forget_staged(module.params["remote_tmp"])
    try:
        missing = imported.missing(images)
        wanted = [{"key": image["name"], **image} for image in images if image["name"] in missing]
        staged, answer = between(module.params, wanted)
        if module.params["stage"] in ("fetch", "finish") and answer.get("finished", True) and not module.check_mode:
            imported.add([image for image in images if image["name"] in missing], staged)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(
        changed=bool(missing),
        missing=missing,
        sources={entry["key"]: {"path": entry["path"], "sha256": entry["sha256"]} for entry in wanted},
        diff={"before": "", "after": "".join(f"{name}\n" for name in missing)},
        **answer,
    )


if __name__ == "__main__":
    main()
