# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes without machines: their pods become ready and end after some time. And somebody who watches how many are ready."""

from __future__ import annotations

import contextlib
import heapq
import http.client
import itertools
import json
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import control_plane

ALLOCATABLE = {"cpu": "4", "memory": "16Gi", "pods": "110"}


class Connection:
    """One kept connection of the administrator."""

    def __init__(self, server: control_plane.ApiServer) -> None:
        admin = server.authority.folder / "admin"
        self._context = ssl.create_default_context(cafile=str(server.authority.file))
        self._context.load_cert_chain(f"{admin}.crt", f"{admin}.key")
        self._port = server.port
        self._http = self._open()

    def _open(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self._port, context=self._context, timeout=60)

    def call(self, method: str, path: str, body: Any = None, kind: str = "application/json") -> tuple[int, dict[str, Any]]:
        headers = {"Content-Type": kind}
        self._http.request(method, path, None if body is None else json.dumps(body), headers)
        answer = self._http.getresponse()
        return answer.status, json.loads(answer.read())

    def get(self, path: str) -> dict[str, Any]:
        status, answer = self.call("GET", path)
        assert status == 200, (path, answer)
        return answer

    def watch(self, path: str, stopped: threading.Event) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield what is there, and then every change, in the order in which etcd took them."""
        listed = self.get(path)
        for item in listed["items"]:
            yield "ADDED", item
        version = listed["metadata"]["resourceVersion"]
        while not stopped.is_set():
            connection = self._open()
            connection.request("GET", f"{path}?watch=1&timeoutSeconds=50&resourceVersion={version}")
            answer = connection.getresponse()
            while not stopped.is_set():
                line = answer.readline()
                if not line:
                    break
                event = json.loads(line)
                assert event["type"] != "ERROR", event
                version = event["object"]["metadata"]["resourceVersion"]
                yield event["type"], event["object"]
            connection.close()


class Watching:
    """Something that looks at all pods in a thread, from ``with`` to its end."""

    def __init__(self, server: control_plane.ApiServer) -> None:
        self._server = server
        self._stopped = threading.Event()
        self.problem: BaseException | None = None

    def __enter__(self) -> Any:
        self._threads = [threading.Thread(target=self._run, args=(work,), daemon=True) for work in self.works()]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_problem: object) -> None:
        self._stopped.set()
        assert self.problem is None, self.problem

    def works(self) -> list[Callable[[], None]]:
        return [self._follow]

    def _run(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as problem:
            if not self._stopped.is_set():
                self.problem = problem

    def _follow(self) -> None:
        for kind, pod in Connection(self._server).watch("/api/v1/pods", self._stopped):
            self.see(kind, pod)

    def see(self, kind: str, pod: dict[str, Any]) -> None:
        raise NotImplementedError


class FakeKubelet(Watching):
    """The kubelets of all nodes: pods run ``start`` seconds after they were placed, and end after their grace, but within ``stop`` seconds.

    Those whose names begin with one of ``broken`` never get ready, and those with one of ``hanging`` never end.
    """

    WORKERS = 3

    def __init__(self, server: control_plane.ApiServer, start: float = 0.3, stop: float = 0.3) -> None:
        super().__init__(server)
        self.start, self.stop = start, stop
        self.broken: set[str] = set()
        self.hanging: set[str] = set()
        self._due: list[tuple[float, int, str, dict[str, Any]]] = []
        self._numbers = itertools.count()
        self._known: set[tuple[str, str]] = set()
        self._more = threading.Condition()

    def works(self) -> list[Callable[[], None]]:
        return [self._follow, *[self._act] * self.WORKERS]

    def see(self, kind: str, pod: dict[str, Any]) -> None:
        metadata, spec = pod["metadata"], pod["spec"]
        if kind == "DELETED" or not spec.get("nodeName"):
            return
        if "deletionTimestamp" in metadata:
            if not metadata["name"].startswith(tuple(self.hanging)):
                self._later("end", pod, min(self.stop, metadata.get("deletionGracePeriodSeconds") or 0))
        elif pod["status"].get("phase") == "Pending":
            self._later("begin", pod, self.start)

    def _later(self, what: str, pod: dict[str, Any], seconds: float) -> None:
        key = (what, pod["metadata"]["uid"])
        if key in self._known:
            return
        self._known.add(key)
        with self._more:
            heapq.heappush(self._due, (time.monotonic() + seconds, next(self._numbers), what, pod))
            self._more.notify()

    def _act(self) -> None:
        connection = Connection(self._server)
        while not self._stopped.is_set():
            with self._more:
                wait = self._due[0][0] - time.monotonic() if self._due else 0.5
                if wait > 0:
                    self._more.wait(min(wait, 0.5))
                    continue
                _moment, _number, what, pod = heapq.heappop(self._due)
            metadata = pod["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
            if what == "end":
                options = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": metadata["uid"]}}
                connection.call("DELETE", path, options)
            else:
                ready = "False" if metadata["name"].startswith(tuple(self.broken)) else "True"
                conditions = [{"type": kind, "status": ready} for kind in ("Ready", "ContainersReady")]
                conditions += [{"type": kind, "status": "True"} for kind in ("Initialized", "PodScheduled")]
                status = {"phase": "Running", "conditions": conditions}
                body = {"metadata": {"uid": metadata["uid"]}, "status": status}
                connection.call("PATCH", f"{path}/status", body, "application/merge-patch+json")


@dataclass
class App:
    """How many pods of an application were ready at the same time, at least, once all had been."""

    ready: set[str] = field(default_factory=set)
    most: int = 0
    least: int = 10**6


class Witness(Watching):
    """Counts the ready pods of each application after every single change. What is wrong for a moment only is not missed."""

    def __init__(self, server: control_plane.ApiServer, wanted: dict[str, int]) -> None:
        """:param wanted: application (label app) -> how many pods it is to have."""
        super().__init__(server)
        self.apps = {name: App() for name in wanted}
        self._wanted = wanted
        self.ended: dict[str, set[str]] = {name: set() for name in wanted}
        self._lock = threading.Lock()

    def see(self, kind: str, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        name = metadata.get("labels", {}).get("app")
        if name not in self.apps:
            return
        app = self.apps[name]
        leaving = kind == "DELETED" or "deletionTimestamp" in metadata
        conditions = pod["status"].get("conditions", [])
        ready = not leaving and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
        with self._lock:
            (app.ready.add if ready else app.ready.discard)(metadata["uid"])
            if leaving:
                self.ended[name].add(metadata["uid"])
            app.most = max(app.most, len(app.ready))
            if app.most >= self._wanted[name]:
                app.least = min(app.least, len(app.ready))

    def least(self, name: str) -> int:
        with self._lock:
            return self.apps[name].least

    def all_ready(self) -> bool:
        with self._lock:
            return all(len(app.ready) >= self._wanted[name] for name, app in self.apps.items())


@dataclass
class Cluster:
    """Nodes and workloads in a real API server, with real controllers."""

    server: control_plane.ApiServer
    connection: Connection

    def make(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        status, answer = self.connection.call("POST", path, body)
        assert status == 201, (path, answer)
        return answer

    def node(self, name: str, zone: str = "", **labels: str) -> str:
        metadata = {
            "name": name,
            "labels": {"kubernetes.io/hostname": name, **({"topology.kubernetes.io/zone": zone} if zone else {}), **labels},
        }
        self.make("/api/v1/nodes", {"metadata": metadata})
        status = {"conditions": [{"type": "Ready", "status": "True"}], "allocatable": ALLOCATABLE, "capacity": ALLOCATABLE}
        path = f"/api/v1/nodes/{name}/status"
        code, answer = self.connection.call("PATCH", path, {"status": status}, "application/merge-patch+json")
        assert code == 200, answer
        return name

    def workload(self, name: str, replicas: int, kind: str = "Deployment", cpu: str = "100m", **spec: Any) -> None:
        container = {"name": "main", "image": "registry.k8s.io/pause:3.10", "resources": {"requests": {"cpu": cpu}}}
        template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container], "terminationGracePeriodSeconds": 5, **spec}}
        body: dict[str, Any] = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
        if kind == "StatefulSet":
            body.update(serviceName=name, podManagementPolicy="Parallel")
        self.make(f"/apis/apps/v1/namespaces/default/{kind.lower()}s", {"metadata": {"name": name}, "spec": body})

    def budget(self, app: str, name: str = "", **spec: Any) -> None:
        body = {"metadata": {"name": name or app}, "spec": {"selector": {"matchLabels": {"app": app}}, **spec}}
        self.make("/apis/policy/v1/namespaces/default/poddisruptionbudgets", body)

    def pods(self, node: str = "") -> list[dict[str, Any]]:
        found = self.connection.get("/api/v1/pods")["items"]
        return [pod for pod in found if not node or pod["spec"].get("nodeName") == node]

    def clear(self) -> None:
        """Remove everything that a test made."""
        for path in ("apps/v1/namespaces/default/deployments", "apps/v1/namespaces/default/statefulsets"):
            self.connection.call("DELETE", f"/apis/{path}", {"propagationPolicy": "Background"})
        self.connection.call("DELETE", "/apis/policy/v1/namespaces/default/poddisruptionbudgets")
        for pod in self.pods():
            with contextlib.suppress(KeyError):
                path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}"
                if pod["metadata"].get("finalizers"):
                    self.connection.call("PATCH", path, {"metadata": {"finalizers": None}}, "application/merge-patch+json")
        control_plane.wait_for("the owners are gone", lambda: not self.connection.get("/apis/apps/v1/replicasets")["items"])
        for pod in self.pods():
            path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}"
            self.connection.call("DELETE", path, {"gracePeriodSeconds": 0})
        control_plane.wait_for("the pods are gone", lambda: not self.pods())
        self.connection.call("DELETE", "/api/v1/nodes")
