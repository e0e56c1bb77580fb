# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What `make acceptance-awx` does with a controller of yours, done with that of the tests: each of its steps is code that has run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside
from awx import server, site
from awx.world import NAMES, world


@pytest.mark.slow
def test_the_acceptance_test_passes_on_the_controller_of_the_tests(tmp_path):
    variables = tmp_path / "variables.yml"
    variables.write_text(yaml.safe_dump(site.VARIABLES), encoding="utf-8")
    with world(tmp_path / "world", filled=False) as it:
        done = subprocess.run(
            ["tools/gates", "--one", "acceptance-awx"],
            cwd=outside.ROOT,
            env={**os.environ, **it.controller.environment, "FLOTILLA_AWX_VARIABLES": str(variables)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=1200,
            check=False,
        )
        assert done.returncode == 0, f"{done.stdout[-6000:]}\n{it.logs()[-6000:]}"
        # Approved once; denied and cancelled runs have upgraded nothing.
        assert sorted(it.upgraded) == sorted(NAMES)
        jobs = it.controller.jobs
        assert [job["status"] for job in jobs.of("workflow_jobs")] == ["failed", "successful", "canceled"]
        assert [job["status"] for job in jobs.of("workflow_approvals")][:3] == ["failed", "successful", "successful"]
        (scheduled,) = [job for job in jobs.of("jobs") if job["launch_type"] == "scheduled"]
        assert (scheduled["name"], scheduled["job_type"], scheduled["status"]) == ("flotilla preflight", "check", "successful")
        assert [one["enabled"] for one in it.controller.store.all("schedules")] == [False] * 5


def test_it_says_what_it_needs(tmp_path):
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("CONTROLLER_", "FLOTILLA_AWX"))}
    done = subprocess.run(
        ["tools/gates", "--one", "acceptance-awx"], cwd=outside.ROOT, env=clean, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode != 0 and "set CONTROLLER_HOST and CONTROLLER_OAUTH_TOKEN" in done.stdout
    with server.controller(tmp_path) as controller:
        done = subprocess.run(
            ["tools/gates", "--one", "acceptance-awx"],
            cwd=outside.ROOT,
            env={**clean, **controller.environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
    assert done.returncode != 0 and "set FLOTILLA_AWX_VARIABLES" in done.stdout
