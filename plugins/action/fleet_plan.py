# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Action of `fleet_plan`: makes one plan of what a play has seen of all clusters, without a connection."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display

from ..module_utils._definition import hosts
from ..module_utils._errors import FlotillaError, clear_os_errors
from ..module_utils._files import write_atomically
from ..module_utils._fleet.plan import NOTHING, UPGRADE, fleets_of, make_plan
from ..module_utils._kubernetes.duration import format_duration, parse_duration
from ..plugin_utils import _fleet
from ..plugin_utils._fleet_seen import seen_of
from ..plugin_utils._table import table

display = Display()


class ActionModule(ActionBase):
    TRANSFERS_FILES = False
    _requires_connection = False
    _VALID_ARGS = frozenset(("lasts", "report"))

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        task_vars, report = task_vars or {}, self._task.args.get("report")
        try:
            lasts = dt.timedelta(seconds=parse_duration(str(self._task.args.get("lasts", "24h")), "lasts", days=True))
            checked = _fleet.fleet_of_play(task_vars)
            hostvars = task_vars["hostvars"]
            definitions = {
                one["name"]: one
                for one in checked.definitions
                if hosts.cluster_host_name(one["name"]) in task_vars["ansible_play_hosts_all"]
            }
            seen = {name: seen_of(hostvars, hosts.cluster_host_name(name)) for name in definitions}
            fleets = fleets_of(checked.fleets, definitions.values())
            plan = make_plan(fleets, definitions, seen, dt.datetime.now(dt.timezone.utc), lasts)
            if report:
                with clear_os_errors(Path(report), "written"):
                    write_atomically(Path(report), f"{json.dumps(plan, indent=2)}\n".encode(), 0o600)
        except FlotillaError as error:
            raise AnsibleActionFail(str(error)) from error
        lines = list(shown(plan))
        for line in lines:
            display.display(line)
        result.update(changed=False, lines=lines, plan=plan)
        return result


def shown(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that people see."""
    for wave in plan["waves"]:
        terms = [f"{wave['max_clusters_in_flight']} at a time", f"{wave['failure_budget']} may fail, then {wave['on_failure']}"]
        if wave["canary"]:
            terms.insert(0, "canary")
        if wave["soak"]:
            terms.append(f"soaks for {format_duration(wave['soak'])}")
        yield from ("", f"{wave['foundation']}, wave {wave['name']}: {', '.join(terms)}; about {format_duration(wave['minutes'] * 60)}", "")
        if wave["clusters"]:
            yield from table(("CLUSTER", "ON", "IS", "STEP", "TAKES", "WHEN", "WHY"), [_row(one) for one in wave["clusters"]])
        else:
            yield "no cluster"
    if plan["left_out"]:
        yield from ("", "Left out", "", *table(("CLUSTER", "WHY"), [(one["name"], one["why"]) for one in plan["left_out"]]))
    clusters = [one for wave in plan["waves"] for one in wave["clusters"]]
    upgraded = sum(one["action"] == UPGRADE for one in clusters)
    held = sum(one["action"] not in (UPGRADE, NOTHING) for one in clusters)
    total = format_duration(plan["minutes"] * 60)
    yield ""
    yield f"Plan {plan['plan_id']}, good until {plan['expires']}:"
    yield f"of {len(clusters)} clusters {upgraded} would be upgraded, {held} can not be;"
    yield f"about {total} by the model of docs/fleet.md, without waiting for windows."
    yield ""


def _row(one: Mapping[str, Any]) -> tuple[str, ...]:
    step = " -> ".join(["upgrade", *one["hops"]]) if one["action"] == UPGRADE else one["action"]
    when = "now" if one["open"] else (f"from {one['changes']}" if one["changes"] else "never")
    takes = format_duration(one["minutes"] * 60) if one["action"] == UPGRADE else ""
    return one["name"], one["cloud"], one["present"], step, takes, when if one["action"] == UPGRADE else "", one["why"] or one["closed_why"]
