# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of clusters whose machines a cloud makes, whichever cloud, and of what only they have (private to flotilla.kubernetes)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.derive import CONTROL_PLANE

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

Path = tuple[Union[str, int], ...]

MADE = ("aws", "gcp", "azure", "vsphere")
"""Clouds that make machines, with what only such clouds have."""
# What has an effect on some of them only.
_ONLY = {
    ("api_endpoint", "dns_name"): ("aws", "azure"),
    ("image", "ssm_parameter"): ("aws",),
    ("image", "content_library"): ("vsphere",),
}


@dataclass(frozen=True)
class Words:
    """How a cloud calls things.

    :param zones: what zones are, with an example.
    :param size: what a machine's size is, with an example.
    :param region: key of the region in the cloud's section.
    """

    cloud: str
    zones: str
    size: str
    region: str = "region"


def only_with_made_machines(data: dict[str, Any], report: Report) -> None:
    """What has an effect on some clouds only is refused elsewhere, because it may be what somebody relies on."""
    cloud = data.get("cloud")
    if cloud is None:
        return
    set_ones: list[Path] = []
    for path, clouds in _ONLY.items():
        if cloud not in clouds and data.get(path[0], {}).get(path[1]) is not None:
            set_ones.append(path)
    for path, group in groups_of(data):
        for key in ("ssm_parameter", "content_library"):
            if key in (group.get("image") or {}) and cloud in MADE and cloud not in _ONLY["image", key]:
                set_ones.append((*path, "image", key))
        if "extra_disks_gib" in group.get("machine", {}) and cloud in MADE and cloud not in ("gcp", "vsphere"):
            set_ones.append((*path, "machine", "extra_disks_gib"))
    if cloud not in MADE:
        endpoint, access = data.get("api_endpoint", {}), data.get("access", {})
        there: list[tuple[Path, bool]] = [
            (("api_endpoint", "visibility"), endpoint.get("visibility") == "public"),
            (("api_endpoint", "allowed_cidrs"), bool(endpoint.get("allowed_cidrs"))),
            (("access", "ssh_public_keys"), bool(access.get("ssh_public_keys"))),
            (("access", "allowed_cidrs"), bool(access.get("allowed_cidrs"))),
            (("access", "address"), access.get("address") == "public"),
            (("image", "id"), "id" in data.get("image", {})),
            (("access", "bastion"), cloud == "local" and access.get("bastion") is not None),
            *(((*path, "image"), group.get("image") is not None) for path, group in groups_of(data)),
        ]
        set_ones += [path for path, is_set in there if is_set]
    for path in set_ones:
        report(path, f"has no effect with cloud: {cloud}; remove it.", about=[("cloud",)])


def images(data: dict[str, Any], report: Report) -> None:
    """An image is named in one way."""
    for path, image in [(("image",), data.get("image")), *(((*path, "image"), group.get("image")) for path, group in groups_of(data))]:
        if image is not None:
            one_of(path, image, ("family", "id", "ssm_parameter"), report)


def one_of(path: Path, choice: dict[str, Any], keys: tuple[str, ...], report: Report) -> None:
    """Report unless exactly one of some keys is there."""
    there = [key for key in keys if key in choice]
    misspelt = not there and any(bad[: len(path)] == path for bad in report.invalid)
    if len(there) != 1 and not misspelt:
        words = ", ".join(keys[:-1]) + " or " + keys[-1]
        what = f"has {' and '.join(there)}; write only one of them." if there else f"is empty; write {words}."
        report(path, what, words, about=[(*path, key) for key in keys])


def groups_of(data: dict[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """Return path and content of the control plane and of each pool."""
    found: list[tuple[Path, dict[str, Any]]] = [((CONTROL_PLANE,), data.get(CONTROL_PLANE, {}))]
    return found + [(("pools", index), pool) for index, pool in enumerate(data.get("pools", [])) if pool is not None]


def machines(data: dict[str, Any], words: Words, report: Report) -> None:
    """Machines have sizes and zones, which are of the region; what pools take over is blamed on the control plane alone."""
    region = data.get(words.cloud, {}).get(words.region)
    control_plane = data.get(CONTROL_PLANE, {})
    if CONTROL_PLANE in data and "zones" not in control_plane:
        report((CONTROL_PLANE, "zones"), f"is missing: {words.zones}.")
    said = set()
    for path, group in groups_of(data):
        if "size" not in group.get("machine", {}) and group:
            report((*path, "machine", "size"), f"is missing: {words.size}.")
        for index, zone in enumerate(group.get("zones", [])):
            place = report.root.nearest((*path, "zones", index))
            if zone is None or region is None or zone.startswith(region) or (place.file, place.line, zone) in said:
                continue
            said.add((place.file, place.line, zone))
            report(
                (*path, "zones", index),
                f"is {zone}, which is no zone of {words.cloud}.{words.region} {region}.",
                about=[(words.cloud, words.region)],
            )
    if control_plane.get("machine", {}).get("spot"):
        place = (CONTROL_PLANE, "machine", "spot")
        report(place, "is true, but a control plane whose machines may be taken back loses its etcd; remove it.")


def login(data: dict[str, Any], report: Report) -> None:
    """Somebody can log in to machines that are new."""
    access = data.get("access", {})
    if not access.get("ssh_private_key_file") and not access.get("ssh_public_keys"):
        report(
            ("access",),
            "has neither ssh_private_key_file nor ssh_public_keys, so nobody could log in to the machines; write one of them.",
            about=[("access", "ssh_private_key_file"), ("access", "ssh_public_keys")],
        )
    if access.get("address") == "public" and access.get("bastion") is not None:
        report(("access", "bastion"), "reaches the private addresses of machines, but access.address is public; remove one of them.")


def endpoint(data: dict[str, Any], network: str, report: Report) -> None:
    """The load balancer has what decides who reaches it.

    :param network: what the cloud calls the network of the machines.
    """
    wanted = data.get("api_endpoint", {})
    provider = wanted.get("provider")
    if provider in ("kube_vip", "haproxy_keepalived"):
        here = ("api_endpoint", "provider")
        report(here, f"is {provider}, whose address moves by ARP, which {network} does not have; choose cloud or external.")
    if wanted.get("visibility") == "public" and not wanted.get("allowed_cidrs"):
        report(
            ("api_endpoint", "allowed_cidrs"),
            f"is empty, so nobody outside {network.replace('a ', 'the ', 1)} would reach the API; name the networks that may.",
            about=[("api_endpoint", "visibility")],
        )


def unknown_clients(data: dict[str, Any], report: Report) -> None:
    """Machines with public addresses of their own come to a public endpoint from addresses that nobody knows before."""
    wanted, cloud = data.get("api_endpoint", {}), data["cloud"]
    public = wanted.get("visibility") == "public" and data.get(cloud, {}).get("public_machines")
    if public and "0.0.0.0/0" not in wanted.get("allowed_cidrs", []):
        report(
            ("api_endpoint", "visibility"),
            "is public, and machines with public addresses of their own come to it from addresses that nobody knows before; "
            f"make it private, allow 0.0.0.0/0, or leave out {cloud}.public_machines.",
            about=[(cloud, "public_machines"), ("api_endpoint", "allowed_cidrs")],
        )
