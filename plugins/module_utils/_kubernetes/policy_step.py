# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Brings the policies of a cluster to what is wanted, through one API server (private to flotilla.kubernetes).

`policies` decides what differs. Python 3.9, standard library only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from .._errors import FlotillaError
from .client import ApiError, Client
from .policies import (
    DELETE,
    KINDS,
    LABEL,
    MANAGER,
    POD_SECURITY,
    RELEASE,
    REPLACE,
    Change,
    Key,
    Refusal,
    changes,
    foreign,
    key_of,
    list_path,
    refusal,
)


@dataclass(frozen=True)
class Look:
    """What a look at the cluster found: what differs, and what a stricter level would refuse."""

    changes: list[Change]
    refusals: list[Refusal]


def look(client: Client, wanted: Mapping[Key, dict[str, Any]], adopt: Collection[str] = ()) -> Look:
    """Read what there is and have the API server try every change. Nothing is written.

    :param adopt: objects of others, as `Key` is shown, that become ours.
    :raises FlotillaError: ``POLICIES_FOREIGN``, ``POLICIES_ROLE_MISSING``, ``POLICIES_NAMESPACE_ENDS``, or the server refuses a change.
    :raises OSError: the server was not reached.
    """
    live = _read(client, wanted)
    others = [str(key) for key in foreign(wanted, live) if str(key) not in adopt]
    if others:
        raise FlotillaError(
            "POLICIES_FOREIGN",
            f"Somebody else made {', '.join(others)}, which the policies would change.",
            "Take another name in the policies, or name what is to be taken over in policies_adopt (-e flotilla_policies_adopt=<object>).",
            details={"foreign": others},
        )
    found = changes(wanted, live)
    _refuse_ending(found, live)
    _refuse_missing(client, found, wanted)
    refusals = []
    for change in found:
        # In a namespace that does not exist yet, the server can try nothing.
        if change.action in (DELETE, RELEASE, REPLACE) or not _namespace_is_there(change.key, wanted, live):
            continue
        seen = refusal(change.key.name, _tell(change, lambda change=change: _apply(client, change, dry_run=True)))
        if change.key.kind == "Namespace" and change.live and seen and _sets_level(change):
            refusals.append(seen)
    return Look(found, refusals)


def refuse_without_consent(seen: Look, consent: Collection[str]) -> None:
    """Stop before the first change where pods would be refused in a namespace that nobody agreed to.

    :raises FlotillaError: ``POLICIES_PODS_REFUSED``.
    """
    against = [one for one in seen.refusals if one.namespace not in consent]
    if not against:
        return
    lines = []
    for one in against:
        lines.append(f"namespace {one.namespace}, level {one.level or 'unknown'}:")
        lines += [f"  {workload}" for workload in one.workloads]
        if not one.complete:
            lines.append("  and perhaps more: the API server did not look at all pods")
    names = ",".join(one.namespace for one in against)
    raise FlotillaError(
        "POLICIES_PODS_REFUSED",
        "Pods that run would be refused by a stricter pod security level, so nothing was changed:\n" + "\n".join(lines) + "\n",
        f"Mend them, or say that they may be refused when they are made again: policies_consent, or -e flotilla_policies_consent={names}.",
        details={"refused": [one.as_dict() for one in seen.refusals]},
    )


def apply(client: Client, seen: Look) -> None:
    """Make the changes, in their order; a run that was killed is simply repeated.

    :raises FlotillaError: the server refuses one, or an object has changed since the look.
    """
    for change in seen.changes:
        _tell(change, lambda change=change: _make(client, change))


def _make(client: Client, change: Change) -> None:
    if change.action == RELEASE:
        metadata = {"labels": {LABEL: None}, "resourceVersion": change.live["metadata"]["resourceVersion"]}
        client.merge(change.key.path, {"metadata": metadata})
        return
    if change.action in (DELETE, REPLACE):
        client.delete(change.key.path, change.live)
    if change.action != DELETE:
        _apply(client, change)


def _apply(client: Client, change: Change, dry_run: bool = False) -> list[str]:
    return client.apply(change.key.path, change.wanted, MANAGER, dry_run)


def _tell(change: Change, act: Any) -> Any:
    try:
        return act()
    except ApiError as error:
        if error.status == 409:
            raise FlotillaError(  # pylint: disable=bad-exception-cause
                "POLICIES_CHANGED_MEANWHILE", f"{change.key} was changed by somebody else in this moment.", "Run again.", error
            ) from error
        raise FlotillaError(  # pylint: disable=bad-exception-cause
            "POLICIES_REFUSED",
            f"The API server refuses to {change.action} {change.key}: {'; '.join(error.reasons)}",
            "Mend this object in the policies, or what refuses it (an admission webhook has its name in the message), and run again.",
            error,
        ) from error


def _read(client: Client, wanted: Mapping[Key, dict[str, Any]]) -> dict[Key, dict[str, Any]]:
    """Return all objects with our label, and those that are wanted and exist without it: five reads in pages, and one for each new name."""
    live = {key_of(kind, found): {**found, "kind": kind} for kind in KINDS for found in client.items(list_path(kind))}
    absent: set[str] = set()
    for key in wanted:
        if key in live or key.namespace in absent:
            continue
        found = client.find(key.path)
        if found is not None:
            live[key] = found
        elif key.kind == "Namespace":
            absent.add(key.name)
    return live


def _namespace_is_there(key: Key, wanted: Mapping[Key, Any], live: Mapping[Key, Any]) -> bool:
    home = Key("Namespace", "", key.namespace)
    return not key.namespace or home in live or home not in wanted


def _refuse_ending(found: list[Change], live: Mapping[Key, dict[str, Any]]) -> None:
    ends = {key.name for key, one in live.items() if key.kind == "Namespace" and one["metadata"].get("deletionTimestamp")}
    hit = sorted({change.key.namespace or change.key.name for change in found if change.action not in (DELETE, RELEASE)} & ends)
    if hit:
        raise FlotillaError(
            "POLICIES_NAMESPACE_ENDS",
            f"Somebody deletes {'the namespace' if len(hit) == 1 else 'the namespaces'} {', '.join(hit)}, so nothing can be made in it.",
            "Wait until it is gone ('kubectl get namespace' shows what holds it), or take it out of the policies; then run again.",
        )


def _refuse_missing(client: Client, found: list[Change], wanted: Mapping[Key, Any]) -> None:
    """A binding to a role that is not there grants nothing, without a word: it is a slip of the pen."""
    missing = {}
    for change in found:
        reference = change.after.get("roleRef")
        if not reference or change.action == DELETE:
            continue
        role = Key(reference["kind"], change.key.namespace if reference["kind"] == "Role" else "", reference["name"])
        if role not in wanted and role not in missing and client.find(role.path) is None:
            missing[role] = change.key
    if missing:
        pairs = ", ".join(f"{key} of {by}" for key, by in missing.items())
        raise FlotillaError(
            "POLICIES_ROLE_MISSING",
            f"The cluster has no {pairs}.",
            "Write the role's name as the cluster has it ('kubectl get clusterroles'), or add the role to the policies.",
        )


def _sets_level(change: Change) -> bool:
    return bool({f"labels.{POD_SECURITY}/enforce", f"labels.{POD_SECURITY}/enforce-version"} & {*change.before, *change.after})
