# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the module kubeconfig: it makes the key and keeps the file (private to flotilla.kubernetes)."""

from __future__ import annotations

import stat
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from ansible.module_utils.common.validation import check_type_bool, check_type_list
from ansible.plugins.action import ActionBase

from ..module_utils._errors import FlotillaError
from ..module_utils._files import write_atomically
from ..module_utils._kubernetes.duration import format_duration
from ..module_utils._moments import stamp
from ..module_utils._paths import kubeconfig_path
from ..plugin_utils import _kubeconfig


class ActionModule(ActionBase):
    """Asks the control plane only for what the controller can not know: the cluster's address and CA, and a signature."""

    TRANSFERS_FILES = False

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        try:
            if arguments.get("state", "present") == "absent":
                result.update(self._remove(str(arguments["cluster"])))
            else:
                result.update(self._keep(arguments, task_vars))
        except FlotillaError as error:
            result.update(failed=True, **error.as_result())
        except OSError as error:
            result.update(failed=True, msg=f"The kubeconfig {error.filename} could not be written: {error.strerror}.")
        return result

    def _remove(self, cluster: str) -> dict[str, Any]:
        own = kubeconfig_path(cluster)
        paths = [path for path in (own, *sorted(own.parent.glob(f"{cluster}.*.conf"))) if path.exists()]
        if not self._task.check_mode:
            for path in paths:
                path.unlink(missing_ok=True)
        return {"changed": bool(paths), "removed": [str(path) for path in paths]}

    def _keep(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        cluster, own = str(arguments["cluster"]), check_type_bool(arguments.get("own", False))
        wanted = _kubeconfig.Wanted.of(
            cluster,
            str(arguments["user"]),
            [str(group).strip() for group in check_type_list(arguments.get("groups") or [])],
            str(arguments.get("ttl", "8h")),
            check_type_bool(arguments.get("allow_system", False)),
        )
        path = Path(arguments.get("path") or kubeconfig_path(cluster, "" if own else wanted.user)).expanduser()
        asked = {name: arguments[name] for name in ("cluster", "address", "user", "audit_user") if name in arguments}
        answer = self._execute_module(module_args=asked, task_vars=task_vars)
        if answer.get("failed") or "ca" not in answer:
            return answer
        server, ca = str(arguments.get("server") or answer["server"]), str(answer["ca"])
        found, now = _kubeconfig.read(path), datetime.now(timezone.utc)
        shown = {"path": str(path), "user": wanted.user, "groups": list(wanted.groups), "server": server}
        if _kubeconfig.good_enough(found, wanted, server, ca, now):
            loose = stat.S_IMODE(path.stat().st_mode) != 0o600
            if loose and not self._task.check_mode:
                path.chmod(0o600)
            diff = {"before": {"mode": "other than 0600"}, "after": {"mode": "0600"}} if loose else {}
            return {"changed": loose, **shown, "valid_until": stamp(found.until.timestamp()), "diff": diff}
        diff = {
            "before_header": str(path),
            "after_header": str(path),
            "before": found.as_diff() if found else {},
            "after": {**shown, "valid_until": f"{format_duration(wanted.ttl)} from now"},
        }
        diff["after"].pop("path")
        if self._task.check_mode:
            return {"changed": True, **shown, "diff": diff}
        pem, key = _kubeconfig.make_key()
        request = {**asked, "request": _kubeconfig.signing_request(key, wanted), "ttl": f"{wanted.ttl}s"}
        answer = self._execute_module(module_args=request, task_vars=task_vars)
        if "certificate" not in answer:
            return answer
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(path, _kubeconfig.render(wanted, server, ca, str(answer["certificate"]), pem).encode(), 0o600)
        until = _kubeconfig.read(path).until
        if (until - now).total_seconds() < wanted.ttl / 2:
            short = f"The cluster signs client certificates for less than {format_duration(wanted.ttl)}"
            shown["warnings"] = [f"{short}; {path} ends {stamp(until.timestamp())}."]
        return {"changed": True, **shown, "valid_until": stamp(until.timestamp()), "diff": diff}
