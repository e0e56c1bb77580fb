# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What runs beside Kubernetes, on a real cluster: `make e2e-addons`.

The tests follow each other: one cluster with one control plane and two workers, without add-ons, then with all, then without again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import agnhost
import outside
import pytest
import usable
from conftest import VERSION, Cluster, wait_for

NAME = "test-addons"
NETWORK = "172.30.236"
DASHBOARDS = Path(__file__).resolve().parents[2] / "docs/dashboards"
ADDONS = {**usable.addons(NETWORK), "own": [{"name": "note", "version": "1.0.0", "manifests": ["../../note.yml"]}]}
NOTE = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "note", "namespace": "default"}, "data": {"by": "us"}}
# What comes and goes by itself, and has its name from a generator.
_FLEETING = ("events", "certificatesigningrequests", "endpointslices", "pods", "nodes.metrics.k8s.io", "pods.metrics.k8s.io")

pytestmark = pytest.mark.long


@dataclass
class World:
    foundation: Path
    kubectl: Any
    before: set[str]

    def define(self, addons: dict[str, Any]) -> None:
        outside.write_definition(
            self.foundation,
            NAME,
            kubernetes_version=VERSION,
            pools=[{"name": "workers", "count": 2}],
            local={"network_cidr": f"{NETWORK}.0/24", "egress": "deny"},
            addons=addons,
        )

    def apply(self, *options: str) -> outside.Run:
        return outside.playbook("cluster_apply", self.foundation, *options)

    def objects(self) -> set[str]:
        """Return every object of every kind, but for those that come and go by themselves."""
        kinds = self.kubectl("api-resources", "--verbs=list", "--output=name").split()
        wanted = ",".join(kind for kind in kinds if kind not in _FLEETING and kind.partition(".")[0] not in _FLEETING)
        shown = self.kubectl("get", wanted, "--all-namespaces", "--output=json", "--ignore-not-found")
        found = {
            "/".join((item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])) for item in json.loads(shown)["items"]
        }
        return {one for one in found if not one.startswith("Secret/kube-system/bootstrap-token-")}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("addons")
    foundation = folder / "foundation"
    foundation.mkdir()
    # Ansible reads what is inside of a foundation as inventory.
    (folder / "note.yml").write_text(json.dumps(NOTE), encoding="utf-8")
    cluster = Cluster(foundation, NAME, None, {}, None, foundation, foundation)  # type: ignore[arg-type]
    made = World(foundation, cluster.kubectl, set())
    made.define({})
    if any(outside.left_of(NAME).values()):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")
    created = made.apply()
    assert created.status == 0, created.output[-6000:]
    _image, archive = agnhost.make(VERSION)
    for machine in outside.machines(NAME, "workers"):
        outside.host("podman", "exec", "-i", machine, "ctr", "--namespace=k8s.io", "images", "import", "--local", "-", stdin=archive)
    made.before = made.objects()
    yield made
    if not os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")


def test_a_prediction_names_every_object_and_changes_none(world: World) -> None:
    world.define(ADDONS)
    predicted = world.apply("--check", "--diff")
    assert predicted.status == 0, predicted.output[-6000:]
    for key in ("DaemonSet/metallb-system/speaker", "StorageClass/local-path", "ConfigMap/default/note"):
        assert key in predicted.output
    assert world.objects() == world.before


def test_add_ons_come_to_a_running_cluster_and_a_second_run_changes_nothing(world: World) -> None:
    made = world.apply()
    assert made.status == 0, made.output[-6000:]
    after = world.objects()
    assert {
        "Namespace//metallb-system",
        "StorageClass//local-path",
        "Deployment/kube-system/metrics-server",
        "ConfigMap/default/note",
    } <= after - world.before
    again = world.apply()
    assert again.status == 0 and again.changed == 0, again.recap
    assert world.objects() == after


def test_top_answers(world: World) -> None:
    usable.see_top(world.kubectl, outside.machines(NAME))


def test_prometheus_reads_every_node(world: World) -> None:
    usable.see_metrics(world.kubectl, outside.machines(NAME))


def test_prometheus_takes_what_fleet_status_says_and_the_dashboard_shows_it(world: World) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "outside", "namespace": "prometheus"},
        "spec": {"type": "LoadBalancer", "selector": {"app.kubernetes.io/name": "prometheus"}, "ports": [{"port": 9090}]},
    }
    world.kubectl("apply", "--filename=-", stdin=json.dumps(service))
    path = "jsonpath={.status.loadBalancer.ingress[0].ip}"
    address = wait_for("an address", lambda: world.kubectl("get", "service", "outside", "--namespace=prometheus", f"--output={path}"))
    status = world.foundation.parent / "status.json"
    given = {"report": status, "telemetry_endpoint": f"http://{address}:9090/api/v1/otlp", "fail_on": "never"}
    options = [word for name, value in given.items() for word in ("-e", f"flotilla_{name}={value}")]
    done = outside.playbook("fleet_status", world.foundation, *options)
    assert done.status == 0 and "TELEMETRY" not in done.output, done.output[-6000:]
    (seen,) = wait_for("the cluster in Prometheus", lambda: usable.asked(world.kubectl, "flotilla_cluster_seen_seconds"))
    (cluster,) = json.loads(status.read_text(encoding="utf-8"))["clusters"]
    assert {name: seen["metric"][name] for name in ("k8s_cluster_name", "state", "version")} == {
        "k8s_cluster_name": NAME,
        "state": cluster["state"],
        "version": VERSION,
    }
    panels = json.loads((DASHBOARDS / "fleet.json").read_text(encoding="utf-8"))["panels"]
    asked = {target["expr"] for panel in panels for target in panel.get("targets", ()) if "flotilla_run" not in target["expr"]}
    # A cluster without a store of backups has no age of one.
    assert len(asked) > 3 and all(usable.asked(world.kubectl, query) or "backup" in query for query in asked), asked
    world.kubectl("delete", "service", "outside", "--namespace=prometheus", "--wait=true")


def test_a_service_answers_from_outside(world: World) -> None:
    usable.see_service(world.kubectl, agnhost.make(VERSION)[0], NETWORK)


def test_a_volume_survives_its_pod(world: World) -> None:
    usable.see_volume(world.kubectl, agnhost.make(VERSION)[0])
    volumes = json.loads(world.kubectl("get", "persistentvolumes", "--output=json"))["items"]
    claims = {volume["spec"]["claimRef"]["name"]: volume["spec"]["storageClassName"] for volume in volumes}
    assert claims == {"data": "local-path", "prometheus": "local-path"}


def test_an_add_on_that_is_needed_stays_until_it_is_not(world: World) -> None:
    world.define({})
    with_addons = world.objects()
    refused = world.apply()
    assert refused.status != 0 and "ADDON_IN_USE" in refused.output and "PersistentVolume/pvc-" in refused.output, refused.output[-3000:]
    assert world.objects() == with_addons
    world.kubectl("delete", "persistentvolumeclaim", "data", "--wait=true", "--timeout=120s")
    wait_for("the volume to go", lambda: len(json.loads(world.kubectl("get", "persistentvolumes", "--output=json"))["items"]) == 1)
    world.kubectl("delete", "service,deployment", "echo", "--wait=true", "--timeout=120s")


def test_what_is_removed_leaves_nothing(world: World) -> None:
    removed = world.apply()
    assert removed.status == 0, removed.output[-6000:]
    assert world.objects() == world.before
    for machine in outside.machines(NAME, "workers"):
        assert outside.shell(machine, "ls -A /srv/volumes 2>/dev/null | wc -l").strip() == "0", "the folders of all volumes are gone"
    again = world.apply()
    assert again.status == 0 and again.changed == 0, again.recap
