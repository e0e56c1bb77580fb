# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load on a cluster from outside, open loop, and an application that bears it: what an upgrade must not be noticed by."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import outside
import workloads
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue, toolchain
from backing.podman import runtime

APPLICATION, REPLICAS, NODE_PORT, FRONT_PORT = "shop", 6, 30080, 8080
PROXY_HEALTH_PORT = 10256  # of kube-proxy
_SHARES = Path("/sys/fs/cgroup/cpu/libpod_parent/cpu.shares")
_HAPROXY = """\
global
    maxconn 2000
defaults
    mode http
    timeout connect 2s
    timeout client 10s
    timeout server 10s
frontend front
    bind :{port}
    default_backend nodes
backend nodes
    balance roundrobin
    option redispatch 1
    retries 2
    option httpchk GET {path}
    default-server check port {port_checked} inter 1s fall 2 rise 1
{servers}
"""


def program() -> Path:
    """Return the compiled probe."""
    folder = outside.cache() / "test-images"
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "probe"
    go = toolchain.find(catalogue.RELEASES[0].go, outside.cache())
    subprocess.run(
        [go.command, "build", "-trimpath", "-o", str(target), "."],
        cwd=Path(__file__).parent / "probe",
        env=go.environ(CGO_ENABLED="0"),
        check=True,
    )
    return target


def objects(image: str) -> list[dict[str, Any]]:
    """Return the application: each pod leaves slowly enough that nobody sends it requests any more when it is gone."""
    container = {
        "name": APPLICATION,
        "image": image,
        "imagePullPolicy": "Never",
        "args": ["netexec", "--http-port=8080"],
        "readinessProbe": {"httpGet": {"path": "/hostname", "port": 8080}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
    }
    port = {"port": 80, "targetPort": 8080, "nodePort": NODE_PORT}
    return [
        *workloads.protected(APPLICATION, REPLICAS, container, {"maxUnavailable": 2}),
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": APPLICATION},
            "spec": {"type": "NodePort", "selector": {"app": APPLICATION}, "ports": [port]},
        },
    ]


@contextlib.contextmanager
def front(cluster: str, addresses: list[str], by_proxy: bool = False) -> Iterator[str]:
    """Run an HAProxy outside of the cluster, in front of the node port on each of the addresses; give its URL.

    :param by_proxy: whether kube-proxy's health decides who gets requests, as with the load balancers of clouds, or the application's.
    """
    name, balancer = f"{cluster}-front", f"flotilla-{cluster}-api"
    image = outside.host("podman", "inspect", "--format", "{{.ImageName}}", balancer).strip()
    (network,) = json.loads(outside.host("podman", "inspect", balancer))[0]["NetworkSettings"]["Networks"]
    servers = "\n".join(f"    server node{number} {address}:{NODE_PORT}" for number, address in enumerate(addresses))
    path, checked = ("/healthz", PROXY_HEALTH_PORT) if by_proxy else ("/hostname", NODE_PORT)
    config = _HAPROXY.format(port=FRONT_PORT, servers=servers, path=path, port_checked=checked)
    outside.host("podman", "rm", "--force", "--ignore", name)
    script = 'printf %s "$CONFIG" >/tmp/haproxy.cfg && exec haproxy -db -f /tmp/haproxy.cfg'
    options = ["--name", name, "--network", network, "--env", f"CONFIG={config}", "--entrypoint", "sh"]
    limits = ["--ulimit", "nofile=20000:20000", "--ulimit", "nproc=30000:30000"]
    outside.host("podman", *runtime(), "run", "--detach", *options, *limits, image, "-c", script)
    try:
        address = json.loads(outside.host("podman", "inspect", name))[0]["NetworkSettings"]["Networks"][network]["IPAddress"]
        yield f"http://{address}:{FRONT_PORT}/hostname"
    finally:
        outside.host("podman", "rm", "--force", "--ignore", "--time", "0", name)


@dataclass
class Report:
    """What the probe saw; known once the load has ended."""

    seen: dict[str, Any] = field(default_factory=dict)
    stolen: float = 0.0  # share of the processors' time that other machines of the same hardware had

    @property
    def failed(self) -> int:
        return int(self.seen["failed_requests"])

    @property
    def lost(self) -> int:
        return int(self.seen["lost_writes"] + self.seen["unseen_writes"])

    @property
    def first_try_errors(self) -> int:
        return int(self.seen["first_try_errors"])

    @property
    def worst(self) -> float:
        """Return the milliseconds that the slowest request took."""
        return max(float(one["worst_ms"]) for one in self.seen["kinds"].values())

    def __str__(self) -> str:
        kinds = ", ".join(f"{kind} {one['sent']} sent, worst {one['worst_ms']:.0f} ms" for kind, one in sorted(self.seen["kinds"].items()))
        told = [
            f"{one['kind']} at {one['at']:.1f}: {one['error']}"
            for one in (self.seen["failures"] or [])[:20] + (self.seen["repeated"] or [])[:20]
        ]
        writes = f"{self.seen['lost_writes']} writes lost, {self.seen['unseen_writes']} not seen by the watch"
        bursts = "".join(f"\n    {what}: {count}" for what, count in sorted(self.seen["per_ten_seconds"].items()))
        told.append(f"failures by ten seconds: {bursts or 'none'}")
        return "\n".join([f"{self.seen['seconds']:.0f} s, {self.stolen:.0%} of the processors stolen: {kinds}; {writes}", *told])


@contextlib.contextmanager
def machines_first() -> Iterator[None]:
    """Have the processors of this host serve the machines of local clusters before its own processes.

    Without systemd podman puts all of them below one group, which gets as much as a single process. A playbook, which runs on a machine of
    its own in production, would take away what it is to find.
    """
    before = _SHARES.read_text(encoding="ascii") if _SHARES.exists() else ""
    if before:
        _SHARES.write_text(str(4 * 1024), encoding="ascii")
    try:
        yield
    finally:
        if before:
            _SHARES.write_text(before, encoding="ascii")


@contextlib.contextmanager
def load(probe: Path, kubeconfig: Path, application: str, rate: float = 100.0) -> Iterator[Report]:
    """Load the API and the application while the block runs; the report is there after it, and printed."""
    report = Report()
    command = ["nice", "-n", "-10", str(probe), f"-kubeconfig={kubeconfig}", f"-application={application}", f"-rate={rate}"]
    with machines_first(), subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline().strip() == "ready", "the probe did not start"
        processors = outside.Processors()
        try:
            yield report
        finally:
            report.stolen = processors.stolen()
            process.terminate()
            last = process.stdout.read().strip().splitlines()[-1]
        report.seen = json.loads(last)
        print(report)


def evictions(read_audit: Callable[[str], str], machines: list[str], application: str = APPLICATION) -> int:
    """Return how many evictions of the application's pods the API servers granted, by their audit logs."""
    granted = set()
    for machine in machines:
        for line in read_audit(machine).splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                reference = event.get("objectRef", {})
                created = event.get("stage") == "ResponseComplete" and event.get("responseStatus", {}).get("code") == 201
                if created and reference.get("subresource") == "eviction" and reference.get("name", "").startswith(f"{application}-"):
                    granted.add(event["auditID"])
    return len(granted)
