# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks with the other minors of ansible-core that meta/runtime.yml admits; AWX's image has 2.18. The other tests have 2.19."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside
import peers
from awx import runs, server, site
from awx.world import NAMES, OLD, launch, world


@pytest.fixture(scope="module", params=[minor if minor == "2.18" else pytest.param(minor, marks=pytest.mark.slow) for minor in peers.CORES])
def python(request: pytest.FixtureRequest) -> str:
    found = peers.core(request.param)
    if found is None:
        pytest.skip(f"ansible-core {request.param} needs Python 3.12, and there is none")
    version = [str(found.with_name("ansible")), "--version"]
    assert f"core {peers.CORES[request.param]}" in subprocess.run(version, capture_output=True, text=True, check=True).stdout
    return str(found)


def test_it_reads_every_playbook(python, tmp_path):
    outside.write_definition(tmp_path, "demo")
    program = str(Path(python).with_name("ansible-playbook"))
    playbooks = [f"flotilla.kubernetes.{path.stem}" for path in sorted((outside.ROOT / "playbooks").glob("*.yml"))]
    done = subprocess.run(
        [program, "-i", "localhost,", "--syntax-check", *playbooks],
        env=site.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count("playbook: ") == len(playbooks)
    # One that it can not read is told.
    broken = tmp_path / "broken.yml"
    broken.write_text("- hosts: all\n  tasks: [{flotilla.kubernetes.no_such_module: {}}]\n", encoding="utf-8")
    assert subprocess.run([program, "--syntax-check", str(broken)], env=site.environment(), capture_output=True, check=False).returncode


def test_a_workflow_upgrades_every_cluster_and_its_gates_hold(python, tmp_path):
    with world(tmp_path / "world", python=python, awx_setup_approve_waves=False) as it:
        assert it.end(launch(it), lambda: it.decide(True)) == "successful", it.logs()
        assert it.upgraded[0] == "c0" and sorted(it.upgraded) == sorted(NAMES)
        assert all(host["flotilla_enabled"] is True for host in it.hosts["_meta"]["hostvars"].values())
        plan = next(job["artifacts"]["flotilla_carried_plan"] for job in it.controller.jobs.of("jobs") if job["artifacts"])
        # None is done any more, so the same report is red.
        it.is_now(dict.fromkeys(NAMES, OLD))
        environment = site.environment(FLOTILLA_TEST_WORLD=str(tmp_path / "world/world.json"))
        folder, given = tmp_path / "report", {"flotilla_carried_plan": plan}
        run = runs.Run(folder, it.project, it.hosts, "playbooks/awx_report.yml", given, environment, python=python)
        assert run.wait()[0] == "failed" and "0 of 3 clusters are done" in run.log, run.log[-3000:]


def test_the_role_sets_a_controller_up_and_a_second_run_changes_nothing(python, tmp_path):
    with server.controller(outside.ROOT) as controller:
        first = site.setup(tmp_path, controller.environment, python=python)
        assert (first.status, first.changed) == (0, 3), first.output[-3000:]
        before = len(controller.writes())
        again = site.setup(tmp_path, controller.environment, python=python)
        assert (again.status, again.changed) == (0, 0), again.output[-3000:]
        assert before > 50 and controller.writes()[before:] == []
