# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""vSphere for the suite: the simulator behind TLS, a look at all that it holds, and what people do in its client."""

from __future__ import annotations

import base64
import contextlib
import json
import time
import urllib.parse
import urllib.request
import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyVmomi import SoapStubAdapter, vim, vmodl

from clouds import tls
from clouds.clock import Clock
from clouds.cloud import CLUSTER, WORKERS
from clouds.judge import Machine, Thing
from clouds.vsphere.dialect import VsphereDialect
from clouds.vsphere.simulator import PASSWORD, USER, Simulator
from clouds.wire import Handler

IMAGES = ("debian-13-a", "debian-13-b")
DATACENTER, COMPUTE, NETWORK = "DC0", "DC0_C0", "DC0_DVPG0"
CATEGORIES, TAGS = "/com/vmware/cis/tagging/category", "/com/vmware/cis/tagging/tag"
ASSOCIATIONS = "/com/vmware/cis/tagging/tag-association"
_ITEMS = "/com/vmware/content/library/item"
THEIRS = ("cost-centre", "4711")
"""Category and tag of other people."""
_PREFIX = "guestinfo.flotilla."
# As it is before anybody changes it: the simulator's tasks take real time.
_sleep = time.sleep


class Client:
    """The vCenter as somebody sees it who signs in by hand.

    :param url: of the simulator, without TLS.
    """

    def __init__(self, url: str) -> None:
        there = urllib.parse.urlsplit(url)
        self._url, self._rest_key = url, ""
        self._stub = SoapStubAdapter(there.hostname, -(there.port or 80), path="/sdk", version="vim.version.v7_0")
        self.content = vim.ServiceInstance("ServiceInstance", self._stub).RetrieveContent()
        self.content.sessionManager.Login(USER, PASSWORD)

    def rest(self, method: str, path: str, body: Any = None, *, data: bytes | None = None) -> Any:
        """Make a call of the REST API, such as of ``/com/vmware/cis/tagging/tag``, and return its value."""
        if not self._rest_key:
            login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            self._rest_key = str(self._send("POST", "/com/vmware/cis/session", None, {"Authorization": f"Basic {login}"}))
        content = data if body is None else json.dumps(body).encode()
        return self._send(method, path, content, {"vmware-api-session-id": self._rest_key})

    def _send(self, method: str, path: str, content: bytes | None, headers: dict[str, str]) -> Any:
        request = urllib.request.Request(f"{self._url}/rest{path}", content, headers, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            text = answer.read()
        return json.loads(text).get("value") if text else None

    def tags(self) -> dict[str, dict[str, Any]]:
        """Return all tags: id -> what is known of it, its category's name among that."""
        categories = {number: self.rest("GET", f"{CATEGORIES}/id:{number}") for number in self.rest("GET", CATEGORIES) or ()}
        found = {number: dict(self.rest("GET", f"{TAGS}/id:{number}")) for number in self.rest("GET", TAGS) or ()}
        for tag in found.values():
            tag["category"] = categories[tag["category_id"]]["name"]
        return found

    def tagged(self) -> list[tuple[str, str, str]]:
        """Return what has which tag: id of the object, category and tag."""
        known = self.tags()
        asked = self.rest("POST", f"{ASSOCIATIONS}?~action=list-attached-objects-on-tags", {"tag_ids": sorted(known)}) if known else ()
        pairs = {(thing["id"], thing["type"], one["tag_id"]) for one in asked or () for thing in one.get("object_ids") or ()}
        found = []
        for number, kind, tag in sorted(pairs):
            # The simulator goes on listing what lost a tag.
            body = {"object_id": {"id": number, "type": kind}}
            if tag in (self.rest("POST", f"{ASSOCIATIONS}?~action=list-attached-tags", body) or ()):
                found.append((number, known[tag]["category"], known[tag]["name"]))
        return found

    def make_category(self, name: str, *tags: str) -> str:
        """Make a category with tags, as somebody does in the vSphere Client."""
        spec = {"name": name, "description": "", "cardinality": "MULTIPLE", "associable_types": []}
        number = self.rest("POST", CATEGORIES, {"create_spec": spec})
        for tag in tags:
            # Ids that follow from the names: marks of machines have them, and are compared from vCenter to vCenter.
            own = f"urn:vmomi:InventoryServiceTag:{uuid.uuid5(uuid.NAMESPACE_URL, f'{name}/{tag}')}:GLOBAL"
            self.rest("POST", TAGS, {"create_spec": {"name": tag, "description": "", "category_id": number, "tag_id": own}})
        return str(number)

    def give(self, machine: Any, category: str, name: str) -> None:
        """Give a machine a tag that there is."""
        tag = next(number for number, tag in self.tags().items() if (tag["category"], tag["name"]) == (category, name))
        self.rest("POST", f"{ASSOCIATIONS}/id:{tag}?~action=attach", {"object_id": {"id": _id(machine), "type": "VirtualMachine"}})

    def make_library(self, name: str, store: Any) -> str:
        """Make a content library on a datastore and return its id."""
        backings = [{"type": "DATASTORE", "datastore_id": _id(store)}]
        spec = {"name": name, "description": "", "type": "LOCAL", "storage_backings": backings}
        return str(self.rest("POST", "/com/vmware/content/local-library", {"create_spec": spec}))

    def make_item(self, library: str, name: str, kind: str = "ovf", file: str = "") -> str:
        """Make an item of a content library and return its id.

        :param file: the descriptor of an OVF template.
        """
        spec = {"library_id": library, "name": name, "description": "", "type": kind}
        item = str(self.rest("POST", _ITEMS, {"create_spec": spec}))
        if file:
            self.put_in(item, file)
        return item

    def put_in(self, item: str, file: str) -> None:
        """Upload the descriptor of an OVF template."""
        update = str(self.rest("POST", f"{_ITEMS}/update-session", {"create_spec": {"library_item_id": item}}))
        spec = {"name": "machine.ovf", "source_type": "PUSH"}
        put = self.rest("POST", f"{_ITEMS}/updatesession/file/id:{update}?~action=add", {"file_spec": spec})
        path = urllib.parse.urlsplit(put["upload_endpoint"]["uri"]).path
        self.rest("PUT", path.removeprefix("/rest"), data=file.encode())
        self.rest("POST", f"{_ITEMS}/update-session/id:{update}?~action=complete")

    def make_vm_template(self, library: str, name: str, machine: Any) -> str:
        """Make a VM template of a content library from a machine, and return the item's id."""
        placement = {"folder": _id(machine.parent), "resource_pool": _id(self.named(vim.ClusterComputeResource, COMPUTE).resourcePool)}
        spec = {"name": name, "library": library, "source_vm": _id(machine), "placement": placement}
        return str(self.rest("POST", "/vcenter/vm-template/library-items", {"spec": spec}))

    def all(self, kind: Any) -> list[Any]:
        """Return all objects of a type."""
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [kind], True)
        try:
            return list(view.view)
        finally:
            view.Destroy()

    def read(self, kind: Any, paths: list[str]) -> dict[Any, dict[str, Any]]:
        """Return properties of all objects of a type, by one walk: it leaves out what goes meanwhile, where a list of names is refused."""
        collector = vmodl.query.PropertyCollector
        view = self.content.viewManager.CreateContainerView(self.content.rootFolder, [kind], True)
        try:
            step = collector.TraversalSpec(name="view", type=vim.view.ContainerView, path="view", skip=False)
            spec = collector.FilterSpec(
                objectSet=[collector.ObjectSpec(obj=view, skip=True, selectSet=[step])],
                propSet=[collector.PropertySpec(type=kind, pathSet=paths)],
            )
            answer = self.content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions())
        finally:
            view.Destroy()
        objects = answer.objects if answer else []
        return {item.obj: {prop.name: prop.val for prop in item.propSet} for item in objects}

    def named(self, kind: Any, name: str) -> Any:
        return next(ref for ref, values in self.read(kind, ["name"]).items() if values["name"] == name)

    def machine(self, number: str) -> Any:
        """Return a virtual machine by its instance UUID."""
        return self.content.searchIndex.FindByUuid(None, number, True, True)

    def do(self, task: Any) -> Any:
        """Wait for a task and return its result."""
        collector = vmodl.query.PropertyCollector
        paths = ["info.state", "info.error", "info.result"]
        spec = collector.FilterSpec(
            objectSet=[collector.ObjectSpec(obj=task)], propSet=[collector.PropertySpec(type=vim.Task, pathSet=paths)]
        )
        while True:
            found = self.content.propertyCollector.RetrievePropertiesEx([spec], collector.RetrieveOptions()).objects[0]
            values = {prop.name: prop.val for prop in found.propSet}
            if values["info.state"] == "success":
                return values.get("info.result")
            if values["info.state"] == "error":
                raise values["info.error"]
            _sleep(0.005)

    def destroy(self, machine: Any) -> None:
        with contextlib.suppress(vim.fault.InvalidPowerState):
            self.do(machine.PowerOffVM_Task())
        # With a machine its tags go; the simulator keeps them.
        self.take_all(machine)
        self.do(machine.Destroy_Task())

    def take_all(self, machine: Any) -> None:
        """Take all tags from a machine."""
        thing = {"object_id": {"id": _id(machine), "type": "VirtualMachine"}}
        for tag in self.rest("GET", TAGS) or ():
            self.rest("POST", f"{ASSOCIATIONS}/id:{tag}?~action=detach", thing)

    def set(self, machine: Any, **options: str) -> None:
        """Set marks of a virtual machine, ``spec_hash`` for guestinfo.flotilla.spec-hash."""
        values = [vim.option.OptionValue(key=_PREFIX + key.replace("_", "-"), value=value) for key, value in options.items()]
        self.do(machine.ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=values)))


class VsphereEndpoint:
    """What is the same for whatever modules are tried on vSphere.

    A zone is a group of hosts of one compute cluster, so the rules are the same wherever machines are.

    :param machines: how many machines of others each of the two compute clusters has.
    """

    dialect = VsphereDialect()
    volatile_tags: tuple[str, ...] = ("flotilla-uid", "flotilla-host-key", "flotilla-id", "flotilla-name")
    zones: tuple[str, ...] = ("rack-1", "rack-2", "rack-3")

    def __init__(self, machines: int = 1) -> None:
        self._machines_each = machines
        self._front: tls.Front | None = None
        self._authority = Path()
        self.simulator: Simulator | None = None
        self._client: Client | None = None

    @contextlib.contextmanager
    def endpoint(self, clock: Clock, folder: Path) -> Iterator[Handler | str]:
        self._authority, own = tls.make_certificates(folder)
        self._front = tls.Front(own)
        self.simulator = Simulator(folder, cluster=2, host=3, vm=self._machines_each)
        self.simulator.start()
        try:
            yield self.simulator.url
        finally:
            self.simulator.stop()
            self._front.close()

    def environment(self, url: str) -> dict[str, str]:
        assert self._front
        self._front.to = urllib.parse.urlsplit(url).port or 0
        there = urllib.parse.urlsplit(self._front.url)
        # As AWX's credential type gives them.
        return {
            "VMWARE_HOST": str(there.hostname),
            "VMWARE_PORT": str(there.port),
            "VMWARE_USER": USER,
            "VMWARE_PASSWORD": PASSWORD,
            "VMWARE_VALIDATE_CERTS": "True",
            "SSL_CERT_FILE": str(self._authority),
        }

    @property
    def client(self) -> Client:
        assert self._client
        return self._client

    def prepare(self, url: str) -> None:
        assert self.simulator
        self.simulator.start()
        self._client = client = Client(url)
        for number, machine in enumerate(sorted(client.all(vim.VirtualMachine), key=lambda machine: machine.name)[:2]):
            client.do(machine.PowerOffVM_Task())
            client.do(machine.Rename_Task(IMAGES[number]))
            machine.MarkAsTemplate()
        compute = client.named(vim.ClusterComputeResource, COMPUTE)
        hosts = sorted(compute.host, key=lambda host: host._GetMoId())
        groups = [
            vim.cluster.GroupSpec(operation="add", info=vim.cluster.HostGroup(name=zone, host=[host]))
            for zone, host in zip(self.zones, hosts)
        ]
        client.do(compute.ReconfigureComputeResource_Task(vim.cluster.ConfigSpecEx(groupSpec=groups), True))
        # Somebody else's cluster, whose name begins like ours, a machine that nobody marked, and somebody's rule.
        theirs = [self._make(client, f"{CLUSTER}-2-{WORKERS}-{number}", cluster=f"{CLUSTER}-2", pool=WORKERS) for number in range(2)]
        self._make(client, "stranger")
        rule = vim.cluster.AntiAffinityRuleSpec(name=f"flotilla.{CLUSTER}-2.{WORKERS}", enabled=True, vm=theirs, userCreated=True)
        rules = [vim.cluster.RuleSpec(operation="add", info=rule)]
        client.do(compute.ReconfigureComputeResource_Task(vim.cluster.ConfigSpecEx(rulesSpec=rules), True))
        # A category of other people, whose tags are on their machines and may be on ours.
        client.make_category(THEIRS[0], THEIRS[1], "4712")
        client.give(theirs[0], *THEIRS)
        # Guests that have just started tell their addresses.
        _sleep(0.05)

    def _make(self, client: Client, name: str, **tags: str) -> Any:
        template = client.named(vim.VirtualMachine, IMAGES[0])
        compute = client.named(vim.ClusterComputeResource, COMPUTE)
        number = f"99999999-0000-4000-8000-{zlib.crc32(name.encode()):012d}"
        marks = {**tags, "name": name, "id": number, "uid": "0123456789abcdef", "zone": "rack-1"} if tags else {}
        options = [vim.option.OptionValue(key=_PREFIX + key, value=value) for key, value in marks.items()]
        config = vim.vm.ConfigSpec(instanceUuid=number, extraConfig=options)
        spec = vim.vm.CloneSpec(location=vim.vm.RelocateSpec(pool=compute.resourcePool), config=config, powerOn=True, template=False)
        return client.do(template.CloneVM_Task(folder=template.parent, name=name, spec=spec))

    def dump(self, url: str) -> list[Thing]:
        client = self.client
        things = self._machines(client)
        clusters = client.read(vim.ClusterComputeResource, ["name", "configurationEx"])
        for ref, values in clusters.items():
            for one in (*(values["configurationEx"].rule or ()), *(values["configurationEx"].group or ())):
                things.append(_rule(ref, one))
        for kind, title in ((vim.Folder, "folder"), (vim.ResourcePool, "resource pool"), (vim.Network, "network")):
            things += [
                Thing(title, _id(ref), attributes={"name": str(values["name"])}) for ref, values in client.read(kind, ["name"]).items()
            ]
        return things + self._files(client) + _tags(client)

    def _files(self, client: Client) -> list[Thing]:
        """Return the disks that lie on datastores, whoever uses them."""
        found = []
        for store in client.all(vim.Datastore):
            name = store.name
            query = vim.host.DatastoreBrowser.SearchSpec(matchPattern=["*.vmdk"])
            for folder in client.do(store.browser.SearchDatastoreSubFolders_Task(f"[{name}] ", query)) or ():
                found += [Thing("disk", f"{folder.folderPath}{file.path}", bare=True) for file in folder.file or ()]
        return found

    def _machines(self, client: Client) -> list[Thing]:
        paths = [
            *("name", "config.instanceUuid", "config.template", "config.hardware.numCPU", "config.hardware.memoryMB", "config.extraConfig"),
            *("config.hardware.device", "runtime.powerState", "runtime.host", "parent", "resourcePool"),
        ]
        things = []
        for values in client.read(vim.VirtualMachine, paths).values():
            options = {str(option.key): str(option.value) for option in values.get("config.extraConfig") or ()}
            tags = {f"flotilla-{key.removeprefix(_PREFIX)}": value for key, value in options.items() if key.startswith(_PREFIX)}
            devices = values["config.hardware.device"]
            attributes = {
                "template": bool(values["config.template"]),
                "cpus": int(values["config.hardware.numCPU"]),
                "memory": int(values["config.hardware.memoryMB"]),
                "state": str(values["runtime.powerState"]),
                "disks": [int(device.capacityInKB) for device in devices if isinstance(device, vim.vm.device.VirtualDisk)],
                "folder": _id(values["parent"]) if values.get("parent") else "",
                "pool": _id(values["resourcePool"]) if values.get("resourcePool") else "",
                # Where machines are follows from the way by which they came to be.
                "machine_zone": tags.pop("flotilla-zone", ""),
                "machine_subnet": _id(values["runtime.host"]) if values.get("runtime.host") else "",
            }
            things.append(Thing("machine", str(values["config.instanceUuid"]), tags.get("flotilla-cluster", ""), tags, attributes))
        return things

    def machines(self, things: list[Thing], cluster: str = CLUSTER) -> list[Machine]:
        mine = (thing for thing in things if thing.kind == "machine" and thing.owner == cluster)
        return [Machine(thing.id, thing.tags.get("flotilla-pool", ""), thing.attributes["machine_zone"]) for thing in mine]

    def limit(self, url: str, zones: dict[str, int]) -> None:
        assert self.simulator
        compute = self.client.named(vim.ClusterComputeResource, COMPUTE)
        hosts = dict(zip(self.zones, sorted(host._GetMoId() for host in compute.host)))
        self.simulator.put("capacity", {hosts[zone]: count for zone, count in zones.items()})
        # In bad times tasks fail, too, some of them when they are done.
        faults = [
            {"task": "CloneVm", "fault": "HostCommunication", "count": 1},
            {"task": "CloneVm", "fault": "Timedout", "count": 1, "after": True},
            {"task": "Destroy", "fault": "ResourceInUse", "count": 1},
            {"task": "PowerOff", "fault": "HostCommunication", "count": 1, "after": True},
            {"task": "ReconfigureCluster", "fault": "ConcurrentAccess", "count": 1},
        ]
        self.simulator.put("faults", faults if zones else [])

    def delete_machine(self, url: str, machine: Machine) -> None:
        self.client.destroy(self.client.machine(machine.id))

    def change_tag(self, url: str, machine: Machine) -> None:
        changed = self.client.machine(machine.id)
        self.client.set(changed, role="by-hand")
        # A tag of the vCenter, too, which is for people only.
        self.client.take_all(changed)

    def open_rule(self, url: str, things: list[Thing]) -> None:
        """There is no rule of a firewall here: somebody turns off the rule that keeps control planes apart."""
        compute = self.client.named(vim.ClusterComputeResource, COMPUTE)
        rule = next(rule for rule in compute.configurationEx.rule if rule.name == f"flotilla.{CLUSTER}.control-plane")
        rule.enabled = False
        spec = vim.cluster.ConfigSpecEx(rulesSpec=[vim.cluster.RuleSpec(operation="edit", info=rule)])
        self.client.do(compute.ReconfigureComputeResource_Task(spec, True))


def _id(ref: Any) -> str:
    return str(ref._GetMoId())


def _tags(client: Client) -> list[Thing]:
    """Return categories and tags, and what has one."""
    categories = [client.rest("GET", f"{CATEGORIES}/id:{number}") for number in client.rest("GET", CATEGORIES) or ()]
    things = [Thing("category", one["id"], attributes={"name": one["name"], "about": one.get("description", "")}) for one in categories]
    things += [Thing("tag", number, attributes={"name": tag["name"], "category": tag["category"]}) for number, tag in client.tags().items()]
    return things + [
        Thing("tag association", f"{number} {category} {name}", attributes={"tag": f"{category}: {name}"})
        for number, category, name in client.tagged()
    ]


def _rule(cluster: Any, one: Any) -> Thing:
    """Return a rule or a group of a compute cluster; how many machines of a group of a zone there are follows from where machines are."""
    members = [ref._GetMoId() for ref in getattr(one, "vm", None) or ()]
    attributes: dict[str, Any] = {"kind": type(one).__name__}
    if isinstance(one, vim.cluster.AntiAffinityRuleSpec):
        attributes |= {"machines": len(members), "enabled": bool(one.enabled), "mandatory": bool(one.mandatory)}
    elif isinstance(one, vim.cluster.VmHostRuleInfo):
        attributes |= {"hosts": str(one.affineHostGroupName), "machines": str(one.vmGroupName), "enabled": bool(one.enabled)}
    else:
        attributes["machine_zone"] = len(members)
    owner = CLUSTER if one.name.startswith(f"flotilla.{CLUSTER}.") else ""
    return Thing("rule" if hasattr(one, "enabled") else "group", f"{_id(cluster)} {one.name}", owner, attributes=attributes)
