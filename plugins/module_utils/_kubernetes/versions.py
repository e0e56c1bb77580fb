# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of Kubernetes, which of them may run together, and the way from one to another (private to flotilla.kubernetes).

Pure. Python 3.9, standard library only. Source of every limit: https://kubernetes.io/releases/version-skew-policy/.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .._errors import FlotillaError

# How many minors a component may be older than the API servers that it talks to; none of them may be newer.
API_SERVERS_APART = 1
MANAGERS_BEHIND = 1
KUBELET_BEHIND = 3
KUBE_PROXY_BEHIND = 3
# kube-proxy and the kubelet beside it, in either direction.
KUBE_PROXY_FROM_KUBELET = 3

_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(?:[-+].*)?")


@dataclass(frozen=True, order=True)
class Version:
    """A version of which only the numbers count: ``1.36.3``, ``v1.36.3`` and ``v1.36.3+vendor.1`` are the same."""

    major: int
    minor_number: int
    patch: int

    @classmethod
    def parse(cls, text: str) -> Version:
        """:raises FlotillaError: ``VERSION_UNREADABLE``."""
        found = _VERSION.fullmatch(text.strip())
        if not found:
            raise FlotillaError("VERSION_UNREADABLE", f"{text!r} is no version such as 1.36.3.", "Write three numbers with dots.")
        return cls(*(int(number) for number in found.groups()))

    @property
    def minor(self) -> str:
        """Return major and minor, e.g. ``1.36``."""
        return f"{self.major}.{self.minor_number}"

    def minors_after(self, other: Version) -> int:
        """Return by how many minors this version is newer than ``other``; below zero it is older."""
        return self.minor_number - other.minor_number if self.major == other.major else (1000 if self > other else -1000)

    def __str__(self) -> str:
        return f"{self.minor}.{self.patch}"


def of_image(image: str) -> str:
    """Return the version in the tag of an image such as ``registry.k8s.io/kube-proxy:v1.36.3``, or nothing."""
    tag = image.partition("@")[0].rpartition("/")[2].partition(":")[2]
    found = re.fullmatch(r"v?(\d+\.\d+\.\d+)(?:[-+._].*)?", tag)
    return found.group(1) if found else ""


@dataclass(frozen=True)
class Hop:
    """One upgrade of a row.

    :param version: of the control plane after it; its own kubelets and kube-proxy included.
    :param workers: whether the workers come to the same version, too, before the next hop.
    """

    version: str
    workers: bool

    def as_dict(self) -> dict[str, object]:
        return {"version": self.version, "workers": self.workers}


def hops(live: str, target: str, available: Iterable[str], workers: Sequence[str] = ()) -> list[Hop]:
    """Return the upgrades that lead from one version to another, one minor of the control plane at a time.

    Workers skip every minor that the skew policy lets them skip and come along at the end; each patch taken on the way is the newest.

    :param live: version of the oldest API server.
    :param target: version that the whole cluster is to have.
    :param available: versions that can be installed; ``target`` need not be among them.
    :param workers: versions of the kubelets of workers.
    :return: nothing when everything has the target already.
    :raises FlotillaError: ``UPGRADE_DOWNGRADE``, or ``UPGRADE_NO_PATH`` with the minors that are missing.
    """
    at, goal = Version.parse(live), Version.parse(target)
    if goal < at:
        raise FlotillaError(
            "UPGRADE_DOWNGRADE",
            f"The cluster runs Kubernetes {at}, which is newer than {goal}.",
            "Set kubernetes_version to the cluster's or a newer one; cluster_rollback goes back to a backup.",
        )
    newest: dict[int, Version] = {}
    for version in sorted(map(Version.parse, available)):
        if version.major == at.major:
            newest[version.minor_number] = version
    missing = [f"{at.major}.{number}" for number in range(at.minor_number + 1, goal.minor_number) if number not in newest]
    if goal.major != at.major or missing:
        absent = ", ".join(missing) or "them"
        raise FlotillaError(
            "UPGRADE_NO_PATH",
            f"The way from Kubernetes {at} to {goal} passes every minor, and no version of {absent} is there to install.",
            "Upgrade with a release of flotilla.kubernetes that has these minors, or make a bundle of one version of each.",
            details={"missing": missing},
        )
    oldest = min(map(Version.parse, workers), default=at)
    if at == goal and oldest == goal:
        return []
    steps = [newest[number] for number in range(at.minor_number + 1, goal.minor_number)] + [goal]
    path: list[Hop] = []
    if steps[0].minor != at.minor and steps[0].minors_after(oldest) > KUBELET_BEHIND:
        # Kubelets that old would not work with the next API server: they catch up with the one that they have.
        caught_up = max(at, newest.get(at.minor_number, at))
        path.append(Hop(str(caught_up), True))
        oldest = caught_up
    for index, step in enumerate(steps):
        last = index == len(steps) - 1
        along = last or steps[index + 1].minors_after(oldest) > KUBELET_BEHIND
        path.append(Hop(str(step), along))
        if along:
            oldest = step
    return path
