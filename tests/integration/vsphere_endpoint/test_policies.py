# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage policies in a simulated vCenter, which says which datastores fit one."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere import machines
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from clouds.vsphere.account import Client
from clouds.vsphere.simulator import Simulator
from pyVmomi import vim

POLICY = "vSAN Default Storage Policy"


def present(session: Session, definition: dict[str, Any], **options: Any) -> Any:
    return machines.present(session, definition, **{"wait_timeout": 60, "wait_for": "running", **options})


@pytest.fixture
def asked(session: Session, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What clones were asked for: the simulator takes policies and forgets them."""
    found: list[Any] = []
    ordinary = session.call

    def call(target: Any, method: str, **parameters: Any) -> Any:
        if method == "CloneVM_Task":
            found.append(parameters["spec"])
        return ordinary(target, method, **parameters)

    monkeypatch.setattr(session, "call", call)
    return found


def test_disks_get_the_policy_and_a_datastore_that_fits_it(
    session: Session, asked: list[Any], simulator: Simulator, client: Client, definition: dict[str, Any]
) -> None:
    definition["vsphere"]["storage_policy"] = POLICY
    definition["pools"][0]["machine"]["extra_disks_gib"] = [15]
    stores = {store.name: store for store in client.all(vim.Datastore)}
    simulator.put("unfit", [stores["LocalDS_0"]._GetMoId()])
    made = present(session, definition).value["machines"]
    for machine in made:
        assert [store.name for store in client.machine(machine["id"]).datastore] == ["LocalDS_1"]
    (policy,) = {one.profileId for spec in asked for one in spec.location.profile}
    for spec in asked:
        assert [(disk.datastore.name, disk.profile[0].profileId) for disk in spec.location.disk] == [("LocalDS_1", policy)]
        added = [change for change in spec.location.deviceChange if isinstance(change.device, vim.vm.device.VirtualDisk)]
        assert [change.profile[0].profileId for change in added if change.operation == "add"] in ([], [policy])
    assert sum(len(spec.location.deviceChange) for spec in asked) == 5
    assert not present(session, definition).changed
    machines.absent(session, definition)


@pytest.mark.parametrize(
    ("section", "code", "text"),
    [
        ({"storage_policy": "Gold"}, "VSPHERE_UNKNOWN", "sees no storage policy"),
        ({"storage_policy": POLICY, "datastore": "LocalDS_0"}, "VSPHERE_DATASTORE", "LocalDS_0 fits the storage policy"),
    ],
)
def test_a_policy_that_can_not_be_had_is_said(
    session: Session, simulator: Simulator, client: Client, definition: dict[str, Any], section: dict[str, str], code: str, text: str
) -> None:
    store = next(store for store in client.all(vim.Datastore) if store.name == "LocalDS_0")
    simulator.put("unfit", [store._GetMoId()])
    definition["vsphere"].update(section)
    with pytest.raises(FlotillaError) as caught:
        present(session, definition, check_mode=True)
    assert caught.value.code == code and text in caught.value.message, caught.value.as_result()


def test_who_may_not_see_policies_is_told(session: Session, simulator: Simulator, definition: dict[str, Any]) -> None:
    definition["vsphere"]["storage_policy"] = POLICY
    simulator.put("denied", ["StorageProfile.View"])
    with pytest.raises(FlotillaError) as caught:
        present(session, definition, check_mode=True)
    assert caught.value.details["missing"] == {"the vCenter": ["StorageProfile.View"]}
