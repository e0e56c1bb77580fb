#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle_files
short_description: Bring files of a bundle to a machine
version_added: "0.1.0"
description:
  - Copies those files of a bundle on the controller that the machine does not have, checks their SHA-256 on the machine, and puts
    each in place at once, so that a running program keeps its old file and a lost connection leaves no half file.
options:
  directory:
    description: The bundle's directory on the controller.
    type: str
    required: true
  files:
    description: Which files go where.
    type: list
    elements: dict
    required: true
    suboptions:
      path:
        description: Path inside the bundle.
        type: str
        required: true
      dest:
        description: Absolute path on the machine.
        type: str
        required: true
      sha256:
        description: SHA-256 of the content, as the manifest of the bundle has it.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0755"
  restarts:
    description:
      - Service that must be restarted once a file has changed. RV(restart_due) stays true until
        C(/var/lib/flotilla/restart-<service>) is removed, which M(flotilla.kubernetes.config_files) does after the restart, so a killed run
        does not forget it.
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.delivery
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Install kubectl
  flotilla.kubernetes.bundle_files:
    directory: "{{ flotilla_bundle.directory }}"
    files:
      - path: bin/kubectl
        dest: /usr/local/bin/kubectl
        sha256: "{{ kubectl_sha256 }}"
"""

RETURN = r"""
missing:
  description: Destinations that were not there or had another content.
  returned: always
  type: list
  elements: str
  sample: [/usr/local/bin/kubectl]
restart_due:
  description: Whether the service of O(restarts) is yet to be restarted.
  returned: always
  type: bool
  sample: false
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._delivered import ARGUMENTS, between
from ..module_utils._errors import FlotillaError
from ..module_utils._installed import InstalledFiles, forget_staged
from ..module_utils._restart import Restart


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "directory": {"type": "str", "required": True},
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "str", "required": True},
                    "dest": {"type": "str", "required": True},
                    "sha256": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0755"},
                },
            },
            "restarts": {"type": "str"},
            **ARGUMENTS,
        },
        supports_check_mode=True,
    )
    files = module.params["files"]
    restart = Restart(module.params["restarts"])
    installed = InstalledFiles()
    if module.params["remote_tmp"] and not module.check_mode:
        forget_staged(module.params["remote_tmp"])
    try:
        missing, to_bring = installed.missing(files), installed.to_bring(files)
        wanted = [{"key": entry["dest"], **entry} for entry in files if entry["dest"] in to_bring]
        staged, answer = between(module.params, wanted)
        if module.params["stage"] in ("fetch", "finish") and answer.get("finished", True) and not module.check_mode:
            if missing:
                restart.owe()
            installed.install([entry for entry in files if entry["dest"] in missing], staged)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(
        changed=bool(missing),
        missing=missing,
        restart_due=restart.due,
        sources={entry["key"]: {"path": entry["path"], "sha256": entry["sha256"]} for entry in wanted},
        diff={"before": "", "after": "".join(f"{dest}\n" for dest in missing)},
        **answer,
    )


if __name__ == "__main__":
    main()
