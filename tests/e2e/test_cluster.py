# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real cluster from nothing to nothing. The tests share one cluster and run in the order of this file."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from pathlib import Path

import agnhost
import outside
import pytest
from conftest import NAME, VERSION, Cluster, wait_for

CONFIGURATION = ("/etc/kubernetes", "/etc/containerd", "/var/lib/kubelet/config.yaml", "/var/lib/kubelet/kubeadm-flags.env")
WORKLOAD = """
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  replicas: 4
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          nodeTaintsPolicy: Honor
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {{matchLabels: {{app: web}}}}
      containers: [{{name: web, image: "{image}", args: [netexec, --http-port=8080], ports: [{{containerPort: 8080}}]}}]
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80, targetPort: 8080}}]}}
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {{name: asker}}
spec:
  selector: {{matchLabels: {{app: asker}}}}
  template:
    metadata: {{labels: {{app: asker}}}}
    spec:
      tolerations: [{{operator: Exists}}]
      containers: [{{name: asker, image: "{image}", args: [netexec, --http-port=8080], ports: [{{containerPort: 8080}}]}}]
"""


def test_the_first_run_makes_a_healthy_cluster(cluster: Cluster) -> None:
    assert cluster.first_run.status == 0, cluster.first_run.output[-6000:]
    nodes = cluster.get("nodes")
    control_planes = [node for node in nodes if "node-role.kubernetes.io/control-plane" in node["metadata"]["labels"]]
    assert (len(control_planes), len(nodes)) == (3, 5)
    for node in nodes:
        assert [c["status"] for c in node["status"]["conditions"] if c["type"] == "Ready"] == ["True"], node["metadata"]["name"]
        assert node["status"]["nodeInfo"]["kubeletVersion"] == f"v{VERSION}"
    assert {node["metadata"]["name"] for node in nodes} == set(outside.machines(NAME))
    assert all(node["metadata"]["labels"].get("tier") == "web" for node in nodes if "workers" in node["metadata"]["name"])


def test_the_report_says_where_everything_is(cluster: Cluster) -> None:
    output = cluster.first_run.output
    for text in (f"Cluster {NAME}: Kubernetes {VERSION}, healthy", "API endpoint   https://172.30.240.3:6443", str(cluster.kubeconfig)):
        assert text in output, text
    assert stat.S_IMODE(cluster.kubeconfig.stat().st_mode) == 0o600


def test_etcd_has_three_voting_members(cluster: Cluster) -> None:
    first = outside.machines(NAME, "control-plane")[0]
    pki = "/etc/kubernetes/pki/etcd"
    listed = outside.host(
        "podman", "exec", first, "etcdctl", f"--cacert={pki}/ca.crt", f"--cert={pki}/healthcheck-client.crt",
        f"--key={pki}/healthcheck-client.key", "--endpoints=https://127.0.0.1:2379", "member", "list", "--write-out=json",
    )  # fmt: skip
    members = json.loads(listed)["members"]
    assert {member["name"] for member in members} == set(outside.machines(NAME, "control-plane"))
    assert not any(member.get("isLearner") for member in members)


def test_no_join_secret_is_left(cluster: Cluster) -> None:
    secrets = cluster.get("secrets", "--namespace=kube-system")
    assert "kubeadm-certs" not in [secret["metadata"]["name"] for secret in secrets]
    # kubeadm init always makes a token; ours lives a minute, and the cluster's own controller removes it.
    wait_for(
        "bootstrap tokens gone",
        lambda: not [s for s in cluster.get("secrets", "--namespace=kube-system") if s["type"] == "bootstrap.kubernetes.io/token"],
    )


def test_workloads_reach_each_other_from_every_node(cluster: Cluster) -> None:
    image, archive = agnhost.make(VERSION)
    for machine in outside.machines(NAME):
        outside.host("podman", "exec", "-i", machine, "ctr", "--namespace=k8s.io", "images", "import", "--local", "-", stdin=archive)
    cluster.kubectl("apply", "--filename=-", stdin=WORKLOAD.format(image=image))
    cluster.kubectl("rollout", "status", "deployment/web", "daemonset/asker", "--timeout=280s")
    web = {pod["metadata"]["name"]: pod["spec"]["nodeName"] for pod in cluster.get("pods", "--selector=app=web")}
    assert set(web.values()) == set(outside.machines(NAME, "workers")), "the Deployment runs on every worker"
    askers = cluster.get("pods", "--selector=app=asker")
    assert {pod["spec"]["nodeName"] for pod in askers} == set(outside.machines(NAME))
    for pod in askers:
        query = "dial?host=web.default.svc.cluster.local&port=80&protocol=http&request=hostname&tries=8"
        path = f"/api/v1/namespaces/default/pods/{pod['metadata']['name']}:8080/proxy/{query}"
        answer = wait_for(
            f"answers on {pod['spec']['nodeName']}",
            lambda path=path: (a := json.loads(cluster.kubectl("get", "--raw", path))) and not a.get("errors") and a.get("responses") and a,
            timeout=90,
        )
        assert set(answer["responses"]) <= set(web), answer


def test_nothing_left_the_network_and_one_packet_would_have_been_counted(cluster: Cluster) -> None:
    assert cluster.egress_packets() == 0
    # TEST-NET-3 (RFC 5737) is never routed, and the network drops it besides.
    control = ["podman", "exec", outside.machines(NAME, "workers")[0], "ping", "-c", "1", "-W", "1", "203.0.113.1"]
    outside.host(*control, check=False)
    assert cluster.egress_packets() == 1


def test_the_second_run_changes_nothing(cluster: Cluster) -> None:
    ids = outside.containers(NAME)
    files = {machine: outside.digests(machine, CONFIGURATION) for machine in outside.machines(NAME)}
    pods = {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in cluster.get("pods", "-A")}
    second = cluster.play("cluster_apply")
    assert second.status == 0, second.output[-6000:]
    assert second.changed == 0, second.output[-6000:]
    assert outside.containers(NAME) == ids
    assert {machine: outside.digests(machine, CONFIGURATION) for machine in outside.machines(NAME)} == files
    assert {pod["metadata"]["uid"]: pod["status"]["containerStatuses"][0]["restartCount"] for pod in cluster.get("pods", "-A")} == pods


def test_check_mode_on_a_finished_cluster_predicts_nothing(cluster: Cluster) -> None:
    checked = cluster.play("cluster_apply", "--check", "--diff")
    assert checked.status == 0, checked.output[-6000:]
    assert checked.changed == 0, checked.output[-6000:]


def test_status_is_green_and_changes_nothing(cluster: Cluster) -> None:
    ids = outside.containers(NAME)
    status = cluster.play("cluster_status")
    assert status.status == 0, status.output[-6000:]
    assert status.changed == 0
    assert f"Cluster {NAME}: Kubernetes {VERSION}, healthy" in status.output
    assert outside.containers(NAME) == ids


def test_the_plan_of_a_fleet_tells_what_each_cluster_is(cluster: Cluster, tmp_path: Path) -> None:
    missing = outside.write_definition(tmp_path, "nowhere", local={"network_cidr": "172.30.241.0/24"})
    ids, report = outside.containers(NAME), tmp_path / "plan.json"
    run = cluster.play("fleet_plan", "-i", str(missing.parent), "-e", f"flotilla_report={report}")
    assert (run.status, run.changed) == (0, 0), run.output[-6000:]
    steps = {one["name"]: one for wave in json.loads(report.read_text())["waves"] for one in wave["clusters"]}
    assert (steps[NAME]["action"], steps[NAME]["present"]) == ("nothing", VERSION)
    assert steps["nowhere"]["action"] == "unknown" and steps["nowhere"]["why"]
    assert outside.containers(NAME) == ids


def test_an_unreachable_machine_is_named_before_anything_changes(cluster: Cluster) -> None:
    machine = outside.machines(NAME, "workers")[0]
    ids = outside.containers(NAME)
    outside.host("podman", "exec", machine, "systemctl", "stop", "ssh.socket", "ssh.service")
    # Connections that Ansible keeps would hide it.
    outside.host("podman", "exec", machine, "pkill", "sshd", check=False)
    try:
        run = cluster.play("cluster_apply", "-e", "infrastructure_wait_timeout=10")
        assert run.status != 0
        assert machine in run.output and "SSH" in run.output, run.output[-3000:]
        assert run.changed == 0, run.recap
        assert outside.containers(NAME) == ids
    finally:
        outside.host("podman", "exec", machine, "systemctl", "start", "ssh.service")


def test_delete_refuses_without_consent(cluster: Cluster) -> None:
    ids = outside.containers(NAME)
    for options in ([], ["-e", "flotilla_confirm=another"]):
        refused = cluster.play("cluster_delete", *options)
        assert refused.status != 0
        assert f"flotilla_confirm={NAME}" in refused.output
    assert outside.containers(NAME) == ids


def _reboot(cluster: Cluster, machine: str) -> None:
    outside.host("podman", "restart", "--time", "0", machine)
    wait_for(f"{machine} Ready again", lambda: cluster.play("cluster_status").status == 0, timeout=600)


def _worker_reboots(cluster: Cluster) -> None:
    _reboot(cluster, outside.machines(NAME, "workers")[0])


def _control_plane_reboots(cluster: Cluster) -> None:
    _reboot(cluster, outside.machines(NAME, "control-plane")[0])


def _pool_grows(cluster: Cluster) -> None:
    before = outside.containers(NAME)
    path = cluster.foundation / "clusters" / f"{NAME}.yml"
    path.write_text(path.read_text(encoding="utf-8").replace("count: 2", "count: 3"), encoding="utf-8")
    grown = cluster.play("cluster_apply")
    assert grown.status == 0, grown.output[-6000:]
    assert len(outside.machines(NAME, "workers")) == 3
    assert before.items() <= outside.containers(NAME).items()
    assert len(cluster.get("nodes")) == 6


CASES = [_worker_reboots, _control_plane_reboots, _pool_grows]


@pytest.mark.rotating
@pytest.mark.parametrize("case", [pytest.param(case, id=case.__name__.strip("_")) for case in CASES])
def test_rotating_case(cluster: Cluster, case: Callable[[Cluster], None]) -> None:
    case(cluster)


@pytest.mark.last
def test_delete_leaves_nothing_behind(cluster: Cluster) -> None:
    assert all(outside.left_of(NAME).values()), "the search finds every kind while the cluster is there"
    deleted = cluster.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")
    assert deleted.status == 0, deleted.output[-3000:]
    assert not any(outside.left_of(NAME).values()), outside.left_of(NAME)
    others = [
        line for line in outside.host("podman", "network", "ls", "--format", "{{.Name}}").splitlines() if line.startswith("flotilla-")
    ]
    if not others:
        assert outside.settings() == cluster.settings_before
    again = cluster.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")
    assert again.status == 0 and again.changed == 0, again.output[-3000:]
