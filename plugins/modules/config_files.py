#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: config_files
short_description: Write several small files to a machine at once
version_added: "0.1.0"
description:
  - Writes each file that differs, atomically, and makes the folders that it needs. One task instead of two per file.
  - With O(owner), files that an earlier run wrote for the same owner, and that are no longer listed, are removed.
options:
  files:
    description: The files.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Absolute path on the machine.
        type: str
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0644"
      restart:
        description: Whether a change of this file needs the restart of O(restarts).
        type: bool
        default: true
  secret_files:
    description: Files whose content is shown nowhere, neither in diffs nor in output.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Absolute path on the machine.
        type: str
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0600"
      restart:
        description: Whether a change of this file needs the restart of O(restarts).
        type: bool
        default: true
  owner:
    description: Name under which the machine remembers these files in C(/var/lib/flotilla). Without it nothing is ever removed.
    type: str
  restarts:
    description:
      - Service that must be restarted once a file has changed. RV(restart_due) stays true until
        C(/var/lib/flotilla/restart-<service>) is removed, so a killed run does not forget it.
    type: str
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Point crictl to containerd
  flotilla.kubernetes.config_files:
    files:
      - dest: /etc/crictl.yaml
        content: |
          runtime-endpoint: unix:///run/containerd/containerd.sock
"""

RETURN = r"""
written:
  description: Paths of the files that differed.
  returned: always
  type: list
  elements: str
  sample: [/etc/crictl.yaml]
removed:
  description: Paths of the files that were removed because they are no longer listed.
  returned: always
  type: list
  elements: str
  sample: []
restart_due:
  description: Whether the service of O(restarts) is yet to be restarted.
  returned: always
  type: bool
  sample: false
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._config_files import ConfigFile, ConfigFiles, results
from ..module_utils._errors import FlotillaError
from ..module_utils._node import Restart


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "default": [], "options": _options(secret=False)},
            "secret_files": {"type": "list", "elements": "dict", "default": [], "options": _options(secret=True)},
            "owner": {"type": "str"},
            "restarts": {"type": "str"},
        },
        supports_check_mode=True,
    )
    wanted = [
        ConfigFile(
            Path(entry["dest"]),
            entry["content"],
            int(entry["mode"], 8),
            secret=kind == "secret_files",
            tag="restart" if entry["restart"] else "",
        )
        for kind in ("files", "secret_files")
        for entry in module.params[kind]
    ]
    try:
        restart = Restart(module.params["restarts"])
        files = ConfigFiles(module.params["owner"], wanted)
        changes = files.changes()
        if not module.check_mode:
            if any(change.tag for change in changes):
                restart.owe()
            files.apply(changes)
        module.exit_json(changed=bool(changes), restart_due=restart.due, **results(changes))
    except FlotillaError as error:
        module.fail_json(**error.as_result())


def _options(secret: bool) -> dict[str, Any]:
    return {
        "dest": {"type": "str", "required": True},
        "content": {"type": "str", "required": True, "no_log": secret},
        "mode": {"type": "str", "default": "0600" if secret else "0644"},
        "restart": {"type": "bool", "default": True},
    }


if __name__ == "__main__":
    main()
