# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a kind of thing demands beyond its schema, and what Compute Engine adds to it. Called with the lock of the world held."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from clouds.gcp.schema import Refusal

if TYPE_CHECKING:
    from clouds.gcp.world import World

Body = dict[str, Any]
ROOT = "https://www.googleapis.com/compute/v1/"
NAME = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
LABEL_KEY, LABEL_VALUE = re.compile(r"[a-z][-_a-z0-9]{0,62}"), re.compile(r"[-_a-z0-9]{0,63}")
DISK_TYPES = ("pd-standard", "pd-balanced", "pd-ssd", "hyperdisk-balanced")
# Whence Google checks the health of backends: https://cloud.google.com/load-balancing/docs/health-check-concepts#ip-ranges
PROBES = {
    "INTERNAL": ("35.191.0.0/16", "130.211.0.0/22"),
    "EXTERNAL": ("35.191.0.0/16", "209.85.152.0/22", "209.85.204.0/22"),
}
# collection -> paths to the fields that name other things
REFERENCES: dict[str, tuple[tuple[str, ...], ...]] = {
    "addresses": (("subnetwork",),),
    "backendServices": (("healthChecks",), ("backends", "group"), ("network",)),
    "firewalls": (("network",),),
    "forwardingRules": (("backendService",), ("subnetwork",), ("network",), ("_address",)),
    "instanceGroups": (("network",), ("_members",)),
    "instances": (("networkInterfaces", "subnetwork"), ("networkInterfaces", "network"), ("disks", "source")),
    "routers": (("network",), ("nats", "natIps"), ("nats", "subnetworks", "name")),
    "subnetworks": (("network",),),
}


def invalid(field: str, value: Any, why: str) -> Refusal:
    return Refusal(400, "invalid", f"Invalid value for field 'resource.{field}': '{value}'. {why}")


def collection_of(key: str) -> str:
    return key.split("/")[-2]


def short(link: str) -> str:
    return link.rsplit("/", 1)[-1]


def region_of(zone: str) -> str:
    return zone.rsplit("-", 1)[0]


def key_of(link: str, project: str) -> str:
    """Return the key of what a full or partial URL names."""
    path = re.sub(r"^https?://[^/]+/compute/(v1|beta)/", "", link)
    return path if path.startswith("projects/") else f"projects/{project}/{path}"


def named(body: Any, path: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    """Yield holder and key of every value at a path."""
    if not path or not isinstance(body, dict) or body.get(path[0]) in (None, ""):
        return
    value = body[path[0]]
    if isinstance(value, list):
        for number, item in enumerate(value):
            if len(path) == 1:
                yield value, number
            else:
                yield from named(item, path[1:])
    elif len(path) == 1:
        yield body, path[0]
    else:
        yield from named(value, path[1:])


def references(key: str, body: Body) -> set[str]:
    """Return the keys of what a thing uses."""
    project = key.split("/")[1]
    return {key_of(str(holder[at]), project) for path in REFERENCES.get(collection_of(key), ()) for holder, at in named(body, path)}


def check_labels(labels: dict[str, str]) -> None:
    for name, value in labels.items():
        if not LABEL_KEY.fullmatch(name):
            raise invalid("labels", name, "Label keys are lower case letters, digits, '-' and '_', and begin with a letter.")
        if not LABEL_VALUE.fullmatch(value):
            raise invalid("labels", value, "Label values are at most 63 lower case letters, digits, '-' and '_'.")
    if len(labels) > 64:
        raise invalid("labels", len(labels), "At most 64 labels.")


def _network(text: str, field: str) -> ipaddress.IPv4Network:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError as error:
        raise invalid(field, text, f"Must be a CIDR address range: {error}") from error


def _subnetworks(world: World, key: str, body: Body) -> None:
    ranges = [_network(body["ipCidrRange"], "ipCidrRange")]
    if not 4 <= ranges[0].prefixlen <= 29:
        raise invalid("ipCidrRange", body["ipCidrRange"], "Must be between /4 and /29.")
    ranges += [_network(item.get("ipCidrRange", ""), "secondaryIpRanges") for item in body.get("secondaryIpRanges", ())]
    for number, one in enumerate(ranges):
        for other in ranges[:number]:
            if one.overlaps(other):
                raise invalid("secondaryIpRanges", one, f"It overlaps {other}.")
    for other_key, other in world.of("subnetworks"):
        if other_key != key and other["network"] == body["network"]:
            taken = [other["ipCidrRange"], *(item["ipCidrRange"] for item in other.get("secondaryIpRanges", ()))]
            for cidr in taken:
                if any(one.overlaps(ipaddress.IPv4Network(cidr)) for one in ranges):
                    raise invalid("ipCidrRange", body["ipCidrRange"], f"Invalid IPCidrRange: it conflicts with {cidr} of {other['name']}.")
    body.setdefault("privateIpGoogleAccess", False)
    body.setdefault("purpose", "PRIVATE")
    body.setdefault("stackType", "IPV4_ONLY")
    body["gatewayAddress"] = str(ranges[0][1])


def _networks(world: World, key: str, body: Body) -> None:
    if body.get("autoCreateSubnetworks") is not False:
        raise invalid("autoCreateSubnetworks", body.get("autoCreateSubnetworks"), "This endpoint makes networks of custom mode only.")
    body.setdefault("routingConfig", {"routingMode": "REGIONAL"})
    body.setdefault("mtu", 1460)


def _firewalls(world: World, key: str, body: Body) -> None:
    direction = body.setdefault("direction", "INGRESS")
    body.setdefault("priority", 1000)
    body.setdefault("disabled", False)
    body.setdefault("logConfig", {"enable": False})
    if bool(body.get("allowed")) == bool(body.get("denied")):
        raise invalid("allowed", body.get("allowed"), "Exactly one of allowed and denied has to be there.")
    for item in body.get("allowed") or body.get("denied") or ():
        protocol = str(item.get("IPProtocol", ""))
        if protocol not in ("tcp", "udp", "icmp", "esp", "ah", "sctp", "ipip", "all") and not re.fullmatch(r"\d{1,3}", protocol):
            raise invalid("allowed[].IPProtocol", protocol, "Unknown protocol.")
        for ports in item.get("ports", ()):
            if protocol not in ("tcp", "udp", "sctp", "6", "17", "132"):
                raise invalid("allowed[].ports", ports, "Ports are for TCP, UDP and SCTP only.")
            if not re.fullmatch(r"\d{1,5}(-\d{1,5})?", ports):
                raise invalid("allowed[].ports", ports, "Must be a port or a range of ports.")
    sources = ("sourceRanges", "sourceTags", "sourceServiceAccounts")
    if direction == "INGRESS":
        if body.get("destinationRanges"):
            raise invalid("destinationRanges", body["destinationRanges"], "This endpoint takes them for EGRESS only.")
        if not any(body.get(name) for name in sources):
            body["sourceRanges"] = ["0.0.0.0/0"]
    elif any(body.get(name) for name in sources):
        raise invalid("direction", direction, "Sources are for INGRESS only.")
    for cidr in (*body.get("sourceRanges", ()), *body.get("destinationRanges", ())):
        _network(cidr, "sourceRanges")
    tags, accounts = ("sourceTags", "targetTags"), ("sourceServiceAccounts", "targetServiceAccounts")
    if any(body.get(name) for name in tags) and any(body.get(name) for name in accounts):
        raise invalid("targetTags", body.get("targetTags"), "Tags and service accounts can not be mixed.")
    for name in tags:
        for tag in body.get(name, ()):
            if not NAME.fullmatch(tag):
                raise invalid(name, tag, "Must be a match of RFC1035.")


def _routers(world: World, key: str, body: Body) -> None:
    for nat in body.get("nats", ()):
        if (nat.get("natIpAllocateOption") == "MANUAL_ONLY") != bool(nat.get("natIps")):
            raise invalid("nats[].natIps", nat.get("natIps"), "Addresses go with MANUAL_ONLY, and only with it.")
        if nat.get("sourceSubnetworkIpRangesToNat") == "LIST_OF_SUBNETWORKS" and not nat.get("subnetworks"):
            raise invalid("nats[].subnetworks", "", "LIST_OF_SUBNETWORKS needs subnetworks.")
        for link in nat.get("natIps", ()):
            address = world.body(key_of(link, key.split("/")[1]))
            if address.get("addressType") != "EXTERNAL":
                raise invalid("nats[].natIps", link, "Must be an external address.")
        if nat.get("enableDynamicPortAllocation") and nat.get("enableEndpointIndependentMapping"):
            raise invalid("nats[].enableDynamicPortAllocation", True, "It does not go with endpoint independent mapping.")
        for name in ("minPortsPerVm", "maxPortsPerVm"):
            ports = int(nat.get(name, 64))
            if nat.get("enableDynamicPortAllocation") and ports & (ports - 1):
                raise invalid(f"nats[].{name}", ports, "Must be a power of two.")


def _addresses(world: World, key: str, body: Body) -> None:
    kind = body.setdefault("addressType", "EXTERNAL")
    body["status"] = "RESERVED"
    if kind == "INTERNAL":
        if not body.get("subnetwork"):
            raise invalid("subnetwork", "", "An internal address needs a subnetwork.")
        body.setdefault("purpose", "GCE_ENDPOINT")
        body["address"] = world.internal_address(body["subnetwork"], body.get("address"))
    else:
        if body.get("address") or body.get("subnetwork"):
            raise invalid("address", body.get("address"), "An external address can not be chosen.")
        body.setdefault("networkTier", "PREMIUM")
        body["address"] = world.external_address()


def _health_checks(world: World, key: str, body: Body) -> None:
    parts = {"TCP": "tcp", "SSL": "ssl", "HTTP": "http", "HTTPS": "https", "HTTP2": "http2", "GRPC": "grpc"}
    own = f"{parts[body['type']]}HealthCheck"
    if body["type"] == "HTTPS" and "httpsHealthCheck" not in body:
        body["httpsHealthCheck"] = {"port": 443, "requestPath": "/"}
    for name in (f"{part}HealthCheck" for part in parts.values()):
        if name in body and name != own:
            raise invalid(name, body["type"], "It is of another type.")
    for name, value in (("checkIntervalSec", 5), ("timeoutSec", 5), ("healthyThreshold", 2), ("unhealthyThreshold", 2)):
        body.setdefault(name, value)
    if int(body["timeoutSec"]) > int(body["checkIntervalSec"]):
        raise invalid("timeoutSec", body["timeoutSec"], "It can not be longer than checkIntervalSec.")


def _backend_services(world: World, key: str, body: Body) -> None:
    if body["loadBalancingScheme"] not in ("INTERNAL", "EXTERNAL"):
        raise invalid("loadBalancingScheme", body["loadBalancingScheme"], "This endpoint has passthrough load balancers only.")
    if body.get("protocol") not in ("TCP", "UDP", "UNSPECIFIED"):
        raise invalid("protocol", body.get("protocol"), "A passthrough load balancer forwards TCP or UDP.")
    if len(body.get("healthChecks", ())) != 1:
        raise invalid("healthChecks", body.get("healthChecks"), "Exactly one health check.")
    for backend in body.get("backends", ()):
        if backend.setdefault("balancingMode", "CONNECTION") != "CONNECTION":
            raise invalid("backends[].balancingMode", backend["balancingMode"], "Passthrough load balancers balance connections.")
        for name in backend:
            if name not in ("group", "balancingMode", "description", "failover"):
                raise invalid(f"backends[].{name}", backend[name], "It is not for passthrough load balancers.")
    body.setdefault("sessionAffinity", "NONE")
    body.setdefault("connectionDraining", {"drainingTimeoutSec": 0})


def _forwarding_rules(world: World, key: str, body: Body) -> None:
    project, scheme = key.split("/")[1], body["loadBalancingScheme"]
    service = world.body(key_of(body.get("backendService", ""), project)) if body.get("backendService") else None
    if service is None:
        raise invalid("backendService", "", "This endpoint forwards to backend services only.")
    if service["loadBalancingScheme"] != scheme:
        raise invalid("loadBalancingScheme", scheme, f"The backend service is {service['loadBalancingScheme']}.")
    if body.get("IPProtocol") != service["protocol"]:
        raise invalid("IPProtocol", body.get("IPProtocol"), f"The backend service takes {service['protocol']}.")
    ports = [bool(body.get(name)) for name in ("ports", "portRange", "allPorts")]
    if sum(ports) != 1 or (scheme == "INTERNAL" and body.get("portRange")) or len(body.get("ports", ())) > 5:
        raise invalid("ports", body.get("ports"), "At most five ports, or all.")
    if scheme == "INTERNAL" and not body.get("subnetwork"):
        raise invalid("subnetwork", "", "An internal forwarding rule needs its subnetwork.")
    if scheme == "EXTERNAL" and (body.get("subnetwork") or body.get("network") or body.get("allowGlobalAccess")):
        raise invalid("subnetwork", body.get("subnetwork"), "It is for internal forwarding rules.")
    if scheme == "INTERNAL":
        body["network"] = world.body(key_of(body["subnetwork"], project))["network"]
    wanted, address = body.get("IPAddress"), None
    for other_key, other in world.of("addresses"):
        if wanted and (key_of(wanted, project) == other_key or wanted == other["address"]):
            address = (other_key, other)
    if address and address[1]["addressType"] != scheme:
        raise invalid("IPAddress", wanted, f"The address is {address[1]['addressType']}.")
    if address:
        body["IPAddress"], body["_address"] = address[1]["address"], ROOT + address[0]
        for _other_key, other in world.of("forwardingRules"):
            if other["IPAddress"] == body["IPAddress"] and set(other.get("ports", ())) & set(body.get("ports", ())):
                raise invalid("IPAddress", wanted, "Specified IP address is in-use and would result in a conflict.")
    elif wanted and scheme == "EXTERNAL":
        raise invalid("IPAddress", wanted, "No such address is reserved.")
    else:
        body["IPAddress"] = world.internal_address(body["subnetwork"], wanted) if scheme == "INTERNAL" else world.external_address()


def _instance_groups(world: World, key: str, body: Body) -> None:
    body["size"] = 0
    body["_members"] = []


def instance(world: World, project: str, zone: str, properties: Body, bulk: bool) -> Body:
    """Return a machine as Google fills it in, from what insert or bulkInsert takes."""
    body = {**properties, "zone": f"{ROOT}projects/{project}/zones/{zone}"}
    kind = str(body["machineType"])
    if bulk and "/" in kind:
        raise invalid("instanceProperties.machineType", kind, "It is the name of a machine type, and no URL.")
    if not bulk and f"zones/{zone}/machineTypes/" not in kind:
        raise invalid("machineType", kind, f"The URL of a machine type in {zone}.")
    if short(kind) not in world.machine_types(zone):
        raise invalid("machineType", kind, f"Machine type with name '{short(kind)}' does not exist in zone '{zone}'.")
    body["machineType"] = f"{body['zone']}/machineTypes/{short(kind)}"
    check_labels(body.get("labels", {}))
    for tag in (body.get("tags") or {}).get("items", ()):
        if not NAME.fullmatch(tag):
            raise invalid("tags.items", tag, "Must be a match of RFC1035.")
    metadata(body.get("metadata") or {})
    scheduling = body.setdefault("scheduling", {})
    if scheduling.get("provisioningModel") == "SPOT" or scheduling.get("preemptible"):
        if scheduling.get("automaticRestart") is not False or scheduling.get("onHostMaintenance", "TERMINATE") != "TERMINATE":
            raise invalid("scheduling", scheduling, "Spot machines are not restarted and not migrated.")
    elif scheduling.get("instanceTerminationAction"):
        raise invalid("scheduling.instanceTerminationAction", scheduling, "You cannot specify a termination action for a VM instance that "
                      "has the standard provisioning model.")  # fmt: skip
    if len(body.get("serviceAccounts", ())) > 1:
        raise invalid("serviceAccounts", len(body["serviceAccounts"]), "At most one service account.")
    for account in body.get("serviceAccounts", ()):
        if not re.fullmatch(r"default|[^@\s]+@[^@\s]+\.[a-z]+", account.get("email", "")) or not account.get("scopes"):
            raise invalid("serviceAccounts", account, "An account needs its e-mail address and scopes.")
    _interfaces(world, project, zone, body)
    _disks(world, project, zone, body, bulk)
    body["status"] = "PROVISIONING"
    return body


def metadata(body: Body) -> None:
    keys = [item.get("key", "") for item in body.get("items", ())]
    for key in keys:
        if not re.fullmatch(r"[a-zA-Z0-9_-]{1,128}", key) or keys.count(key) > 1:
            raise invalid("metadata.items", key, "Keys are letters, digits, '-' and '_', each of them once.")
    if sum(len(item.get("value", "")) for item in body.get("items", ())) > 512 * 1024:
        raise invalid("metadata.items", "...", "Metadata is at most 512 KB.")


def _interfaces(world: World, project: str, zone: str, body: Body) -> None:
    for interface in body["networkInterfaces"]:
        if not interface.get("subnetwork"):
            raise invalid("networkInterfaces[].subnetwork", "", "A network of custom mode needs a subnetwork.")
        key = key_of(interface["subnetwork"], project)
        subnet = world.body(key)
        if f"/regions/{region_of(zone)}/" not in key:
            raise invalid("networkInterfaces[].subnetwork", key, f"It is not in the region of {zone}.")
        interface["subnetwork"], interface["network"] = ROOT + key, subnet["network"]
        interface["name"] = "nic0"
        for access in interface.get("accessConfigs", ()):
            if access.setdefault("type", "ONE_TO_ONE_NAT") != "ONE_TO_ONE_NAT":
                raise invalid("networkInterfaces[].accessConfigs[].type", access["type"], "Must be ONE_TO_ONE_NAT.")
            access.setdefault("name", "external-nat")


def _disks(world: World, project: str, zone: str, body: Body, bulk: bool) -> None:
    disks = body["disks"]
    if sum(bool(disk.get("boot")) for disk in disks) != 1 or not disks[0].get("boot"):
        raise invalid("disks", len(disks), "The first disk, and no other one, is to boot from.")
    for disk in disks:
        wanted = disk.get("initializeParams")
        if wanted is None or disk.get("source"):
            raise invalid("disks[].initializeParams", wanted, "This endpoint makes disks together with their machine only.")
        if wanted.get("diskName"):
            raise invalid("disks[].initializeParams.diskName", wanted["diskName"], "This endpoint names disks after their machine.")
        kind = str(wanted.get("diskType") or "pd-standard")
        if short(kind) not in DISK_TYPES or (bulk and "/" in kind) or (not bulk and wanted.get("diskType") and f"/{zone}/" not in kind):
            raise invalid("disks[].initializeParams.diskType", kind, "Must be a type of disk in this zone.")
        check_labels(wanted.get("labels", {}))
        image = world.image(str(wanted.get("sourceImage") or ""), project) if disk.get("boot") else None
        size = int(wanted.get("diskSizeGb") or (image or {}).get("diskSizeGb") or 500)
        if image and size < int(image["diskSizeGb"]):
            raise invalid("disks[].initializeParams.diskSizeGb", size, f"It is smaller than the image ({image['diskSizeGb']} GB).")
        if image and image["architecture"] != world.machine_types(zone)[short(body["machineType"])]["architecture"]:
            raise invalid("disks[].initializeParams.sourceImage", image["name"], f"The image is for {image['architecture']}.")
        disk["_make"] = {
            "sizeGb": str(size),
            "type": f"{body['zone']}/diskTypes/{short(kind)}",
            "labels": wanted.get("labels", {}),
            **({"sourceImage": image["selfLink"]} if image else {}),
            **({"diskEncryptionKey": disk["diskEncryptionKey"]} if disk.get("diskEncryptionKey") else {}),
        }


def opens(firewall: Body, network: str, tags: set[str], cidr: str, port: int) -> bool:
    """Tell whether a firewall rule lets TCP from a network through to machines with these tags."""
    if firewall["network"] != network or firewall["direction"] != "INGRESS" or firewall["disabled"] or not firewall.get("allowed"):
        return False
    if firewall.get("targetTags") and not tags & set(firewall["targetTags"]):
        return False
    source = ipaddress.IPv4Network(cidr)
    if not any(source.subnet_of(ipaddress.IPv4Network(other)) for other in firewall.get("sourceRanges", ())):
        return False
    for item in firewall["allowed"]:
        ranges = [text.split("-") for text in item.get("ports", ())] or [["0", "65535"]]
        if item["IPProtocol"] in ("tcp", "all", "6") and any(int(ends[0]) <= port <= int(ends[-1]) for ends in ranges):
            return True
    return False


RULES: dict[str, Callable[[World, str, Body], None]] = {
    "addresses": _addresses,
    "backendServices": _backend_services,
    "firewalls": _firewalls,
    "forwardingRules": _forwarding_rules,
    "healthChecks": _health_checks,
    "instanceGroups": _instance_groups,
    "networks": _networks,
    "routers": _routers,
    "subnetworks": _subnetworks,
}
# What a patch can not change.
FIXED = {
    "backendServices": ("loadBalancingScheme", "network"),
    "firewalls": ("network", "direction"),
    "healthChecks": (),
    "routers": ("network",),
    "subnetworks": ("network", "ipCidrRange", "purpose"),
    "networks": ("autoCreateSubnetworks", "mtu", "description"),
    "forwardingRules": ("IPAddress", "IPProtocol", "backendService", "ports", "loadBalancingScheme", "subnetwork", "network"),
}
# Kinds whose patch has to show the fingerprint of what it changes.
GUARDED = ("backendServices", "subnetworks")
