# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a fleet: what was seen of its clusters, what that means, and who has to do what (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .._bundle.catalogue import END_OF_LIFE, RELEASES
from .._errors import FlotillaError
from .._kubernetes.versions import Version
from .._machines.plan import desired_groups
from .._moments import stamp

SCHEMA = 1
CRITICAL, WARNING, NOTE = "critical", "warning", "note"
"""How urgent something is: it fails or is about to; somebody has to do something in the next weeks; it is good to know."""
HEALTHY, UNKNOWN = "healthy", "unknown"
STATES = (CRITICAL, UNKNOWN, WARNING, HEALTHY)
"""What a cluster can be, the worst first."""

CERTIFICATE_CRITICAL = 7  # days
END_OF_LIFE_SOON = 60  # days
AT_WORK = 600.0  # seconds without a sign after which a run that did not say that it ended counts as killed
_RANK = {CRITICAL: 0, WARNING: 1, NOTE: 2}
_API_SERVER = "kube-apiserver"


@dataclass(frozen=True)
class Item:
    """Something that somebody should know or do.

    :param object: what it is about: ``node/<name>``, ``certificate/<name>`` ...; empty for the cluster as a whole.
    :param remedy: what to do, one sentence; empty where there is nothing.
    """

    severity: str
    code: str
    object: str
    message: str
    remedy: str


@dataclass(frozen=True)
class Seen:
    """What is known of a cluster.

    :param look: what the module `cluster_info` returned; None if nobody answered.
    :param asked: the control plane that answered.
    :param problem: why nobody did.
    :param machines: of the cluster, as the inventory has them; only those that run.
    :param stale: since when the inventory is not up to date, and why; empty if it is.
    :param backup: ``place``, and ``age`` in seconds and ``id`` of the newest good one; None where no place for backups is defined.
    :param backup_findings: what is wrong with the backups, each with ``code``, ``message`` and ``remedy``.
    :param runs: the last runs that changed the cluster, the newest first: ``playbook``, ``began``, ``seconds``, ``result``, ``from`` and
        ``to`` (versions), ``why`` and ``remedy``.
    """

    look: Mapping[str, Any] | None = None
    asked: str = ""
    problem: str = ""
    machines: Sequence[Mapping[str, Any]] = ()
    stale: str = ""
    backup: Mapping[str, Any] | None = None
    backup_findings: Sequence[Mapping[str, Any]] = ()
    runs: Sequence[Mapping[str, Any]] = ()


def fleet_status(definitions: Iterable[Mapping[str, Any]], seen: Mapping[str, Seen], now: dt.datetime) -> dict[str, Any]:
    """Return the status of a fleet as plain data.

    :param definitions: of all clusters.
    :param seen: of each cluster, by its name, what is known.
    :param now: with a time zone.
    """
    clusters = [cluster_status(one, seen.get(one["name"], Seen(problem="nobody looked at it")), now) for one in definitions]
    clusters.sort(key=lambda one: (STATES.index(one["state"]), one["foundation"], one["name"]))
    counts = Counter(one["state"] for one in clusters)
    return {
        "schema": SCHEMA,
        "created": stamp(now.timestamp()),
        "counts": {state: counts[state] for state in STATES},
        "releases": releases((one["version"] for one in clusters), now.date()),
        "clusters": clusters,
    }


def cluster_status(definition: Mapping[str, Any], seen: Seen, now: dt.datetime) -> dict[str, Any]:
    """Return the status of one cluster."""
    look = seen.look or {}
    versions = look.get("versions") or {}
    version = str(versions.get("oldest", ""))
    items = sorted(items_of(definition, seen, now), key=lambda one: (_RANK[one.severity], one.code, one.object))
    urgent = {one.severity for one in items}
    state = UNKNOWN if seen.look is None else next((one for one in (CRITICAL, WARNING) if one in urgent), HEALTHY)
    ends = [one for one in look.get("certificates") or () if one["kind"] != "authority"]
    return {
        "name": definition["name"],
        "foundation": definition["foundation"],
        "cloud": definition["cloud"],
        "labels": dict(definition.get("labels") or {}),
        "state": state,
        "asked": seen.asked,
        "version": version,
        "wanted": definition["kubernetes_version"],
        "components": components(versions),
        "supported_until": _until(version),
        "nodes": [
            {key: one.get(key) for key in ("name", "roles", "ready", "schedulable", "version", "runtime")}
            for one in look.get("nodes") or ()
        ],
        "certificate": {key: ends[0][key] for key in ("node", "name", "ends", "days_left")} if ends else None,
        "backup": dict(seen.backup) if seen.backup is not None else None,
        "addons": dict(look.get("addons") or {}),
        "half_done": list(versions.get("interrupted") or ()),
        "items": [asdict(one) for one in items],
        "runs": [dict(one) for one in seen.runs],
    }


def components(versions: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the versions of each component that run in a cluster, the oldest first."""
    found: dict[str, set[str]] = {}
    for pods in (versions.get("control_planes") or {}).values():
        for component, version in pods.items():
            if version:
                found.setdefault(component, set()).add(version)
    kubelets = set((versions.get("kubelets") or {}).values())
    if kubelets:
        found["kubelet"] = kubelets
    return {component: sorted(found[component], key=_order) for component in sorted(found)}


def items_of(definition: Mapping[str, Any], seen: Seen, now: dt.datetime) -> Iterator[Item]:
    """Yield what somebody should know of a cluster or do about it."""
    name = str(definition["name"])
    if seen.stale:
        yield Item(WARNING, "INVENTORY_STALE", "", f"What the inventory says of {name} is {seen.stale}", "Look after the cloud's API.")
    if seen.look is None:
        remedy = (
            "Bring a control plane up ('journalctl -u kubelet' there says what is wrong); cluster_apply starts machines that are stopped."
        )
        yield Item(CRITICAL, "CLUSTER_SILENT", "", f"{name} could not be asked: {seen.problem}", remedy)
    else:
        yield from _health(seen.look)
        yield from _certificates(seen.look)
        yield from _support(str(seen.look["versions"]["oldest"]), now.date())
        yield from _half_done(seen.look)
        yield from _drift(definition, seen.look, seen.machines)
    for one in seen.backup_findings:
        yield Item(WARNING, str(one["code"]), "backup", str(one["message"]), str(one.get("remedy", "")))
    yield from _last_run(seen.runs)


def _health(look: Mapping[str, Any]) -> Iterator[Item]:
    for one in look["findings"]:
        yield Item(CRITICAL, one["code"], one["object"], one["message"], one["remedy"])


def _certificates(look: Mapping[str, Any]) -> Iterator[Item]:
    due = [one for one in look["certificates"] if one["due"]]
    for node in sorted({one["node"] for one in due}):
        first, *others = [one for one in due if one["node"] == node]
        more = f", and {len(others)} more" if others else ""
        severity = CRITICAL if first["days_left"] < CERTIFICATE_CRITICAL else WARNING
        where = f" of {node}" if node else ""
        message = f"The certificate {first['name']}{where} {first['reason']}{more}."
        yield Item(severity, "CERTIFICATE_DUE", f"certificate/{first['name']}", message, "cluster_rotate_certificates renews what is due.")


def _support(version: str, today: dt.date) -> Iterator[Item]:
    until = _until(version)
    if until is None:
        newest = Version.parse(RELEASES[0].kubernetes)
        if Version.parse(version) < newest:
            message = f"Kubernetes {version} is not among the minors that this release knows: upstream patches it no more."
            yield Item(WARNING, "VERSION_UNSUPPORTED", "", message, f"Upgrade; the newest known is {newest}.")
        return
    left = (dt.date.fromisoformat(until) - today).days
    remedy = "Set kubernetes_version to a newer minor and run cluster_upgrade, or fleet_plan and fleet_upgrade."
    minor = Version.parse(version).minor
    if left < 0:
        yield Item(WARNING, "VERSION_UNSUPPORTED", "", f"Upstream patches Kubernetes {minor} no more since {until}.", remedy)
    elif left < END_OF_LIFE_SOON:
        yield Item(WARNING, "VERSION_ENDS", "", f"Upstream patches Kubernetes {minor} until {until}, {left} days from now.", remedy)


def _half_done(look: Mapping[str, Any]) -> Iterator[Item]:
    sign, halfway = look.get("sign") or {}, list(look["versions"].get("interrupted") or ())
    if sign.get("run") and not sign["ended"] and sign["age"] < AT_WORK:
        yield Item(NOTE, "RUN_AT_WORK", "", f"The run {sign['run']} is at work.", "")
    elif halfway:
        message = f"An upgrade stopped halfway at {', '.join(halfway)}."
        yield Item(
            WARNING, "UPGRADE_HALF_DONE", f"node/{halfway[0]}", message, "Run cluster_upgrade again: it goes on with what is left to do."
        )


def _drift(definition: Mapping[str, Any], look: Mapping[str, Any], machines: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    """Yield what differs from the definition, as far as it is seen without a plan: versions, and the machines of each pool."""
    wanted, versions = str(definition["kubernetes_version"]), look["versions"]
    parts = components(versions)
    others = sorted({one for part in (_API_SERVER, "kubelet") for one in parts.get(part, ()) if one != wanted}, key=_order)
    if others:
        message = f"The definition wants Kubernetes {wanted}, and parts run {', '.join(others)}."
        if _order(str(versions["oldest"])) > _order(wanted):
            yield Item(WARNING, "DRIFT_VERSION", "", message, "Set kubernetes_version to what it runs, or a newer one.")
        else:
            yield Item(NOTE, "DRIFT_VERSION", "", message, "cluster_upgrade brings them there.")
    if definition["cloud"] == "existing":
        return
    for group in desired_groups(dict(definition)):
        there = [one for one in machines if one["pool"] == group.pool]
        if len(there) != group.count:
            message = f"Of the pool {group.pool} {len(there)} machines run, and the definition wants {group.count}."
            yield Item(WARNING, "DRIFT_MACHINES", f"pool/{group.pool}", message, "cluster_plan shows what cluster_apply would do.")
        outdated = [one for one in there if one["spec_hash"] and one["spec_hash"] != group.spec_hash]
        if outdated:
            message = (
                f"{len(outdated)} of {len(there)} machines of the pool {group.pool} are of another image or size than the definition's."
            )
            yield Item(NOTE, "DRIFT_SPECIFICATION", f"pool/{group.pool}", message, "cluster_plan shows which, and what replaces them.")


def _last_run(runs: Sequence[Mapping[str, Any]]) -> Iterator[Item]:
    if runs and runs[0]["result"] != "done":
        last = runs[0]
        ended = "failed" if last["result"] == "failed" else "was interrupted"
        why = f": {last['why']}" if last["why"] else "."
        yield Item(WARNING, "LAST_RUN_NOT_DONE", "", f"The {last['playbook']} of {last['began'][:10]} {ended}{why}", last["remedy"])


def releases(versions: Iterable[str], today: dt.date) -> list[dict[str, Any]]:
    """Return the minors that upstream supports or clusters run, the newest first.

    :param versions: of each cluster; empty where it is not known.
    """
    running = Counter(Version.parse(one).minor for one in versions if one)
    newest = {one.minor: one.kubernetes for one in reversed(RELEASES)}
    minors = sorted({*END_OF_LIFE, *running}, key=lambda one: _order(f"{one}.0"), reverse=True)
    return [
        {
            "minor": minor,
            "newest": newest.get(minor, ""),
            "ends": END_OF_LIFE[minor].isoformat() if minor in END_OF_LIFE else "",
            "days_left": (END_OF_LIFE[minor] - today).days if minor in END_OF_LIFE else None,
            "clusters": running[minor],
        }
        for minor in minors
    ]


def _until(version: str) -> str | None:
    """Return the last day on which upstream patches a version, or None where the catalogue does not know."""
    ends = END_OF_LIFE.get(Version.parse(version).minor) if version else None
    return ends.isoformat() if ends else None


def _order(version: str) -> tuple[Any, ...]:
    """Return what versions of anything are sorted by; one that can not be read comes first."""
    try:
        parsed = Version.parse(version)
    except FlotillaError:
        return (0, version)
    return (1, parsed)
