# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of `cluster_plan`: makes one plan of what the tasks of a run in check mode have found, without a connection."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._errors import FlotillaError, clear_os_errors
from ..module_utils._files import write_atomically
from ..module_utils._machines.plan import AS_WANTED, ON_ITS_WAY
from ..module_utils._machines.roll import rolls
from ..plugin_utils._policies import refused_pods
from ..plugin_utils._table import table

display = Display()

CLOUD = {"__infrastructure_network": "network", "infrastructure_load_balancer": "API load balancer"}
"""What the cluster's own host registered -> what it would change."""

NODE = {
    "kubernetes_node_site_settings": "settings of the site",
    "kubernetes_node_commands": "packages",
    "kubernetes_node_kernel": "kernel modules and settings",
    "kubernetes_node_swap": "swap off",
    "containerd_files": "containerd",
    "kubernetes_binaries_files": "binaries, images and the service of kubelet",
    "kubernetes_control_plane_info": "settings of the control plane",
    "kubernetes_control_plane_started": "kubeadm init",
    "kubernetes_control_plane_leftovers": "leftovers of control planes that are gone",
    "network_plugin_objects": "objects of the network plugin",
    "kubernetes_join_joined": "kubeadm join",
    "kubernetes_worker_settings": "settings of kubelet",
}
"""What a machine registered -> what it would change there, in the order of a run."""

CLUSTER = {"policies_result": "policies", "addons_result": "add-ons"}
"""What the cluster's own host registered -> what it would change inside of the cluster."""

NOTICES = "network_plugin_running"
"""What a control plane registered and people have to know, though a run changes nothing of it."""

NEW = "is prepared and joins the cluster"
GOING = "is drained and leaves the cluster, its Node is deleted"


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("cluster", "machines", "plan", "report"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        arguments, task_vars = self._task.args, task_vars or {}
        if not self._task.check_mode:
            raise AnsibleActionFail("flotilla.kubernetes.cluster_plan says what a run in check mode found: run the playbook with --check.")
        hostvars = task_vars["hostvars"]
        machines = arguments.get("machines") or []
        plan = make_plan(
            arguments["cluster"]["name"],
            arguments.get("plan") or {},
            hostvars[task_vars["inventory_hostname"]],
            {machine["name"]: hostvars[machine["name"]] for machine in machines if machine["name"] in hostvars},
        )
        plan["steps"] += rolled(arguments["cluster"], machines)
        plan["kept"] = (arguments["cluster"].get("existing") or {}).get("settings") == "keep"
        lines = shown(plan)
        for line in lines:
            display.display(line)
        path = arguments.get("report")
        if path:
            try:
                with clear_os_errors(Path(path), "written"):
                    write_atomically(Path(path), f"{json.dumps(plan, indent=2)}\n".encode(), 0o600)
            except FlotillaError as error:
                raise AnsibleActionFail(str(error)) from error
        result.update(changed=False, lines=lines, **plan)
        return result


def make_plan(
    cluster: str, machine_plan: Mapping[str, Any], cluster_vars: Mapping[str, Any], machine_vars: Mapping[str, Mapping[str, Any]]
) -> dict[str, Any]:
    """Return the plan: ``plan_id``, ``cluster``, ``notices`` and ``steps``, each with ``where``, ``object``, ``action`` and ``reason``.

    :param machine_plan: the fact ``flotilla_plan``.
    :param cluster_vars: variables of the cluster's own host.
    :param machine_vars: variables of each machine that exists, by its name.
    """
    steps = [_step("cloud", what, "change", detail) for what, detail in _changes(CLOUD, cluster_vars)]
    planned = [step for step in machine_plan.get("steps", ()) if step["action"] != "keep" or step["reason"] not in (AS_WANTED, ON_ITS_WAY)]
    for step in planned:
        title = step["machine"] or f"a machine of pool {step['pool']} in zone {step['zone']}"
        action = f"{step['later']} later" if step["action"] == "keep" and step.get("later") else step["action"]
        steps.append(_step("machines", title, action, step["reason"]))
        if step["action"] in ("create", "replace"):
            new = title if step["action"] == "create" else f"the successor of {title}"
            steps.append(_step("nodes", new, "join", NEW))
        if {"delete", "replace"} & {step["action"], step.get("later")}:
            steps.append(_step("nodes", title, "leave", GOING))
    for name, variables in sorted(machine_vars.items()):
        steps += [_step("nodes", name, what, detail) for what, detail in _changes(NODE, variables)]
    steps += [_step("cluster", what, "change", detail) for what, detail in _changes(CLUSTER, cluster_vars)]
    for refused in (cluster_vars.get("policies_result") or {}).get("refused") or ():
        steps.append(_step("cluster", f"namespace {refused['namespace']}", "stop", refused_pods(refused)))
    notices = [variables.get(NOTICES, {}).get("notice", "") for variables in machine_vars.values()]
    return {"plan_id": machine_plan.get("id", ""), "cluster": cluster, "steps": steps, "notices": sorted({*notices} - {""})}


def rolled(cluster: Mapping[str, Any], machines: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    """Return the steps that are left to cluster_upgrade: pools whose machines it replaces, because their specification has changed."""
    found = [roll for roll in rolls(cluster, machines, {}, "") if roll.outdated]
    numbers = {roll.pool: f"{len(roll.outdated)} machine{'' if len(roll.outdated) == 1 else 's'}, {roll.surge} at a time" for roll in found}
    return [_step("machines", f"pool {pool}", "cluster_upgrade", f"replace {number}") for pool, number in numbers.items()]


def shown(plan: Mapping[str, Any]) -> list[str]:
    """Return the lines that people see."""
    if not plan["steps"]:
        nothing = f"Cluster {plan['cluster']} is as its definition says: cluster_apply would change nothing."
        return ["", nothing, *_kept(plan), *plan["notices"], ""]
    rows = [(step["where"].upper(), step["object"], step["action"], step["reason"]) for step in plan["steps"]]
    lines = ["", f"Cluster {plan['cluster']}: what cluster_apply would do", "", *table(("WHERE", "WHAT", "STEP", "WHY"), rows), ""]
    refused = ",".join(step["object"].split()[-1] for step in plan["steps"] if step["action"] == "stop")
    if refused:
        lines += [f"Pods that run would be refused. To agree to that: cluster_apply -e flotilla_policies_consent={refused}", ""]
    if any(step["where"] == "machines" and {"delete", "replace"} & set(step["action"].split()) for step in plan["steps"]):
        lines += [f"Machines that serve would go. To agree to that: cluster_apply -e flotilla_plan_id={plan['plan_id']}", ""]
    return lines + [line for notice in plan["notices"] for line in (notice, "")]


def _kept(plan: Mapping[str, Any]) -> list[str]:
    if not plan.get("kept"):
        return []
    return ["What runs on its machines stays as somebody else made it. What would differ: the same plan with existing.settings: manage."]


def _step(where: str, what: str, action: str, reason: str) -> dict[str, str]:
    return {"where": where, "object": what, "action": action, "reason": reason}


def _changes(names: Mapping[str, str], variables: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, what in names.items():
        found = variables.get(name)
        if isinstance(found, Mapping) and (found.get("changed") or (name == "kubernetes_control_plane_info" and found.get("differs"))):
            yield what, ", ".join(_details(found)) or "it differs from the definition"


def _details(result: Mapping[str, Any]) -> list[str]:
    """Return what a result says that differs: file names, keys, or nothing. Never values, which may be anything."""
    if result.get("differs") and isinstance(result["differs"], (list, tuple)):
        return [str(item) for item in result["differs"]]
    diffs = result.get("diff") or []
    found: list[str] = []
    for diff in [diffs] if isinstance(diffs, Mapping) else diffs:
        title = diff.get("after_header") or diff.get("before_header")
        before, after = diff.get("before"), diff.get("after")
        if title:
            found.append(str(title))
        elif isinstance(before, Mapping) and isinstance(after, Mapping):
            found += sorted(str(key) for key in {*before, *after} if before.get(key) != after.get(key))
    return list(dict.fromkeys(_short(found)))


def _short(found: Sequence[str], most: int = 6) -> list[str]:
    return [*found[:most], f"{len(found) - most} more"] if len(found) > most else list(found)
