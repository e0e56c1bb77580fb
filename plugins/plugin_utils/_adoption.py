# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what a foreign kubeadm cluster shows to a cluster definition of it (private to flotilla.kubernetes). Pure.

What can not be taken over is a finding: `Adoption.refusals` are those that leave no definition, `Adoption.findings` those that a person
decides on later.
"""

from __future__ import annotations

import functools
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..module_utils._definition import load
from ..module_utils._definition.errors import DefinitionErrors, path_text
from ..module_utils._definition.schema import PLUGIN, SCHEMA_VERSION
from ..module_utils._definition.schema_parts import NODE_NAME, NODE_NAME_LENGTH
from ..module_utils._errors import Finding

API_PORT = 6443
CERTIFICATES = "/etc/kubernetes/pki"
IMAGES = "registry.k8s.io"
DOMAIN = "cluster.local"
ZONE_LABEL = "topology.kubernetes.io/zone"
CONTROL_PLANE_TAINT = "node-role.kubernetes.io/control-plane"
# Set by Kubernetes and by clouds, on every node anew.
_OWN_LABELS = re.compile(
    r"^((beta\.)?kubernetes\.io/(arch|os|hostname|instance-type)|(failure-domain\.beta|topology)\.kubernetes\.io/.*"
    r"|node\.kubernetes\.io/(instance-type|exclude-from-external-load-balancers|windows-build)"
    r"|node-role\.kubernetes\.io/(control-plane|master))$"
)
# Set by kubelet and by controllers while a node is not well, and by drains.
_PASSING_TAINT = re.compile(r"^(node\.kubernetes\.io/|node\.cloudprovider\.kubernetes\.io/|ToBeDeleted)")
_COMPONENTS = {"apiServer": "kube-apiserver", "controllerManager": "kube-controller-manager", "scheduler": "kube-scheduler"}
_POOL_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,14}[a-z0-9])?")
_PATIENT = ("no", "off", "accept-new")


@dataclass(frozen=True)
class Seen:
    """A machine of the user's inventory.

    :param look: what the module `machine_info` found on it; empty where it could not be looked at.
    :param reason: why not.
    :param pool: name of the pool that the user chose for it, or nothing.
    :param ssh: how Ansible reaches it: ``connection``, ``host``, ``port``, ``user``, ``key`` and ``arguments``.
    """

    host: str
    control_plane: bool
    look: Mapping[str, Any]
    ssh: Mapping[str, Any]
    reason: str = ""
    pool: str = ""


@dataclass
class Adoption:
    """The definition of a foreign cluster as far as there can be one, and what it does not hold."""

    definition: dict[str, Any] = field(default_factory=dict)
    refusals: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

    def text(self) -> str:
        """Return the file: the definition, after what people should know of it."""
        lines = ["---", f"# The cluster at {self.definition['api_endpoint']['address']}, as flotilla.kubernetes.cluster_adopt found it."]
        for finding in self.findings:
            lines.append(" ".join(f"# {finding.code} {finding.object}: {finding.message} {finding.remedy}".split()))
        body = yaml.safe_dump(self.definition, sort_keys=False, default_flow_style=False, width=140)
        return "\n".join(lines) + "\n" + body


def adopt(name: str, cluster: Mapping[str, Any], machines: Sequence[Seen], path: Path) -> Adoption:
    """Return the adoption of a cluster.

    :param name: what the cluster is to be called.
    :param cluster: what the module `kubeadm_cluster_info` returned on one of its control planes.
    :param machines: all machines of the inventory that are said to be of the cluster.
    :param path: where the definition is going to be, for messages.
    """
    adoption = Adoption()
    configuration = _document(cluster, "ClusterConfiguration")
    _refuse_strange(cluster, configuration, adoption)
    matched = _match(cluster, machines, adoption)
    if adoption.refusals:
        return adoption
    endpoint = _endpoint(cluster, configuration, machines, adoption)
    nodes = {node["name"]: node for node, _machine in matched}
    control_planes = [node for node, machine in matched if machine.control_plane]
    pools, pool_of = _pools([(node, machine) for node, machine in matched if not machine.control_plane], adoption)
    common = _common(control_planes, "control planes", adoption)
    if not any(taint["key"] == CONTROL_PLANE_TAINT for node in control_planes for taint in node["taints"]):
        adoption.findings.append(
            Finding(
                "ADOPT_CONTROL_PLANE_UNTAINTED",
                "control_plane",
                "The control planes take pods of everybody.",
                "They go on doing so; one that joins later carries kubeadm's taint until somebody removes it.",
            )
        )
    adoption.definition = {
        "plugin": PLUGIN,
        "schema": SCHEMA_VERSION,
        "name": name,
        "cloud": "existing",
        "kubernetes_version": _version(cluster, configuration, adoption),
        "control_plane": {**common, **_extra_args(configuration)},
        "pools": pools,
        "network": _network(cluster, configuration, nodes.values(), adoption),
        "api_endpoint": endpoint,
        "access": _access(machines, adoption),
        "security": _security(cluster, adoption),
        "existing": {
            "settings": "keep",
            "host_keys": _host_keys(machines, adoption),
            "machines": [_machine(node, machine, pool_of.get(node["name"], "")) for node, machine in matched],
        },
    }
    _note_differences(name, configuration, cluster, adoption)
    _drop_what_is_refused(adoption, path)
    return adoption


def _document(cluster: Mapping[str, Any], kind: str) -> dict[str, Any]:
    found = yaml.safe_load(cluster["documents"].get(kind) or "")
    return found if isinstance(found, dict) else {}


def _refuse_strange(cluster: Mapping[str, Any], configuration: Mapping[str, Any], adoption: Adoption) -> None:
    """Refuse what no playbook of this collection could work with."""

    def refuse(code: str, where: str, message: str, remedy: str) -> None:
        adoption.refusals.append(Finding(code, where, message, remedy))

    if (configuration.get("etcd") or {}).get("external"):
        refuse(
            "ADOPT_ETCD_EXTERNAL",
            "etcd",
            "The cluster's etcd is not one of kubeadm's: it runs outside of the control planes.",
            "Backups, restores and changes of control planes know etcd beside each API server only; this cluster can not be adopted.",
        )
    folder = configuration.get("certificatesDir") or CERTIFICATES
    if folder != CERTIFICATES:
        refuse(
            "ADOPT_CERTIFICATES_ELSEWHERE",
            "control planes",
            f"The certificates of the control planes are in {folder}, not in {CERTIFICATES}.",
            "Move them with kubeadm first.",
        )
    if cluster["port"] != API_PORT:
        refuse(
            "ADOPT_API_PORT",
            "kube-apiserver",
            f"The API servers listen on port {cluster['port']}, not on {API_PORT}.",
            "Set localAPIEndpoint.bindPort to 6443 with kubeadm first; a load balancer may have any port.",
        )
    for node in cluster["nodes"]:
        if node["os"] != "linux":
            refuse("ADOPT_NODE_OS", node["name"], f"The node runs {node['os']}.", "Only Linux nodes can be adopted.")
        elif not node["runtime"].startswith("containerd://"):
            runtime = node["runtime"].partition(":")[0] or "an unknown runtime"
            refuse("ADOPT_RUNTIME", node["name"], f"The node runs its containers with {runtime}, not containerd.", "Move it to containerd.")


def _match(cluster: Mapping[str, Any], machines: Sequence[Seen], adoption: Adoption) -> list[tuple[dict[str, Any], Seen]]:
    """Return each node with its machine, control planes first; a node's address tells which machine it is."""
    found: list[tuple[dict[str, Any], Seen]] = []
    left = {node["name"]: node for node in cluster["nodes"]}

    def refuse(code: str, where: str, message: str, remedy: str) -> None:
        adoption.refusals.append(Finding(code, where, message, remedy))

    for machine in sorted(machines, key=lambda machine: (not machine.control_plane, machine.host)):
        if not machine.look:
            refuse(
                "ADOPT_MACHINE_UNREACHABLE",
                machine.host,
                f"The machine could not be looked at: {machine.reason or 'no reason is known.'}",
                "Mend the connection; adoption wants all machines, and root on them by sudo.",
            )
            continue
        if machine.ssh.get("connection") not in ("ssh", "smart", "paramiko", "paramiko_ssh"):
            refuse(
                "ADOPT_CONNECTION",
                machine.host,
                f"Ansible reaches the machine by {machine.ssh.get('connection')}; the playbooks of this collection do by SSH only.",
                "Give it an SSH login.",
            )
        own = set(machine.look.get("addresses", ()))
        node = next((node for node in left.values() if own & set(node["addresses"])), None)
        if node is None:
            refuse(
                "ADOPT_MACHINE_NO_NODE",
                machine.host,
                "No node of the cluster has an address of this machine.",
                "Take it out of its group, or find out why its kubelet is not in the cluster.",
            )
            continue
        del left[node["name"]]
        if node["control_plane"] != machine.control_plane:
            there, here = ("a control plane", "a worker") if node["control_plane"] else ("a worker", "a control plane")
            refuse("ADOPT_ROLE_DIFFERS", machine.host, f"It is {there} of the cluster, and {here} in the inventory.", "Correct the groups.")
        if not any(re.fullmatch(r"[0-9]+([.][0-9]+){3}", address) for address in node["addresses"]):
            refuse("ADOPT_ADDRESS", node["name"], "The node has no IPv4 address.", "Clusters of IPv6 only can not be adopted.")
        if not re.fullmatch(NODE_NAME, node["name"]) or len(node["name"]) > NODE_NAME_LENGTH:
            refuse(
                "ADOPT_NODE_NAME",
                node["name"],
                f"The node's name has more than {NODE_NAME_LENGTH} characters, or ends as hosts that the inventory makes do (.cluster).",
                "A node can not be renamed: drain it, reset it and let it join with --node-name and a short name.",
            )
        found.append((node, machine))
    for name in sorted(left):
        refuse(
            "ADOPT_NODE_WITHOUT_MACHINE",
            name,
            f"The node ({', '.join(left[name]['addresses']) or 'without an address'}) is no machine of the inventory.",
            "Add the machine to the group of the control planes or of the workers; delete the Node if the machine is gone.",
        )
    return found


def _endpoint(cluster: Mapping[str, Any], configuration: Mapping[str, Any], machines: Sequence[Seen], adoption: Adoption) -> dict[str, Any]:
    text = str(configuration.get("controlPlaneEndpoint") or "")
    if not text:
        text = f"{cluster['address']}:{cluster['port']}"
        adoption.findings.append(
            Finding(
                "ADOPT_NO_ENDPOINT",
                "api_endpoint",
                f"The cluster was made without a stable address for its API; {text} is that of a control plane.",
                "Kubernetes knows no way to add control planes to such a cluster: it keeps one.",
            )
        )
    host, _colon, port = text.rpartition(":") if re.search(r":\d+$", text) else (text, "", "")
    address, number = host.strip("[]"), int(port or API_PORT)
    elsewhere = sorted({m.look.get("api_endpoint", "") for m in machines} - {f"{address}:{number}"})
    if elsewhere:
        adoption.findings.append(
            Finding(
                "ADOPT_OTHER_WAY",
                "api_endpoint",
                f"Some machines reach the API by {', '.join(filter(None, elsewhere)) or 'an unknown address'}, not by {address}:{number}.",
                "cluster_apply takes them for members of another cluster until it is given "
                '-e \'{"infrastructure_acknowledged": ["MACHINE_IN_OTHER_CLUSTER"]}\'.',
            )
        )
    return {"provider": "external", "address": address, "port": number}


def _version(cluster: Mapping[str, Any], configuration: Mapping[str, Any], adoption: Adoption) -> str:
    recorded = str(configuration.get("kubernetesVersion", "")).lstrip("v")
    parts = {f"kubelet of {node['name']}": node["kubelet_version"] for node in cluster["nodes"]}
    parts.update({f"kube-apiserver of {node}": version for node, version in cluster["api_server_versions"].items()})
    others = [f"{part} {version}" for part, version in sorted(parts.items()) if version != recorded]
    if others:
        adoption.findings.append(
            Finding(
                "ADOPT_VERSIONS_DIFFER",
                "kubernetes_version",
                f"The cluster records {recorded}, but there is {', '.join(others)}.",
                "An upgrade stopped halfway, or a node was left out: end it with kubeadm before anything else.",
            )
        )
    return recorded


def _network(
    cluster: Mapping[str, Any], configuration: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]], adoption: Adoption
) -> dict[str, Any]:
    networking = configuration.get("networking") or {}
    pods = [cidr.strip() for cidr in str(networking.get("podSubnet") or "").split(",") if cidr.strip()]
    if not pods:
        pods = sorted({cidr for node in nodes for cidr in node["pod_cidrs"]})[:1]
        adoption.findings.append(
            Finding(
                "ADOPT_POD_CIDRS_UNKNOWN",
                "network.pod_cidrs",
                "The cluster records no addresses of pods; the network plugin has them to itself.",
                "Write those that it is configured with, for the rules that compare networks. Leave existing.settings at keep.",
            )
        )
    plugins = cluster["network_plugins"]
    adoption.findings.append(
        Finding(
            "ADOPT_NETWORK_PLUGIN_KEPT",
            "network.plugin",
            f"{', '.join(plugins) if plugins else 'No network plugin that is known'} runs in the cluster and stays whose it is.",
            "Upgrade it as before; with network.plugin: manifests and its files this collection keeps it.",
        )
    )
    services = [cidr.strip() for cidr in str(networking.get("serviceSubnet") or "10.96.0.0/12").split(",")]
    return {**({"pod_cidrs": pods} if pods else {}), "service_cidrs": services, "plugin": "none"}


def _security(cluster: Mapping[str, Any], adoption: Adoption) -> dict[str, Any]:
    """Return what the API servers do now: a definition that says more would not be true."""
    flags = cluster["flags"].get("kube-apiserver", {})
    if "encryption-provider-config" in flags:
        adoption.findings.append(
            Finding(
                "ADOPT_ENCRYPTION_KEPT",
                "security.encryption_at_rest",
                f"Secrets are encrypted with the keys in {flags['encryption-provider-config'][0]}, which this collection does not manage.",
                "Leave existing.settings at keep, and keep that file with your backups: cluster_backup does not hold it.",
            )
        )
    else:
        adoption.findings.append(
            Finding(
                "ADOPT_SECRETS_PLAIN",
                "security.encryption_at_rest",
                "Secrets lie in etcd as they are.",
                "To have them encrypted: encryption_at_rest: true, and existing.settings: manage.",
            )
        )
    if "admission-control-config-file" in flags:
        adoption.findings.append(
            Finding(
                "ADOPT_ADMISSION_KEPT",
                "security.pod_security",
                f"Admission is configured by {flags['admission-control-config-file'][0]}, which is not taken over.",
                "Write its pod security levels as security.pod_security before existing.settings becomes manage.",
            )
        )
    if {"authentication-config", "oidc-issuer-url"} & set(flags):
        adoption.findings.append(
            Finding(
                "ADOPT_OIDC_KEPT",
                "authentication.oidc",
                "People get in by OpenID Connect, and its issuers are not taken over.",
                "Write them as authentication.oidc before existing.settings becomes manage, or these people are locked out.",
            )
        )
    if "audit-webhook-config-file" in flags:
        adoption.findings.append(
            Finding(
                "ADOPT_AUDIT_WEBHOOK_KEPT",
                "security.audit.webhook",
                f"Audit events go where {flags['audit-webhook-config-file'][0]} says, which is not taken over.",
                "Write it as security.audit.webhook before existing.settings becomes manage, or that server gets no events any more.",
            )
        )
    levels = dict.fromkeys(("enforce", "warn", "audit"), "privileged")
    return {
        "encryption_at_rest": "encryption-provider-config" in flags,
        "audit": {"enabled": "audit-policy-file" in flags},
        "pod_security": levels,
    }


def _extra_args(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the further flags of the control plane; kubeadm wrote them as a mapping before v1beta4, and as a list since."""
    found: dict[str, dict[str, str]] = {}
    for part, component in _COMPONENTS.items():
        given = (configuration.get(part) or {}).get("extraArgs") or []
        pairs = given.items() if isinstance(given, Mapping) else [(entry.get("name"), entry.get("value")) for entry in given]
        flags = {str(name): str(value) for name, value in pairs}
        if flags:
            found[component] = flags
    return {"extra_args": found} if found else {}


def _own(node: Mapping[str, Any]) -> tuple[dict[str, str], list[dict[str, str]]]:
    """Return the labels and taints that somebody gave to a node."""
    labels = {key: value for key, value in sorted(node["labels"].items()) if not _OWN_LABELS.match(key)}
    taints = [taint for taint in node["taints"] if taint["key"] != CONTROL_PLANE_TAINT and not _PASSING_TAINT.match(taint["key"])]
    return labels, sorted(taints, key=lambda taint: (taint["key"], taint["effect"]))


def _common(nodes: Sequence[Mapping[str, Any]], what: str, adoption: Adoption) -> dict[str, Any]:
    """Return labels and taints that all nodes of a group have; a finding names those that only some have."""
    own = [_own(node) for node in nodes]
    labels = {key: value for key, value in own[0][0].items() if all(other.get(key) == value for other, _taints in own)} if own else {}
    taints = [taint for taint in own[0][1] if all(taint in others for _labels, others in own)] if own else []
    some = sorted(
        {key for mine, _taints in own for key in mine if key not in labels}
        | {taint["key"] for _labels, mine in own for taint in mine if taint not in taints}
    )
    if some:
        adoption.findings.append(
            Finding(
                "ADOPT_LABELS_LEFT",
                what,
                f"Not all of the {what} have the same {', '.join(some)}.",
                "The nodes keep what they have; nodes that join later do not get it.",
            )
        )
    return {**({"labels": labels} if labels else {}), **({"taints": taints} if taints else {})}


def _pools(workers: Sequence[tuple[Mapping[str, Any], Seen]], adoption: Adoption) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the pools, and the name of its pool by node: as the user said, else one for all nodes with the same labels and taints."""
    if any(machine.pool for _node, machine in workers):
        named: dict[str, list[Mapping[str, Any]]] = {}
        for node, machine in workers:
            named.setdefault(machine.pool or "workers", []).append(node)
    else:
        alike: dict[str, list[Mapping[str, Any]]] = {}
        for node, _machine in workers:
            alike.setdefault(repr(_own(node)), []).append(node)
        named = dict(zip(_pool_names(list(alike.values())), alike.values()))
    pools = [{"name": name, **_common(nodes, f"nodes of pool {name}", adoption)} for name, nodes in named.items()]
    return pools, {node["name"]: name for name, nodes in named.items() for node in nodes}


def _pool_names(groups: Sequence[Sequence[Mapping[str, Any]]]) -> list[str]:
    """Return a name for each group of nodes: the value of a label that tells them apart, else ``workers`` with a number."""
    if len(groups) > 1:
        labels = [_own(group[0])[0] for group in groups]
        for key in sorted(set.intersection(*(set(found) for found in labels))):
            values = [found[key].lower() for found in labels]
            if len(set(values)) == len(values) and all(_POOL_NAME.fullmatch(value) for value in values):
                return values
    return ["workers", *(f"workers-{number}" for number in range(2, len(groups) + 1))][: len(groups)]


def _machine(node: Mapping[str, Any], machine: Seen, pool: str) -> dict[str, Any]:
    address = next(address for address in node["addresses"] if re.fullmatch(r"[0-9]+([.][0-9]+){3}", address))
    part = {"role": "control_plane"} if machine.control_plane else {"pool": pool}
    entry: dict[str, Any] = {"address": address, **part, "node_name": node["name"]}
    if node["labels"].get(ZONE_LABEL):
        entry["zone"] = node["labels"][ZONE_LABEL]
    if machine.ssh["host"] != address:
        entry["ssh_address"] = machine.ssh["host"]
    if int(machine.ssh.get("port") or 22) != 22:
        entry["ssh_port"] = int(machine.ssh["port"])
    return entry


def _ssh_options(machine: Seen) -> dict[str, str]:
    """Return the options of ssh that the inventory gives, by their names in small letters."""
    found: dict[str, str] = {}
    words = shlex.split(str(machine.ssh.get("arguments") or ""))
    for index, word in enumerate(words):
        following = words[index + 1] if index + 1 < len(words) else ""
        if word in ("-J", "-o") or word[:2] in ("-J", "-o"):
            value = word[2:] or following
            option = f"proxyjump={value}" if word[:2] == "-J" else re.sub(r"\s*[=\s]\s*", "=", value, count=1)
            name, _equals, text = option.partition("=")
            found[name.lower()] = text
    return found


def _access(machines: Sequence[Seen], adoption: Adoption) -> dict[str, Any]:
    """Return how the machines are reached: a definition has one login for all."""
    access: dict[str, Any] = {}
    for key, name, what in (("user", "ssh_user", "login"), ("key", "ssh_private_key_file", "private key")):
        found = list(dict.fromkeys(str(machine.ssh.get(key) or "") for machine in machines))
        if found[0]:
            access[name] = found[0]
        if len(found) > 1:
            adoption.findings.append(
                Finding(
                    "ADOPT_ACCESS_DIFFERS",
                    f"access.{name}",
                    f"The machines have different values for the {what}: {', '.join(value or 'none' for value in found)}.",
                    f"A definition has one; {found[0] or 'none'} was taken. Let the others in with it, too.",
                )
            )
    jumps = {_ssh_options(machine).get("proxyjump", "") for machine in machines}
    command = any("proxycommand" in _ssh_options(machine) for machine in machines)
    match = re.fullmatch(r"(?:([^@,]+)@)?([^@:,]+)(?::(\d+))?", min(jumps)) if len(jumps) == 1 else None
    if match:
        user, host, port = match.groups()
        access["bastion"] = {"host": host, **({"user": user} if user else {}), **({"port": int(port)} if port else {})}
    elif command or jumps != {""}:
        adoption.findings.append(
            Finding(
                "ADOPT_BASTION",
                "access.bastion",
                "SSH goes to the machines in a way that a definition does not know: a ProxyCommand, several jumps, or not one for all.",
                "Write access.bastion, or put the way into ~/.ssh/config, which is read, too.",
            )
        )
    return access


def _host_keys(machines: Sequence[Seen], adoption: Adoption) -> str:
    options = [_ssh_options(machine) for machine in machines]
    if any(found.get("stricthostkeychecking", "").lower() in _PATIENT for found in options):
        return "accept_new"
    files = sorted({found["userknownhostsfile"] for found in options if "userknownhostsfile" in found})
    if files:
        adoption.findings.append(
            Finding(
                "ADOPT_KNOWN_HOSTS",
                "existing.host_keys",
                f"The host keys are in {', '.join(files)}, which is not looked at.",
                "Copy them into ~/.ssh/known_hosts, or write host_keys: accept_new.",
            )
        )
    return "known_hosts"


def _note_differences(name: str, configuration: Mapping[str, Any], cluster: Mapping[str, Any], adoption: Adoption) -> None:
    """Add what would change, with consequences, once somebody writes ``settings: manage``."""
    called = str(configuration.get("clusterName") or "kubernetes")
    if called != name:
        adoption.findings.append(
            Finding(
                "ADOPT_CLUSTER_NAME",
                "name",
                f"The cluster calls itself {called}, its definition {name}.",
                "With settings: manage its controller manager takes the new name; clouds' load balancers of Services carry the old one.",
            )
        )
    images = str(configuration.get("imageRepository") or IMAGES)
    if images != IMAGES:
        adoption.findings.append(
            Finding(
                "ADOPT_IMAGE_REPOSITORY",
                "control_plane",
                f"The images of the control plane come from {images}.",
                "With settings: manage they come from the bundle; name the registry as a mirror (site.registry_mirrors) if others need it.",
            )
        )
    domain = str((configuration.get("networking") or {}).get("dnsDomain") or DOMAIN)
    if domain != DOMAIN:
        adoption.findings.append(
            Finding(
                "ADOPT_DNS_DOMAIN",
                "network",
                f"Services are named in the domain {domain}.",
                f"Leave existing.settings at keep: manage would make it {DOMAIN}.",
            )
        )
    for part, component in _COMPONENTS.items():
        if (configuration.get(part) or {}).get("extraVolumes"):
            adoption.findings.append(
                Finding(
                    "ADOPT_VOLUMES_LEFT",
                    component,
                    "It has further volumes, which a definition does not hold.",
                    "Leave existing.settings at keep while one of its flags needs them.",
                )
            )
    for node in cluster["nodes"]:
        if not node["ready"]:
            adoption.findings.append(
                Finding("ADOPT_NODE_NOT_READY", node["name"], "The node is not Ready.", "Read 'journalctl -u kubelet' on its machine.")
            )
        elif not node["schedulable"]:
            adoption.findings.append(
                Finding("ADOPT_NODE_CORDONED", node["name"], "The node takes no new pods.", "'kubectl uncordon' it, if nobody works on it.")
            )


def _drop_what_is_refused(adoption: Adoption, path: Path) -> None:
    """Take out of the definition what its own rules do not take, as findings; what has to be there and is refused leaves no definition."""
    while True:
        problems = _problems(adoption.definition, path)
        optional = _optional(adoption.definition)
        dropped = False
        for problem in problems:
            drop = optional.pop(problem.path, None)
            if drop is not None:
                drop()
                dropped = True
                adoption.findings.append(
                    Finding(
                        "ADOPT_VALUE_LEFT",
                        problem.path,
                        f"It {problem.message}",
                        "It stays in the cluster while existing.settings is keep, and is not in the definition.",
                    )
                )
        if not dropped:
            adoption.refusals += [
                Finding("ADOPT_DEFINITION_REFUSED", problem.path, f"{problem.path} {problem.message}", "Correct it in the cluster first.")
                for problem in problems
            ]
            return
        _without_empty(adoption.definition)


def _problems(definition: Mapping[str, Any], path: Path) -> list[Any]:
    text = yaml.safe_dump(dict(definition), sort_keys=False)
    try:
        load.Loader(read=lambda _path: text).load(path)
    except DefinitionErrors as error:
        return list(error.problems)
    return []


def _optional(definition: dict[str, Any]) -> dict[str, Callable[[], Any]]:
    """Return what a definition can do without: its place -> what takes it out."""
    found: dict[str, Callable[[], Any]] = {}
    groups: list[tuple[tuple[str | int, ...], dict[str, Any]]] = [(("control_plane",), definition["control_plane"])]
    groups += [(("pools", index), pool) for index, pool in enumerate(definition["pools"])]
    for place, group in groups:
        for key in group.get("labels", {}):
            found[path_text((*place, "labels", key))] = lambda labels=group["labels"], key=key: labels.pop(key, None)
        for index, taint in enumerate(group.get("taints", [])):
            for part in ((), ("key",), ("value",), ("effect",)):
                found[path_text((*place, "taints", index, *part))] = functools.partial(_take_out, group["taints"], taint)
    for component, flags in definition["control_plane"].get("extra_args", {}).items():
        for flag in flags:
            place = ("control_plane", "extra_args", component, flag)
            found[path_text(place)] = lambda flags=flags, flag=flag: flags.pop(flag, None)
    return found


def _take_out(items: list[Any], item: Any) -> None:
    if item in items:
        items.remove(item)


def _without_empty(definition: dict[str, Any]) -> None:
    """Take away mappings and lists that have become empty."""
    arguments = definition["control_plane"].get("extra_args", {})
    for component in [component for component, flags in arguments.items() if not flags]:
        del arguments[component]
    for group in (definition["control_plane"], *definition["pools"]):
        for key in ("labels", "taints", "extra_args"):
            if key in group and not group[key]:
                del group[key]
