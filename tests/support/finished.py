# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster must be when a run says that it is finished, whatever happened on the way. Imports nothing of plugins/."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import outside

VOLUMES_OF_A_MACHINE = 3
# They hold the keys of a control plane, encrypted, while one joins.
SECRETS_OF_A_JOIN = ("kubeadm-certs", "flotilla-encryption")
ETCD_PKI = "/etc/kubernetes/pki/etcd"
# Marks, join secrets, files that were about to take another's place, and what Ansible copied but did not put in place.
NODE_LEFTOVERS = r"""
find /var/lib/flotilla -name 'kubeadm.started' -o -path '/var/lib/flotilla/restart-*'
find /run -maxdepth 1 -name 'flotilla*' ! -name flotilla-kubelet-approver
find /etc /usr/local /opt /var/lib/flotilla -xdev -name '.*.flotilla' -o -name '*.new' -o -name '.ansible_tmp*'
find /etc/containerd /etc/kubernetes /etc/systemd/system /etc/sysctl.d /etc/modules-load.d /var/lib/flotilla -xdev \
    -type f -regextype posix-extended -regex '.*/\.[^/]+\.[a-z0-9_]{8}'
find /home/*/.ansible/tmp /root/.ansible/tmp -type f
pgrep -a kubeadm
true
"""


def problems(cluster: str, pools: dict[str, int]) -> list[str]:
    """Return one line for everything that is not as it should be.

    :param pools: how many machines each pool has, ``control-plane`` among them.
    """
    return [*_host(cluster, pools), *_kubernetes(cluster, pools), *_etcd(cluster), *_nodes(cluster)]


def join_secrets(cluster: str) -> list[str]:
    """Return the Secrets of kube-system that let machines join."""
    secrets = _get(cluster, "secrets", "--namespace=kube-system")
    names = {item["metadata"]["name"]: item["type"] for item in secrets}
    return sorted(name for name, kind in names.items() if kind == "bootstrap.kubernetes.io/token" or name in SECRETS_OF_A_JOIN)


def leftovers_of_nodes(cluster: str) -> dict[str, list[str]]:
    """Return the files and processes on each node that only a step under way may have."""
    found = {}
    for machine in outside.machines(cluster):
        printed = outside.host("podman", "exec", machine, "sh", "-c", f"{{ {NODE_LEFTOVERS} }} 2>/dev/null")
        found[machine] = printed.split("\n")[:-1]
    return found


def _host(cluster: str, pools: dict[str, int]) -> list[str]:
    listed = json.loads(outside.host("podman", "ps", "--all", "--format", "json", "--filter", f"label=flotilla-cluster={cluster}"))
    names = [entry["Names"][0] for entry in listed]
    found = [f"{name} is {entry['State']}" for name, entry in zip(names, listed) if entry["State"] != "running"]
    machines = [entry for entry in listed if entry["Names"][0].startswith(f"{cluster}-")]
    have = Counter(entry["Labels"]["flotilla-pool"] for entry in machines)
    if have != Counter(pools):
        found.append(f"machines by pool: {dict(have)}, wanted {pools}")
    addresses = Counter(entry["Labels"]["flotilla-address"] for entry in listed)
    found += [f"{count} containers have the address {address}" for address, count in addresses.items() if count > 1]
    others = sorted(set(names) - {entry["Names"][0] for entry in machines})
    if others != [f"flotilla-{cluster}-api", f"flotilla-{cluster}-services"]:
        found.append(f"other containers: {others}")
    left = outside.left_of(cluster)
    wanted = {"volumes": VOLUMES_OF_A_MACHINE * sum(pools.values()), "networks": 1, "nft tables": 1}
    return found + [f"{kind}: {left[kind]}, wanted {count}" for kind, count in wanted.items() if len(left[kind]) != count]


def _kubernetes(cluster: str, pools: dict[str, int]) -> list[str]:
    nodes = {node["metadata"]["name"]: node for node in _get(cluster, "nodes")}
    machines = set(outside.machines(cluster))
    found = [] if set(nodes) == machines else [f"nodes {sorted(nodes)}, machines {sorted(machines)}"]
    for name, node in nodes.items():
        if [entry["status"] for entry in node["status"]["conditions"] if entry["type"] == "Ready"] != ["True"]:
            found.append(f"node {name} is not Ready")
        if node["spec"].get("unschedulable"):
            found.append(f"node {name} is cordoned")
    masters = [name for name, node in nodes.items() if "node-role.kubernetes.io/control-plane" in node["metadata"]["labels"]]
    tainted = [name for name, node in nodes.items() if any("control-plane" in taint["key"] for taint in node["spec"].get("taints", []))]
    if not sorted(masters) == sorted(tainted) == outside.machines(cluster, "control-plane"):
        found.append(f"control planes by label {masters}, by taint {tainted}, by machine {outside.machines(cluster, 'control-plane')}")
    for pod in _get(cluster, "pods", "--all-namespaces"):
        ready = [entry["status"] for entry in pod["status"].get("conditions", []) if entry["type"] == "Ready"]
        if ready != ["True"] and pod["status"]["phase"] != "Succeeded":
            found.append(f"pod {pod['metadata']['name']} is {pod['status']['phase']}, not Ready")
    return found


def _etcd(cluster: str) -> list[str]:
    control_planes = outside.machines(cluster, "control-plane")
    members = _etcdctl(control_planes[0], "member", "list")["members"]
    found = []
    if sorted(member.get("name", "?") for member in members) != control_planes:
        found.append(f"etcd members {sorted(member.get('name', '?') for member in members)}, control planes {control_planes}")
    found += [f"etcd member {member.get('name', '?')} has no vote" for member in members if member.get("isLearner")]
    found += [
        f"etcd {item['endpoint']} is not healthy"
        for item in _etcdctl(control_planes[0], "endpoint", "health", "--cluster")
        if not item["health"]
    ]
    return found


def _nodes(cluster: str) -> list[str]:
    return [f"{machine}: {line}" for machine, lines in leftovers_of_nodes(cluster).items() for line in lines]


def of_controller(folder: Path) -> list[str]:
    """Return what a run left in the folder that it had for temporary files, Ansible's own apart."""
    return sorted(str(path) for path in folder.iterdir() if not path.name.startswith("ansible"))


def _etcdctl(machine: str, *arguments: str) -> Any:
    return json.loads(
        outside.host(
            "podman", "exec", machine, "etcdctl", f"--cacert={ETCD_PKI}/ca.crt", f"--cert={ETCD_PKI}/healthcheck-client.crt",
            f"--key={ETCD_PKI}/healthcheck-client.key", "--endpoints=https://127.0.0.1:2379", *arguments, "--write-out=json",
        )
    )  # fmt: skip


def _get(cluster: str, *what: str) -> list[dict[str, Any]]:
    machine = outside.machines(cluster, "control-plane")[0]
    kubectl = ["kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", "--request-timeout=30s", "get", *what, "--output=json"]
    return json.loads(outside.host("podman", "exec", machine, *kubectl))["items"]
