# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is in the way of an upgrade, judged from what was read (private to flotilla.kubernetes).

Pure: what `cluster` and `node` observed goes in, findings come out. It runs on the controller, because the tables of the minors do not
travel to machines.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..._errors import FlotillaError
from .. import tables, versions
from ..kubelet_flags import LEFT_BEHIND
from ..versions import Hop, Version, of_image
from .codes import UpgradeFinding, found
from .webhooks import CERTIFICATE, NO_ENDPOINTS, WORKS

MIB = 1024**2
DAY = 86400.0
# The last minor that supports 1.x is the one before: https://kubernetes.io/blog/2025/12/17/kubernetes-v1-35-release/
CONTAINERD_2_SINCE = "1.36"
# https://git.k8s.io/enhancements/keps/sig-node/5573-cgroup-v1-unsupported
CGROUP_V2_SINCE = "1.35"
# Oldest and newest minor of Kubernetes that a minor of a network plugin was tested with by its makers; what is not here is not judged.
# https://docs.tigera.io/calico/latest/getting-started/kubernetes/requirements
TESTED: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "calico/node": {"3.31": ("1.32", "1.35"), "3.32": ("1.34", "1.36"), "3.33": ("1.35", "1.37")},
}
FRAGMENTED, FRAGMENTED_FROM = 0.5, 256 * MIB  # the part of a file that is free pages, and the size from which that matters
NOSPACE = "NOSPACE"
CLUSTER_CONFIGURATION = "ClusterConfiguration (ConfigMap kube-system/kubeadm-config)"
# What `disruption` calls what holds a drain back.
DISRUPTIONS = {
    "PDB_NEVER_ALLOWS": "UPGRADE_PDB_NEVER_ALLOWS",
    "PDB_NOT_HEALTHY": "UPGRADE_PDB_NOT_HEALTHY",
    "PDB_NOT_OBSERVED": "UPGRADE_PDB_NOT_OBSERVED",
    "PDB_NOT_COMPUTED": "UPGRADE_PDB_NOT_COMPUTED",
    "PDB_OVERLAP": "UPGRADE_PDB_OVERLAP",
    "POD_WITHOUT_CONTROLLER": "UPGRADE_POD_WITHOUT_CONTROLLER",
    "POD_KEEPS_DATA": "UPGRADE_POD_KEEPS_DATA",
}
_PARTS = {"apiServer": "kube-apiserver", "controllerManager": "kube-controller-manager", "scheduler": "kube-scheduler"}
_READS = {"KubeletConfiguration": "kubelet", "KubeProxyConfiguration": "kube-proxy"}


@dataclass(frozen=True)
class Wanted:
    """What the upgrade is to come to, and what it may take.

    :param version: the target.
    :param now: seconds since the epoch.
    :param available: versions that can be installed.
    :param etcd: version of Kubernetes -> version of etcd that its kubeadm installs.
    :param flannel: version of flannel that goes with the target.
    :param nodes: names of the nodes that have a machine; None where that is not known.
    :param unready_workers: how many workers may be left out because they are not Ready.
    """

    version: str
    now: float
    available: tuple[str, ...] = ()
    etcd: Mapping[str, str] = field(default_factory=dict)
    flannel: str = ""
    nodes: frozenset[str] | None = None
    unready_workers: int = 0
    backup_store: bool = False
    certificate_days: int = 30
    etcd_size_percent: int = 80
    disk_free_mib: int = 2048


def cluster(observed: Mapping[str, Any], documents: Mapping[str, Any], wanted: Wanted) -> tuple[list[UpgradeFinding], list[Hop]]:
    """Return what is in the way of upgrading a cluster, and the way itself.

    :param observed: what `cluster.observe` returned.
    :param documents: kind -> what kubeadm recorded, read from YAML; None for what is not there.
    """
    findings: list[UpgradeFinding] = []
    if not wanted.backup_store:
        findings.append(found("UPGRADE_NO_BACKUP_STORE", "cluster", "The cluster's definition names no durable backup_store."))
    findings += _etcd(observed["etcd"], {server["node"] for server in observed["api_servers"]}, wanted)
    findings += _api_servers(observed)
    if "silent" in observed:
        if not any(one.code in ("UPGRADE_ETCD_NO_QUORUM", "UPGRADE_API_SERVER_NOT_READY") for one in findings):
            message = f"The API could not be read: {observed['silent']}"
            findings.append(found("UPGRADE_API_SERVER_NOT_READY", "kube-apiserver", message))
        return findings, []
    problems, path = _path(observed, wanted)
    passed = _minors(path, wanted)
    known = [minor for minor in passed if minor in tables.minors()]
    for minor in sorted(set(passed) - set(known)):
        message = f"What Kubernetes {minor} removes is not known to this release (known: {', '.join(tables.minors())})."
        problems.append(found("UPGRADE_MINOR_UNKNOWN", f"version/{minor}", message))
    findings += problems
    for check in (_skew, _etcd_skew):
        findings += check(observed, path, wanted)
    findings += _apis(observed, known)
    findings += settings(_given(observed, documents), documents, known)
    for kind, document in documents.items():
        if document is None:
            name = {"ClusterConfiguration": "kubeadm-config", "KubeletConfiguration": "kubelet-config"}.get(kind)
            # A cluster may do without kube-proxy.
            if name:
                thing = f"configmap/kube-system/{name}"
                findings.append(found("UPGRADE_KUBEADM_RECORD_MISSING", thing, f"The ConfigMap kube-system/{name} has no {kind}."))
    for name in observed["rotating"]:
        message = f"The authority {name} is trusted beside its successor: cluster_rotate_ca has begun, and is not done."
        findings.append(found("UPGRADE_CA_ROTATION", f"authority/{name}", message))
    for watch in (_nodes, _system, _runtimes, _network_plugins, _webhooks, _workloads):
        findings += watch(observed, wanted)
    return findings, path


def node(observed: Mapping[str, Any], kubelet: Any, wanted: Wanted) -> list[UpgradeFinding]:
    """Return what is in the way of upgrading one node.

    :param observed: what `node.observe` returned.
    :param kubelet: the node's KubeletConfiguration, read from YAML; None where there is none.
    """
    thing = f"node/{observed['node']}"
    findings = []
    for disk in observed["disks"]:
        free = disk["free"] // MIB
        if free < wanted.disk_free_mib:
            message = f"{disk['path']} has {free} MiB left, {wanted.disk_free_mib} MiB are needed."
            findings.append(found("UPGRADE_DISK_SPACE", f"{thing}:{disk['path']}", message))
    for certificate in observed["certificates"]:
        findings += _certificate(thing, certificate, wanted)
    if observed["containerd"]["problem"]:
        findings.append(found("UPGRADE_CONTAINERD_DOWN", thing, f"containerd does not answer: {observed['containerd']['problem']}"))
    else:
        for image in observed["images_missing"]:
            findings.append(found("UPGRADE_IMAGE_MISSING", f"{thing}:{image}", f"containerd has no image {image}."))
    for path in observed["files_missing"]:
        findings.append(found("UPGRADE_BINARY_MISSING", f"{thing}:{path}", f"{path} is not there, or is not what the bundle holds."))
    minor = tables.minor_of(wanted.version)
    fails = not isinstance(kubelet, Mapping) or kubelet.get("failCgroupV1") is not False
    if not observed["cgroup_v2"] and not tables.later(CGROUP_V2_SINCE, minor) and fails:
        message = f"The kubelet of {minor} does not start with cgroup v1 unless failCgroupV1 is false."
        findings.append(found("UPGRADE_CGROUP_V1", thing, message))
    if minor in tables.minors():
        given = []
        for place, flags in observed["kubelet_flags"].items():
            # The upgrade takes these out of kubeadm's own file, and only there.
            cleaned = LEFT_BEHIND if place == "kubeadm" else ()
            where = "kubeadm-flags.env" if place == "kubeadm" else place
            given += [("kubelet", name, value, f"{where} of {observed['node']}") for name, value in flags.items() if name not in cleaned]
        findings += settings(given, {"KubeletConfiguration": kubelet}, [minor], f"of {observed['node']}")
    return findings


def going(target: str) -> list[str]:
    """Return the APIs (``group/version/resource``) that an older minor of ours serves and the target does not."""
    minor = tables.minor_of(target)
    if minor not in tables.minors():
        return []
    older = [tables.table(one) for one in tables.minors() if tables.later(minor, one)]
    return sorted({name for one in older for name in one.apis} - set(tables.table(minor).apis))


def _path(observed: Mapping[str, Any], wanted: Wanted) -> tuple[list[UpgradeFinding], list[Hop]]:
    """Return the row of upgrades, or why there is none."""
    running = _readable(server["version"] for server in observed["api_servers"])
    if not running:
        return [], []
    workers = [str(one) for one in _readable(node["kubelet"] for node in observed["nodes"] if not node["control_plane"])]
    target, problems = Version.parse(wanted.version), []
    if str(target) not in wanted.available and target != min(running):
        message = f"Kubernetes {target} is none of the versions that can be installed ({', '.join(wanted.available)})."
        problems.append(found("UPGRADE_VERSION_UNAVAILABLE", f"version/{target}", message))
    if max(running) > target:
        running = [max(running)]
    try:
        return problems, versions.hops(str(min(running)), str(target), wanted.available, workers)
    except FlotillaError as error:
        return [found(error.code, "cluster", error.message, error.remedy)], []


def _minors(path: Sequence[Hop], wanted: Wanted) -> list[str]:
    """Return the minors that are passed; where there is no way at least the one to come to."""
    return list(dict.fromkeys([*(tables.minor_of(hop.version) for hop in path), tables.minor_of(wanted.version)]))


def _readable(texts: Iterable[str]) -> list[Version]:
    read = []
    for text in texts:
        try:
            read.append(Version.parse(text))
        except FlotillaError:
            continue
    return read


def _api_servers(observed: Mapping[str, Any]) -> Iterator[UpgradeFinding]:
    for server in observed["api_servers"]:
        if server["problem"]:
            message = f"The API server of {server['node']} ({server['address']}) is not ready: {server['problem']}"
            yield found("UPGRADE_API_SERVER_NOT_READY", f"kube-apiserver/{server['node']}", message)
    if len(observed["api_servers"]) == 1:
        yield found("UPGRADE_CONTROL_PLANE_SINGLE", "cluster", f"{observed['api_servers'][0]['node']} is the only control plane.")


def _skew(observed: Mapping[str, Any], path: Sequence[Hop], wanted: Wanted) -> Iterator[UpgradeFinding]:
    """Yield every component that may not run with the others as they are now."""
    servers = {server["node"]: Version.parse(server["version"]) for server in observed["api_servers"] if server["version"]}
    if not servers:
        return
    oldest, newest = min(servers.values()), max(servers.values())
    for name, version in servers.items():
        if newest.minors_after(version) > versions.API_SERVERS_APART:
            message = f"The API server of {name} is {version}, another one {newest}."
            yield found("UPGRADE_SKEW_API_SERVER", f"kube-apiserver/{name}", message)
    codes = {"kube-controller-manager": "UPGRADE_SKEW_CONTROLLER_MANAGER", "kube-scheduler": "UPGRADE_SKEW_SCHEDULER"}
    for pod in observed["static_pods"]:
        thing = f"{pod['component']}/{pod['node']}"
        if pod["component"] not in codes:
            continue
        if not pod["version"]:
            yield found("UPGRADE_VERSION_UNREADABLE", thing, f"The tag of {pod['image']} is no version.")
            continue
        # It talks to the API server beside it.
        beside = servers.get(pod["node"], oldest)
        yield from _against(codes[pod["component"]], thing, Version.parse(pod["version"]), beside, beside, versions.MANAGERS_BEHIND)
    kubelets = {}
    for one in observed["nodes"]:
        if one["kubelet"]:
            kubelets[one["name"]] = version = Version.parse(one["kubelet"])
            # So does the kubelet of a control plane; others may reach any.
            beside = servers.get(one["name"], oldest)
            yield from _against("UPGRADE_SKEW_KUBELET", f"node/{one['name']}", version, beside, newest, versions.KUBELET_BEHIND, "kubelet")
    for proxy in observed["kube_proxies"]:
        thing = f"kube-proxy/{proxy['node']}"
        if not proxy["version"]:
            yield found("UPGRADE_VERSION_UNREADABLE", thing, "The tag of its image is no version.")
            continue
        version = Version.parse(proxy["version"])
        wrong = list(_against("UPGRADE_SKEW_KUBE_PROXY", thing, version, oldest, newest, versions.KUBE_PROXY_BEHIND))
        kubelet = kubelets.get(proxy["node"], version)
        if not wrong and abs(version.minors_after(kubelet)) > versions.KUBE_PROXY_FROM_KUBELET:
            wrong = [found("UPGRADE_SKEW_KUBE_PROXY", thing, f"kube-proxy of {proxy['node']} is {version}, its kubelet {kubelet}.")]
        yield from wrong


def _against(
    code: str, thing: str, version: Version, beside: Version, newest: Version, behind: int, what: str = ""
) -> Iterator[UpgradeFinding]:
    """Yield a finding when a component is newer than the API server ``beside``, or too much older than the newest one."""
    name = f"{what or thing.partition('/')[0]} of {thing.partition('/')[2]}"
    if version.minors_after(beside) > 0:
        yield found(code, thing, f"The {name} is {version}, newer than the API server {beside} that it talks to.")
    elif newest.minors_after(version) > behind:
        yield found(
            code, thing, f"The {name} is {version}, more than {behind} minor{'s' * (behind > 1)} older than the API server {newest}."
        )


def _etcd_skew(observed: Mapping[str, Any], path: Sequence[Hop], wanted: Wanted) -> Iterator[UpgradeFinding]:
    """Yield members that the etcd of a hop can not take over the data of: https://etcd.io/docs/v3.6/upgrades/."""
    for member in observed["etcd"]["members"]:
        for at in _readable([member["version"]]):
            for hop in path:
                if hop.version not in wanted.etcd:
                    continue
                then = Version.parse(wanted.etcd[hop.version])
                if not 0 <= then.minors_after(at) <= 1:
                    message = f"The etcd member {member['name']} is {at}; Kubernetes {hop.version} comes with {then}."
                    yield found("UPGRADE_SKEW_ETCD", f"etcd/{member['name']}", message)
                    break
                at = then


def _etcd(etcd: Mapping[str, Any], control_planes: Iterable[str], wanted: Wanted) -> Iterator[UpgradeFinding]:
    members = etcd["members"]
    if not members:
        yield found("UPGRADE_ETCD_NO_QUORUM", "etcd", f"No etcd member answers ({etcd['problem']}).")
        return
    voters = [member for member in members if not member["learner"]]
    answering, quorum = [member for member in voters if member["healthy"]], len(voters) // 2 + 1
    if len(answering) < quorum:
        message = f"{len(answering)} of {len(voters)} voting members of etcd answer and know a leader, {quorum} are needed."
        yield found("UPGRADE_ETCD_NO_QUORUM", "etcd", message)
        return
    known = set(control_planes)
    for member in members:
        thing = f"etcd/{member['name']}"
        if member["learner"]:
            yield found("UPGRADE_ETCD_LEARNER", thing, f"The etcd member {member['name']} is a learner.")
        elif member["name"] not in known:
            yield found("UPGRADE_ETCD_MEMBER_UNKNOWN", thing, f"The etcd member {member['name']} is no control plane of this cluster.")
        elif not member["healthy"]:
            yield found("UPGRADE_ETCD_MEMBER_DOWN", thing, f"The etcd member {member['name']} does not answer.")
    raised = {alarm["member"] for alarm in etcd.get("alarms", []) if alarm["alarm"] == NOSPACE}
    for alarm in etcd.get("alarms", []):
        message = f"etcd has raised the alarm {alarm['alarm']} for its member {alarm['member']}."
        yield found("UPGRADE_ETCD_ALARM", f"etcd/{alarm['member']}", message)
    for member in members:
        thing, size = f"etcd/{member['name']}", member["size"]
        percent = 100 * size // member["quota"]
        # The alarm says it already.
        if percent >= wanted.etcd_size_percent and member["name"] not in raised:
            message = f"The file of the etcd member {member['name']} has {size // MIB} MiB, {percent} % of its quota."
            yield found("UPGRADE_ETCD_SIZE", thing, message)
        elif size >= FRAGMENTED_FROM and member["in_use"] < size * (1 - FRAGMENTED):
            message = f"{(size - member['in_use']) // MIB} of the {size // MIB} MiB of the etcd member {member['name']} are free pages."
            yield found("UPGRADE_ETCD_FRAGMENTED", thing, message)


def _apis(observed: Mapping[str, Any], minors: Sequence[str]) -> Iterator[UpgradeFinding]:
    """Yield who uses what one of ``minors``, which are passed in this order, does not serve any more."""
    passed = [tables.table(minor) for minor in minors]
    if not passed:
        return
    lost = set(going(minors[-1]))

    def since(name: str) -> str:
        return next((one.minor for one in passed if name not in one.apis), minors[-1])

    for name in observed["requested"]:
        if name in lost:
            message = f"{name} was asked for since an API server started; Kubernetes {since(name)} does not serve it."
            yield found("UPGRADE_API_REQUESTED", name, message)
    for entry in observed["stored"]:
        title = f"{entry['api']} {entry['kind']}"
        message = f"etcd holds {entry['count']} objects as {title}, such as {entry['example']}; Kubernetes {minors[-1]} can not read them."
        yield found("UPGRADE_API_STORED", title, message)
    for entry in observed["written"]:
        thing = "/".join(filter(None, (entry["resource"], entry["namespace"], entry["name"])))
        message = f"{entry['manager'] or 'Somebody'} wrote it as {entry['api']}, which Kubernetes {since(entry['api'])} does not serve."
        yield found("UPGRADE_API_WRITTEN", thing, message)
    for release in observed["helm"]:
        kinds = [tuple(kind.split(" ", 1)) for kind in release["kinds"]]
        wrong: dict[str, str] = {}
        for minor in minors:
            for one in tables.manifests(kinds, minor):
                if one.kind == tables.REMOVED:
                    wrong.setdefault(one.subject, str(one))
        if wrong:
            thing = f"helm/{release['namespace']}/{release['name']}"
            message = f"The Helm release {release['namespace']}/{release['name']} has {'; '.join(wrong.values())}"
            yield found("UPGRADE_API_HELM_RELEASE", thing, message)
    for service in observed["api_services"]:
        message = f"The aggregated API {service['name']} does not answer: {service['why']}"
        yield found("UPGRADE_API_SERVICE_UNAVAILABLE", f"apiservice/{service['name']}", message)


Argument = tuple[str, str, Any, str]
"""component, flag, value, and where it is set"""


def _given(observed: Mapping[str, Any], documents: Mapping[str, Any]) -> Iterator[Argument]:
    """Yield the arguments of the control plane's components, as they run and as kubeadm would write them again."""
    for pod in observed["static_pods"]:
        if pod["component"] in tables.COMPONENTS:
            for name, value in pod["arguments"].items():
                yield pod["component"], name, value, f"the static pod of {pod['node']}"
    recorded = documents.get("ClusterConfiguration")
    for part, component in _PARTS.items():
        section = recorded.get(part) if isinstance(recorded, Mapping) else None
        given = section.get("extraArgs") if isinstance(section, Mapping) else None
        for one in given if isinstance(given, list) else []:
            if isinstance(one, Mapping) and "name" in one:
                yield component, str(one["name"]), one.get("value", ""), CLUSTER_CONFIGURATION


def settings(
    given: Iterable[Argument], documents: Mapping[str, Any], minors: Sequence[str], where: str = "that the cluster records"
) -> list[UpgradeFinding]:
    """Return what one of ``minors`` does not take, once each, with every place where it is set."""
    messages: dict[tuple[str, str], str] = {}
    places: dict[tuple[str, str], list[str]] = {}

    def note(code: str, thing: str, finding: tables.Finding, place: str) -> None:
        messages.setdefault((code, thing), str(finding))
        places.setdefault((code, thing), []).append(place)

    given = list(given)
    for minor in minors:
        for component, name, value, place in given:
            for finding in filter(_fatal, tables.arguments(component, {name: value}, minor)):
                note(_code_of(name, finding), f"{component}/{finding.subject}", finding, place)
        cluster_wide = documents.get("ClusterConfiguration")
        gates = cluster_wide.get("featureGates") if isinstance(cluster_wide, Mapping) else None
        for finding in filter(_fatal, tables.feature_gates("kubeadm", gates if isinstance(gates, Mapping) else {}, minor)):
            note(_code_of("feature-gates", finding), f"kubeadm/{finding.subject}", finding, CLUSTER_CONFIGURATION)
        for kind, component in _READS.items():
            document = documents.get(kind)
            if not isinstance(document, Mapping):
                continue
            place = f"the {kind} {where}"
            gates = document.get("featureGates")
            for finding in filter(_fatal, tables.configuration({**document, "featureGates": {}}, minor)):
                note("UPGRADE_CONFIGURATION_FIELD_REMOVED", f"{kind}/{finding.subject}", finding, place)
            for finding in filter(_fatal, tables.feature_gates(component, gates if isinstance(gates, Mapping) else {}, minor)):
                note(_code_of("feature-gates", finding), f"{component}/{finding.subject}", finding, place)
    return [
        found(code, thing, f"{message} It is set in {', '.join(dict.fromkeys(places[code, thing]))}.")
        for (code, thing), message in messages.items()
    ]


def _fatal(finding: tables.Finding) -> bool:
    return finding.fatal


def _code_of(flag: str, finding: tables.Finding) -> str:
    """Return the code for what was found in the value of a flag, or in the flag itself."""
    if finding.subject.startswith("--"):
        return "UPGRADE_FLAG_REMOVED"
    if flag.replace("_", "-") != "feature-gates":
        return "UPGRADE_ADMISSION_PLUGIN_REMOVED"
    return "UPGRADE_FEATURE_GATE_LOCKED" if finding.kind == tables.LOCKED else "UPGRADE_FEATURE_GATE_REMOVED"


def _nodes(observed: Mapping[str, Any], wanted: Wanted) -> Iterator[UpgradeFinding]:
    names = {one["name"] for one in observed["nodes"]}
    if wanted.nodes is not None:
        for name in sorted(wanted.nodes - names):
            yield found("UPGRADE_NODE_MISSING", f"node/{name}", f"The machine {name} is no node of the cluster.")
        for name in sorted(names - wanted.nodes):
            yield found("UPGRADE_NODE_WITHOUT_MACHINE", f"node/{name}", f"The node {name} has no machine.")
    silent = [one for one in observed["nodes"] if not one["ready"]]
    workers = [one for one in silent if not one["control_plane"]]
    for one in silent:
        code = "UPGRADE_NODE_QUARANTINED" if len(workers) <= wanted.unready_workers else "UPGRADE_NODE_NOT_READY"
        code = "UPGRADE_CONTROL_PLANE_NOT_READY" if one["control_plane"] else code
        yield found(code, f"node/{one['name']}", f"The node {one['name']} is not Ready: {one['why']}")
    for one in observed["nodes"]:
        if one["cordoned"]:
            yield found("UPGRADE_NODE_CORDONED", f"node/{one['name']}", f"The node {one['name']} was made unschedulable by somebody.")
        if one["pressure"]:
            message = f"The node {one['name']} reports {', '.join(one['pressure'])}."
            yield found("UPGRADE_NODE_PRESSURE", f"node/{one['name']}", message)


def _system(observed: Mapping[str, Any], wanted: Wanted) -> Iterator[UpgradeFinding]:
    # What is on a node that is away is away with it, and said once.
    silent = {one["name"] for one in observed["nodes"] if not one["ready"]}
    behind = _behind(observed, wanted)
    expected: dict[str, int] = {}
    for pod in observed["system_pods"]:
        if pod["node"] in silent:
            continue
        if pod["lacks_image"] and pod["node"] in behind:
            expected[pod["daemon_set"]] = expected.get(pod["daemon_set"], 0) + 1
            message = f"The pod {pod['title']} waits for an image on {pod['node']}, which is older than the target."
            yield found("UPGRADE_SYSTEM_POD_LACKS_IMAGE", f"pod/{pod['title']}", message)
        else:
            yield found("UPGRADE_SYSTEM_POD_NOT_READY", f"pod/{pod['title']}", f"The pod {pod['title']} is not Ready.")
    for item in observed["daemon_sets"]:
        if item["stale"] or item["ready"] + len(silent) + expected.get(item["title"], 0) < item["wanted"]:
            message = f"The DaemonSet {item['title']} is ready on {item['ready']} of {item['wanted']} nodes."
            yield found("UPGRADE_DAEMON_SET_INCOMPLETE", f"daemonset/{item['title']}", message)


def _behind(observed: Mapping[str, Any], wanted: Wanted) -> set[str]:
    """Return the nodes that are older than the target: an upgrade brings them all images of it before it does anything else."""
    target = Version.parse(wanted.version)
    return {one["name"] for one in observed["nodes"] if any(kubelet < target for kubelet in _readable([one["kubelet"]]))}


def _runtimes(observed: Mapping[str, Any], wanted: Wanted) -> Iterator[UpgradeFinding]:
    minor = tables.minor_of(wanted.version)
    for one in observed["nodes"]:
        name, _separator, version = one["runtime"].partition("://")
        old = name == "containerd" and any(number.major < 2 for number in _readable([version]))
        if old and not tables.later(CONTAINERD_2_SINCE, minor):
            message = f"The node {one['name']} has containerd {version}; Kubernetes {minor} needs 2.0 or newer."
            yield found("UPGRADE_CONTAINERD_TOO_OLD", f"node/{one['name']}", message)


def _network_plugins(observed: Mapping[str, Any], wanted: Wanted) -> Iterator[UpgradeFinding]:
    minor = tables.minor_of(wanted.version)
    for item in observed["daemon_sets"]:
        for image in item["images"]:
            for version in _readable([of_image(image)]):
                thing, name = f"daemonset/{item['title']}", image.partition("@")[0].rpartition(":")[0]
                older = wanted.flannel and name.endswith("/flannel") and version < Version.parse(wanted.flannel)
                tested = next((known.get(version.minor) for plugin, known in TESTED.items() if name.endswith(plugin)), None)
                if older:
                    message = f"flannel is {version}; Kubernetes {minor} was tested with {wanted.flannel}."
                    yield found("UPGRADE_NETWORK_PLUGIN_UNTESTED", thing, message)
                elif tested and (tables.later(minor, tested[1]) or tables.later(tested[0], minor)):
                    message = f"{name} {version} was tested with Kubernetes {tested[0]} to {tested[1]}, not with {minor}."
                    yield found("UPGRADE_NETWORK_PLUGIN_UNTESTED", thing, message)


def _webhooks(observed: Mapping[str, Any], wanted: Wanted) -> Iterator[UpgradeFinding]:
    codes = {NO_ENDPOINTS: "UPGRADE_WEBHOOK_NO_ENDPOINTS", CERTIFICATE: "UPGRADE_WEBHOOK_CERTIFICATE"}
    for webhook in observed["webhooks"]:
        if webhook["state"] != WORKS:
            message = f"The webhook {webhook['title']} fails closed, and {webhook['problem']}."
            yield found(codes.get(webhook["state"], "UPGRADE_WEBHOOK_UNREACHABLE"), webhook["title"], message)
        elif webhook["alone_on"]:
            message = f"The webhook {webhook['title']} has endpoints on {webhook['alone_on']} only, and is asked for its own pods."
            yield found("UPGRADE_WEBHOOK_BLOCKS_ITSELF", webhook["title"], message)
    for definition in observed["conversions"]:
        if definition["state"] != WORKS:
            message = f"The versions of {definition['title']} are converted by a webhook, and {definition['problem']}."
            yield found("UPGRADE_CONVERSION_WEBHOOK_DOWN", definition["title"], message)


def _workloads(observed: Mapping[str, Any], wanted: Wanted) -> Iterator[UpgradeFinding]:
    for problem in observed["budgets"]:
        reason = problem["reason"][0].upper() + problem["reason"][1:]
        yield found(DISRUPTIONS[problem["code"]], f"poddisruptionbudget/{problem['budget']}", f"{reason}.", problem["remedy"])
    for one in observed["unprotected"]:
        yield found(DISRUPTIONS[one["code"]], f"pod/{one['pod']}", f"The pod {one['reason']}.", one["remedy"])
    for title in observed["single"]:
        yield found("UPGRADE_SINGLE_REPLICA", title, f"{title} has one replica.")


def _certificate(thing: str, certificate: Mapping[str, Any], wanted: Wanted) -> Iterator[UpgradeFinding]:
    left = (certificate["ends"] - wanted.now) / DAY
    place = f"{thing}:{certificate['path']}"
    if left <= 0:
        yield found("UPGRADE_CERTIFICATE_EXPIRED", place, f"{certificate['path']} ended {-left:.0f} days ago.")
    elif left < wanted.certificate_days:
        code = "UPGRADE_CA_EXPIRES" if certificate["kind"] == "authority" else "UPGRADE_CERTIFICATE_EXPIRES"
        yield found(code, place, f"{certificate['path']} ends in {left:.0f} days.")
