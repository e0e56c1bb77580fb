# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The Kubernetes versions that this release installs, and what goes with each (private to flotilla.kubernetes).

Adding a version is one entry in `RELEASES`, plus `tools/new-module` for each component version that is new.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from .._errors import FlotillaError
from .._kubernetes.network_plugins import table


@dataclass(frozen=True)
class Release:
    """One Kubernetes version.

    :param kubernetes: exact version without ``v``.
    :param go: the oldest Go that compiles everything in it (Kubernetes' own ``.go-version`` or newer).
    :param components: component -> version, of a bundle with the default network plugin; etcd and CoreDNS are checked against what this
        version's kubeadm asks for.
    """

    kubernetes: str
    go: str
    components: dict[str, str]

    @property
    def minor(self) -> str:
        """Return major and minor, e.g. ``1.36``."""
        return self.kubernetes.rpartition(".")[0]


# What runs on nodes beside Kubernetes is the same for every minor that it supports.
# kube-vip: the newest release that Go's checksum database knows (it answers 404 for 0.9.2 and 1.0.0).
_NODE = {
    "containerd": "2.2.9",
    "runc": "1.3.6",
    "cni-plugins": "1.9.1",
    "cni-flannel": "0.9.1",
    "flannel": "0.28.10",
    "kube-vip": "0.9.1",
}
# What takes flannel's place in the bundle of a cluster with another network plugin, the same for every minor.
NETWORK_PLUGINS = {
    "antrea": "2.6.3",
    "kube-router": "2.10.0",
}
# What a bundle has because a definition asks for it, the same for every minor: https://github.com/kubernetes-sigs/metrics-server#compatibility-matrix
# metallb: the newest all of whose modules Go's proxy has. prometheus: the newest that the releases' Go compiles.
ADDONS = {
    "metrics-server": "0.9.0",
    "local-path": "0.0.30",
    "metallb": "0.15.2",
    "node-exporter": "1.12.1",
    "prometheus": "3.15.1",
}

# Newest first. crictl 1.35 has no Go module release; 1.36 speaks the same CRI v1.
RELEASES: tuple[Release, ...] = (
    Release("1.36.3", go="1.26.5", components={**_NODE, "etcd": "3.6.8", "coredns": "1.14.2", "crictl": "1.36.0"}),
    Release("1.35.4", go="1.26.5", components={**_NODE, "etcd": "3.6.6", "coredns": "1.13.1", "crictl": "1.36.0"}),
    Release("1.34.4", go="1.26.5", components={**_NODE, "etcd": "3.6.5", "coredns": "1.12.1", "crictl": "1.36.0"}),
)

# The last day on which the Kubernetes project patches a minor, newest first. Those that came before the first release of this collection
# were over by then. Source: https://kubernetes.io/releases/patch-releases/#support-period
END_OF_LIFE: dict[str, dt.date] = {
    "1.36": dt.date(2027, 6, 28),
    "1.35": dt.date(2027, 2, 28),
    "1.34": dt.date(2026, 10, 27),
}


def release(version: str) -> Release:
    """Return the release of an exact Kubernetes version.

    :raises FlotillaError: ``BUNDLE_VERSION_UNKNOWN``, naming the known versions and the nearest of them.
    """
    for known in RELEASES:
        if known.kubernetes == version:
            return known
    names = ", ".join(known.kubernetes for known in RELEASES)
    raise FlotillaError(
        "BUNDLE_VERSION_UNKNOWN",
        f"Kubernetes {version} is not in the catalogue of this release of flotilla.kubernetes (known: {names}).",
        f"Set kubernetes_version to {nearest(version)}, the nearest.",
        details={"known": [known.kubernetes for known in RELEASES], "nearest": nearest(version)},
    )


def with_network_plugin(known: Release, name: str) -> Release:
    """Return a release with the components that the bundle of a cluster with this network plugin has."""
    if name == table.DEFAULT:
        return known
    kept = {part: version for part, version in known.components.items() if part not in table.PLUGINS[table.DEFAULT].components}
    return replace(known, components={**kept, **{part: NETWORK_PLUGINS[part] for part in table.PLUGINS[name].components}})


def with_addons(known: Release, names: Iterable[str]) -> Release:
    """Return a release with the components that the bundle of clusters with these add-ons has."""
    return replace(known, components={**known.components, **{name: ADDONS[name] for name in names}})


def nearest(version: str) -> str:
    """Return the known version that is nearest to `version`: the same minor first, then the smallest distance."""
    numbers = [int(number) for number in re.findall(r"\d+", version)][:3] or _numbers(RELEASES[0].kubernetes)
    wanted = numbers + [0] * (3 - len(numbers))

    def distance(known: Release) -> list[int]:
        return [abs(a - b) for a, b in zip(wanted, _numbers(known.kubernetes))]

    return min(RELEASES, key=distance).kubernetes


def _numbers(version: str) -> list[int]:
    return [int(number) for number in version.split(".")]
