# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules between the fields of a definition, checked before any API call (private to flotilla.kubernetes).

Each rule gets the definition with defaults, from which invalid values were taken out, and reports through a `Report`.
A rule that concerns a value that the schema refused already stays silent.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.addons_rules import addons
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.aws_rules import aws, vpc_room
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.azure_rules import azure, vnet_room
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.backup_rules import backup_store
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.endpoint_rules import api_endpoint, existing_machines
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import Problem, path_text, short
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.gcp_rules import gcp, subnet_room
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.hosts import group_name
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.made_rules import MADE, images, only_with_made_machines
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.network_plugin_rules import network_plugin
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.nsx_rules import nsx, segment_room
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.policies_rules import policies
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema import CLOUDS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.tree import Node
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.vsphere_rules import vsphere
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import tables
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.network_plugins.table import NONE, PLUGINS

NODE_MASK = 24  # default of kube-controller-manager --node-cidr-mask-size-ipv4
LOCAL_FIRST_HOST = 10  # first machine address in the network of the cloud `local`; gateway, services and balancer stand below it

# kube-apiserver, cmd/kube-apiserver/app/options/validation.go: maxCIDRBits = 20
SERVICE_MAX_HOST_BITS = 20
# kubeadm, MinimumAddressesInServiceSubnet = 10: cluster DNS takes the tenth address
SERVICE_MIN_HOST_BITS = 4
# kubeadm, PodSubnetNodeMaskMaxDiff = 16
POD_MAX_NODE_BITS = 16

# Flags that a definition sets in a place of its own. Those of OpenID Connect end an API server that reads its issuers from a file.
_FLAG_PLACES = {
    "admission-control-config-file": "security.pod_security",
    "audit-log-maxage": "security.audit.max_age_days",
    "audit-log-maxbackup": "security.audit.max_backups",
    "audit-log-maxsize": "security.audit.max_size_mib",
    "audit-webhook-batch-max-wait": "security.audit.webhook.max_delay",
    "audit-webhook-config-file": "security.audit.webhook",
    "audit-webhook-initial-backoff": "security.audit.webhook.initial_backoff",
    "authentication-config": "authentication.oidc",
    "cluster-cidr": "network.pod_cidrs",
    "encryption-provider-config": "security.encryption_at_rest",
    "service-cluster-ip-range": "network.service_cidrs",
    "tls-min-version": "security.tls_min_version",
    **{
        f"oidc-{name}": "authentication.oidc"
        for name in (
            "ca-file",
            "client-id",
            "groups-claim",
            "groups-prefix",
            "issuer-url",
            "required-claim",
            "signing-algs",
            "username-claim",
            "username-prefix",
        )
    },
}

_UNUSABLE = [
    ipaddress.ip_network(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/127", "fe80::/10", "ff00::/8")
]

# kubelet refuses to start with other labels of these domains, k8s.io/kubernetes/pkg/kubelet/apis/well_known_labels.go
_KUBELET_LABEL_DOMAINS = ("kubelet.kubernetes.io", "node.kubernetes.io")


class Report:
    """Collects the problems of rules, unless a value that they speak of is invalid anyway."""

    def __init__(self, root: Node, invalid: list[tuple[str | int, ...]]) -> None:
        self.root = root
        self.invalid = invalid
        self.problems: list[Problem] = []

    def __call__(self, path: tuple[str | int, ...], message: str, allowed: str = "", suggestion: str = "", about: Any = ()) -> None:
        """Report a problem at ``path``; ``about`` lists further paths that the rule looked at."""
        for bad in self.invalid:
            if path[: len(bad)] == bad:
                return
            for other in about:
                shared = min(len(bad), len(other))
                if bad[:shared] == other[:shared]:
                    return
        node = self.root.nearest(path)
        self.problems.append(Problem(node.file, node.line, path_text(path), message, short(node.text), allowed, suggestion))


def check(root: Node, data: dict[str, Any], invalid: list[tuple[str | int, ...]]) -> list[Problem]:
    """Apply every rule to one definition.

    :param root: the merged tree, for file and line.
    :param data: the merged definition with defaults; invalid values are taken out, invalid list items are None.
    :param invalid: paths of what was taken out.
    """
    report = Report(root, invalid)
    for rule in RULES:
        rule(data, report)
    return report.problems


def _pools(data: dict[str, Any]) -> Iterator[tuple[int, dict[str, Any]]]:
    return ((index, pool) for index, pool in enumerate(data.get("pools", [])) if pool is not None)


def _groups(data: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], dict[str, Any]]]:
    """Yield path and content of the control plane and of every pool."""
    if "control_plane" in data:
        yield ("control_plane",), data["control_plane"]
    for index, pool in _pools(data):
        yield ("pools", index), pool


def _machine_count(data: dict[str, Any]) -> int:
    return sum(group.get("count", 0) for _path, group in _groups(data))


def _number(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def pool_names(data: dict[str, Any], report: Report) -> None:
    """Pool names are unique, and the control plane's own name is taken."""
    seen: dict[str, int] = {}
    for index, pool in _pools(data):
        name = pool.get("name")
        if name == "control-plane":
            report(("pools", index, "name"), "is control-plane, the name of the control plane's own machines; choose another name.")
        elif name in seen:
            line = report.root.nearest(("pools", seen[name], "name")).line
            report(("pools", index, "name"), f"is {name}, as is the pool in line {line}; pool names are unique.")
        elif name is not None:
            seen[name] = index


def checks(data: dict[str, Any], report: Report) -> None:
    """A check is of one kind, and its name says which one failed."""
    seen: dict[str, int] = {}
    for index, one in enumerate(data.get("checks", [])):
        if one is None:
            continue
        kinds = [kind for kind in ("http", "promql", "command") if kind in one]
        if len(kinds) != 1:
            report(("checks", index), f"has {' and '.join(kinds) or 'nothing to ask'}; a check is one of http, promql and command.")
        name = one.get("name")
        if name in seen:
            line = report.root.nearest(("checks", seen[name], "name")).line
            report(("checks", index, "name"), f"is {name}, as is the check in line {line}; names of checks are unique.")
        elif name is not None:
            seen[name] = index


def rollouts(data: dict[str, Any], report: Report) -> None:
    """Machines are replaced only where a cloud makes them, and a successor is made before a machine leaves."""
    for index, pool in _pools(data):
        path = ("pools", index, "rollout")
        rollout = pool.get("rollout", {})
        strategy, surge = rollout.get("strategy"), rollout.get("max_surge")
        if strategy == "replace" and data.get("cloud") == "existing":
            report(
                (*path, "strategy"),
                "is replace, but with cloud: existing nobody makes machines; write in_place.",
                "in_place",
                about=[("cloud",)],
            )
        if strategy == "replace" and surge == 0:
            report((*path, "max_surge"), "is 0, but with strategy: replace a successor joins before a machine leaves; write 1 or more.")
        if strategy == "in_place" and surge:
            about = [(*path, "strategy")]
            report((*path, "max_surge"), "has no effect with strategy: in_place; remove it, or write strategy: replace.", about=about)


def cloud_sections(data: dict[str, Any], report: Report) -> None:
    """Only the section of the cluster's own cloud is there, and it is there when it has to be."""
    cloud = data.get("cloud")
    if cloud is None:
        return
    for other in CLOUDS:
        if other != cloud and other in data:
            report(
                (other,),
                f"is the section of another cloud; the cluster has cloud: {cloud}. Remove the section or change cloud.",
                about=[("cloud",)],
            )
    if cloud == "local" and "local" not in data:
        report(("local", "network_cidr"), "is missing: IPv4 network of the machines, such as 172.30.86.0/24.", about=[("local",)])
    if cloud == "existing" and "existing" not in data:
        report(("existing", "machines"), "is missing: the machines that you have.", about=[("existing",)])
    if cloud == "aws" and "aws" not in data:
        report(("aws", "region"), "is missing: the region of the machines, such as eu-west-1.", about=[("aws",)])
    if cloud == "azure" and "azure" not in data:
        report(("azure", "location"), "is missing: the location of the machines, such as westeurope.", about=[("azure",)])
    if cloud == "gcp" and "gcp" not in data:
        report(("gcp", "project"), "is missing: the project of the machines, such as payments-production.", about=[("gcp",)])
    if cloud == "vsphere" and "vsphere" not in data:
        report(("vsphere", "datacenter"), "is missing: the datacenter of the machines, such as dc-1.", about=[("vsphere",)])


def unsized_machines(data: dict[str, Any], report: Report) -> None:
    """Machines that are containers or exist already are given neither size nor disk."""
    cloud = data.get("cloud")
    if cloud not in ("local", "existing"):
        return
    for path, group in _groups(data):
        for key in group.get("machine", {}):
            report((*path, "machine", key), f"machines of the cloud {cloud} have no such setting; remove it.", about=[("cloud",)])


def cidrs(data: dict[str, Any], report: Report) -> None:
    """Networks are valid, canonical, usable and do not overlap."""
    networks: list[tuple[tuple[str | int, ...], Any]] = []
    for path, text in _cidr_values(data):
        network = _network(path, text, report)
        if network is None:
            continue
        for other_path, other in networks:
            if network.version == other.version and network.overlaps(other):
                report(
                    path,
                    f"is {network} and overlaps with {path_text(other_path)} ({other}); choose networks that have no address in common.",
                    about=[other_path],
                )
        for unusable in _UNUSABLE:
            if network.version == unusable.version and network.overlaps(unusable):
                report(
                    path, f"is {network}, which overlaps with the reserved range {unusable}; choose a private network such as 10.0.0.0/8."
                )
        networks.append((path, network))
    for path, network in networks:
        if path[:2] == ("network", "pod_cidrs"):
            _pod_cidr(path, network, data, report)
        elif path[:2] == ("network", "service_cidrs"):
            _service_cidr(path, network, report)
        elif path[0] == "local":
            _local_cidr(path, network, data, report)
        elif path[0] == "aws":
            _vpc_cidr(path, network, data, report)
        elif path[0] == "azure":
            vnet_room(path, network, data, report)
        elif path == ("gcp", "subnet_cidr"):
            subnet_room(path, network, data, report)
        elif path[0] == "nsx":
            segment_room(path, network, data, report)
    _families(dict(networks), data, report)


def _cidr_values(data: dict[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    network = data.get("network", {})
    for key in ("pod_cidrs", "service_cidrs"):
        for index, text in enumerate(network.get(key, [])):
            if text is not None:
                yield ("network", key, index), text
    if data.get("cloud") == "local" and "network_cidr" in data.get("local", {}):
        yield ("local", "network_cidr"), data["local"]["network_cidr"]
    if data.get("cloud") == "aws" and "vpc_cidr" in data.get("aws", {}):
        yield ("aws", "vpc_cidr"), data["aws"]["vpc_cidr"]
    if data.get("cloud") == "azure" and "vnet_cidr" in data.get("azure", {}):
        yield ("azure", "vnet_cidr"), data["azure"]["vnet_cidr"]
    for role, segment in data.get("nsx", {}).get("segments", {}).items():
        if "cidr" in segment:
            yield ("nsx", "segments", role, "cidr"), segment["cidr"]
    if data.get("cloud") == "gcp":
        section = data.get("gcp", {})
        if "subnet_cidr" in section:
            yield ("gcp", "subnet_cidr"), section["subnet_cidr"]
        for name, text in section.get("secondary_ranges", {}).items():
            if text is not None:
                yield ("gcp", "secondary_ranges", name), text
    if data.get("cloud") == "vsphere" and data.get("vsphere", {}).get("addresses", {}).get("cidr"):
        yield ("vsphere", "addresses", "cidr"), data["vsphere"]["addresses"]["cidr"]


def _network(path: tuple[str | int, ...], text: str, report: Report) -> Any:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        report(path, f"is {short(text)}; must be a network such as 10.244.0.0/16.", "a network such as 10.244.0.0/16")
        return None
    if str(network) != text.lower():
        report(path, f"is {short(text)}, which is not how the network is written; write {network}.", str(network), str(network))
    return network


def _pod_cidr(path: tuple[str | int, ...], network: Any, data: dict[str, Any], report: Report) -> None:
    if network.version != 4:
        return
    if network.prefixlen > NODE_MASK:
        report(
            path, f"is {network}, smaller than the /{NODE_MASK} that each node takes; choose a larger network.", f"/{NODE_MASK} or larger"
        )
        return
    if NODE_MASK - network.prefixlen > POD_MAX_NODE_BITS:
        largest = NODE_MASK - POD_MAX_NODE_BITS
        report(path, f"is {network}, larger than kubeadm takes; choose a network of /{largest} or smaller.", f"/{largest} or smaller")
    room, nodes = 2 ** (NODE_MASK - network.prefixlen), _machine_count(data)
    if nodes > room:
        prefix = NODE_MASK - (nodes - 1).bit_length()
        report(
            path,
            f"is {network} and has room for {_number(room, 'node')} (a /{NODE_MASK} each), but the cluster has {nodes}; "
            f"choose a /{prefix} or larger.",
            f"/{prefix} or larger",
            about=[("control_plane",), ("pools",)],
        )


def _service_cidr(path: tuple[str | int, ...], network: Any, report: Report) -> None:
    host_bits = network.max_prefixlen - network.prefixlen
    largest, smallest = network.max_prefixlen - SERVICE_MAX_HOST_BITS, network.max_prefixlen - SERVICE_MIN_HOST_BITS
    if not SERVICE_MIN_HOST_BITS <= host_bits <= SERVICE_MAX_HOST_BITS:
        what = "larger than kube-apiserver takes" if host_bits > SERVICE_MAX_HOST_BITS else "too small for kubeadm"
        report(path, f"is {network}, {what}; choose a network between /{largest} and /{smallest}.", f"/{largest} to /{smallest}")


def _local_cidr(path: tuple[str | int, ...], network: Any, data: dict[str, Any], report: Report) -> None:
    if network.version != 4 or not 16 <= network.prefixlen <= 28:
        report(path, f"is {network}; must be an IPv4 network between /16 and /28.", "an IPv4 network between /16 and /28")
        return
    room, machines = network.num_addresses - 1 - LOCAL_FIRST_HOST, _machine_count(data)
    if machines > room:
        report(
            path,
            f"is {network} and has room for {_number(room, 'machine')} (from .{LOCAL_FIRST_HOST} up), but the cluster has {machines}; "
            "choose a larger network.",
            about=[("control_plane",), ("pools",)],
        )


def _vpc_cidr(path: tuple[str | int, ...], network: Any, data: dict[str, Any], report: Report) -> None:
    if network.version != 4 or not 16 <= network.prefixlen <= 22:
        report(path, f"is {network}; must be an IPv4 network between /16 and /22.", "an IPv4 network between /16 and /22")
        return
    vpc_room(path, network, data, report)


def allowed_networks(data: dict[str, Any], report: Report) -> None:
    """Networks that may reach something are networks; that they overlap with others does no harm."""
    for section in ("api_endpoint", "access"):
        for index, text in enumerate(data.get(section, {}).get("allowed_cidrs", [])):
            network = _network((section, "allowed_cidrs", index), text, report) if text is not None else None
            if network is not None and network.version != 4:
                where = data.get("cloud")
                report((section, "allowed_cidrs", index), f"is {network}; load balancers and machines of {where} have IPv4 addresses only.")


def _families(networks: dict[tuple[str | int, ...], Any], data: dict[str, Any], report: Report) -> None:
    """Dual stack: two networks of different families, in the same order for pods and Services."""
    plugin, cloud = data.get("network", {}).get("plugin"), data.get("cloud")
    families = {}
    for key in ("pod_cidrs", "service_cidrs"):
        found = [network.version for path, network in networks.items() if path[:2] == ("network", key)]
        families[key] = found
        path: tuple[str | int, ...] = ("network", key)
        if len(found) == 2 and found[0] == found[1]:
            report(path, f"has two IPv{found[0]} networks; two networks mean dual stack: one IPv4 and one IPv6.")
        elif len(found) == 2 and plugin in PLUGINS:
            if key == "service_cidrs" and len(families["pod_cidrs"]) == 2:
                continue  # said already
            report(
                path,
                f"asks for dual stack, which the network plugin {plugin} does not do in this release; keep one network.",
                about=[("network", "plugin")],
            )
        elif cloud in ("local", *MADE) and 6 in found:
            report(path, f"holds an IPv6 network, but machines of the cloud {cloud} have IPv4 addresses only.", about=[("cloud",)])
    pods, services = families["pod_cidrs"], families["service_cidrs"]
    if pods and services and pods != services and len(set(pods)) == len(pods) and len(set(services)) == len(services):
        report(
            ("network", "service_cidrs"),
            "has other address families than pod_cidrs; both need the same families in the same order.",
            about=[("network", "pod_cidrs")],
        )


def manifests(data: dict[str, Any], report: Report) -> None:
    """`network.manifests` goes with `plugin: manifests`, both ways."""
    network = data.get("network", {})
    plugin, files = network.get("plugin"), network.get("manifests")
    path = ("network", "manifests")
    if plugin == "manifests" and not files:
        report(
            path, "is empty, but network.plugin is manifests; name the manifest files of the network plugin.", about=[("network", "plugin")]
        )
    elif plugin in (*PLUGINS, NONE) and files:
        report(path, f"needs plugin: manifests; the network plugin is {plugin}.", about=[("network", "plugin")])


def node_labels(data: dict[str, Any], report: Report) -> None:
    """Labels of Kubernetes' own domains are set by Kubernetes; the kubelet refuses most of them."""
    for path, group in _groups(data):
        for key in group.get("labels", {}):
            _label_key((*path, "labels", key), key, report)


def _label_key(path: tuple[str | int, ...], key: str, report: Report) -> None:
    prefix, slash, name = key.rpartition("/")
    if len(name) > 63 or len(prefix) > 253:
        report(path, "is too long: at most 63 characters, after a prefix of at most 253 characters and '/'.")
    if not slash:
        return
    if prefix == "flotilla.kubernetes":
        report(path, "has the prefix flotilla.kubernetes/, which the collection keeps for itself; choose another prefix.")
    own = any(prefix == domain or prefix.endswith(f".{domain}") for domain in ("kubernetes.io", "k8s.io"))
    allowed = any(prefix == domain or prefix.endswith(f".{domain}") for domain in _KUBELET_LABEL_DOMAINS)
    if own and not allowed:
        report(
            path,
            f"has the prefix {prefix}/, which Kubernetes keeps for itself (the kubelet refuses it); "
            f"choose another prefix or {' or '.join(_KUBELET_LABEL_DOMAINS)}.",
        )


def taints(data: dict[str, Any], report: Report) -> None:
    """A node has one taint per key and effect."""
    for path, group in _groups(data):
        seen = set()
        for index, taint in enumerate(group.get("taints", [])):
            if taint is None or "key" not in taint or "effect" not in taint:
                continue
            here = (*path, "taints", index)
            prefix, _slash, name = taint["key"].rpartition("/")
            if len(name) > 63 or len(prefix) > 253:
                report((*here, "key"), "is too long: at most 63 characters, after a prefix of at most 253 characters and '/'.")
            if (taint["key"], taint["effect"]) in seen:
                report(here, f"repeats the taint {taint['key']} with effect {taint['effect']}; a node has one per key and effect.")
            seen.add((taint["key"], taint["effect"]))


def extra_args(data: dict[str, Any], report: Report) -> None:
    """Components take the flags that they are given; one that is not known ends them at once."""
    version = str(data.get("kubernetes_version", ""))
    known = tables.minor_of(version) in tables.minors()  # another version is refused where the bundle is
    for component, given in data.get("control_plane", {}).get("extra_args", {}).items():
        for flag, value in given.items():
            path = ("control_plane", "extra_args", component, flag)
            if flag in _FLAG_PLACES:
                report(path, f"is what {_FLAG_PLACES[flag]} sets; write it there.", suggestion=_FLAG_PLACES[flag])
                continue
            if flag == "anonymous-auth":
                report(path, "is decided by the API servers' authentication file: nameless requests see their health only; remove it.")
                continue
            for finding in tables.arguments(component, {flag: value}, version) if known else ():
                own = finding.subject == f"--{flag}"
                suggestion = finding.suggestion.lstrip("-")
                if finding.fatal:
                    report(path, finding.message if own else str(finding), suggestion=suggestion, about=[("kubernetes_version",)])


def zone_groups(data: dict[str, Any], report: Report) -> None:
    """Two zones must not become the same Ansible group."""
    seen: dict[str, str] = {}
    zones = [((*path, "zones", index), zone) for path, group in _groups(data) for index, zone in enumerate(group.get("zones", []))]
    for index, machine in enumerate(data.get("existing", {}).get("machines", [])):
        zones.append((("existing", "machines", index, "zone"), (machine or {}).get("zone")))
    for place, zone in zones:
        if zone is None:
            continue
        name = f"zone_{group_name(zone)}"
        if seen.setdefault(name, zone) != zone:
            report(place, f"is {zone}, which gives the Ansible group {name}, as does the zone {seen[name]}; rename one.")


def site(data: dict[str, Any], report: Report) -> None:
    """Addresses of the site are addresses, and no mirror stands twice."""
    section = data.get("site", {})
    proxy, dns = section.get("proxy", {}), section.get("dns", {})
    for index, entry in enumerate(proxy.get("no_proxy", [])):
        if entry is not None and "/" in entry and not _parses(ipaddress.ip_network, entry):
            report(("site", "proxy", "no_proxy", index), f"is {short(entry)}; must be a network such as 10.0.0.0/8, or a host.")
    if proxy.get("no_proxy") and not proxy.keys() & {"http", "https"}:
        place = ("site", "proxy")
        report((*place, "no_proxy"), "has no effect without a proxy; add http or https.", about=[(*place, "http"), (*place, "https")])
    for index, server in enumerate(dns.get("servers", [])):
        if server is not None and not _parses(ipaddress.ip_address, server):
            report(("site", "dns", "servers", index), f"is {short(server)}; must be an IP address such as 10.0.0.53.")
    if data.get("cloud") == "local" and section.get("ntp_servers"):
        # A time service in a privileged container sets the clock of the host.
        report(("site", "ntp_servers"), "machines of the cloud local share the clock of their host; remove it.", about=[("cloud",)])
    if dns.get("search") and not dns.get("servers"):
        report(("site", "dns", "search"), "needs site.dns.servers; name the servers that know these domains.")
    seen = set()
    for index, mirror in enumerate(section.get("registry_mirrors", [])):
        if mirror is None or "registry" not in mirror or "url" not in mirror:
            continue
        known = (mirror["registry"], mirror["url"].rstrip("/"))
        if known in seen:
            report(("site", "registry_mirrors", index), f"repeats the mirror {known[1]} of {known[0]}; remove it.")
        seen.add(known)


def delivery(data: dict[str, Any], report: Report) -> None:
    """`bundle.delivery.url` goes with the method `pull`, both ways."""
    section, place = data.get("bundle", {}).get("delivery", {}), ("bundle", "delivery")
    method = section.get("method")
    if method == "pull" and "url" not in section:
        report((*place, "url"), "is missing: with method: pull machines need a web server that has the bundle.", about=[(*place, "method")])
    for key in ("url", "ca_file"):
        if method in ("push", "seed") and key in section:
            report((*place, key), f"needs method: pull; the method is {method}.", about=[(*place, "method")])


def _parses(kind: Callable[[str], Any], text: str) -> bool:
    try:
        kind(text)
    except ValueError:
        return False
    return True


# kubeadm's issuer of service accounts' tokens; one issuer can not have two owners.
_SERVICE_ACCOUNT_ISSUER = "https://kubernetes.default.svc"


def oidc(data: dict[str, Any], report: Report) -> None:
    """An issuer stands once, and is not the cluster's own."""
    seen = set()
    for index, issuer in enumerate(data.get("authentication", {}).get("oidc", [])):
        url = (issuer or {}).get("issuer_url")
        path = ("authentication", "oidc", index, "issuer_url")
        if url is None:
            continue
        if url in seen:
            report(path, f"is {url}, which stands above already; give all its audiences to one entry.")
        if url.startswith(_SERVICE_ACCOUNT_ISSUER):
            report(path, f"is {url}, the cluster's own issuer of service accounts' tokens; name the issuer of your people.")
        seen.add(url)


def audit_webhook(data: dict[str, Any], report: Report) -> None:
    """A server gets events only where there are any."""
    audit, place = data.get("security", {}).get("audit", {}), ("security", "audit")
    if "webhook" in audit and audit.get("enabled") is False:
        report((*place, "webhook"), "gets no events: security.audit.enabled is false; leave one of them out.", about=[(*place, "enabled")])


def bundle_source(data: dict[str, Any], report: Report) -> None:
    """Each source of the bundle has what it needs."""
    bundle = data.get("bundle", {})
    source = bundle.get("source")
    if source == "mirror" and "mirror" not in bundle:
        report(("bundle", "mirror"), "is missing: source mirror needs {url: ..., registry: ...}.", about=[("bundle", "source")])
    if source == "directory" and not bundle.get("directory"):
        report(("bundle", "directory"), "is null, but source directory needs the directory of a bundle.", about=[("bundle", "source")])


RULES: tuple[Callable[[dict[str, Any], Report], None], ...] = (
    pool_names,
    checks,
    rollouts,
    cloud_sections,
    unsized_machines,
    existing_machines,
    aws,
    azure,
    gcp,
    nsx,
    vsphere,
    only_with_made_machines,
    images,
    api_endpoint,
    cidrs,
    allowed_networks,
    manifests,
    network_plugin,
    node_labels,
    taints,
    extra_args,
    zone_groups,
    site,
    delivery,
    oidc,
    audit_webhook,
    bundle_source,
    backup_store,
    policies,
    addons,
)


def network_of(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    """Return a network that was checked before."""
    return ipaddress.ip_network(text)
