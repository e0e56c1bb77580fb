# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a simulated cluster is: a folder with what its API server knows, a folder per machine, and a journal.

    clusters/<name>/state.json      what the API server and etcd know
                    journal.jsonl   every look at the cluster and every act that changes it, with its time and the run that did it
                    faults.json     what goes wrong, see `Fault`
                    nodes/<node>/   the files of a machine as they lie below its /, with node.json that says which one it is
    hosts/<address>                 leads to the machine

Used by tests, by modules that stand in for real ones and by the commands of the machines: standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

WORLD, HOST, RUN = "FLOTILLA_SIMULATED", "FLOTILLA_SIMULATED_HOST", "FLOTILLA_SIMULATED_RUN"
LOOK, BEGIN, DONE = "look", "begin", "done"
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
HANG = 3600.0  # seconds


class Broken(Exception):
    """A fault that was asked for."""


class Cluster:
    """One simulated cluster."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = folder.name

    def read(self) -> dict[str, Any]:
        """Return the state."""
        return json.loads((self.folder / "state.json").read_text(encoding="utf-8"))

    @contextmanager
    def change(self) -> Iterator[dict[str, Any]]:
        """Give the state, and keep what was made of it; one process at a time."""
        with self._locked("state"):
            state = self.read()
            yield state
            settle(state)
            self.write(state)

    def write(self, state: dict[str, Any]) -> None:
        """Replace the state at once."""
        self._replace("state.json", state)

    def node(self, name: str) -> Path:
        """Return the folder of a machine."""
        return self.folder / "nodes" / name

    # What happens to it

    def note(self, what: str, node: str, act: str, detail: str = "") -> None:
        """Add a line to the journal."""
        line = {"at": time.time(), "run": os.environ.get(RUN, ""), "what": what, "node": node, "act": act, "detail": detail}
        descriptor = os.open(self.folder / "journal.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, f"{json.dumps(line)}\n".encode())
        finally:
            os.close(descriptor)

    @contextmanager
    def act(self, node: str, act: str, detail: str = "") -> Iterator[None]:
        """Do something that changes the cluster, as far as no fault is in the way.

        :raises Broken: a fault is.
        """
        self.note(BEGIN, node, act, detail)
        fault = self._fault(node, act)
        if fault:
            time.sleep({"hang": HANG, "slow": fault["seconds"]}.get(fault["how"], 0))
            if fault["how"] == "fail":
                raise Broken(f"{act} {detail} on {node} is made to fail")
        yield
        self.note(DONE, node, act, detail)

    def journal(self) -> list[dict[str, Any]]:
        """Return everything that happened, the oldest first."""
        path = self.folder / "journal.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []

    def fault(self, act: str, how: str = "fail", node: str = "", seconds: float = 0, times: int = 1_000_000) -> None:
        """Let acts go wrong from now on.

        :param act: the beginning of their name.
        :param how: ``fail``, ``slow`` (by ``seconds``) or ``hang``.
        :param node: of one machine only.
        :param times: how often.
        """
        with self._locked("faults"):
            self._replace("faults.json", [*self._faults(), {"act": act, "how": how, "node": node, "seconds": seconds, "times": times}])

    def mend(self) -> None:
        """Let nothing go wrong any more."""
        with self._locked("faults"):
            self._replace("faults.json", [])

    def _faults(self) -> list[dict[str, Any]]:
        path = self.folder / "faults.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []

    def _fault(self, node: str, act: str) -> dict[str, Any] | None:
        if not (self.folder / "faults.json").exists():
            return None
        with self._locked("faults"):
            faults = self._faults()
            found = next((one for one in faults if one["times"] > 0 and act.startswith(one["act"]) and one["node"] in ("", node)), None)
            if found:
                found["times"] -= 1
                self._replace("faults.json", faults)
            return found

    def _replace(self, name: str, content: Any) -> None:
        temporary = self.folder / f".{name}.{os.getpid()}"
        temporary.write_text(json.dumps(content), encoding="utf-8")
        temporary.replace(self.folder / name)

    @contextmanager
    def _locked(self, what: str) -> Iterator[None]:
        with (self.folder / f"{what}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


class Machine:
    """One machine of a simulated cluster; ``root`` is what it has for a /."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()
        known = json.loads((self.root / "node.json").read_text(encoding="utf-8"))
        self.name, self.address, self.role = str(known["name"]), str(known["address"]), str(known["role"])
        self.cluster = Cluster(self.root.parents[1])

    @classmethod
    def here(cls) -> Machine | None:
        """Return the machine that this process is meant to run on, or None on the controller."""
        world, host = os.environ.get(WORLD), os.environ.get(HOST)
        return cls(Path(world) / "hosts" / host) if world and host and (Path(world) / "hosts" / host).exists() else None

    def at(self, path: str | Path) -> Path:
        """Return where a file of this machine lies; one that lies there already stays where it is."""
        text = str(path)
        return Path(text) if text.startswith(f"{self.root}/") else self.root / text.lstrip("/")


def numbers(version: str) -> tuple[int, ...]:
    """Return a version as numbers that can be compared."""
    return tuple(int(part) for part in version.split("."))


def is_ready(state: dict[str, Any], name: str) -> bool:
    """Tell whether a node is Ready: not with a kubelet that is newer than an API server, whichever it asks.

    Source: https://kubernetes.io/releases/version-skew-policy/#kubelet
    """
    servers = [one["static"]["kube-apiserver"] for one in state["nodes"].values() if one["role"] == "control_plane"]
    return numbers(state["nodes"][name]["kubelet"])[:2] <= min(numbers(server)[:2] for server in servers)


def settle(state: dict[str, Any]) -> None:
    """Do what scheduler and controllers do: each workload has its pods, each pod that can have one a node."""
    nodes = state["nodes"]
    for title, workload in state["workloads"].items():
        while len(workload["pods"]) < workload["replicas"]:
            state["serial"] += 1
            workload["pods"][f"{title.split('/')[1]}-{state['serial']:05d}"] = {"node": "", "ready_at": 0.0}
    count = dict.fromkeys(nodes, 0)
    pods = [pod for workload in state["workloads"].values() for pod in workload["pods"].values()]
    for pod in pods:
        if pod["node"]:
            count[pod["node"]] += 1
    free = [name for name, node in nodes.items() if node["role"] == "worker" and not node["unschedulable"] and is_ready(state, name)]
    for pod in pods:
        if not pod["node"] and free:
            pod["node"] = min(free, key=lambda name: (bool(nodes[name]["taints"]), count[name], name))
            pod["ready_at"] = time.time() + state["pod_start"]
            count[pod["node"]] += 1
