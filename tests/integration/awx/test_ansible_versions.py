# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbooks with the ansible-core of AWX's image, 2.18. The other tests have 2.19."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside
import peers
from awx import runs, site
from awx.world import NAMES, OLD, launch, world


@pytest.fixture(scope="module", params=list(peers.CORES))
def python(request: pytest.FixtureRequest) -> str:
    found = peers.core(request.param)
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
