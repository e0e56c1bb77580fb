# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From a module's parameters to one call of a cloud's folder, and from the answer to what it returns, whichever cloud.

Private to flotilla.kubernetes. The modules of each cloud are these, and say in their documentation what is the cloud's own.
"""

from __future__ import annotations

import time
from typing import Any, Callable

from ansible.module_utils.basic import AnsibleModule

from .._errors import FlotillaError
from .._machines.decision import ARGUMENTS, Wish
from .result import Result

_LOOK = 1.0  # seconds between looks at the members of a load balancer

MACHINES: dict[str, dict[str, Any]] = {
    "cluster": {"type": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent", "observed"], "default": "present"},
    "wait_timeout": {"type": "int", "default": 600},
    "wait_for": {"type": "str", "choices": ["ssh", "running"], "default": "ssh"},
    "neighbours": {"type": "bool", "default": False},
    "ids": {"type": "list", "elements": "str"},
    "roll_out": {"type": "bool", "default": False},
    **ARGUMENTS,
}
NETWORK: dict[str, dict[str, Any]] = {
    "cluster": {"type": "dict", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
LOAD_BALANCER: dict[str, dict[str, Any]] = {
    "cluster": {"type": "dict", "required": True},
    "members": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "id": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "state": {"type": "str", "choices": ["active", "drained"], "default": "active"},
        },
    },
    "drain_timeout": {"type": "int", "default": 10},
    "close": {"type": "bool", "default": True},
    "wait_timeout": {"type": "int", "default": 0},
    "state": {"type": "str", "choices": ["present", "absent", "observed"], "default": "present"},
}


def run_machines(module: AnsibleModule, cloud: Any, session_for: Callable[[dict[str, Any]], Any]) -> None:
    """Run a ``*_machines`` module. Options of its own, next to those of all clouds, go to ``present``.

    :param cloud: the module ``machines`` of the cloud's folder.
    """
    params = module.params
    cluster, check_mode = params["cluster"], module.check_mode
    if params["ids"] is not None and params["state"] != "absent":
        module.fail_json(msg="ids is for state=absent.")

    def do() -> Result:
        session = session_for(cluster)
        if params["state"] == "observed":
            result: Result = cloud.observed(session, cluster)
            if params["neighbours"]:
                result.value["neighbours"] = cloud.neighbours(session, cluster)
            return result
        if params["state"] == "present":
            wait = {key: params[key] for key in ("wait_timeout", "wait_for", "roll_out")}
            own = {key: value for key, value in params.items() if key not in MACHINES and value is not None}
            return cloud.present(session, cluster, wish=Wish.of(params), check_mode=check_mode, **wait, **own)
        if params["ids"] is not None:
            return cloud.removed(session, cluster, params["ids"], check_mode=check_mode)
        return cloud.absent(session, cluster, check_mode=check_mode)

    result = _done(module, do)
    module.exit_json(changed=result.changed, diff={"before": result.before, "after": result.after}, **result.value)


def run_network(module: AnsibleModule, cloud: Any, session_for: Callable[[dict[str, Any]], Any]) -> None:
    """Run a ``*_network`` module.

    :param cloud: the module ``network`` of the cloud's folder.
    """
    cluster = module.params["cluster"]
    change = cloud.present if module.params["state"] == "present" else cloud.absent
    result = _done(module, lambda: change(session_for(cluster), cluster, module.check_mode))
    diff = {"before": result.before, "after": result.after}
    module.exit_json(changed=result.changed, differs=result.changed, network=result.value, diff=diff)


def run_load_balancer(module: AnsibleModule, cloud: Any, session_for: Callable[[dict[str, Any]], Any]) -> None:
    """Run a ``*_load_balancer`` module. Options of its own, next to those of all clouds, go to ``present``.

    :param cloud: the module ``load_balancer`` of the cloud's folder.
    """
    params = module.params
    cluster, check_mode = params["cluster"], module.check_mode

    def do() -> Result:
        session = session_for(cluster)
        if params["state"] == "observed":
            return cloud.observed(session, cluster)
        if params["state"] == "absent":
            return cloud.absent(session, cluster, check_mode)
        own = {key: value for key, value in params.items() if key not in LOAD_BALANCER}
        drain = {"drain_timeout": params["drain_timeout"], "close": params["close"]}
        made: Result = cloud.present(session, cluster, params["members"], check_mode=check_mode, **drain, **own)
        if params["wait_timeout"] and not check_mode:
            made.value["members"] = _healthy_members(lambda: cloud.observed(session, cluster).value, params["wait_timeout"])
        return made

    result = _done(module, do)
    module.exit_json(
        changed=result.changed,
        endpoint=result.value.get("endpoint", {}),
        members=result.value.get("members", []),
        diff={"before": result.before, "after": result.after},
    )


def _healthy_members(look: Callable[[], dict[str, Any]], timeout: float) -> list[dict[str, Any]]:
    """Return the members once the load balancer finds all healthy that it sends requests to.

    :raises FlotillaError: ``LOAD_BALANCER_MEMBERS``: it does not within ``timeout`` seconds.
    """
    deadline = time.monotonic() + timeout
    while True:
        members: list[dict[str, Any]] = look()["members"]
        ill = [member for member in members if member["state"] == "active" and member["health"] != "healthy"]
        if not ill:
            return members
        if time.monotonic() >= deadline:
            told = ", ".join(
                f"{member['id']} ({member['health']}{': ' * bool(member.get('detail'))}{member.get('detail') or ''})" for member in ill
            )
            raise FlotillaError(
                "LOAD_BALANCER_MEMBERS",
                f"The load balancer does not find these control planes healthy after {timeout:g} s: {told}.",
                "Look at their API servers ('cluster_status' says what does not hold) and at who may reach port 6443, then run again.",
            )
        time.sleep(_LOOK)


def _done(module: AnsibleModule, do: Callable[[], Result]) -> Result:
    try:
        result = do()
    except FlotillaError as error:
        module.fail_json(**error.as_result())
        raise
    for warning in result.warnings:
        module.warn(warning)
    return result
