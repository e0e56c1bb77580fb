# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rolling upgrade from its first job to its report: the controller of the tests runs the nodes, each playbook runs by ansible-runner in
AWX's layout, and a wave calls back to the controller. What a cluster answers is simulated, by one file of tasks; nothing else is."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from ansible_collections.flotilla.kubernetes.plugins.module_utils._awx.plan import carry
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.plan import fleets_of, make_plan
from awx import runs, site
from awx.world import NAMES, NEW, OLD, World, launch, world


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
