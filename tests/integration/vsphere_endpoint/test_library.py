# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines from items of content libraries in a simulated vCenter: deployed once as a template, which goes with the machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere import image, library, machines
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.vsphere.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.decision import Wish
from clouds.vsphere.account import IMAGES, Client
from clouds.vsphere.simulator import Simulator
from pyVmomi import vim

SignIn = Callable[[], Session]
NOW = Wish(removal="now")
OVF = """<?xml version="1.0" encoding="UTF-8"?>
<Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1"
          xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"
          xmlns:vssd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_VirtualSystemSettingData">
  <References/>
  <DiskSection>
    <Info>Disks</Info>
    <Disk ovf:capacity="8" ovf:capacityAllocationUnits="byte * 2^30" ovf:diskId="root"/>
  </DiskSection>
  <NetworkSection><Info>Networks</Info><Network ovf:name="nic0"><Description>first</Description></Network></NetworkSection>
  <VirtualSystem ovf:id="debian">
    <Info>Debian</Info>
    <Name>debian</Name>
    <VirtualHardwareSection>
      <Info>Hardware</Info>
      <System>
        <vssd:ElementName>Virtual Hardware Family</vssd:ElementName>
        <vssd:InstanceID>0</vssd:InstanceID>
        <vssd:VirtualSystemType>vmx-15</vssd:VirtualSystemType>
      </System>
      <Item>
        <rasd:ElementName>1 CPU</rasd:ElementName><rasd:InstanceID>1</rasd:InstanceID>
        <rasd:ResourceType>3</rasd:ResourceType><rasd:VirtualQuantity>1</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:ElementName>512 MB</rasd:ElementName><rasd:InstanceID>2</rasd:InstanceID>
        <rasd:ResourceType>4</rasd:ResourceType><rasd:VirtualQuantity>512</rasd:VirtualQuantity>
      </Item>
      <Item>
        <rasd:Address>0</rasd:Address><rasd:ElementName>SCSI</rasd:ElementName><rasd:InstanceID>3</rasd:InstanceID>
        <rasd:ResourceSubType>VirtualSCSI</rasd:ResourceSubType><rasd:ResourceType>6</rasd:ResourceType>
      </Item>
      <Item>
        <rasd:AddressOnParent>0</rasd:AddressOnParent><rasd:ElementName>Disk</rasd:ElementName>
        <rasd:HostResource>ovf:/disk/root</rasd:HostResource><rasd:InstanceID>4</rasd:InstanceID>
        <rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType>
      </Item>
    </VirtualHardwareSection>
  </VirtualSystem>
</Envelope>
"""


@pytest.fixture(scope="module")
def images(account: Any) -> str:
    """A content library with an OVF template, a VM template and something else; returns its name."""
    client = account.client
    store = next(store for store in client.all(vim.Datastore) if store.name == "LocalDS_0")
    number = client.make_library("images", store)
    client.make_item(number, "debian-13", file=OVF)
    client.make_item(number, "readme", kind="file")
    client.make_vm_template(number, "debian-13-vm", client.named(vim.VirtualMachine, IMAGES[0]))
    return "images"


@pytest.fixture
def stored(definition: dict[str, Any], images: str) -> dict[str, Any]:
    """A cluster from the OVF template."""
    definition["image"] = {"content_library": images, "id": "debian-13"}
    definition["vsphere"]["datastore"] = "LocalDS_1"
    return definition


def present(session: Session, definition: dict[str, Any], **options: Any) -> Any:
    return machines.present(session, definition, **{"wait_timeout": 60, "wait_for": "running", **options})


def templates(client: Client, definition: dict[str, Any]) -> list[str]:
    """Return the names of a cluster's own templates, finished or not."""
    found = client.read(vim.VirtualMachine, ["name"])
    return sorted(str(one["name"]) for one in found.values() if str(one["name"]).startswith(f"flotilla-{definition['name']}-"))


@pytest.mark.parametrize(("item", "clone"), [("debian-13", "full"), ("debian-13", "linked"), ("debian-13-vm", "full")])
def test_an_item_is_deployed_once_and_leaves_with_its_machines(
    sign_in: SignIn, client: Client, stored: dict[str, Any], item: str, clone: str
) -> None:
    stored["image"]["id"], stored["vsphere"]["clone"] = item, clone
    assert present(sign_in(), stored, check_mode=True).changed and templates(client, stored) == []
    session = sign_in()
    made = present(session, stored).value["machines"]
    assert len(made) == 3 and sum(count for name, count in session.calls.items() if name.startswith("deploy ")) == 1
    (name,) = templates(client, stored)
    template = client.named(vim.VirtualMachine, name)
    assert template.config.template and (getattr(template, "snapshot", None) is not None) == (clone == "linked")
    machine = client.machine(made[1]["id"])
    options = {option.key: option.value for option in machine.config.extraConfig}
    assert options["guestinfo.flotilla.image"] == template.config.instanceUuid and not options.get("guestinfo.flotilla.item")
    assert not present(sign_in(), stored).changed and templates(client, stored) == [name]
    # Later machines are cloned from the same one.
    stored["pools"][0]["count"] = 3
    session = sign_in()
    assert len(present(session, stored).value["machines"]) == 4 and not [name for name in session.calls if name.startswith("deploy ")]
    assert machines.absent(sign_in(), stored, check_mode=True).changed and templates(client, stored) == [name]
    machines.absent(sign_in(), stored)
    assert templates(client, stored) == [] and not machines.absent(sign_in(), stored).changed


def test_the_template_of_machines_that_went_goes(sign_in: SignIn, client: Client, stored: dict[str, Any]) -> None:
    present(sign_in(), stored)
    (old,) = templates(client, stored)
    stored["image"] = {"id": IMAGES[0]}
    present(sign_in(), stored, roll_out=True, wish=NOW)
    assert templates(client, stored) == [old], "machines are made from it still"
    while present(sign_in(), stored, roll_out=True, wish=NOW).changed:
        continue
    assert templates(client, stored) == [], f"{old} has no machines any more"
    machines.absent(sign_in(), stored)


def test_an_item_that_changes_changes_no_pool_that_runs(sign_in: SignIn, client: Client, stored: dict[str, Any], images: str) -> None:
    number = client.rest("POST", "/com/vmware/content/library?~action=find", {"spec": {"name": images}})[0]
    item = client.make_item(number, f"debian-{stored['name']}", file=OVF)
    stored["image"]["id"] = f"debian-{stored['name']}"
    present(sign_in(), stored)
    (name,) = templates(client, stored)
    client.rest("DELETE", f"/com/vmware/content/library/item/id:{item}")
    stored["pools"][0]["count"] = 3
    assert len(present(sign_in(), stored).value["machines"]) == 4 and templates(client, stored) == [name]
    # Without the template, nothing is like the machines that there are.
    client.destroy(client.named(vim.VirtualMachine, name))
    client.make_item(number, f"debian-{stored['name']}", file=OVF)
    stored["pools"][0]["count"] = 4
    with pytest.raises(FlotillaError) as caught:
        present(sign_in(), stored)
    assert caught.value.code == "VSPHERE_TEMPLATE_GONE"
    machines.absent(sign_in(), stored)


@pytest.mark.parametrize("step", ["deploy", "ReconfigVM_Task", "CreateSnapshot_Task", "MarkAsTemplate"])
@pytest.mark.parametrize("ends", [False, True])
def test_a_run_that_is_killed_while_it_deploys(
    sign_in: SignIn, monkeypatch: pytest.MonkeyPatch, client: Client, stored: dict[str, Any], step: str, ends: bool
) -> None:
    """The next one goes on where it was; or the cluster is deleted, and nothing is left."""
    stored["vsphere"]["clone"] = "linked"
    session = sign_in()
    rest, soap = session.rest.call, session.call

    def deploy(method: str, path: str, body: Any = None, **options: Any) -> Any:
        answer = rest(method, path, body, **options)
        if options.get("action") == step:
            raise KeyboardInterrupt
        return answer

    def call(target: Any, method: str, **parameters: Any) -> Any:
        answer = soap(target, method, **parameters)
        if method == step:
            raise KeyboardInterrupt
        return answer

    monkeypatch.setattr(session.rest, "call", deploy)
    monkeypatch.setattr(session, "call", call)
    with pytest.raises(KeyboardInterrupt):
        present(session, stored)
    assert len(templates(client, stored)) == 1
    if not ends:
        session = sign_in()
        assert len(present(session, stored).value["machines"]) == 3 and len(templates(client, stored)) == 1
        assert not [name for name in session.calls if name.startswith("deploy ")]
    assert machines.absent(sign_in(), stored, check_mode=True).changed
    machines.absent(sign_in(), stored)
    assert templates(client, stored) == []


@pytest.mark.parametrize(
    ("named", "code", "text"),
    [
        ({"content_library": "pictures", "id": "debian-13"}, "VSPHERE_UNKNOWN", "no content library of that name"),
        ({"content_library": "images", "id": "debian-14"}, "VSPHERE_UNKNOWN", "no item in the content library images"),
        ({"content_library": "images", "id": "readme"}, "VSPHERE_TEMPLATE", "of the type file"),
    ],
)
def test_an_item_that_will_not_do_is_said(
    session: Session, client: Client, stored: dict[str, Any], named: dict[str, str], code: str, text: str
) -> None:
    stored["image"] = named
    with pytest.raises(FlotillaError) as caught:
        present(session, stored, check_mode=True)
    assert caught.value.code == code and text in caught.value.message, caught.value.as_result()
    if code == "VSPHERE_UNKNOWN":
        assert caught.value.details["candidates"]


def test_why_an_item_is_not_deployed_is_said(session: Session, client: Client, stored: dict[str, Any], images: str) -> None:
    number = client.rest("POST", "/com/vmware/content/library?~action=find", {"spec": {"name": images}})[0]
    client.make_item(number, f"empty-{stored['name']}")
    stored["image"]["id"] = f"empty-{stored['name']}"
    with pytest.raises(FlotillaError) as caught:
        present(session, stored)
    assert caught.value.code == "VSPHERE_TEMPLATE" and "could not be deployed: " in caught.value.message


def test_what_deploying_needs_is_said_before(session: Session, simulator: Simulator, client: Client, stored: dict[str, Any]) -> None:
    stored["vsphere"]["clone"] = "linked"
    simulator.put("denied", ["VApp.Import", "VirtualMachine.State.CreateSnapshot"])
    with pytest.raises(FlotillaError) as caught:
        present(session, stored, check_mode=True)
    missing = caught.value.details["missing"]
    assert sorted(missing.values()) == [["VApp.Import"], ["VApp.Import", "VirtualMachine.State.CreateSnapshot"]], missing


def test_items_are_listed_next_to_templates(session: Session, images: str) -> None:
    found = {one.path: one.as_dict() for one in image.find(session, None)}
    assert found["/images/debian-13"]["ready"] and found["/images/debian-13"]["kind"] == library.OVF
    assert not found["/images/readme"]["ready"] and "of the type file" in found["/images/readme"]["problems"][0]
    assert found["/images/debian-13-vm"]["kind"] == library.VM_TEMPLATE and found[f"/DC0/vm/{IMAGES[0]}"]["content_library"] == ""
    (one,) = image.find(session, "debian-13", images)
    assert one.id == found["/images/debian-13"]["id"] and image.find(session, one.id, images) == [one]
    assert {one.path for one in image.find(session, None, images)} == {path for path in found if path.startswith("/images/")}
