# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of `cluster_adopt`: writes the definition of a cluster that the tasks before it have looked at, without a connection."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ansible import constants
from ansible.module_utils.parsing.convert_bool import boolean
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._definition import load
from ..module_utils._errors import Finding, FlotillaError, clear_os_errors
from ..module_utils._files import write_atomically
from ..plugin_utils._adoption import Adoption, Seen, adopt
from ..plugin_utils._claim import claim

display = Display()

LOOK, CLUSTER = "flotilla_look", "flotilla_foreign"
"""What the tasks before register on each machine: results of `machine_info` and of `kubeadm_cluster_info`."""


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("name", "path", "control_planes", "workers", "pools", "claim", "plan_id"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        task_vars = task_vars or {}
        try:
            return {**result, **self._adopt(task_vars["hostvars"])}
        except FlotillaError as error:
            return {**result, "failed": True, "changed": False, **error.as_result()}

    def _adopt(self, hostvars: Mapping[str, Any]) -> dict[str, Any]:
        arguments = self._task.args
        path = _definition_path(arguments.get("path"))
        control_planes = [str(host) for host in arguments["control_planes"]]
        chosen = {str(host): str(pool) for pool, hosts in (arguments.get("pools") or {}).items() for host in hosts}
        workers = [host for host in dict.fromkeys([*chosen, *map(str, arguments.get("workers") or ())]) if host not in control_planes]
        machines = [seen(host, host in control_planes, hostvars[host], chosen.get(host, "")) for host in (*control_planes, *workers)]
        name = str(arguments.get("name") or path.stem)
        adoption = adopt(name, _answer(control_planes, hostvars), machines, path)
        for line in shown(adoption):
            display.display(line)
        if adoption.refusals:
            listed = " ".join(f"[{finding.code}] {finding.object}: {finding.message} {finding.remedy}" for finding in adoption.refusals)
            details = {"refusals": [finding.as_dict() for finding in adoption.refusals]}
            raise FlotillaError(
                "ADOPT_REFUSED", f"The cluster can not be adopted as it is, and nothing was written. {listed}", details=details
            )
        if boolean(arguments.get("claim") or False):
            definition = _defined(path)
            return {"path": str(path), **claim(definition, adoption.definition, str(arguments.get("plan_id") or ""), **self._claiming())}
        before, after = _present(path), adoption.text()
        diff = {"before_header": str(path), "after_header": str(path), "before": before, "after": after}
        findings = [finding.as_dict() for finding in adoption.findings]
        found = {"definition": adoption.definition, "findings": findings, "diff": diff}
        if before and before != after:
            raise FlotillaError(
                "ADOPT_DEFINITION_EXISTS",
                f"{path} is there already and is not what the cluster shows.",
                "It was left alone: compare with --diff, then change it yourself, or name another file as flotilla_definition.",
                details={**found, "path": str(path)},
            )
        if not before and not self._task.check_mode:
            with clear_os_errors(path, "written"):
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, after.encode(), 0o644)
        return {"changed": not before, "path": str(path), **found}

    def _claiming(self) -> dict[str, Any]:
        return {"check_mode": self._task.check_mode, "show": display.display}


def _defined(path: Path) -> dict[str, Any]:
    """Return the definition that machines are claimed for."""
    definition = load.load_file(path) if path.exists() else None
    if definition is None or definition["cloud"] == "existing":
        raise FlotillaError(
            "CLAIM_NO_DEFINITION",
            f"{path} is no definition of a cluster in a cloud.",
            "Write one with the machines' cloud, region, network and sizes; cloud: existing needs no claim.",
        )
    return definition


def _definition_path(given: Any) -> Path:
    if not given:
        raise FlotillaError(
            "ADOPT_NO_FILE",
            "Nobody said which file the definition goes to.",
            "Name it: -e flotilla_definition=inventories/<foundation>/clusters/<name>.yml; the file's name is the cluster's.",
        )
    path = Path(os.path.abspath(Path(str(given)).expanduser()))  # noqa: PTH100 - a link's name counts
    if path.suffix not in (".yml", ".yaml"):
        raise FlotillaError("ADOPT_NO_FILE", f"{path} does not end in .yml.", "Ansible takes no other files for definitions.")
    return path


def _present(path: Path) -> str:
    with clear_os_errors(path, "read"):
        return path.read_text(encoding="utf-8") if path.exists() else ""


def seen(host: str, control_plane: bool, variables: Mapping[str, Any], pool: str) -> Seen:
    """Return a machine of the inventory with what a run has found on it.

    :param variables: the host's variables.
    """
    look = _plain(variables.get(LOOK) or {})
    key = variables.get("ansible_ssh_private_key_file") or variables.get("ansible_private_key_file") or constants.DEFAULT_PRIVATE_KEY_FILE
    login = variables.get("ansible_user") or variables.get("ansible_ssh_user") or constants.DEFAULT_REMOTE_USER or getpass.getuser()
    ssh = {
        "connection": str(variables.get("ansible_connection") or "ssh").rpartition(".")[2],
        "host": str(variables.get("ansible_host") or variables.get("ansible_ssh_host") or host),
        "port": int(variables.get("ansible_port") or variables.get("ansible_ssh_port") or 22),
        "user": str(login),
        "key": "" if not key else str(key) if str(key).startswith("~") else os.path.abspath(str(key)),  # noqa: PTH100
        "arguments": " ".join(str(variables.get(f"ansible_ssh_{kind}_args") or "") for kind in ("common", "extra")),
    }
    found = look if "machine_id" in look else {}
    return Seen(host, control_plane, found, ssh, str(look.get("msg") or ""), pool)


def _answer(control_planes: Iterable[str], hostvars: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the first control plane that answers said of the cluster."""
    answers = {host: _plain(hostvars[host].get(CLUSTER) or {}) for host in control_planes}
    for answer in answers.values():
        if "documents" in answer:
            return answer
    reasons = " ".join(f"{host}: {answer.get('msg') or 'no answer.'}" for host, answer in answers.items())
    raise FlotillaError(
        "ADOPT_CLUSTER_SILENT",
        f"None of the control planes could say what the cluster is. {reasons}",
        "Nothing was written. Mend what they say; 'journalctl -u kubelet' there helps where no API server answers.",
    )


def _plain(value: Any) -> dict[str, Any]:
    """Return a registered result without Ansible's marks on its text, which YAML writers do not know."""
    return json.loads(json.dumps(dict(value), default=str))


def shown(adoption: Adoption) -> list[str]:
    """Return the lines that people see."""
    lines = [""]
    if adoption.definition:
        machines = adoption.definition["existing"]["machines"]
        workers = sum(1 for machine in machines if "pool" in machine)
        lines.append(
            f"Cluster {adoption.definition['name']}: Kubernetes {adoption.definition['kubernetes_version']}, "
            f"{len(machines) - workers} control planes, {workers} workers in {len(adoption.definition['pools'])} pools"
        )
    for title, findings in (("In the way:", adoption.refusals), ("Not taken over, for you to decide:", adoption.findings)):
        if findings:
            lines += ["", title, *(_line(finding) for finding in findings)]
    return [*lines, ""]


def _line(finding: Finding) -> str:
    return f"  [{finding.code}] {finding.object}: {finding.message} {finding.remedy}"
