# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A whole roll over nodes as the playbooks do it: plan, drain a batch, let pods come again, wait until all is as before, plan again."""

from __future__ import annotations

import ssl
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import control_plane
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import batches
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import Client
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.disruption import Consent
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.drain import Drain, Options, mark_outdated
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.snapshot import read
from fake_kubelet import Cluster, Witness

TAINT = "flotilla.kubernetes/outdated"
# Those that matter to drains, and those that clean up.
CONTROLLERS = tuple(f"{name}-controller" for name in ("deployment", "replicaset", "statefulset", "disruption", "garbage-collector"))


@contextmanager
def real_control_plane(folder: Path, programs: Path) -> Any:
    """Give an API server with the controllers and the scheduler; nodes are Ready because who makes them says so."""
    processes = control_plane.Processes(folder)
    etcd = control_plane.program(control_plane.bundle(folder), "etcd", programs)
    members = control_plane.EtcdMembers(processes, etcd, control_plane.Authority(folder / "etcd-pki"))
    try:
        members.reserve("m1")
        members.start("m1", ("m1",))
        # The controller that would take the taint of new nodes away again does not run.
        flags = ("--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",)
        server = control_plane.start_api_server(folder, programs, control_plane.Authority(folder / "pki"), members, *flags)
        control_plane.start_controllers(server, programs, *CONTROLLERS)
        yield server
    finally:
        processes.end()


def client(server: control_plane.ApiServer) -> Client:
    """Return a client with every right."""
    admin = server.authority.folder / "admin"
    context = ssl.create_default_context(cafile=str(server.authority.file))
    context.load_cert_chain(f"{admin}.crt", f"{admin}.key")
    return Client("127.0.0.1", server.port, context, timeout=30)


def planned(server: control_plane.ApiServer, nodes: Sequence[str], limit: int = 1, pool: Sequence[str] = (), **more: Any) -> Any:
    consent = more.pop("consent", Consent())
    wishes = batches.Wishes(limit, frozenset(pool or nodes), more.pop("zone_aware", True), consent)
    return batches.plan(read(client(server)), list(nodes), wishes, datetime.now(timezone.utc))


def drained(server: control_plane.ApiServer, node: str, **options: Any) -> dict[str, Any]:
    """Drain a node to the end and return the result."""
    drain = Drain(client(server), node, Options(**{"timeout": 300, **options}))
    token = None
    while True:
        answer = drain.advance(token, 5)
        if answer["finished"]:
            return answer
        token = answer["progress_token"]


@dataclass
class Rolled:
    """What a roll did: its batches, and how long it took in seconds."""

    batches: list[list[str]] = field(default_factory=list)
    seconds: float = 0.0


def roll(server: control_plane.ApiServer, nodes: Sequence[str], witness: Witness, limit: int, work: float = 0.0, **options: Any) -> Rolled:
    """Drain all nodes in batches of at most ``limit``; ``work`` is how long a node is away after it was drained, in seconds."""
    began, rolled, left = time.monotonic(), Rolled(), list(nodes)
    api = client(server)
    while left:
        mark_outdated(api, TAINT, left, nodes, False)
        batch = planned(server, left, limit, nodes, **options).batches[0]
        with ThreadPoolExecutor(len(batch)) as pool:
            answers = list(pool.map(lambda node: drained(server, node), batch))
        assert all(answer["drained"] for answer in answers)
        time.sleep(work)
        for node in batch:
            Drain(api, node, Options(0)).open(TAINT, True, False)
        control_plane.wait_for("all pods are ready as before", witness.all_ready)
        rolled.batches.append(batch)
        left = [node for node in left if node not in batch]
    rolled.seconds = time.monotonic() - began
    return rolled


# Application -> kind, replicas, budget: what lets about a fifth of 100 nodes go at once, and two that let fewer go.
LARGE = {
    **{f"web{number}": ("Deployment", 30, {"maxUnavailable": "20%"}) for number in range(5)},
    **{f"free{number}": ("Deployment", 20, None) for number in range(3)},
    **{f"db{number}": ("StatefulSet", 3, {"maxUnavailable": 1}) for number in range(3)},
}


def large(cluster: Cluster, nodes: int = 100) -> tuple[list[str], dict[str, int]]:
    """Make many nodes in three zones and their workloads; return the nodes, and application -> replicas."""
    names = [cluster.node(f"n{number:03}", zone=f"z{number % 3}") for number in range(nodes)]
    for name, (kind, replicas, budget) in LARGE.items():
        cluster.workload(name, replicas, kind)
        if budget:
            cluster.budget(name, **budget)
    return names, {name: replicas for name, (_kind, replicas, _budget) in LARGE.items()}


def allowed(kind: str, replicas: int, budget: dict[str, Any] | None) -> int:
    """Return how many pods of an application of `LARGE` have to be ready all the time."""
    if kind == "StatefulSet":
        return replicas - 1
    # Percentages are rounded up: https://kubernetes.io/docs/tasks/run-application/configure-pdb/#rounding-logic-when-specifying-percentages
    return replicas - (-(-int(budget["maxUnavailable"].rstrip("%")) * replicas // 100) if budget else replicas // 4)
