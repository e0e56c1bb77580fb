# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role makes everything on a controller that refuses what AWX 24.6.1 would, with the modules of awx.awx as they are published."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside
from awx import server, site, walk


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[server.Controller, Path, outside.Run]]:
    """A controller on which the role was run once."""
    folder = tmp_path_factory.mktemp("awx")
    with server.controller(outside.ROOT) as controller:
        first = site.setup(folder, controller.environment, "-vvv")
        assert first.status == 0, first.output[-6000:]
        yield controller, folder, first


def test_a_second_run_changes_nothing_and_check_mode_says_so(made):
    controller, folder, first = made
    assert first.changed == 3
    for options in (("--check",), ()):
        before = len(controller.writes())
        again = site.setup(folder, controller.environment, *options)
        assert again.status == 0, again.output[-3000:]
        assert again.changed == 0, again.output[-3000:]
        # awx.awx puts credentials with secrets again, as it can not compare them; that is no change.
        assert controller.writes()[before:] == [] or options == ()


def test_no_secret_is_in_a_log_or_shown_by_the_controller(made):
    controller, _folder, first = made
    sent = str([body for _method, path, body in controller.requests if "/credentials/" in path])
    for secret in (site.SECRETS[name] for name in ("aws", "token", "key", "store")):
        assert secret in sent, "the test would prove nothing"
        assert secret not in first.output
    assert server.TOKEN not in first.output


def test_people_launch_deny_relaunch_approve_cancel_and_schedule(made):
    controller, _folder, _first = made

    def outcome(job):
        # A report is as red as AWX makes it: it fails unless the upgrade went on.
        if job["name"] == "flotilla report":
            done = any(other["name"] == "flotilla verify" for other in controller.jobs.of("jobs") if other["id"] > began())
            return ("successful" if done else "failed"), {}
        return "successful", {}

    def began():
        return max(job["id"] for job in controller.jobs.of("workflow_jobs"))

    controller.jobs.outcome = outcome
    walk.walk(walk.Api(controller.url, server.TOKEN, 30), "production", {"kubernetes_version": "1.36.3"}, "successful")


def test_a_controller_that_does_not_answer_to_the_token_says_so(made, tmp_path):
    controller, _folder, _first = made
    run = site.setup(tmp_path, {**controller.environment, "CONTROLLER_OAUTH_TOKEN": "another"})
    assert run.status != 0 and "Invalid authentication credentials" in run.output


def test_check_mode_on_an_empty_controller_tells_everything_and_makes_nothing(tmp_path):
    with server.controller(outside.ROOT) as controller:
        run = site.setup(tmp_path, controller.environment, "--check")
        assert run.status == 0, run.output[-3000:]
        assert controller.writes() == []
        for name in ("job_template flotilla upgrade: would be made", "flotilla upgrade production: report: would be made"):
            assert name in run.output


def test_the_same_objects_are_a_file_for_infra_aap_configuration(tmp_path):
    path = tmp_path / "controller.yml"
    run = site.setup(tmp_path, {}, tasks_from="configuration", awx_setup_configuration_file=str(path))
    assert run.status == 0, run.output[-3000:]
    text = path.read_text(encoding="utf-8")
    lists = yaml.safe_load(text)
    assert [one["name"] for one in lists["controller_workflows"]] == ["flotilla upgrade production"]
    assert lists["controller_credentials"][0]["inputs"] == "{{ flotilla_credential_inputs['aws production'] }}"
    assert not any(secret in text for secret in site.SECRETS.values())
    # Written so that Ansible does not take AWX's templates for its own.
    assert lists["controller_credential_types"][0]["injectors"]["extra_vars"]["ansible_ssh_private_key_file"].startswith("{  {")
