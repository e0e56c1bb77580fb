# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NSX of a company with two tenants, each with a Tier-0 of its own, and other people's things next to theirs."""

from __future__ import annotations

from clouds.clock import Clock
from clouds.nsx.manager import NODE, Manager

TENANTS = ("a", "b")


def create(clock: Clock) -> Manager:
    """Return a manager with all that its administrators make before the first cluster."""
    manager = Manager(clock)
    manager.seed(f"{NODE}/transport-zones/overlay", "PolicyTransportZone", tz_type="OVERLAY_STANDARD", is_default=True)
    manager.seed(f"{NODE}/transport-zones/overlay-2", "PolicyTransportZone", tz_type="OVERLAY_STANDARD", is_default=False)
    manager.seed(f"{NODE}/transport-zones/vlan", "PolicyTransportZone", tz_type="VLAN_BACKED")
    for number, tenant in enumerate(TENANTS):
        edges = f"{NODE}/edge-clusters/edges-{tenant}"
        manager.seed(edges, "PolicyEdgeCluster")
        router = f"/infra/tier-0s/tenant-{tenant}"
        transit = {"transit_subnets": ["100.80.0.0/16"]} if number else {}
        manager.put(router, display_name=f"Tenant {tenant.upper()}", ha_mode="ACTIVE_STANDBY", **transit)
        manager.put(f"{router}/locale-services/default", edge_cluster_path=edges)
        manager.put(f"/infra/ip-blocks/nodes-{tenant}", cidr=f"10.{20 + number}.0.0/16", display_name=f"nodes of {tenant}")
        pool = f"/infra/ip-pools/floating-{tenant}"
        manager.put(pool, display_name=f"floating {tenant}")
        net = f"192.0.2.{64 * number}"
        parts = [{"start": f"192.0.2.{64 * number + 10}", "end": f"192.0.2.{64 * number + 30}"}]
        manager.put(f"{pool}/ip-subnets/all", resource_type="IpAddressPoolStaticSubnet", cidr=f"{net}/26", allocation_ranges=parts)
        # What others have, whose names and tags are like ours.
        other = f"/infra/tier-1s/shop-{tenant}"
        manager.put(other, tier0_path=router, route_advertisement_types=["TIER1_CONNECTED", "TIER1_NAT", "TIER1_LB_VIP"])
        manager.put(f"{other}/locale-services/default", edge_cluster_path=edges)
        tags = [{"scope": "flotilla-cluster", "tag": f"shop-{tenant}"}, {"scope": "team", "tag": "payments"}]
        subnets = [{"gateway_address": f"10.{90 + number}.0.1/24"}]
        manager.put(f"/infra/segments/shop-{tenant}", connectivity_path=other, subnets=subnets, tags=tags)
        manager.put(f"{pool}/ip-allocations/shop-{tenant}", tags=tags)
    manager.log.clear()
    manager.bodies.clear()
    return manager
