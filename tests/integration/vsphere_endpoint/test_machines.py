# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines in a simulated vCenter: what is made, what people do to it, and what a vCenter refuses."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere import image, machines
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.decision import Wish
from clouds.vsphere.account import COMPUTE, IMAGES, Client
from clouds.vsphere.simulator import Simulator
from pyVmomi import vim

SignIn = Callable[[], Session]
NOW = Wish(removal="now")


def make(session: Session, definition: dict[str, Any], **options: Any) -> list[dict[str, Any]]:
    return list(present(session, definition, **options).value["machines"])


def present(session: Session, definition: dict[str, Any], **options: Any) -> Any:
    return machines.present(session, definition, **{"wait_timeout": 60, "wait_for": "running", **options})


def of(client: Client, definition: dict[str, Any]) -> dict[str, Any]:
    """Return the cluster's virtual machines by name, as the vCenter has them."""
    names = {str(values["name"]): ref for ref, values in client.read(vim.VirtualMachine, ["name"]).items()}
    return {name: ref for name, ref in names.items() if name.startswith(f"{definition['name']}-")}


def code(call: Callable[[], Any]) -> str:
    with pytest.raises(FlotillaError) as caught:
        call()
    return caught.value.code


def test_machines_are_made_as_they_are_wanted_and_only_once(session: Session, client: Client, definition: dict[str, Any]) -> None:
    definition["pools"][0]["machine"].update(disk_gib=30, extra_disks_gib=[15])
    made = make(session, definition)
    assert [(one["role"], one["zone"], one["state"]) for one in made] == [
        ("control_plane", "rack-1", "running"),
        ("worker", made[1]["zone"], "running"),
        ("worker", made[2]["zone"], "running"),
    ]
    assert {made[1]["zone"], made[2]["zone"]} == {"rack-1", "rack-2"}
    machine = of(client, definition)[made[1]["name"]]
    assert (machine.config.instanceUuid, machine.config.hardware.numCPU, machine.config.hardware.memoryMB) == (made[1]["id"], 2, 4096)
    disks = [device.capacityInKB // 1024**2 for device in machine.config.hardware.device if isinstance(device, vim.vm.device.VirtualDisk)]
    assert disks == [30, 15]
    options = {option.key: option.value for option in machine.config.extraConfig}
    told = json.loads(base64.b64decode(options["guestinfo.metadata"]))
    assert told["local-hostname"] == machine.name and told["network"]["ethernets"]["primary"]["dhcp-identifier"] == "mac"
    assert b"#cloud-config" in base64.b64decode(options["guestinfo.userdata"]) and options["disk.EnableUUID"] == "TRUE"
    group = next(
        group for group in client.named(vim.ClusterComputeResource, COMPUTE).configurationEx.group if group.name == made[1]["zone"]
    )
    assert machine.runtime.host in group.host
    again = present(session, definition)
    assert not again.changed and again.before == again.after and len(again.value["machines"]) == 3
    machines.absent(session, definition)
    assert of(client, definition) == {}
    assert not machines.absent(session, definition).changed


def test_all_that_the_account_may_not_do_is_said_before_anything_is_made(
    session: Session, simulator: Simulator, client: Client, definition: dict[str, Any]
) -> None:
    simulator.put("denied", ["Network.Assign", "VirtualMachine.Config.DiskExtend"])
    with pytest.raises(FlotillaError) as caught:
        present(session, definition, check_mode=True)
    assert caught.value.code == "VSPHERE_NO_PERMISSION"
    missing = caught.value.details["missing"]
    assert sorted(missing.values()) == [["Network.Assign"], ["VirtualMachine.Config.DiskExtend"]], missing
    assert all(path.startswith("/DC0/") for path in missing)
    assert of(client, definition) == {}
    simulator.put("denied", [])
    assert present(session, definition, check_mode=True).changed


def test_a_no_op_takes_few_calls(sign_in: SignIn, definition: dict[str, Any]) -> None:
    make(sign_in(), definition)
    session = sign_in()
    assert not present(session, definition).changed
    session.close()
    assert sum(session.calls.values()) <= 10 and session.calls["RetrievePropertiesEx"] <= 4, session.calls


def test_check_mode_makes_nothing(session: Session, client: Client, definition: dict[str, Any]) -> None:
    told = present(session, definition, check_mode=True)
    assert told.changed and len(told.value["planned"]) == 3 and of(client, definition) == {}
    assert not {"CloneVM_Task", "ReconfigureComputeResource_Task"} & session.calls.keys()
    done = present(session, definition)
    assert done.changed and done.after["rules"] == told.after["rules"]


def test_a_machine_that_was_renamed_moved_and_copied_is_found(sign_in: SignIn, client: Client, definition: dict[str, Any]) -> None:
    made = make(sign_in(), definition)
    machine = client.machine(made[1]["id"])
    client.do(machine.Rename_Task(f"{definition['name']}-by-hand"))
    elsewhere = machine.parent.CreateFolder(f"{definition['name']}-elsewhere")
    client.do(elsewhere.MoveIntoFolder_Task([machine]))
    copied = vim.vm.ConfigSpec(extraConfig=[option for option in machine.config.extraConfig if option.key.startswith("guestinfo.")])
    place = vim.vm.RelocateSpec(pool=machine.resourcePool)
    name = f"{definition['name']}-copy"
    copy = client.do(machine.CloneVM_Task(elsewhere, name, vim.vm.CloneSpec(location=place, config=copied, powerOn=True, template=False)))
    again = present(sign_in(), definition)
    assert not again.changed and [one["name"] for one in again.value["machines"]] == [one["name"] for one in made]
    machines.absent(sign_in(), definition)
    assert list(of(client, definition).values()) == [copy], "a copy is somebody's own"


@pytest.mark.parametrize("inside", [False, True])
def test_a_disk_of_somebody_is_never_destroyed(session: Session, client: Client, definition: dict[str, Any], inside: bool) -> None:
    made = make(session, definition)
    machine, name = client.machine(made[1]["id"]), definition["name"]
    own = next(device for device in machine.config.hardware.device if isinstance(device, vim.vm.device.VirtualDisk))
    store = machine.datastore[0]
    if not inside:
        client.content.fileManager.MakeDirectory(f"[{store.name}] volumes-{name}", client.named(vim.Datacenter, "DC0"), True)
    path = "" if inside else f"[{store.name}] volumes-{name}/payments.vmdk"
    backing = vim.vm.device.VirtualDisk.FlatVer2BackingInfo(fileName=path, diskMode="persistent", thinProvisioned=True)
    disk = vim.vm.device.VirtualDisk(key=-1, controllerKey=own.controllerKey, unitNumber=9, capacityInKB=1024**2, backing=backing)
    added = vim.vm.device.VirtualDeviceSpec(operation="add", fileOperation="create", device=disk)
    client.do(machine.ReconfigVM_Task(vim.vm.ConfigSpec(deviceChange=[added])))
    if inside:
        assert code(lambda: machines.removed(session, definition, [made[1]["id"]])) == "VSPHERE_DISK"
        assert machine.runtime.powerState == "poweredOn" and len(of(client, definition)) == 3
        return
    machines.removed(session, definition, [made[1]["id"]])
    query = vim.host.DatastoreBrowser.SearchSpec(matchPattern=["*.vmdk"])
    found = client.do(store.browser.SearchDatastoreSubFolders_Task(f"[{store.name}] volumes-{name}", query))
    assert "payments.vmdk" in [file.path for folder in found for file in folder.file]
    assert len(of(client, definition)) == 2


def test_a_lost_session_begins_anew(session: Session, client: Client, definition: dict[str, Any]) -> None:
    def end() -> None:
        manager = client.content.sessionManager
        own = manager.currentSession.key
        manager.TerminateSession([one.key for one in manager.sessionList if one.key != own])

    make(session, definition)
    end()
    assert not present(session, definition).changed and session.calls["Login"] == 2
    definition["pools"][0]["count"] = 3
    looked = session._look
    times = iter([True])

    def lose(waiting: Any) -> Any:
        if next(times, False):
            # The simulator forgets what a session has begun and not ended; a vCenter goes on with it.
            time.sleep(0.3)
            end()
        return looked(waiting)

    session._look = lose  # type: ignore[method-assign]
    assert len(make(session, definition)) == 4 and session.calls["Login"] == 3


def test_faults_of_tasks_are_stood(session: Session, client: Client, simulator: Simulator, definition: dict[str, Any]) -> None:
    faults = [
        {"task": "CloneVm", "fault": "HostCommunication", "count": 1},
        {"task": "CloneVm", "fault": "Timedout", "count": 1, "after": True},
        {"task": "ReconfigureCluster", "fault": "ConcurrentAccess", "count": 1},
    ]
    simulator.put("faults", faults)
    assert len(make(session, definition)) == len(of(client, definition)) == 3
    simulator.put("faults", [{"task": "Destroy", "fault": "HostCommunication", "count": 1}])
    definition["pools"][0]["count"] = 1
    assert len(make(session, definition, wish=NOW)) == len(of(client, definition)) == 2


REFUSED = {
    "NoDiskSpace": ({"datastore": "LocalDS_0"}, "VSPHERE_DATASTORE_FULL", "GiB of it are free"),
    "NoPermission": ({"privilegeId": "VirtualMachine.Provisioning.DeployTemplate"}, "VSPHERE_NO_PERMISSION", "DeployTemplate"),
    "InsufficientMemoryResourcesFault": ({}, "VSPHERE_NO_CAPACITY", "no host with room"),
    "NotEnoughLicenses": ({}, "VSPHERE_LICENCE", "licences"),
    "FileNotFound": ({"file": "[ds] a/a.vmdk"}, "VSPHERE_FILE_GONE", "[ds] a/a.vmdk"),
    "RequestCanceled": ({}, "VSPHERE_CANCELLED", "Somebody cancelled"),
}


@pytest.mark.parametrize("fault", sorted(REFUSED))
def test_what_is_refused_is_said_with_its_remedy(
    session: Session, client: Client, simulator: Simulator, definition: dict[str, Any], fault: str
) -> None:
    fields, wanted, text = REFUSED[fault]
    simulator.put("faults", [{"task": "CloneVm", "fault": fault, "fields": fields}])
    with pytest.raises(FlotillaError) as caught:
        make(session, definition)
    assert caught.value.code == wanted and text in caught.value.message and caught.value.remedy, caught.value.as_result()
    assert of(client, definition) == {}


def test_a_linked_clone_has_the_size_of_its_template(session: Session, client: Client, definition: dict[str, Any]) -> None:
    definition["vsphere"]["clone"] = "linked"
    definition["control_plane"]["machine"]["disk_gib"] = 40
    with pytest.raises(FlotillaError) as caught:
        present(session, definition, check_mode=True)
    assert caught.value.code == "VSPHERE_TEMPLATE" and "no snapshot" in caught.value.message
    assert "disks do not grow" in caught.value.message and of(client, definition) == {}


def test_a_full_rack_sends_workers_elsewhere(session: Session, account: Any, simulator: Simulator, definition: dict[str, Any]) -> None:
    account.limit("", {"rack-2": 0})
    simulator.put("faults", [])
    assert [one["zone"] for one in make(session, definition)] == ["rack-1"] * 3


def test_a_silent_guest_is_said_to_be_one(session: Session, simulator: Simulator, definition: dict[str, Any]) -> None:
    simulator.put("silent", 600)
    with pytest.raises(FlotillaError) as caught:
        make(session, definition)
    assert caught.value.code == "MACHINE_NOT_READY" and "open-vm-tools does not run" in str(caught.value.cause)


def test_clones_of_a_run_that_was_killed_are_waited_for(
    sign_in: SignIn, client: Client, simulator: Simulator, definition: dict[str, Any]
) -> None:
    simulator.put("delay", {"CloneVm": 1500})
    first = sign_in()

    def die(_tasks: Any) -> Any:
        raise KeyboardInterrupt

    first.finish = die  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        make(first, definition)
    assert of(client, definition) == {}, "they do not show yet"
    second = sign_in()
    simulator.put("delay", {})
    assert len(make(second, definition)) == len(of(client, definition)) == 3


def test_addresses_of_a_range_are_given_once(sign_in: SignIn, client: Client, definition: dict[str, Any]) -> None:
    section = {"cidr": "10.77.0.0/24", "gateway": "10.77.0.1", "ranges": ["10.77.0.20-10.77.0.23"], "name_servers": ["10.0.0.53"]}
    definition["vsphere"]["addresses"] = section
    made = make(sign_in(), definition)
    assert sorted(one["addresses"]["private"] for one in made) == ["10.77.0.20", "10.77.0.21", "10.77.0.22"]
    # Another cluster has the same range.
    other = {**definition, "name": f"{definition['name']}b", "pools": []}
    assert [one["addresses"]["private"] for one in make(sign_in(), other)] == ["10.77.0.23"]
    definition["pools"][0]["count"] = 3
    assert code(lambda: make(sign_in(), definition)) == "VSPHERE_NO_ADDRESS"
    machines.absent(sign_in(), other)
    assert len(make(sign_in(), definition)) == 4


def test_a_template_that_is_gone_is_said_to_be(session: Session, client: Client, definition: dict[str, Any]) -> None:
    template = client.named(vim.VirtualMachine, IMAGES[1])
    place = vim.vm.RelocateSpec(pool=client.named(vim.ClusterComputeResource, COMPUTE).resourcePool)
    name = f"template-{definition['name']}"
    own = client.do(template.CloneVM_Task(template.parent, name, vim.vm.CloneSpec(location=place, powerOn=False, template=True)))
    definition["image"] = {"id": name}
    make(session, definition)
    client.do(own.Destroy_Task())
    definition["pools"][0]["count"] = 3
    assert code(lambda: make(session, definition)) == "VSPHERE_TEMPLATE_GONE"
    definition["name"] += "b"
    assert code(lambda: make(session, definition)) == "VSPHERE_UNKNOWN"


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [("cluster", "DC0_C9", "VSPHERE_UNKNOWN"), ("network", "nowhere", "VSPHERE_UNKNOWN"), ("folder", "nowhere", "VSPHERE_UNKNOWN")],
)
def test_a_name_that_nothing_has_is_said(session: Session, definition: dict[str, Any], key: str, value: str, wanted: str) -> None:
    definition["vsphere"][key] = value
    with pytest.raises(FlotillaError) as caught:
        present(session, definition, check_mode=True)
    assert caught.value.code == wanted and caught.value.details["candidates"], caught.value.as_result()


def test_a_name_that_two_have_is_refused_with_their_paths(session: Session, client: Client, definition: dict[str, Any]) -> None:
    root, name = client.named(vim.Datacenter, "DC0").vmFolder, definition["name"]
    for above in ("a", "b"):
        root.CreateFolder(f"{above}-{name}").CreateFolder(f"twice-{name}")
    definition["vsphere"]["folder"] = f"twice-{name}"
    with pytest.raises(FlotillaError) as caught:
        present(session, definition, check_mode=True)
    assert caught.value.code == "VSPHERE_AMBIGUOUS"
    assert caught.value.details["candidates"] == [f"/DC0/vm/{above}-{name}/twice-{name}" for above in ("a", "b")]
    definition["vsphere"]["folder"] = f"b-{name}/twice-{name}"
    made = make(session, definition)
    assert client.machine(made[0]["id"]).parent.parent.name == f"b-{name}"


def test_what_is_known_of_templates(session: Session) -> None:
    found = {one.name: one for one in image.find(session, None)}
    assert set(IMAGES) <= found.keys() and not found[IMAGES[0]].problems
    assert image.find(session, found[IMAGES[0]].id) == [found[IMAGES[0]]]
    assert code(lambda: image.find(session, "debian-14")) == "VSPHERE_UNKNOWN"


def test_nobody_is_let_in_with_a_wrong_password(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, definition: dict[str, Any]) -> None:
    monkeypatch.setenv("VMWARE_PASSWORD", "wrong")
    assert code(lambda: machines.observed(sign_in(), definition)) == "VSPHERE_LOGIN"


def test_a_certificate_is_checked(sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, definition: dict[str, Any]) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    assert code(lambda: machines.observed(sign_in(), definition)) == "VSPHERE_CERTIFICATE"
    monkeypatch.setenv("VMWARE_VALIDATE_CERTS", "false")
    assert machines.observed(sign_in(), definition).value["machines"] == []
