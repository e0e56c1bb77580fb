# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rolling upgrade from its first job to its report: the controller of the tests runs the nodes, each playbook runs by ansible-runner in
AWX's layout, and a wave calls back to the controller. What a cluster answers is simulated, by one file of tasks; nothing else is."""

from __future__ import annotations

import datetime as dt
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside
from ansible_collections.flotilla.kubernetes.plugins.module_utils._awx.plan import carry
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.plan import fleets_of, make_plan
from awx import runs, server, site

NAMES = ("c0", "c1", "c2")
OLD, NEW = "1.36.2", "1.36.3"
# Instead of playbooks/tasks/look_at_cluster.yml, and of the look at its health.
LOOK = """
- name: See
  ansible.builtin.set_fact:
    flotilla_versions: {oldest: "{{ __is }}", control_planes: {}, kubelets: {}, interrupted: []}
    flotilla_upgrade_hops: "{{ [] if __is == __wanted else [{'version': __wanted, 'workers': true}] }}"
    flotilla_preflight: {findings: []}
  vars:
    __wanted: "{{ flotilla_cluster.kubernetes_version }}"
    __is: "{{ (lookup('ansible.builtin.file', lookup('ansible.builtin.env', 'FLOTILLA_TEST_WORLD')) | from_json)[flotilla_cluster.name] }}"
"""
HEALTHY = """
- name: It is healthy
  ansible.builtin.set_fact:
    flotilla_health: {healthy: true, nodes: [], findings: []}
"""


class World:
    """A project with three clusters, one of them a canary, and a controller whose jobs run in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.project = folder / "project"
        shutil.copytree(outside.ROOT / "playbooks", self.project / "playbooks", ignore=shutil.ignore_patterns("__pycache__"))
        (self.project / "playbooks/tasks/look_at_cluster.yml").write_text(LOOK, encoding="utf-8")
        (self.project / "playbooks/tasks/health.yml").write_text(HEALTHY, encoding="utf-8")
        (self.project / "playbooks/tasks/judge.yml").write_text(HEALTHY, encoding="utf-8")
        foundation = self.project / "inventories/production"
        for number, name in enumerate(NAMES):
            outside.write_definition(
                foundation,
                name,
                cloud="existing",
                kubernetes_version=NEW,
                labels={"stage": "canary" if number == 0 else "other"},
                access={"ssh_user": "ops"},
                pools=[{"name": "workers"}],
                api_endpoint={"provider": "external", "address": f"192.0.2.{number + 150}"},
                existing={
                    "host_keys": "accept_new",
                    "machines": [
                        {"address": f"192.0.2.{number + 50}", "role": "control_plane"},
                        {"address": f"192.0.2.{number + 100}", "pool": "workers"},
                    ],
                },
            )
        waves = [{"name": "canaries", "clusters": {"labels": {"stage": "canary"}}, "canary": True}, {"name": "rest"}]
        head = {"plugin": "flotilla.kubernetes.cluster", "schema": 1, "kind": "fleet", "max_clusters_in_flight": 2, "waves": waves}
        (foundation / "fleet.yml").write_text(yaml.safe_dump(head, sort_keys=False), encoding="utf-8")
        self.is_now(dict.fromkeys(NAMES, OLD))
        self.fails: set[str] = set()
        self.upgraded: list[str] = []
        self.backed_up: list[str] = []
        self.runs: dict[int, runs.Run] = {}
        self.order: list[str] = []
        self.controller: server.Controller
        self.hosts = runs.inventory(self.project, foundation, site.environment())

    def is_now(self, versions: Mapping[str, str]) -> None:
        (self.folder / "world.json").write_text(json.dumps(versions), encoding="utf-8")

    def outcome(self, job: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Run the playbook of a job; the work in one cluster is a line in a file."""
        number, variables = job["id"], json.loads(job["extra_vars"])
        cluster = variables.get("flotilla_cluster_name")
        if not job["playbook"]:
            return "successful", {}
        if job["playbook"].endswith("cluster_backup.yml"):
            self.backed_up.append(cluster)
            return "successful", {}
        if job["playbook"].endswith("awx_upgrade.yml"):
            self.upgraded.append(cluster)
            if cluster in self.fails:
                return "failed", {}
            self.is_now({**json.loads((self.folder / "world.json").read_text()), cluster: NEW})
            return "successful", {}
        if number not in self.runs:
            self.order.append(job["name"])
            environment = site.environment(**self.controller.environment, FLOTILLA_TEST_WORLD=str(self.folder / "world.json"))
            variables = {**variables, "flotilla_interval": 0.2, "ansible_python_interpreter": sys.executable, "awx_job_id": number}
            self.runs[number] = runs.Run(self.folder / f"job-{number}", self.project, self.hosts, job["playbook"], variables, environment)
        return self.runs[number].ended()

    def end(self, job: dict[str, Any], also: Callable[[], object] = lambda: None) -> str:
        """Wait for the end of a workflow and return its status."""
        until = time.monotonic() + 240
        while job["status"] == "running":
            assert time.monotonic() < until, self.logs()
            also()
            with self.controller.lock:
                self.controller.jobs.go_on()
            time.sleep(0.1)
        return str(job["status"])

    def decide(self, approve: bool) -> None:
        for job in self.controller.jobs.of("workflow_approvals"):
            if job["status"] == "running":
                self.controller.jobs.decide(job["id"], approve)

    def logs(self) -> str:
        return "\n".join(run.log[-3000:] for run in self.runs.values())


@contextmanager
def world(folder: Path, **changes: Any) -> Iterator[World]:
    it = World(folder)
    with server.controller(it.project, it.outcome) as controller:
        it.controller = controller
        site.fill(controller.store, **changes)
        yield it


def launch(it: World, **answers: Any) -> dict[str, Any]:
    template = it.controller.store.named("workflow_job_templates", "flotilla upgrade production")
    return it.controller.jobs.launch("workflow_job_templates", template["id"], {"extra_vars": {"kubernetes_version": NEW, **answers}})


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, str]]:
    with world(tmp_path_factory.mktemp("upgraded"), awx_setup_approve_waves=False) as it:
        yield it, it.end(launch(it), lambda: it.decide(True))


def test_a_workflow_upgrades_the_canary_and_then_the_others(upgraded):
    it, status = upgraded
    assert status == "successful", it.logs()
    assert it.upgraded[0] == "c0" and sorted(it.upgraded) == sorted(NAMES)
    assert sorted(it.backed_up) == sorted(NAMES)
    wave, verify = "flotilla wave", "flotilla verify"
    assert it.order == ["flotilla preflight", wave, wave, verify, wave, verify, "flotilla report"]


def test_each_upgrade_gets_the_inventory_credentials_and_place_of_its_foundation(upgraded):
    it, _status = upgraded
    store = it.controller.store
    jobs = [job for job in it.controller.jobs.of("jobs") if job["name"] == "flotilla upgrade"]
    waves = [job for job in it.controller.jobs.of("jobs") if job["name"] == "flotilla wave"]
    for job in jobs:
        assert job["inventory"] == store.named("inventories", "flotilla production")["id"]
        assert sorted(job["credentials"]) == sorted(
            store.named("credentials", name)["id"] for name in ("aws production", "machines", "backups")
        )
        assert job["instance_groups"] == [store.named("instance_groups", "default")["id"]]
    assert len(jobs) == 3 and all(job["instance_groups"] == [store.named("instance_groups", "flotilla waves")["id"]] for job in waves)


@pytest.mark.slow
def test_a_canary_that_fails_leaves_the_others_alone_and_the_workflow_is_red(tmp_path):
    with world(tmp_path) as it:
        it.fails = {"c0"}
        assert it.end(launch(it), lambda: it.decide(True)) == "failed", it.logs()
        assert it.upgraded == ["c0"]
        assert it.order[-1] == "flotilla report"


def planned(it: World) -> str:
    """Return a plan of the world as the preflight leaves it."""
    definitions = {one["name"]: one for one in load.check_sources([str(it.project / "inventories/production")]).definitions}
    files = load.check_sources([str(it.project / "inventories/production")]).fleets
    versions = {"oldest": OLD, "control_planes": {}, "kubelets": {}, "interrupted": []}
    seen = {name: {"versions": versions, "hops": [{"version": NEW, "workers": True}], "findings": []} for name in NAMES}
    now = dt.datetime.now(dt.timezone.utc)
    return carry(make_plan(fleets_of(files, definitions.values()), definitions, seen, now, dt.timedelta(hours=1)))


def job(it: World, name: str, playbook: str, *options: str, **variables: Any) -> tuple[str, dict[str, Any], str]:
    environment = site.environment(FLOTILLA_TEST_WORLD=str(it.folder / "world.json"))
    run = runs.Run(it.folder / name, it.project, it.hosts, f"playbooks/{playbook}.yml", variables, environment, *options)
    status, artifacts = run.wait()
    return status, artifacts, run.log


WAVE = {"flotilla_job_template": "flotilla upgrade", "flotilla_launch_with": {}, "flotilla_stages": 3}


@pytest.mark.parametrize(
    ("playbook", "options", "variables", "told"),
    [
        # Fact 2 and a preflight that failed: nothing was planned is not everything is done.
        ("awx_report", (), {"awx_job_id": 1}, "Nothing was planned"),
        ("awx_upgrade", (), {"flotilla_cluster_name": "c1"}, "There is no plan"),
        ("awx_wave", (), {**WAVE, "flotilla_stage": "1"}, "flotilla_carried_plan is not set"),
        # Facts 3 and 6: a limit takes the gates away, so it is no green job but an error.
        ("awx_upgrade", ("--limit", "cluster_c1"), {"flotilla_cluster_name": "c1", "flotilla_carried_plan": "PLAN"}, "is refused here"),
        ("awx_report", ("--limit", "cluster_c1"), {"flotilla_carried_plan": "PLAN"}, "is refused here"),
        ("awx_report", (), {"flotilla_carried_plan": "PLAN"}, "0 of 3 clusters are done"),
    ],
)
def test_gates_hold_where_awx_would_be_green(upgraded, tmp_path, playbook, options, variables, told):
    it, _status = upgraded
    now = json.loads((it.folder / "world.json").read_text())
    it.is_now(dict.fromkeys(NAMES, OLD))
    try:
        given = {key: planned(it) if value == "PLAN" else value for key, value in variables.items()}
        status, _artifacts, log = job(it, tmp_path.name, playbook, *options, **given)
    finally:
        it.is_now(now)
    assert status == "failed" and told in log, log[-3000:]


def test_an_empty_wave_is_green_and_launches_nothing(upgraded):
    it, _status = upgraded
    status, _artifacts, log = job(it, "empty", "awx_wave", **WAVE, flotilla_stage="2", flotilla_carried_plan=planned(it))
    assert status == "successful" and "No cluster is in this wave" in log, log[-3000:]


def test_artifacts_are_small_and_named_as_no_variable_of_a_node(upgraded):
    it, _status = upgraded
    left = {key: value for job in it.controller.jobs.of("jobs") for key, value in job["artifacts"].items()}
    assert set(left) == {"flotilla_carried_plan", "flotilla_plan_id", "flotilla_not_done"}
    assert left["flotilla_not_done"] == [] and len(json.dumps(left)) < 48 * 1024
    given = {key for node in it.controller.store.all("workflow_job_template_nodes") for key in node.get("extra_data") or {}}
    assert given and not given & set(left)


def test_the_inventory_that_awx_keeps_enables_every_host_by_a_boolean(upgraded):
    it, _status = upgraded
    for name, variables in it.hosts["_meta"]["hostvars"].items():
        assert variables["flotilla_enabled"] is True, name
