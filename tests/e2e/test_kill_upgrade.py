# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An upgrade that is killed and run again ends where one that was not killed ends: `make e2e-kill-upgrade`.

The runs die as those of a create do (tests/e2e/test_kill_anywhere.py): at an event, before, during or after its effect.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import finished
import killing
import outside
import pytest

NAME, OLD, NEW = "test-kill-up", "1.35.4", "1.36.3"
POOLS = {"control-plane": 3, "workers": 1}
BUILD = outside.ROOT / "build/e2e"
WORK = BUILD / "kill-upgrade"
PLAYBOOK = "flotilla.kubernetes.cluster_upgrade"
# One of the first so many events of each, in the order of an upgrade.
TARGETS: list[tuple[str, int, Callable[[killing.Event], bool]]] = [
    ("files are brought ahead", 12, lambda event: event.kind == "rename" and event.place != "controller"),
    ("kubeadm exchanges static pods", 8, lambda event: event.kind == "kubeadm" and event.place == "control plane"),
    ("a node is drained", 4, lambda event: "drain" in event.step.lower()),
    ("the kubelet of a control plane is exchanged", 6, lambda event: event.kind == "command" and "systemctl" in event.step),
    ("a worker is upgraded", 10, lambda event: event.place == "worker" and "upgrade" in event.step.lower()),
]

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def definition(version: str) -> Path:
    return outside.write_definition(
        WORK,
        NAME,
        kubernetes_version=version,
        control_plane={"count": POOLS["control-plane"]},
        pools=[{"name": "workers", "count": POOLS["workers"]}],
        local={"network_cidr": "172.30.243.0/24"},
    )


@pytest.fixture
def gate() -> Iterator[killing.Gate]:
    path = definition(OLD)
    if any(outside.left_of(NAME).values()):
        assert outside.playbook("cluster_delete", path, "-e", f"flotilla_confirm={NAME}").status == 0
    made = outside.playbook("cluster_apply", path)
    assert made.status == 0, made.output[-6000:]
    gate = killing.Gate(NAME, WORK, BUILD / "kill-upgrade-events.log")
    yield gate
    gate.close()
    if not os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", path, "-e", f"flotilla_confirm={NAME}")


def _kubectl(*arguments: str) -> str:
    machine = outside.machines(NAME, "control-plane")[0]
    return outside.host("podman", "exec", machine, "kubectl", "--kubeconfig=/etc/kubernetes/admin.conf", *arguments)


def _static_pods_started() -> dict[str, str]:
    """Return since when each static pod of a control plane runs: an upgrade exchanges each once."""
    listed = json.loads(_kubectl("--namespace=kube-system", "get", "pods", "--selector=tier=control-plane", "--output=json"))["items"]
    return {pod["metadata"]["name"]: pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"] for pod in listed}


def test_an_upgrade_that_is_killed_goes_on_where_it_was(gate: killing.Gate) -> None:
    seed = os.environ.get("KILL_SEED", "1")
    path = definition(NEW)
    for index, (what, most, wanted) in enumerate(TARGETS):
        left = 1 + int(seed) * 7 % most

        def choose(event: killing.Event, wanted: Callable[[killing.Event], bool] = wanted) -> str:
            nonlocal left
            left -= wanted(event)
            return killing.way(seed, event) if left == 0 and wanted(event) else ""

        stage, run = killing.play(gate, path, choose, f"upgrade-{index}", PLAYBOOK)
        assert stage.killed, f"no such event: {what}; the run ended with {run.status}: {run.output[-6000:]}"
        print(f"killed ({stage.how}) after {run.seconds:.0f} s, {what}: {stage.killed.key}")
    done = _static_pods_started()
    _stage, last = killing.play(gate, path, lambda event: "", "upgrade-end", PLAYBOOK)
    assert last.status == 0, last.output[-8000:]
    until = time.monotonic() + 120
    while (found := finished.problems(NAME, POOLS)) and time.monotonic() < until:
        time.sleep(2)
    assert found == []
    # The last kill came when all control planes were done: nothing of them was exchanged again.
    assert _static_pods_started() == done
    versions = json.loads(_kubectl("get", "nodes", "--output=json"))["items"]
    assert {node["status"]["nodeInfo"]["kubeletVersion"] for node in versions} == {f"v{NEW}"}
    for playbook in ("cluster_upgrade", "cluster_apply"):
        again = outside.playbook(playbook, path)
        assert (again.status, again.changed) == (0, 0), again.output[-8000:]
