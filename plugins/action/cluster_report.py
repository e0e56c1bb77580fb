# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of `cluster_report`: prints for people what a cluster is, on the controller and without a connection."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._definition import load
from ..module_utils._paths import kubeconfig_path
from ..plugin_utils._backups import backup_findings, in_words
from ..plugin_utils._policies import policy_findings
from ..plugin_utils._table import table

display = Display()


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("cluster", "endpoint", "nodes", "findings", "rotation", "backups", "neighbours", "policies"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        arguments = self._task.args
        lines = report(
            arguments["cluster"],
            arguments.get("endpoint") or {},
            arguments.get("nodes") or [],
            [
                *(arguments.get("findings") or []),
                *backup_findings(arguments["cluster"], arguments.get("backups")),
                *policy_findings(arguments.get("policies")),
            ],
            under_make=os.environ.get("FLOTILLA_FRONTEND") == "make",
            backups=backup_line(arguments.get("backups")),
            rotation=arguments.get("rotation") or [],
        )
        neighbours = arguments.get("neighbours")
        if neighbours is not None:
            lines += foundation_lines(arguments["cluster"], neighbours)
        for line in lines:
            display.display(line)
        result.update(changed=False, lines=lines)
        return result


def backup_line(backups: Mapping[str, Any] | None) -> str:
    """Return what there is to say of the backups, if anybody asked."""
    if not backups or "backups" not in backups:
        return ""
    good = [backup for backup in backups["backups"] if backup["whole"] and backup.get("verified")]
    newest = f", the newest one, {good[0]['id']}, {in_words(backups['age'])} old" if good else ""
    return f"Backups        {len(good)} in {backups['place']}{newest}"


def report(
    cluster: dict[str, Any],
    endpoint: dict[str, Any],
    nodes: Sequence[dict[str, Any]],
    findings: Sequence[dict[str, Any]],
    under_make: bool,
    backups: str = "",
    rotation: Sequence[str] = (),
) -> list[str]:
    """Return the lines of the report.

    :param rotation: certificate authorities that are trusted beside their successors.

    :param backups: a line about them, if there is something to say.
    :param under_make: whether the next commands are targets of the repository's Makefile.
    """
    name = cluster["name"]
    state = (
        "healthy" if nodes and not findings else f"{len(findings)} finding{'s' if len(findings) > 1 else ''}" if findings else "not there"
    )
    lines = ["", f"Cluster {name}: Kubernetes {cluster['kubernetes_version']}, {state}", ""]
    if nodes:
        rows = [
            (
                node["name"],
                ",".join(node["roles"]) or "worker",
                # As kubectl shows it.
                ("Ready" if node["ready"] else "NotReady") + ("" if node["schedulable"] else ",SchedulingDisabled"),
                node["version"],
                node["address"],
                node["runtime"],
            )
            for node in sorted(nodes, key=lambda node: (not node["roles"], node["name"]))
        ]
        lines += [*table(("NODE", "ROLE", "STATUS", "VERSION", "ADDRESS", "RUNTIME"), rows), ""]
    lines += half_done(cluster["kubernetes_version"], nodes)
    if rotation:
        lines += [f"Authorities    {', '.join(rotation)}: the old and the new one are trusted; cluster_rotate_ca does the rest", ""]
    for finding in findings:
        lines += [f"  {finding['code']}: {finding['message']}", f"      {finding['remedy']}"]
    if endpoint:
        lines.append(f"API endpoint   https://{endpoint['host']}:{endpoint['port']}")
    lines += [f"Kubeconfig     {kubeconfig_path(name)}", *([backups] if backups else []), "", "Next"]
    return lines + [f"  {command}" for command in next_commands(cluster, nodes, under_make)] + [""]


def half_done(wanted: str, nodes: Sequence[dict[str, Any]]) -> list[str]:
    """Return a line about an upgrade that was not begun or not ended."""
    versions = Counter(node["version"] for node in nodes)
    if not set(versions) - {wanted}:
        return []
    others = ", ".join(f"{count} with {version}" for version, count in sorted(versions.items()) if version != wanted)
    return [f"Upgrade        {versions[wanted]} of {len(nodes)} nodes run {wanted}, {others}; cluster_upgrade does the rest", ""]


def foundation_lines(cluster: Mapping[str, Any], neighbours: Mapping[str, Sequence[str]]) -> list[str]:
    """Return lines about clusters of the foundation that have machines and no definition, or a definition and no machines.

    Nothing is said where the foundation's folder is not there, as in AWX's frozen inventory.
    """
    folder = load.foundation_folder(Path(cluster["file"]))
    if not folder.is_dir():
        return []
    checked = load.check_sources([folder])
    # A file with an error in it is a definition, too.
    defined = {one["name"] for one in checked.definitions} | {file.stem for file in checked.files} | {cluster["name"]}
    lines = []
    for name, machines in sorted(neighbours.items()):
        if name not in defined:
            lines += [
                f"  No definition in {_shown(str(folder))} has the cluster {name}, and it has machines: {', '.join(machines)}",
                f"      Bring back clusters/{name}.yml and run cluster_delete, or remove the machines in the cloud.",
            ]
    here = {one["name"] for one in checked.definitions if _place(one) == _place(cluster)}
    empty = sorted(here - set(neighbours) - {cluster["name"]})
    if empty:
        lines.append(f"  Defined, and without machines: {', '.join(empty)}")
    return [f"Other clusters of the foundation {cluster['foundation']}", *lines, ""] if lines else []


def _place(definition: Mapping[str, Any]) -> tuple[str, str]:
    """Return where a cluster's machines are looked for."""
    cloud = str(definition["cloud"])
    return cloud, str((definition.get(cloud) or {}).get("region") or "")


def next_commands(cluster: dict[str, Any], nodes: Sequence[dict[str, Any]], under_make: bool) -> list[str]:
    """Return three commands worth trying."""
    name, file = cluster["name"], _shown(cluster["file"])
    suffix = "" if name == "demo" else f" CLUSTER={name}"
    if not nodes:
        return [f"make cluster{suffix}" if under_make else f"ansible-playbook -i {file} flotilla.kubernetes.cluster_apply"]
    if under_make:
        return [f'make -s kubectl{suffix} ARGS="get pods -A"', f"make cluster-status{suffix}", f"make cluster-delete{suffix}"]
    return [
        f"kubectl --kubeconfig {kubeconfig_path(name)} get pods -A",
        f"ansible-playbook -i {file} flotilla.kubernetes.cluster_status",
        f"ansible-playbook -i {file} flotilla.kubernetes.cluster_delete",
    ]


def _shown(path: str) -> str:
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path
