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
        description: Whether a change of this file needs the restart of O(services).
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
        description: Whether a change of this file needs the restart of O(services).
        type: bool
        default: true
  owner:
    description: Name under which the machine remembers these files in C(/var/lib/flotilla). Without it nothing is ever removed.
    type: str
  services:
    description:
      - Services that read these files. Each is enabled, so that it starts at boot, and restarted when a file has changed.
      - A restart that is due is remembered in C(/var/lib/flotilla/restart-<name>) until it is done, so a killed run does not lose it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the unit.
        type: str
        required: true
      running:
        description: Whether the service has to run. Without it, one that does not run is left so.
        type: bool
        default: true
      restart:
        description: Whether something else that the service reads has changed, so that it needs a restart for that.
        type: bool
        default: false
      reload:
        description: Whether the service is told to read its files again instead of being restarted.
        type: bool
        default: false
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

- name: Configure containerd and have it run with that
  flotilla.kubernetes.config_files:
    files:
      - dest: /etc/containerd/config.toml
        content: "{{ lookup('ansible.builtin.template', 'config.toml.j2') }}"
    services: [{name: containerd}]
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
service_steps:
  description: What each service needed, its name and V(enabled), V(started), V(restarted) or V(reloaded).
  returned: always
  type: list
  elements: str
  sample: [containerd restarted]
"""

from pathlib import Path
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._config_files import ConfigFile, ConfigFiles, results
from ..module_utils._errors import FlotillaError
from ..module_utils._restart import Restart
from ..module_utils._service import Service


class QuietModule(AnsibleModule):
    """A module whose call is not written to the machine's log.

    Ansible masks secrets there only where they stand as they are; in the text of a list the lines of a file are escaped.
    """

    def _log_invocation(self) -> None:
        pass


def main() -> None:
    module = QuietModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "default": [], "options": _options(secret=False)},
            "secret_files": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": _options(secret=True)},
            "owner": {"type": "str"},
            "services": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "running": {"type": "bool", "default": True},
                    "restart": {"type": "bool", "default": False},
                    "reload": {"type": "bool", "default": False},
                },
            },
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
    asked = module.params["services"]
    steps: list[str] = []
    try:
        files = ConfigFiles(module.params["owner"], wanted)
        changes = files.changes()
        changed = any(change.tag for change in changes)
        services = [Service(one["name"], Restart(one["name"]), reload=one["reload"]) for one in asked]
        if not module.check_mode:
            for service in services if changed else ():
                service.owe()
            files.apply(changes)
        shown = results(changes)
        for one, service in zip(asked, services):
            due = service.due(one["running"], one["restart"] or changed)
            if not module.check_mode:
                service.apply(due)
            steps += [f"{one['name']} {step}" for step in due]
        if steps:
            shown["diff"].append(
                {"before_header": "services", "after_header": "services", "before": "", "after": "".join(f"{s}\n" for s in steps)}
            )
        module.exit_json(changed=bool(changes or steps), service_steps=steps, **shown)
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
