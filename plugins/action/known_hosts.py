# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of `known_hosts`: keeps a file of the controller, so it needs no module and no connection."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

from ..module_utils._definition import hosts
from ..module_utils._errors import FlotillaError, clear_os_errors
from ..module_utils._files import write_atomically
from ..plugin_utils._fleet import known_hosts_file


class ActionModule(ActionBase):
    """Writes or removes the file; three modules of Ansible's own would take two seconds for it."""

    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("cluster", "machines", "state"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        path = known_hosts_file(str(arguments["cluster"]))
        present = arguments.get("state", "present") == "present"
        machines = arguments.get("machines") or []
        wanted = hosts.known_hosts(machines) if present else None
        if present and self._task.check_mode:
            # A machine that check mode only plans has no key yet, and a run would write it.
            wanted += "".join(
                f"{machine['addresses']['private'] or machine['name']} (made with the machine)\n"
                for machine in machines
                if not machine.get("host_key")
            )
        try:
            with clear_os_errors(path, "read"):
                before = path.read_text(encoding="utf-8") if path.exists() else None
                loose = before is not None and path.stat().st_mode & 0o077 != 0
            changed = before != wanted or (present and loose)
            if changed and not self._task.check_mode:
                with clear_os_errors(path, "written" if present else "removed"):
                    if wanted is None:
                        path.unlink()
                    else:
                        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                        write_atomically(path, wanted.encode(), 0o600)
        except FlotillaError as error:
            return {**result, "failed": True, **error.as_result()}
        diff = {"before_header": str(path), "after_header": str(path), "before": before or "", "after": wanted or ""}
        return {**result, "changed": changed, "path": str(path), "diff": diff}
