# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of `addons` (private to flotilla.kubernetes)."""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import tables
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.metallb import METALLB
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.prometheus import PROMETHEUS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.table import ADDONS, OWN

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

Path = tuple["str | int", ...]

# Clouds whose own load balancers Services get.
_WITH_LOAD_BALANCERS = ("aws", "azure", "gcp")


def addons(data: dict[str, Any], report: Report) -> None:
    """Each add-on fits the version and the cloud."""
    version, cloud = str(data.get("kubernetes_version", "")), data.get("cloud")
    for name, entry in (data.get("addons") or {}).items():
        addon, place = ADDONS.get(name), ("addons", name)
        if addon is None or not isinstance(entry, dict) or entry.get("enabled") is False:
            continue
        if addon.since and re.fullmatch(r"1\.\d+\.\d+", version) and tables.later(addon.since, tables.minor_of(version)):
            report(
                place,
                f"is for Kubernetes {addon.since} or newer, as its makers say; the cluster has {version}.",
                about=[("kubernetes_version",)],
            )
        if addon.without_cloud and cloud in _WITH_LOAD_BALANCERS:
            report(
                place,
                f"announces addresses on the nodes' own network, and the networks of {cloud} carry only addresses that {cloud} gave. "
                "Remove it: Services get load balancers of the cloud.",
                about=[("cloud",)],
            )
    _own((data.get("addons") or {}).get(OWN) or [], report)
    addresses = ((data.get("addons") or {}).get(METALLB.name) or {}).get("values", {}).get("addresses")
    if isinstance(addresses, list):
        _addresses(addresses, ("addons", METALLB.name, "values", "addresses"), data, report)
    kept = ((data.get("addons") or {}).get(PROMETHEUS.name) or {}).get("values") or {}
    if "storage_class" in kept and "storage" not in kept:
        report(("addons", PROMETHEUS.name, "values", "storage_class"), "is the class of a volume, and there is none: set storage, too.")


def _own(entries: list[Any], report: Report) -> None:
    """Names are unique."""
    seen: set[str] = set()
    for index, entry in enumerate(entries):
        name = (entry or {}).get("name")
        if name in ADDONS or name == OWN:
            report(("addons", OWN, index, "name"), f"is {name}, an add-on of the collection; take another name.")
        elif name in seen:
            report(("addons", OWN, index, "name"), f"is {name} a second time; names are unique.")
        seen.add(name)


def _addresses(texts: list[Any], place: Path, data: dict[str, Any], report: Report) -> None:
    """Ranges are sound, and nothing else of the cluster has their addresses."""
    network = data.get("network") or {}
    taken = [(("network", key), text) for key in ("pod_cidrs", "service_cidrs") for text in network.get(key) or ()]
    seen: list[tuple[str, tuple[Any, Any]]] = []
    for index, text in enumerate(texts):
        here = (*place, index)
        try:
            first, last = _range(str(text))
        except ValueError as error:
            report(here, f"is {text}, no range of addresses: {error}.")
            continue
        for other, bounds in seen:
            if bounds[0].version == first.version and first <= bounds[1] and bounds[0] <= last:
                report(here, f"is {text}, which overlaps {other}.")
        seen.append((str(text), (first, last)))
        for whose, cidr in taken:
            try:
                net = ipaddress.ip_network(str(cidr))
            except ValueError:
                continue
            if net.version == first.version and first <= net.broadcast_address and net.network_address <= last:
                report(here, f"is {text}, which overlaps {'.'.join(whose)} {cidr}; take addresses of the nodes' network.", about=[whose])


def _range(text: str) -> tuple[Any, Any]:
    """Return first and last address.

    :raises ValueError: it is neither a network nor two addresses in their order.
    """
    if "-" in text:
        first, last = (ipaddress.ip_address(part) for part in text.split("-", 1))
        if first.version != last.version:
            raise ValueError("its ends are of different families")
        if first > last:  # type: ignore[operator]
            raise ValueError("it ends before it begins")
        return first, last
    found = ipaddress.ip_network(text)
    return found.network_address, found.broadcast_address
