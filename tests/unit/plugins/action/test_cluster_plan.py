# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A plan is made of what the tasks of a run in check mode registered."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.flotilla.kubernetes.plugins.action.cluster_plan import CLOUD, CLUSTER, NODE, make_plan, rolled, shown


def step(action, machine=None, later="", reason="because"):
    made = {"action": action, "pool": "a", "role": "worker", "zone": "z1", "machine": machine, "reason": reason}
    return {**made, **({"later": later} if later else {})}


def plan(steps=(), cluster_vars=None, machines=None):
    return make_plan("demo", {"id": "0a1b", "steps": list(steps)}, cluster_vars or {}, machines or {})


def test_nothing_to_do_is_said():
    unchanged = {"containerd_files": {"changed": False}, "kubernetes_control_plane_info": {"changed": False, "differs": []}}
    made = plan([step("keep", "m1", reason="it is as wanted")], {"__infrastructure_network": {"changed": False}}, {"m1": unchanged})
    assert made == {"plan_id": "0a1b", "cluster": "demo", "steps": [], "notices": []}
    assert "would change nothing" in shown(made)[1]


def test_machines_and_what_becomes_of_their_nodes():
    made = plan([step("create"), step("delete", "m1"), step("replace", "m2"), step("keep", "m3", later="delete"), step("keep", "m4")])
    assert [(one["where"], one["object"], one["action"]) for one in made["steps"]] == [
        ("machines", "a machine of pool a in zone z1", "create"),
        ("nodes", "a machine of pool a in zone z1", "join"),
        ("machines", "m1", "delete"),
        ("nodes", "m1", "leave"),
        ("machines", "m2", "replace"),
        ("nodes", "the successor of m2", "join"),
        ("nodes", "m2", "leave"),
        ("machines", "m3", "delete later"),
        ("nodes", "m3", "leave"),
        ("machines", "m4", "keep"),
    ]
    assert "flotilla_plan_id=0a1b" in shown(made)[-2]
    assert "flotilla_plan_id" not in "".join(shown(plan([step("create")])))


def test_what_cluster_upgrade_replaces_is_told_and_needs_no_consent_here():
    rollout = {"strategy": "replace", "max_surge": 2}
    cluster = {"image": {"family": "debian-13"}, "pools": [{"name": "a", "count": 3, "rollout": rollout}, {"name": "b", "count": 1}]}
    running = {"state": "running", "spec_hash": "v1-other"}
    machines = [{"id": name, "name": name, "pool": pool, **running} for name, pool in (("m1", "a"), ("m2", "a"), ("m4", "b"))]
    (found,) = rolled(cluster, machines)
    assert (found["object"], found["action"], found["reason"]) == ("pool a", "cluster_upgrade", "replace 2 machines, 2 at a time")
    assert "flotilla_plan_id" not in "".join(shown({**plan(), "steps": [found]}))


def test_what_differs_is_named_and_never_shown():
    secret = "s3cret"
    registered = {
        "containerd_files": {
            "changed": True,
            "diff": [
                {"before": "", "after": secret, "after_header": "/etc/containerd/config.toml"},
                {"before": {"a": 1}, "after": {"a": secret}},
            ],
        },
        "kubernetes_control_plane_info": {"changed": False, "differs": ["kube-apiserver"]},
        "kubernetes_join_joined": {"changed": True, "diff": {"before": secret, "after": ""}},
        "network_plugin_objects": {"skipped": True, "changed": False},
    }
    made = plan(
        (),
        {"infrastructure_load_balancer": {"changed": True, "diff": {"before": {"members": 1}, "after": {"members": 2}}}},
        {"m1": registered},
    )
    assert [(one["where"], one["object"], one["action"], one["reason"]) for one in made["steps"]] == [
        ("cloud", "API load balancer", "change", "members"),
        ("nodes", "m1", "containerd", "/etc/containerd/config.toml, a"),
        ("nodes", "m1", "settings of the control plane", "kube-apiserver"),
        ("nodes", "m1", "kubeadm join", "it differs from the definition"),
    ]
    assert secret not in str(made)


def test_a_long_list_is_cut():
    many = {"changed": True, "diff": [{"after_header": f"/f{number}"} for number in range(9)]}
    (one,) = plan((), {}, {"m1": {"containerd_files": many}})["steps"]
    assert one["reason"] == "/f0, /f1, /f2, /f3, /f4, /f5, 3 more"


def test_policies_that_would_refuse_pods_stop_it_and_say_how_to_agree():
    refused = {"namespace": "shop", "level": "restricted:latest", "workloads": ["web-1: privileged"], "complete": True}
    found = {"changed": True, "diff": [{"after_header": "namespace/shop", "before": {}, "after": {}}], "refused": [refused]}
    made = plan((), {"policies_result": found}, {})
    assert [(one["where"], one["object"], one["action"]) for one in made["steps"]] == [
        ("cluster", "policies", "change"),
        ("cluster", "namespace shop", "stop"),
    ]
    assert made["steps"][0]["reason"] == "namespace/shop" and "web-1: privileged" in made["steps"][1]["reason"]
    assert any("cluster_apply -e flotilla_policies_consent=shop" in line for line in shown(made))


def test_what_people_have_to_know_is_told_once_and_changes_nothing():
    running = {"network_plugin_running": {"changed": False, "notice": "2 NetworkPolicies of the cluster have no effect."}}
    made = plan((), {}, {"m1": running, "m2": running, "m3": {"network_plugin_running": {"skipped": True}}})
    assert made["steps"] == [] and made["notices"] == ["2 NetworkPolicies of the cluster have no effect."]
    for lines in (shown(made), shown({**made, "steps": plan([step("create")])["steps"]})):
        assert lines.count("2 NetworkPolicies of the cluster have no effect.") == 1


def test_what_the_plan_reads_is_what_the_roles_register():
    tasks = "".join(path.read_text(encoding="utf-8") for path in (Path(__file__).resolve().parents[4] / "roles").glob("*/tasks/*.yml"))
    registered = set(re.findall(r"^ *register: (\w+)$", tasks, re.M))
    assert {*CLOUD, *CLUSTER, *NODE} <= registered
