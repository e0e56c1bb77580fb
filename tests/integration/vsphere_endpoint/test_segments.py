# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines on segments of NSX, which a vCenter shows as port groups, sooner or later."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere import machines
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from clouds.vsphere.account import Client
from pyVmomi import vim

ROLES = ("control-plane", "worker")


@pytest.fixture
def network(definition: dict[str, Any]) -> dict[str, Any]:
    """What nsx_network returns of the cluster."""
    del definition["vsphere"]["network"]
    segments = {}
    for number, role in enumerate(ROLES):
        name = f"flotilla-{definition['name']}-{role}"
        cidr, gateway = f"10.30.{number}.0/28", f"10.30.{number}.1"
        segments[role.replace("-", "_")] = {"name": name, "path": f"/infra/segments/{name}", "cidr": cidr, "gateway": gateway}
    return {"segments": segments, "dhcp": True, "dns_servers": ["10.1.1.53"]}


@pytest.fixture
def show(client: Client) -> Iterator[Callable[..., str]]:
    """Return what has the vCenter show a segment, and gives the port group's key."""
    made: list[Any] = []

    def show(segment: dict[str, Any], path: str = "") -> str:
        spec = vim.dvs.DistributedVirtualPortgroup.ConfigSpec(
            name=segment["name"],
            type="earlyBinding",
            numPorts=8,
            backingType="nsx",
            logicalSwitchUuid="x",
            segmentId=path or segment["path"],
        )
        before = set(client.all(vim.dvs.DistributedVirtualPortgroup))
        client.do(client.named(vim.DistributedVirtualSwitch, "DVS0").AddDVPortgroup_Task([spec]))
        (group,) = set(client.all(vim.dvs.DistributedVirtualPortgroup)) - before
        made.append(group)
        return str(group._GetMoId())

    yield show
    for group in made:
        client.do(group.Destroy_Task())


def present(session: Session, definition: dict[str, Any], network: dict[str, Any], **options: Any) -> Any:
    return machines.present(session, definition, network=network, **{"wait_timeout": 60, "wait_for": "running", **options})


def key_of(client: Client, machine: dict[str, Any]) -> str:
    devices = client.machine(machine["id"]).config.hardware.device
    (card,) = [device for device in devices if isinstance(device, vim.vm.device.VirtualEthernetCard)]
    return str(card.backing.port.portgroupKey)


def test_machines_are_on_the_segment_of_their_role(
    session: Session, client: Client, definition: dict[str, Any], network: dict[str, Any], show: Callable[..., str]
) -> None:
    # Another manager's has the same name.
    show(network["segments"]["worker"], path="/infra/segments/somewhere-else")
    keys = {role: show(segment) for role, segment in network["segments"].items()}
    made = present(session, definition, network).value["machines"]
    assert [key_of(client, machine) for machine in made] == [keys[machine["role"]] for machine in made]
    assert not present(session, definition, network).changed
    machines.absent(session, definition)


def test_without_dhcp_they_have_addresses_of_their_segment(
    session: Session, definition: dict[str, Any], network: dict[str, Any], show: Callable[..., str]
) -> None:
    for segment in network["segments"].values():
        show(segment)
    network["dhcp"] = False
    made = present(session, definition, network).value["machines"]
    assert [machine["addresses"]["private"] for machine in made if machine["role"] == "control_plane"] == ["10.30.0.2"]
    assert sorted(machine["addresses"]["private"] for machine in made if machine["role"] == "worker") == ["10.30.1.2", "10.30.1.3"]
    machines.absent(session, definition)


def test_a_segment_that_the_vcenter_does_not_show(
    session: Session, client: Client, definition: dict[str, Any], network: dict[str, Any]
) -> None:
    planned = present(session, definition, network, check_mode=True)
    assert len(planned.value["planned"]) == 3
    with pytest.raises(FlotillaError) as caught:
        present(session, definition, network)
    assert caught.value.code == "VSPHERE_SEGMENT" and network["segments"]["control_plane"]["path"] in caught.value.message
    assert "compute manager" in caught.value.remedy and session.clock.slept > 110
    names = [str(values["name"]) for values in client.read(vim.VirtualMachine, ["name"]).values()]
    assert names and not [name for name in names if name.startswith(f"{definition['name']}-")]


def test_a_segment_that_is_shown_late_is_waited_for(
    session: Session, definition: dict[str, Any], network: dict[str, Any], show: Callable[..., str]
) -> None:
    slept = session.clock.sleep
    hidden = list(network["segments"].values())

    def sleep(seconds: float) -> None:
        if hidden:
            show(hidden.pop())
        slept(seconds)

    session.clock.sleep = sleep
    assert len(present(session, definition, network).value["machines"]) == 3 and not hidden
    machines.absent(session, definition)


def test_a_segment_that_is_shown_twice_is_not_guessed(
    session: Session, definition: dict[str, Any], network: dict[str, Any], show: Callable[..., str]
) -> None:
    for segment in network["segments"].values():
        show(segment)
        show(segment)
    with pytest.raises(FlotillaError) as caught:
        present(session, definition, network)
    assert caught.value.code == "VSPHERE_AMBIGUOUS" and network["segments"]["control_plane"]["path"] in caught.value.message
