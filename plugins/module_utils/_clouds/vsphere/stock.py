# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The things of a vCenter by the names that people give them (private to flotilla.kubernetes).

All of them are read at once, and only where a machine is to be made. A name that two things have is refused with both paths.
"""

from __future__ import annotations

import difflib
import threading
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from ..._errors import FlotillaError
from ..._machines.retry import Caller
from . import policies
from .layout import Place, Segment, Spot
from .session import Entry, Session, moid

_GIB = 1024**3


@dataclass(frozen=True)
class Site:
    """Where machines of one zone are made.

    :param cluster: the compute cluster.
    :param stores: datastores to choose from; none where the template's own is good.
    :param network: of the machines; None while the vCenter does not show their segment of NSX.
    :param hosts: those that they are to run on; none where DRS chooses.
    :param policy: id of the storage policy of their disks; empty for that of the datastore.
    """

    cluster: Entry
    pool: Entry
    folder: Entry
    network: Entry | None
    stores: tuple[Entry, ...] = ()
    hosts: tuple[Entry, ...] = ()
    policy: str = ""


@dataclass
class Stock:
    """Everything that has a name."""

    session: Session
    entries: dict[str, Entry] = field(default_factory=dict)
    _policies: dict[str, str] = field(default_factory=dict)
    _promised: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        session, vim = self.session, self.session.vim
        named = ["name", "parent"]
        wanted = {
            vim.Datacenter: named,
            vim.Folder: named,
            vim.ClusterComputeResource: [*named, "resourcePool", "configurationEx", "network", "datastore"],
            vim.ComputeResource: [*named, "resourcePool"],
            vim.ResourcePool: [*named, "owner"],
            vim.Datastore: [*named, "summary.freeSpace", "summary.accessible", "summary.maintenanceMode"],
            vim.StoragePod: named,
            vim.HostSystem: [*named, "runtime.connectionState", "runtime.inMaintenanceMode"],
            vim.Network: [*named, "summary"],
            vim.dvs.DistributedVirtualPortgroup: [
                *(*named, "key", "tag"),
                *("config.distributedVirtualSwitch", "config.uplink", "config.segmentId"),
            ],
            vim.DistributedVirtualSwitch: [*named, "uuid"],
            vim.OpaqueNetwork: [*named, "summary"],
            vim.VirtualMachine: [*named, "config.template", "config.instanceUuid"],
        }
        found = session.patient_read(session.all(wanted))
        self.entries = {entry.id: entry for entry in found}

    def of(self, *kinds: Any) -> list[Entry]:
        """Return the things of some types, and no others that inherit from these, ordered by path."""
        return sorted((entry for entry in self.entries.values() if type(entry.ref) in kinds), key=self.path)

    def path(self, entry: Entry) -> str:
        """Return where a thing is, as the vSphere Client and govc write it: /datacenter/kind of thing/folders/name."""
        parts, at = [], entry
        while at is not None:
            parts.append(unquote(str(at.values.get("name") or at.id)))
            parent = at.values.get("parent")
            above = self.entries.get(moid(parent)) if parent is not None else None
            if above is None:
                break
            at = above
        # The first one is the vCenter's own root.
        names = list(reversed(parts))
        return "/" + "/".join(names[1:] if names and names[0] == "Datacenters" else names)

    def one(self, what: str, wanted: str, candidates: Sequence[Entry], setting: str) -> Entry:
        """Return the one thing that a name or a path means.

        :param wanted: a name, a path, or the end of a path.
        :raises FlotillaError: ``VSPHERE_UNKNOWN`` or ``VSPHERE_AMBIGUOUS``, with the candidates.
        """
        ending = wanted.strip("/").split("/")
        paths = [(self.path(entry), entry) for entry in candidates]
        found = [(path, entry) for path, entry in paths if path.split("/")[-len(ending) :] == ending]
        found = [(path, entry) for path, entry in found if path == f"/{wanted.strip('/')}"] or found
        if len(found) == 1:
            return found[0][1]
        if found:
            listed = sorted(path for path, _entry in found)
            raise FlotillaError(
                "VSPHERE_AMBIGUOUS",
                f"{setting} is '{wanted}', and there are {len(found)} of that name: {', '.join(listed)}.",
                "Write the path of the one that is meant.",
                details={"candidates": listed},
            )
        names = {path.rsplit("/", 1)[-1]: path for path, _entry in paths}
        close = [names[name] for name in difflib.get_close_matches(ending[-1], names, 3, 0.6)] or sorted(names.values())[:5]
        raise FlotillaError(
            "VSPHERE_UNKNOWN",
            f"{setting} is '{wanted}', and the account sees no {what} of that name.",
            f"It sees {', '.join(close)}: correct {setting}, or give the account the right to see it."
            if close
            else f"It sees no {what} at all: give the account rights there.",
            details={"candidates": close},
        )

    def site(self, where: Place, spot: Spot, segment: Segment | None = None) -> Site:
        """Return the place of a zone's machines.

        :param segment: the segment of NSX that they are on; none where the definition names their network.
        :raises FlotillaError: ``VSPHERE_UNKNOWN``, ``VSPHERE_AMBIGUOUS``, ``VSPHERE_DATASTORE``.
        """
        vim = self.session.vim
        center = self.one("datacenter", where.datacenter, self.of(vim.Datacenter), "vsphere.datacenter")
        inside = f"{self.path(center)}/"

        def of(*kinds: Any) -> list[Entry]:
            return [entry for entry in self.of(*kinds) if self.path(entry).startswith(inside)]

        setting = f"vsphere.zones.{spot.zone}" if spot.zone != "default" else "vsphere"
        cluster = self.one("cluster", spot.cluster, of(vim.ClusterComputeResource), f"{setting}.cluster")
        pools = [entry for entry in of(vim.ResourcePool) if moid(entry.values["owner"]) == cluster.id]
        root = self.entries[moid(cluster.values["resourcePool"])]
        pool = self.one("resource pool", spot.resource_pool, pools, f"{setting}.resource_pool") if spot.resource_pool else root
        folders = [entry for entry in of(vim.Folder) if self.path(entry).startswith(f"{inside}vm")]
        folder = self.one("folder of machines", where.folder or f"{self.path(center)}/vm", folders, "vsphere.folder")
        switches = of(vim.Network, vim.OpaqueNetwork, vim.dvs.DistributedVirtualPortgroup)
        networks = [entry for entry in switches if not entry.values.get("config.uplink") and not self._uplink(entry)]
        network = (
            self._segment(segment, networks, cluster) if segment else self.one("network", spot.network, networks, f"{setting}.network")
        )
        stores = self._stores(of(vim.Datastore), of(vim.StoragePod), spot, setting)
        policy = ""
        if spot.storage_policy:
            policy, stores = self._of_policy(spot, setting, stores or self._near(cluster, of(vim.Datastore)))
        return Site(cluster, pool, folder, network, stores, self._hosts(cluster, spot, setting), policy)

    def _segment(self, segment: Segment, networks: Sequence[Entry], cluster: Entry) -> Entry | None:
        """Return what a vCenter shows of a segment of NSX: a port group of each switch that is prepared for it, or an opaque network.

        :raises FlotillaError: ``VSPHERE_AMBIGUOUS``: hosts of the compute cluster have several of that name.
        """
        told = [entry for entry in networks if entry.values.get("config.segmentId") == segment.path]
        # An opaque network, and a port group of an older vCenter, has no more than the name.
        found = told or [
            entry
            for entry in networks
            if not entry.values.get("config.segmentId") and unquote(str(entry.values.get("name"))) == segment.name
        ]
        near = {moid(ref) for ref in cluster.values.get("network") or ()}
        found = [entry for entry in found if entry.id in near] or found
        return self.one("network", segment.name, found, f"the segment {segment.path}") if found else None

    def _uplink(self, entry: Entry) -> bool:
        return any(str(getattr(tag, "key", "")) == "SYSTEM/DVS.UPLINKPG" for tag in entry.values.get("tag") or ())

    def _hosts(self, cluster: Entry, spot: Spot, setting: str) -> tuple[Entry, ...]:
        """Return the hosts of a zone's host group that machines can be started on now."""
        if not spot.host_group:
            return ()
        groups = getattr(cluster.values.get("configurationEx"), "group", None) or ()
        there = {str(group.name): group for group in groups if isinstance(group, self.session.vim.cluster.HostGroup)}
        if spot.host_group not in there:
            raise FlotillaError(
                "VSPHERE_UNKNOWN",
                f"{setting}.host_group is '{spot.host_group}', and {self.path(cluster)} has no host group of that name.",
                f"It has {', '.join(sorted(there))}." if there else "Make it in the vSphere Client: Configure, VM/Host Groups.",
                details={"candidates": sorted(there)},
            )
        hosts = [self.entries[moid(ref)] for ref in there[spot.host_group].host or () if moid(ref) in self.entries]
        ready = [
            host
            for host in hosts
            if str(host.values.get("runtime.connectionState")) == "connected" and not host.values.get("runtime.inMaintenanceMode")
        ]
        if not ready:
            raise FlotillaError(
                "VSPHERE_NO_CAPACITY",
                f"No host of the host group {spot.host_group} of {self.path(cluster)} can start a machine now.",
                "They are disconnected or in maintenance mode: look at them in the vSphere Client.",
            )
        return tuple(sorted(ready, key=lambda host: host.id))

    def host(self, site: Site, name: str) -> Any:
        """Return the host that a machine begins on, where its zone is some hosts only: the same one for the same name."""
        return site.hosts[zlib.crc32(name.encode()) % len(site.hosts)].ref if site.hosts else None

    def _stores(self, stores: list[Entry], pods: list[Entry], spot: Spot, setting: str) -> tuple[Entry, ...]:
        if spot.datastore:
            return (self.one("datastore", spot.datastore, stores, f"{setting}.datastore"),)
        if not spot.datastore_cluster:
            return ()
        pod = self.one("datastore cluster", spot.datastore_cluster, pods, f"{setting}.datastore_cluster")
        members = [
            entry
            for entry in stores
            if entry.values.get("parent") is not None and moid(entry.values["parent"]) == pod.id and _usable(entry)
        ]
        if not members:
            raise FlotillaError(
                "VSPHERE_DATASTORE",
                f"No datastore of the datastore cluster {self.path(pod)} can be used now.",
                "Look at them in the vSphere Client: they are in maintenance mode or can not be reached.",
            )
        return tuple(members)

    def _near(self, cluster: Entry, stores: Sequence[Entry]) -> tuple[Entry, ...]:
        """Return the datastores that hosts of a compute cluster have, and that can be used now."""
        near = {moid(ref) for ref in cluster.values.get("datastore") or ()}
        return tuple(entry for entry in stores if entry.id in near and _usable(entry))

    def _of_policy(self, spot: Spot, setting: str, stores: Sequence[Entry]) -> tuple[str, tuple[Entry, ...]]:
        """Return the id of a zone's storage policy, and the datastores that fit it."""
        call = Caller(self.session.clock)
        policy = self._policies.get(spot.storage_policy, "")
        if not policy:
            policy = call(policies.resolve, self.session, spot.storage_policy, f"{setting}.storage_policy")
            self._policies[spot.storage_policy] = policy
        fit = tuple(call(policies.fitting, self.session, policy, stores))
        if not fit:
            raise FlotillaError(
                "VSPHERE_DATASTORE",
                f"None of the datastores {', '.join(self.path(entry) for entry in stores) or 'of ' + spot.cluster} fits the storage "
                f"policy '{spot.storage_policy}' of {setting}.storage_policy.",
                "See the policy's storage compatibility in the vSphere Client, or name other datastores.",
            )
        return policy, fit

    def store(self, site: Site, gib: int) -> Entry | None:
        """Return the datastore for one more machine: that with the most room, those counted that were chosen before."""
        with self._lock:
            if not site.stores:
                return None
            chosen = max(site.stores, key=lambda entry: (self.room(entry), entry.id))
            self._promised[chosen.id] = self._promised.get(chosen.id, 0) + gib * _GIB
            return chosen

    def room(self, store: Entry) -> int:
        """Return the bytes of a datastore that nobody was promised."""
        return int(store.values.get("summary.freeSpace") or 0) - self._promised.get(store.id, 0)

    def backing(self, network: Entry) -> Any:
        """Return what a network card is connected to."""
        vim = self.session.vim
        card = vim.vm.device.VirtualEthernetCard
        if isinstance(network.ref, vim.dvs.DistributedVirtualPortgroup):
            switch = self.entries[moid(network.values["config.distributedVirtualSwitch"])]
            port = vim.dvs.PortConnection(portgroupKey=network.values["key"], switchUuid=switch.values["uuid"])
            return card.DistributedVirtualPortBackingInfo(port=port)
        summary = network.values.get("summary")
        if isinstance(network.ref, vim.OpaqueNetwork):
            return card.OpaqueNetworkBackingInfo(opaqueNetworkId=summary.opaqueNetworkId, opaqueNetworkType=summary.opaqueNetworkType)
        return card.NetworkBackingInfo(deviceName=network.values["name"], network=network.ref)


def _usable(store: Entry) -> bool:
    return bool(store.values.get("summary.accessible")) and str(store.values.get("summary.maintenanceMode") or "normal") == "normal"
