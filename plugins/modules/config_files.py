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
  - Not for secrets; their content would show in diffs.
options:
  files:
    description: The files.
    type: list
    elements: dict
    required: true
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
restart_due:
  description: Whether the service of O(restarts) is yet to be restarted.
  returned: always
  type: bool
  sample: false
"""

from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._node import Restart, write_atomically


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "dest": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                },
            },
            "restarts": {"type": "str"},
        },
        supports_check_mode=True,
    )
    restart = Restart(module.params["restarts"])
    written, diff = [], []
    for entry in module.params["files"]:
        path, content, mode = Path(entry["dest"]), entry["content"], int(entry["mode"], 8)
        before = path.read_text(encoding="utf-8") if path.exists() else None
        if before == content and path.stat().st_mode & 0o7777 == mode:
            continue
        written.append(str(path))
        diff.append({"before_header": str(path), "after_header": str(path), "before": before or "", "after": content})
        if not module.check_mode:
            try:
                restart.owe()
                path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
                write_atomically(path, content.encode(), mode)
            except OSError as error:
                module.fail_json(msg=f"{path} could not be written: {error}. Look at the free space and the rights of its folder.")
    module.exit_json(changed=bool(written), written=written, restart_due=restart.due, diff=diff)


if __name__ == "__main__":
    main()
