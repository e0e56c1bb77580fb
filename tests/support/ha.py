# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Power off control planes of a local cluster and measure how long its API endpoint is away.

Power off without a goodbye: first the network of the machine is cut, so that nobody gets a RST or a FIN, then it is killed.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import outside
import prober

# Median of the seconds from a power off until requests succeed again.
BARS = {"cloud": 5.0, "haproxy_keepalived": 5.0, "kube_vip": 10.0}
ROUNDS = 5
SETTLED = 3.0  # seconds of requests without a failure before a power off, and after it until it counts as over
LIMIT = 300.0  # seconds; only ends what hangs
ETCD_PKI = "/etc/kubernetes/pki/etcd"


@dataclass(frozen=True)
class Cluster:
    """A local cluster with three control planes; ``addresses`` are theirs, by name."""

    foundation: Path
    name: str
    endpoint: str
    addresses: dict[str, str]

    @property
    def kubeconfig(self) -> Path:
        return Path.home() / f".kube/flotilla/{self.name}.conf"

    def kubectl(self, *arguments: str, server: str = "") -> str:
        """Return the output of kubectl, empty when it fails; it asks ``server``, by default whoever has the endpoint."""
        command = [str(outside.cache() / "bundles/1.36.3/bin/amd64/kubectl"), f"--kubeconfig={self.kubeconfig}", "--request-timeout=5s"]
        if server:
            command.append(f"--server=https://{server}:6443")
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, timeout=60, check=False)
        return done.stdout if done.returncode == 0 else ""


def create(folder: Path, name: str, provider: str, cidr: str) -> Cluster:
    """Make a cluster of three control planes behind an endpoint of this provider."""
    endpoint: dict[str, Any] = {"provider": provider}
    base = cidr.rpartition(".")[0]
    if provider != "cloud":
        endpoint["address"] = f"{base}.5"
    outside.write_definition(folder, name, control_plane={"count": 3}, pools=[], api_endpoint=endpoint, local={"network_cidr": cidr})
    run = outside.playbook("cluster_apply", folder)
    assert run.status == 0, run.output[-6000:]
    addresses = {}
    for machine in outside.machines(name, "control-plane"):
        addresses[machine] = outside.address(machine)
    return Cluster(folder, name, endpoint.get("address", f"{base}.3"), addresses)


def delete(cluster_folder: Path, name: str) -> None:
    """Delete a cluster, if it is there."""
    if any(outside.left_of(name).values()):
        run = outside.playbook("cluster_delete", cluster_folder, "-e", f"flotilla_confirm={name}")
        assert run.status == 0, run.output[-3000:]


def measure(cluster: Cluster, folder: Path, rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """Power off one control plane after another and return what became of the requests each time.

    The victim is the machine that has the endpoint's address, where a control plane has it. In the first round it leads etcd and the
    controller manager, too.
    """
    results = []
    for number in range(1, rounds + 1):
        _wait("every control plane serves", lambda: all(_serves(cluster, machine) for machine in cluster.addresses))
        victim = holder(cluster) or sorted(cluster.addresses)[number % len(cluster.addresses)]
        if number == 1:
            _lead(cluster, victim)
        leads = {"etcd": etcd_leader(cluster) == victim, "controller_manager": controller_manager_leader(cluster) == victim}
        seconds, requests, errors = _power_off_under_load(cluster, victim, folder / f"requests-{number}.log")
        print(f"{cluster.name}: {victim} powered off, it led {leads}: requests succeed again after {seconds:.2f} s", flush=True)
        results.append({"victim": victim, "led": leads, "seconds": round(seconds, 2), "requests": requests, "failed": errors})
        power_on(victim)
    # Pods of the machine that came back become Ready somewhat later than its API server serves.
    _wait("the cluster is healthy again by itself", lambda: outside.playbook("cluster_status", cluster.foundation).status == 0)
    return results


def restart_all(cluster: Cluster, folder: Path) -> tuple[int, float]:
    """Restart one control plane after another, by a playbook that takes each out of service, while requests are made.

    :returns: how many requests failed, and for how many seconds none succeeded at the most.
    """
    log = folder / "requests-restart.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    with prober.asking(cluster.kubeconfig, log):
        _wait("requests succeed", lambda: _quiet(log, time.monotonic() - SETTLED))
        run = outside.playbook("cluster_rotate_certificates", cluster.foundation, "-e", "flotilla_older_than=1s")
    assert run.status == 0 and run.changed, run.output[-6000:]
    seen = prober.results(log)
    failed = sum(result != "ok" for result in seen)
    print(
        f"{cluster.name}: all restarted, {failed} of {len(seen)} requests failed, for {prober.longest(log):.2f} s at the most", flush=True
    )
    return failed, prober.longest(log)


def median(results: list[dict[str, Any]]) -> float:
    """Return the median of the seconds."""
    return statistics.median(result["seconds"] for result in results)


def power_off(machine: str) -> float:
    """Cut a machine off and kill it; return when, on the monotonic clock."""
    pid = outside.host("podman", "inspect", "--format", "{{.State.Pid}}", machine).strip()
    moment = time.monotonic()
    outside.host("nsenter", "--target", pid, "--net", "ip", "link", "set", "eth0", "down")
    outside.host("podman", "kill", machine)
    # Takes its network away, too; else a machine that is started soon has it as it was left, cut.
    outside.host("podman", "container", "cleanup", machine)
    return moment


def power_on(machine: str) -> None:
    """Start a machine again; what runs on it comes up by itself."""
    outside.host("podman", "start", machine)


def holder(cluster: Cluster) -> str:
    """Return the control plane that has the endpoint's address; empty where something else has it."""
    for machine in cluster.addresses:
        shown = outside.host("podman", "exec", machine, "ip", "-brief", "-family", "inet", "address", "show", check=False)
        if f" {cluster.endpoint}/" in shown:
            return machine
    return ""


def etcd_leader(cluster: Cluster) -> str:
    """Return the control plane whose etcd member leads."""
    return next((machine for machine, status in _etcd(cluster).items() if status["leader"] == status["header"]["member_id"]), "")


def controller_manager_leader(cluster: Cluster) -> str:
    """Return the control plane whose controller manager leads."""
    return _leading_manager(cluster).rpartition("_")[0]


def _leading_manager(cluster: Cluster) -> str:
    """Return the name of the process that leads: machine and a new id with each start."""
    return cluster.kubectl("--namespace=kube-system", "get", "lease", "kube-controller-manager", "--output=jsonpath={.spec.holderIdentity}")


def _lead(cluster: Cluster, victim: str) -> None:
    """Move the leadership of etcd and of the controller manager to a machine."""

    def etcd_moved() -> bool:
        leader, statuses = etcd_leader(cluster), _etcd(cluster)
        if leader and leader != victim:
            _etcdctl(cluster, leader, "move-leader", f"{statuses[victim]['header']['member_id']:x}")
        return etcd_leader(cluster) == victim

    def manager_moved() -> bool:
        leading = _leading_manager(cluster)
        leader = leading.rpartition("_")[0]
        if leader and leader != victim:
            # The kubelet starts it again, later each time, so it may win again at first, but not for long.
            stop = "crictl ps --name kube-controller-manager --quiet | xargs -r crictl stop --timeout 0"
            outside.host("podman", "exec", leader, "sh", "-c", stop, check=False)
            _wait("another controller manager leads", lambda: _leading_manager(cluster) not in ("", leading))
        return controller_manager_leader(cluster) == victim

    # Both at once: while etcd changes its leader, a controller manager may lose its lease.
    leads = f"{victim} leads etcd and the controller managers"
    _wait(leads, lambda: manager_moved() and etcd_moved() and controller_manager_leader(cluster) == victim, 900)


def _power_off_under_load(cluster: Cluster, victim: str, log: Path) -> tuple[float, int, int]:
    """Return the seconds until requests succeed again, and how many requests were made and failed."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with prober.asking(cluster.kubeconfig, log):
        _wait("requests succeed", lambda: _quiet(log, time.monotonic() - SETTLED))
        moment = power_off(victim)
        time.sleep(SETTLED)
        _wait("requests succeed again", lambda: _quiet(log, moment + SETTLED))
    results = prober.results(log)
    return prober.outage(log, moment), len(results), sum(result != "ok" for result in results)


def _quiet(log: Path, since: float) -> bool:
    """Tell whether for some seconds, and not before ``since``, every request has succeeded."""
    if not log.exists():
        return False
    begin = max(since, time.monotonic() - SETTLED)
    ended = [line.split(" ", 2) for line in log.read_text(encoding="utf-8").splitlines() if line.count(" ") >= 2]
    recent = [result for _start, end, result in ended if float(end) >= begin]
    return time.monotonic() - since >= SETTLED and len(recent) > prober.RATE and all(result == "ok" for result in recent)


def _serves(cluster: Cluster, machine: str) -> bool:
    """Tell whether a control plane's own API server is ready, its etcd member is healthy and its Node is Ready."""
    ready = cluster.kubectl("get", "node", machine, "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}")
    return (
        ready == "True"
        and cluster.kubectl("get", "--raw", "/readyz", server=cluster.addresses[machine]) == "ok"
        and len(_etcd(cluster)) == 3
    )


def _etcd(cluster: Cluster) -> dict[str, dict[str, Any]]:
    """Return the status of each etcd member that answers, by control plane."""
    found = {}
    for machine in cluster.addresses:
        # etcdctl prints "null" when the member does not answer.
        answers = json.loads(_etcdctl(cluster, machine, "endpoint", "status", "--write-out=json") or "null")
        if answers:
            found[machine] = answers[0]["Status"]
    return found


def _etcdctl(cluster: Cluster, machine: str, *arguments: str) -> str:
    return outside.host(
        "podman", "exec", machine, "etcdctl", f"--cacert={ETCD_PKI}/ca.crt", f"--cert={ETCD_PKI}/healthcheck-client.crt",
        f"--key={ETCD_PKI}/healthcheck-client.key", f"--endpoints=https://{cluster.addresses[machine]}:2379", "--command-timeout=5s",
        *arguments, check=False,
    )  # fmt: skip


def _wait(what: str, condition: Callable[[], Any], limit: float = LIMIT) -> None:
    deadline = time.monotonic() + limit
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not within {limit:g} s"
        time.sleep(0.5)
