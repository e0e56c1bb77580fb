# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a fleet with one cluster of each sort, and a text of a test's choice wherever a text comes from elsewhere."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.status import Seen, fleet_status

NOW = dt.datetime(2026, 11, 23, 12, 0, tzinfo=dt.timezone.utc)
STORE = {"place": "the directory /srv/backups", "age": 3 * 86400, "id": "20261120T040000Z-1a2b3c4d"}


def status(word: str, more: int = 0) -> dict[str, Any]:
    """Return the status.

    :param word: of the first cluster its name, foundation, labels, nodes, findings, certificates and runs.
    :param more: healthy clusters besides.
    """
    names = [word, "orders", "payments", "search", "shop", *(f"c{number:03}" for number in range(more))]
    foundations = {word: word, "orders": "aws-eu", "payments": "aws-eu"}
    definitions = [_definition(name, foundations.get(name, "vsphere-hh"), word) for name in names]
    seen = {name: Seen(look=_look("1.36.3", name), asked=f"{name}-control-plane-1", backup=STORE) for name in names}
    broken = _look("1.34.4", word)
    broken["findings"] = [
        {"code": "NODE_NOT_READY", "object": f"node/{word}", "message": f"The node {word} is not Ready: {word}", "remedy": f"Read {word}."}
    ]
    broken["nodes"][0]["ready"] = False
    runs = [_run("failed", "2026-11-22T09:00:00.000Z", word), _run("done", "2026-03-02T09:00:00.000Z", "")]
    seen[word] = Seen(look=broken, asked=word, backup=STORE, runs=runs)
    seen["orders"] = Seen(problem=f"orders-control-plane-1: {word}", runs=[_run("interrupted", "2026-11-01T22:10:00.000Z", "")])
    ending = _look("1.36.3", "payments")
    ending["certificates"][0].update(days_left=20, due=True, reason="ends in 20 days")
    seen["payments"] = Seen(look=ending, asked="payments-control-plane-1", runs=[_run("done", "2026-06-10T05:30:00.000Z", "")])
    late = {"code": "BACKUP_TOO_OLD", "message": f"The newest good backup in {word} is 3 d old.", "remedy": "Run cluster_backup."}
    seen["search"] = Seen(look=_look("1.35.4", "search"), asked="search-control-plane-1", backup=STORE, backup_findings=[late])
    return fleet_status(definitions, seen, NOW)


def _definition(name: str, foundation: str, word: str) -> dict[str, Any]:
    return {"name": name, "foundation": foundation, "cloud": "existing", "labels": {"owner": word}, "kubernetes_version": "1.36.3"}


def _look(version: str, name: str) -> dict[str, Any]:
    node, worker = f"{name}-control-plane-1", f"{name}-workers-1"
    pods = dict.fromkeys(("kube-apiserver", "kube-controller-manager", "kube-scheduler"), version)
    common = {"ready": True, "schedulable": True, "version": version, "runtime": "containerd://2.2.9"}
    certificate = {"node": "", "name": "apiserver", "kind": "control_plane", "ends": "2026-12-13T12:00:00Z"}
    return {
        "versions": {
            "oldest": version,
            "control_planes": {node: {**pods, "etcd": "3.6.8"}},
            "kubelets": {node: version, worker: version},
            "interrupted": [],
        },
        "findings": [],
        "nodes": [{"name": node, "roles": ["control-plane"], **common}, {"name": worker, "roles": [], **common}],
        "certificates": [{**certificate, "days_left": 200, "due": False, "reason": ""}],
        "sign": {},
    }


def _run(result: str, began: str, why: str) -> dict[str, Any]:
    told = {"playbook": "cluster_upgrade", "from": "1.35.4", "to": "1.36.3", "seconds": 1260.5}
    return {**told, "result": result, "began": began, "why": why, "remedy": f"Mend {why}." if why else ""}
