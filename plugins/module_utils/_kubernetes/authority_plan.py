# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How far the rotation of certificate authorities is, and what is left to do (private to flotilla.kubernetes).

A pure function of what the nodes and the cluster show at one moment: nothing is remembered, so a run that was killed goes on where the
files are. Each step only adds the new authority, or only takes the old one away, so none of them undoes another.
The order is that of https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/, with one difference: API servers show their
new authority signed by the old one, so who trusts only the old one reaches them until it is dropped.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._errors import Finding
from .authorities import KUBELET_CERTIFICATES, KUBERNETES
from .certificates import AUTHORITY, AUTHORITY_FILES, LEAVES, Certificate, Condition

MAKE, TRUST, REISSUE, WORKLOADS, DROP, TIDY = PHASES = ("make", "trust", "reissue", "workloads", "drop", "tidy")
TITLES = {
    MAKE: "make the new authority",
    TRUST: "trust both",
    REISSUE: "have everything signed by the new one",
    WORKLOADS: "have pods read the new one",
    DROP: "drop the old one",
    TIDY: "tidy up",
}


@dataclass(frozen=True)
class Seen:
    """What was found.

    :param nodes: name of each node -> what `authorities.look` returned there, with ``restarts`` as `certificate_renewal.Look` has it.
    :param control_planes: names of those that are control planes.
    :param cluster: what `authority_cluster.look` returned; empty while nobody has asked the cluster.
    """

    nodes: Mapping[str, Mapping[str, Any]]
    control_planes: Collection[str]
    cluster: Mapping[str, Any] = field(default_factory=dict)

    def known(self) -> dict[str, Mapping[str, Any]]:
        """Return every authority that a control plane has: id -> what is known of it."""
        return {key: one for node in self.control_planes for key, one in self.nodes[node]["certificates"].items()}

    def ids(self, name: str) -> set[str]:
        """Return the authorities of one name that somebody trusts, or is about to."""
        found = {key for key, one in self.known().items() if one["name"] == name}
        return found | set(self.cluster.get("cluster_info") or ()) if name == KUBERNETES else found

    def keys(self, name: str) -> set[str]:
        """Return the authorities of one name whose keys are on a control plane."""
        held = (self.nodes[node]["authorities"].get(name, {}) for node in self.control_planes)
        return {one.get(place, "") for one in held for place in ("signs", "next")} - {""}


def successors(seen: Seen) -> dict[str, str]:
    """Return the authority of each name that stays: the newest of those whose key is there.

    One whose key is lost is taken back, like one that was to be followed.
    """
    known = seen.known()
    chosen = {}
    for name in AUTHORITY_FILES:
        able = sorted(seen.ids(name) & seen.keys(name) & set(known), key=lambda one: (known[one]["begins"], one))
        if able:
            chosen[name] = able[-1]
    return chosen


def due(seen: Seen, condition: Condition, names: Collection[str], now: float) -> dict[str, str]:
    """Return the authorities among ``names`` that are to be followed by new ones -> why. One that is being followed is not."""
    known, found = seen.known(), {}
    for name in names:
        ids = seen.ids(name)
        if len(ids) != 1 or not ids <= set(known):
            continue
        only = known[next(iter(ids))]
        reason = condition.reason(Certificate(Path(name), AUTHORITY, "", "", only["begins"], only["ends"]), now)
        if reason:
            found[name] = reason
    return found


def plan(seen: Seen, reasons: Mapping[str, str], ignored: Collection[str] = ()) -> dict[str, Any]:
    """Return what is left to do.

    :param reasons: what `due` returned.
    :param ignored: workloads (``namespace/Kind/name``) that may go without the API afterwards.
    :return: ``phase`` (the first of `PHASES` that has anything to do, or nothing), ``begun`` whether a rotation is under way, ``stays``
        (name -> id), ``successors`` (likewise, of those that are rotated), ``make`` (names), ``nodes`` and ``cluster`` (by phase, what
        and why), ``workloads``, ``findings``.
    """
    chosen = successors(seen)
    rotating = {name for name in AUTHORITY_FILES if name in chosen and seen.ids(name) - {chosen[name]}}
    open_files = any(seen.nodes[node]["rotating"] for node in seen.control_planes)
    nodes: dict[str, dict[str, list[str]]] = {phase: {} for phase in PHASES}
    for node, look in sorted(seen.nodes.items()):
        control_plane = node in seen.control_planes
        for phase, reason in _of_node(look, chosen, rotating, control_plane):
            nodes[phase].setdefault(node, []).append(reason)
    cluster: dict[str, list[str]] = {phase: [] for phase in PHASES}
    for phase, reason in _of_cluster(seen, chosen, rotating, open_files):
        cluster[phase].append(reason)
    workloads = [] if dropping(seen, chosen) or KUBERNETES not in rotating else list(seen.cluster.get("workloads", []))
    left = [one for one in workloads if one["workload"] not in ignored]
    cluster[WORKLOADS] = [f"{one['workload']}: {one['pods']} pods read only the old one" for one in left]
    begun = bool(rotating or open_files)
    # Once others are past the beginning, one that is due waits for the next rotation.
    fresh = reasons if not begun or nodes[TRUST] or cluster[TRUST] else {}
    cluster[MAKE] = [f"{name}: {reason}" for name, reason in sorted(fresh.items())]
    webhooks = seen.cluster.get("webhooks", []) if KUBERNETES in rotating else []
    phase = next((one for one in PHASES if nodes[one] or cluster[one]), "")
    return {
        "phase": phase,
        "begun": begun,
        "stays": chosen,
        "successors": {name: chosen[name] for name in AUTHORITY_FILES if name in rotating},
        "make": sorted(fresh),
        "nodes": nodes,
        "cluster": cluster,
        "workloads": left,
        "findings": [one.as_dict() for one in _findings(left, webhooks)],
    }


def dropping(seen: Seen, chosen: Mapping[str, str]) -> bool:
    """Tell whether the old authority of Kubernetes is being dropped already: then pods are as ready for it as they ever will be."""
    return any(look["authorities"].get(KUBERNETES, {}).get("trusted") == [chosen.get(KUBERNETES)] for look in seen.nodes.values())


def _of_node(
    look: Mapping[str, Any], chosen: Mapping[str, str], rotating: Collection[str], control_plane: bool
) -> Iterator[tuple[str, str]]:
    for what, why in sorted(look.get("restarts", {}).items()):
        # Whatever comes next, it is not safe while somebody does not know yet what was done.
        yield TRUST, f"{what} {why}"
    for name in AUTHORITY_FILES:
        if name in rotating and name in look["authorities"] and (control_plane or name == KUBERNETES):
            yield from _of_authority(name, look, chosen[name], control_plane)
    if KUBERNETES in rotating:
        yield from _of_clients(look, chosen[KUBERNETES])
    if control_plane and look["rotating"]:
        yield TIDY, "files of the rotation are there"


def _of_authority(name: str, look: Mapping[str, Any], new: str, control_plane: bool) -> Iterator[tuple[str, str]]:
    has = look["authorities"][name]
    trusted, signs = has["trusted"], has["signs"]
    if new not in trusted:
        yield TRUST, f"does not trust the new authority {name}"
    elif trusted != [new]:
        yield DROP, f"trusts the old authority {name}"
    if not control_plane:
        return
    if new not in (signs, has["next"]):
        yield TRUST, f"has not the key of the new authority {name}"
    if signs in trusted and trusted[0] != signs:
        yield TRUST, f"has the authority {name} that signs not in the first place"
    if signs != new:
        yield REISSUE, f"signs with the old authority {name}"
    old = [leaf for leaf, (_file, authority) in LEAVES.items() if authority == AUTHORITY_FILES[name] and _foreign(look, leaf, new)]
    if old:
        yield REISSUE, f"not signed by the new authority {name}: {', '.join(old)}"
    if name != KUBERNETES:
        return
    if len(trusted) > 1 and not look["separate"]:
        yield TRUST, "its controller-manager can not sign while both are trusted"
    if len(trusted) > 1 and signs == new and new not in look["chained"]:
        yield REISSUE, "its API server does not show who signed the new authority"
    if look["separate"]:
        yield DROP, "its controller-manager signs with a file of its own"
    if new in look["chained"]:
        yield DROP, "its API server shows the old authority"


def _of_clients(look: Mapping[str, Any], new: str) -> Iterator[tuple[str, str]]:
    beside = look["authorities"].get(KUBERNETES, {}).get("trusted", [])
    for file, trusted in sorted(look["kubeconfigs"].items()):
        # kubeadm gives those that it writes the authority that signs only, when a control plane joins as well as when it renews them.
        if new not in trusted or (len(beside) > 1 and set(trusted) != set(beside)):
            yield TRUST, f"{file} does not trust the old and the new authority"
        elif trusted != [new]:
            yield DROP, f"{file} trusts the old authority"
    old = [one for one in KUBELET_CERTIFICATES if _foreign(look, one, new)]
    if old:
        yield REISSUE, f"not signed by the new authority: {', '.join(old)}"


def _foreign(look: Mapping[str, Any], leaf: str, new: str) -> bool:
    return leaf in look["signed_by"] and look["signed_by"][leaf] != new


def _of_cluster(seen: Seen, chosen: Mapping[str, str], rotating: Collection[str], open_files: bool) -> Iterator[tuple[str, str]]:
    found = seen.cluster
    if not found:
        return
    if KUBERNETES in rotating:
        new = chosen[KUBERNETES]
        named = found["cluster_info"]
        if named is not None and new not in named:
            yield TRUST, "cluster-info, by which nodes join, does not name the new authority"
        elif named is not None and named != [new]:
            yield DROP, "cluster-info, by which nodes join, names the old authority"
        both = any(len(seen.nodes[node]["authorities"].get(KUBERNETES, {}).get("trusted", [])) > 1 for node in seen.control_planes)
        if both and not found["separate"]:
            yield TRUST, "control planes that join would not know which authority signs"
        if both and found["unpublished"] and not dropping(seen, chosen):
            yield TRUST, f"pods of {len(found['unpublished'])} namespaces are not given the new authority"
    if found["separate"] and (rotating or open_files):
        yield DROP, "control planes that join would sign with a file of their own"
    if rotating or open_files:
        for name, ids in sorted(found["delegated"].items()):
            if name in chosen and set(ids) - {chosen[name]}:
                yield DROP, f"extension-apiserver-authentication names the old authority {name}"


def _findings(workloads: Collection[Mapping[str, Any]], webhooks: Collection[str]) -> Iterator[Finding]:
    for one in workloads:
        remedy = (
            f"Restart it yourself, or let the run do so: -e flotilla_restart_workloads={one['workload']} (or true for all)."
            if one["restartable"]
            else f"End or replace it, or let it go without the API: -e flotilla_ignore_workloads={one['workload']}."
        )
        message = f"{one['pods']} pods of {one['workload']} run since before they were given the new authority, and read only the old one."
        yield Finding("CA_ROTATION_WORKLOADS", one["workload"], message, remedy)
    for webhook in webhooks:
        message = f"{webhook} trusts the old authority of the cluster and not the new one."
        remedy = "Have its certificate signed anew, and its caBundle name the new authority, as whoever installed it does it."
        yield Finding("CA_ROTATION_WEBHOOK", webhook, message, remedy)
