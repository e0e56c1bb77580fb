# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real `cluster_upgrade` over one simulated cluster. What happened is read from the cluster's journal, not from the run."""

from __future__ import annotations

import re

from simulated.cluster import DONE, Cluster
from simulated.world import NEW, World, done, untouched, versions

WORKERS = ["c1-w-1", "c1-w-2"]


def acts(cluster: Cluster) -> list[tuple[str, str]]:
    """Return node and name of everything that changed the cluster, in order."""
    return [(one["node"], one["act"]) for one in cluster.journal() if one["what"] == DONE]


def test_an_upgrade_by_one_minor_and_then_nothing_is_left_to_do(world: World) -> None:
    cluster = world.cluster("c1")
    done_now = world.play("cluster_upgrade")
    assert done_now.status == 0, done_now.output[-5000:]
    assert versions(cluster) == {NEW}
    assert done(cluster, "kubeadm upgrade") == [("c1-cp-1", NEW), *((worker, NEW) for worker in WORKERS)]
    # A worker serves nothing while its kubelet is exchanged, and takes pods again afterwards.
    for worker in WORKERS:
        order = [
            act for node, act in acts(cluster) if node == worker and act in ("cordon", "restart kubelet", "uncordon", "uncordon taint")
        ]
        assert order[0] == "cordon" and order[1] == "restart kubelet" and order[2].startswith("uncordon"), order
    assert not any(node["unschedulable"] or node["taints"] for node in cluster.read()["nodes"].values())
    assert all(pod["node"] for workload in cluster.read()["workloads"].values() for pod in workload["pods"].values())
    before = acts(cluster)
    again = world.play("cluster_upgrade")
    assert again.status == 0 and again.changed == 0, again.output[-5000:]
    assert acts(cluster) == before


def test_a_changed_argument_of_a_module_is_refused_as_on_a_real_machine(world: World) -> None:
    cluster = world.cluster("c1")
    module = world.folder / "collections/ansible_collections/flotilla/kubernetes/plugins/modules/cluster_health.py"
    text = module.read_text(encoding="utf-8")
    assert text.count('"read_workloads": {') == 1
    module.write_text(text.replace('"read_workloads": {', '"count_workloads": {'), encoding="utf-8")
    refused = world.play("cluster_upgrade")
    said = re.search(r"Unsupported parameters for \(\S*cluster_health\) module: read_workloads", refused.output)
    assert refused.status != 0 and said, refused.output
    assert untouched(cluster)


def test_a_module_that_was_never_tried_there_refuses_a_simulated_machine(world: World) -> None:
    cluster = world.cluster("c1")
    play = "- hosts: c1-w-1\n  gather_facts: false\n  tasks:\n    - flotilla.kubernetes.kubeadm_reset: {api_endpoint: 'x:6443'}\n"
    path = world.folder / "reset.yml"
    path.write_text(play, encoding="utf-8")
    refused = world.play(str(path))
    assert refused.status != 0 and "kubeadm_reset can not work on simulated machines" in refused.output
    assert cluster.journal() == []
