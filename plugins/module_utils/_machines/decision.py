# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one run may do of a plan: the brake on removals, and who removes (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ansible.module_utils.parsing.convert_bool import boolean

from .._errors import FlotillaError
from . import plan as planning
from .model import DELETE, INCOMPLETE, KEEP, Machine, MachineGroup, Step

REFUSE = "refuse"
DEFER = "defer"
NOW = "now"
BRAKE_PERCENT = 10
"""How much of a pool a run may take away without consent."""

ARGUMENTS: dict[str, dict[str, Any]] = {
    "removal": {"type": "str", "choices": [REFUSE, DEFER, NOW], "default": REFUSE},
    "plan_id": {"type": "str", "default": ""},
    "consent": {"type": "list", "elements": "str", "default": []},
    "replace": {"type": "list", "elements": "str", "default": []},
    "etcd": {"type": "dict"},
    "pools": {"type": "list", "elements": "str", "default": []},
}
"""The part of a ``*_machines`` module's argument specification that `Wish` is made from."""


@dataclass(frozen=True)
class Wish:
    """What a caller wants besides the definition.

    :param removal: `REFUSE` fails where the plan takes away a machine that serves and nobody consented; `DEFER` leaves these to the
        caller, who drains them first; `NOW` takes them away without asking anybody.
    :param plan_id: consent to the plan of this id, see `plan.plan_id`.
    :param consent: ids of machines that may go; what `Decision.consented` of an earlier call of the same run says.
    :param replace: ids of machines to replace, which is consent, too.
    :param etcd: names of the control planes that are members of etcd, each with whether it serves; None while nobody knows.
    :param pools: names of the pools that the plan is about; all other machines stay as they are. Empty for all pools.
    """

    removal: str = REFUSE
    plan_id: str = ""
    consent: tuple[str, ...] = ()
    replace: tuple[str, ...] = ()
    etcd: Mapping[str, bool] | None = None
    pools: tuple[str, ...] = ()

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> Wish:
        """Return the wish in a module's parameters, see `ARGUMENTS`."""
        etcd = params["etcd"] and {str(name): boolean(serves) for name, serves in params["etcd"].items()}
        return cls(params["removal"], params["plan_id"], tuple(params["consent"]), tuple(params["replace"]), etcd, tuple(params["pools"]))


NO_REMOVAL = Wish()
"""Nothing but what the definition says, and nobody that serves goes."""


@dataclass(frozen=True)
class Decision:
    """A plan, and what of it is done now.

    :param plan: all steps.
    :param steps: those that the cloud's folder does; the removals that it leaves to the caller are `Step`s that keep.
    :param leaving: the machines that the caller is to take away next, in this order.
    :param consented: ids of all machines that this plan and those after it take away.
    """

    plan: list[Step]
    steps: list[Step]
    plan_id: str
    leaving: list[Machine] = field(default_factory=list)
    consented: list[str] = field(default_factory=list)

    @property
    def changes(self) -> bool:
        """Whether doing the steps changes anything."""
        return any(step.action != KEEP for step in self.steps)

    def as_result(self) -> dict[str, Any]:
        """Return what modules return of it."""
        return {
            "steps": [step.as_dict() for step in self.plan],
            "plan_id": self.plan_id,
            "leaving": [machine.as_dict() for machine in self.leaving],
            "consented": self.consented,
        }


def decide(groups: Sequence[MachineGroup], observed: Sequence[Machine], wish: Wish, *, roll_out: bool = False) -> Decision:
    """Return the plan and what of it is done now.

    :raises FlotillaError: ``MACHINES_BRAKE`` or ``MACHINES_PLAN_OUTDATED``, see `plan.check_brake`; ``MACHINE_DEAD`` where the caller goes
        on to work on the machines and one of them can not be worked on.
    """
    if wish.pools:
        groups = [group for group in groups if group.pool in wish.pools]
        observed = [machine for machine in observed if machine.pool in wish.pools]
    etcd = None
    if wish.etcd is not None:
        etcd = {machine.id: wish.etcd[machine.name] for machine in observed if machine.name in wish.etcd}
    steps = planning.plan(groups, observed, roll_out=roll_out, replace=wish.replace, etcd=etcd)
    if wish.removal != NOW or wish.plan_id:
        consent: str | tuple[str, ...] = wish.plan_id or (*wish.consent, *wish.replace)
        planning.check_brake(steps, observed, percent=BRAKE_PERCENT if wish.removal == DEFER else 0, consent=consent)
    leaving: list[Machine] = []
    doing = steps
    if wish.removal == DEFER:
        if not wish.replace:
            _refuse_dead(steps)
        leaving = [step.machine for step in steps if _takes_away(step) and step.machine]
        doing = [replace(step, action=KEEP, later=DELETE) if _takes_away(step) else step for step in steps]
    consented = [machine.id for machine in planning.removals(steps)]
    return Decision(steps, doing, planning.plan_id(steps), leaving, consented)


def _refuse_dead(steps: Sequence[Step]) -> None:
    dead = [step.machine for step in steps if step.action == KEEP and step.machine and planning.is_dead(step.machine)]
    if dead:
        raise FlotillaError(
            "MACHINE_DEAD",
            f"Of cluster '{dead[0].cluster}' can not be worked on: {', '.join(f'{machine.name} ({machine.state})' for machine in dead)}.",
            f"Bring it back, or replace it: playbook machine_replace with -e flotilla_machine_name={dead[0].name}.",
            details={"machines": [machine.name for machine in dead]},
        )


def _takes_away(step: Step) -> bool:
    return step.action == DELETE and step.machine is not None and step.machine.state != INCOMPLETE
