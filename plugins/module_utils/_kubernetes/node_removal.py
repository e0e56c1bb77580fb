# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Nodes whose machines are about to go: their pods leave, and their volumes (private to flotilla.kubernetes).

A volume that is still attached when its machine goes can not be used elsewhere before the attach-detach controller gives up waiting, which
takes 6 minutes: https://kubernetes.io/docs/concepts/cluster-administration/node-shutdown/#storage-force-detach-on-timeout.
A load balancer that sends requests for Services to any node has to learn that this one goes before it is gone.
Python 3.9, standard library only.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from .._errors import FlotillaError
from .client import Client
from .drain import NO_TRAFFIC_TAINT, Drain, Options, outcome, refuse, set_taint, state
from .duration import format_duration
from .gates import is_ready

WORKERS = 10  # nodes that are drained at the same time
LOOK = 0.5  # seconds
NOTICE = 30.0  # seconds in which load balancers notice it, by the health checks that cloud controllers set up
ATTACHMENTS = "/apis/storage.k8s.io/v1/volumeattachments"


class NodeRemoval:
    """Some nodes of one cluster, through one API server.

    A node that is not there needs nothing. On one whose kubelet does not answer no pod can end, so it is left as it is: its pods are made
    anew when its Node is deleted.
    """

    def __init__(self, client: Client, nodes: Sequence[str], options: Options) -> None:
        self._client, self._nodes, self._options = client, sorted(set(nodes)), options

    def predict(self) -> dict[str, Any]:
        """Return the result that a removal of the pods would have.

        :raises FlotillaError: ``DRAIN_REFUSED`` for pods that must not be evicted, of all nodes at once.
        """
        return _merge(self._begin())

    def advance(self, token: str | None, seconds: float) -> dict[str, Any]:
        """Do one slice, at most ``seconds``: all nodes at the same time, unschedulable before the first pod leaves any of them.

        :param token: ``progress_token`` of the slice before; None for the first one.
        :return: ``finished`` with the result, or else ``progress`` and ``progress_token``.
        :raises FlotillaError: ``DRAIN_REFUSED`` before anything was changed; ``DRAIN_TIMEOUT`` or ``VOLUMES_ATTACHED`` at the deadline,
            when every other node is finished.
        """
        nodes = json.loads(token) if token else self._begin()
        open_ones = [name for name, entry in nodes.items() if not entry["done"]]
        if not token:
            notice = NOTICE if open_ones and self._is_reached_from_outside() else 0
            for name in open_ones:
                nodes[name]["noticed"] = nodes[name]["began"] + notice
                if nodes[name]["result"]["diff"]["before"]["schedulable"]:
                    self._drain(name).cordon()
                set_taint(self._client, name, NO_TRAFFIC_TAINT, True, "NoSchedule")
        until = time.monotonic() + seconds
        with ThreadPoolExecutor(WORKERS) as pool:
            list(pool.map(lambda name: self._advance(name, nodes[name], until), open_ones))
        lines = [line for name in open_ones if not nodes[name]["done"] for line in nodes[name]["progress"]]
        if not all(entry["done"] for entry in nodes.values()):
            return {"finished": False, "progress": lines, "progress_token": json.dumps(nodes)}
        failures = [FlotillaError(**entry["failure"]) for entry in nodes.values() if entry["failure"]]
        if len(failures) == 1:
            raise failures[0]
        if failures:
            raise FlotillaError(
                failures[0].code,
                " ".join(error.message for error in failures),
                failures[0].remedy,
                details={"blocked": [pod for error in failures for pod in error.details.get("blocked", [])]},
            )
        return {"finished": True, **_merge(nodes)}

    def delete(self, check_mode: bool) -> dict[str, Any]:
        """Delete the Nodes; their machines are gone."""
        there = {node["metadata"]["name"] for node in self._client.items("/api/v1/nodes")}
        leaving = [name for name in self._nodes if name in there]
        for name in [] if check_mode else leaving:
            self._client.delete(f"/api/v1/nodes/{name}")
        return {"changed": bool(leaving), "diff": {"before": {"nodes": leaving}, "after": {"nodes": []}}}

    def _drain(self, node: str) -> Drain:
        return Drain(self._client.another(), node, self._options)

    def _begin(self) -> dict[str, Any]:
        """Look at all nodes and refuse for all at once."""
        nodes: dict[str, Any] = {}
        refused = []
        there = {node["metadata"]["name"]: node for node in self._client.items("/api/v1/nodes")}
        for name in self._nodes:
            entry: dict[str, Any] = {"done": False, "token": None, "began": time.monotonic(), "failure": None, "progress": []}
            nodes[name] = {**entry, "done": True, "result": {"changed": False, "evicted": [], "diff": {"before": {}, "after": {}}}}
            if name in there and is_ready(there[name]):
                node, plan = self._drain(name).look()
                nodes[name] = {**entry, "result": outcome(state(node, plan))}
                refused += plan.refused
        refuse(refused, "Nothing was drained")
        return nodes

    def _is_reached_from_outside(self) -> bool:
        return any(one["spec"].get("type") in ("NodePort", "LoadBalancer") for one in self._client.items("/api/v1/services"))

    def _advance(self, name: str, entry: dict[str, Any], until: float) -> None:
        """Bring one node further; what it leaves is in its entry."""
        try:
            if not entry.get("drained"):
                answer = self._drain(name).advance(entry["token"], max(0.0, until - time.monotonic()))
                if not answer["finished"]:
                    entry["token"], entry["progress"] = answer["progress_token"], answer["progress"]
                    return
                entry["drained"] = True
                # The first slice found it unschedulable already: what it was like was seen before.
                entry["result"]["evicted"] = sorted({*entry["result"]["evicted"], *answer["evicted"]})
            while True:
                attached = self._attached(name)
                if not attached and time.monotonic() >= entry["noticed"]:
                    entry["done"] = True
                    return
                spent = time.monotonic() - entry["began"]
                if attached and spent >= self._options.timeout:
                    raise FlotillaError(
                        "VOLUMES_ATTACHED",
                        f"The node {name} still has volumes after {format_duration(self._options.timeout)}: {', '.join(attached)}.",
                        "Look at the log of the CSI driver's attacher, and run again. The node takes no new pods.",
                    )
                waits = f"{len(attached)} volumes to detach" if attached else "load balancers have to notice that it goes"
                entry["progress"] = [f"node {name}: {waits} ({spent:.0f} s)"]
                if time.monotonic() >= until:
                    return
                time.sleep(LOOK)
        except FlotillaError as error:
            entry["done"] = True
            entry["failure"] = {"code": error.code, "message": error.message, "remedy": error.remedy, "details": error.details}
            with contextlib.suppress(FlotillaError, OSError):
                set_taint(self._client.another(), name, NO_TRAFFIC_TAINT, False)

    def _attached(self, node: str) -> list[str]:
        client = self._client.another()
        found = client.items(ATTACHMENTS)
        return sorted(one["metadata"]["name"] for one in found if one["spec"]["nodeName"] == node)


def _merge(nodes: dict[str, Any]) -> dict[str, Any]:
    results = {name: entry["result"] for name, entry in nodes.items()}
    return {
        "changed": any(result["changed"] for result in results.values()),
        "evicted": sorted(pod for result in results.values() for pod in result["evicted"]),
        "diff": {when: {name: result["diff"][when] for name, result in results.items()} for when in ("before", "after")},
    }
