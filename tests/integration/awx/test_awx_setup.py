# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role makes everything on a controller that refuses what AWX 24.6.1 would, with the modules of awx.awx as they are published."""

from __future__ import annotations

import re
import resource
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside
from ansible_collections.flotilla.kubernetes.plugins.module_utils._awx.objects import KINDS
from awx import server, site, walk


@dataclass
class Made:
    """A controller on which the role was run once, after a run in check mode."""

    controller: server.Controller
    folder: Path
    predicted: outside.Run
    first: outside.Run
    requests: int
    cpu: float


def told(run: outside.Run) -> dict[str, str]:
    """Return what a run says that it did, or would do, by object."""
    return dict(re.findall(r"^(\S+ .+): (?:would be )?(made|brought up to date)$", run.output, re.MULTILINE))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Made]:
    folder = tmp_path_factory.mktemp("awx")
    with server.controller(outside.ROOT) as controller:
        predicted = site.setup(folder, controller.environment, "--check")
        assert predicted.status == 0, predicted.output[-6000:]
        assert controller.requests and controller.writes() == []
        before, cpu = len(controller.requests), resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = cpu.ru_utime + cpu.ru_stime
        first = site.setup(folder, controller.environment, "-vvv")
        assert first.status == 0, first.output[-6000:]
        cpu = resource.getrusage(resource.RUSAGE_CHILDREN)
        yield Made(controller, folder, predicted, first, len(controller.requests) - before, cpu.ru_utime + cpu.ru_stime - spent)


def test_every_object_is_there(made):
    store = made.controller.store
    wanted = site.objects_of()
    for kind, listed in KINDS:
        for one in wanted[listed] if kind != "role" else ():
            assert store.named(site.endpoint(kind), one["name"])["name"] == one["name"]
    nodes = {one["identifier"] for one in wanted["controller_workflows"][0]["simplified_workflow_nodes"]}
    assert {one["identifier"] for one in store.all("workflow_job_template_nodes")} == nodes
    granted = [role for role in store.roles.values() if role["teams"]]
    grants = sum(len(one[of]) for one in wanted["controller_roles"] for of in one if isinstance(one[of], list))
    assert len(granted) == grants


def test_check_mode_on_an_empty_controller_tells_what_the_run_does(made):
    assert told(made.predicted) == told(made.first)
    assert len(told(made.first)) > 40 and (made.predicted.changed, made.first.changed) == (3, 3)


def test_a_second_run_changes_nothing_and_sends_no_request_that_would(made):
    assert len(made.controller.writes()) > 50, "the test would prove nothing"
    for options in (("--check",), ()):
        before = len(made.controller.writes())
        again = site.setup(made.folder, made.controller.environment, *options)
        assert again.status == 0, again.output[-3000:]
        assert (again.changed, told(again)) == (0, {}), again.output[-3000:]
        assert made.controller.writes()[before:] == []


def test_what_somebody_changed_by_hand_is_set_back_and_nothing_else(made):
    store = made.controller.store
    store.named("job_templates", "flotilla wave")["timeout"] = 1
    store.named("workflow_job_template_nodes", "canary")["_has"]["failure_nodes"] = []
    expected = {"job_template flotilla wave", "workflow_job_template_node flotilla upgrade production: canary"}
    before = len(made.controller.writes())
    check = site.setup(made.folder, made.controller.environment, "--check")
    assert set(told(check)) == expected and made.controller.writes()[before:] == [], check.output[-3000:]
    run = site.setup(made.folder, made.controller.environment)
    assert set(told(run)) == expected and len(made.controller.writes()[before:]) == 2, run.output[-3000:]
    assert store.named("job_templates", "flotilla wave")["timeout"] > 1


def test_a_playbook_that_came_into_the_project_later_is_looked_for_once_more(made):
    store = made.controller.store
    project, template = store.named("projects", "flotilla"), store.named("job_templates", "flotilla recover")
    project["_playbooks"] = tuple(path for path in project["_playbooks"] if path != template["playbook"])
    del store.objects["job_templates"][template["id"]]
    run = site.setup(made.folder, made.controller.environment)
    # The rights to it went with it.
    assert run.status == 0 and told(run)["job_template flotilla recover"] == "made", run.output[-3000:]
    assert template["playbook"] in project["_playbooks"]
    assert site.setup(made.folder, made.controller.environment).changed == 0


def test_it_is_quick(made):
    # Each object has a module of awx.awx that asks for what it names. A process of its own for each would take more than a second of CPU.
    objects = len(told(made.first))
    assert made.requests <= 12 * objects, f"{made.requests} requests for {objects} objects"
    assert made.cpu < 0.5 * objects, f"{made.cpu:.0f} s of CPU for {objects} objects"


def test_no_secret_is_in_a_log_or_shown_by_the_controller(made):
    sent = str([body for _method, path, body in made.controller.requests if "/credentials/" in path])
    for secret in (site.SECRETS[name] for name in ("aws", "token", "key", "store")):
        assert secret in sent, "the test would prove nothing"
        assert secret not in made.first.output
    assert server.TOKEN not in made.first.output


def test_secrets_of_a_vault_arrive_and_are_not_in_what_a_refusal_says(tmp_path):
    (tmp_path / "password").write_text("of-the-vault", encoding="utf-8")
    secret = "planted-secret-of-a-vault"
    with server.controller(outside.ROOT) as controller:
        password = ("--vault-password-file", str(tmp_path / "password"))
        vaulted = outside.command("ansible-vault", "encrypt_string", "--name", "ssh_private_key", *password, secret)
        lines = [line for line in vaulted.output.splitlines() if line.startswith((" ", "ssh_private_key"))]
        inputs = "".join(f"    {line}\n" for line in lines)
        (tmp_path / "vaulted.yml").write_text(f"awx_setup_credential_inputs:\n  machines:\n{inputs}", encoding="utf-8")
        variables = {key: value for key, value in site.VARIABLES.items() if key != "awx_setup_credential_inputs"}
        options = (*password, "-e", f"@{tmp_path / 'vaulted.yml'}", "-vvv")
        run = site.setup(tmp_path, controller.environment, *options, variables=variables)
        # The other credentials are expected on the controller, and are not there.
        assert run.status != 0 and secret not in run.output
        assert controller.store.named("credentials", "machines")["inputs"]["ssh_private_key"] == secret


def test_people_launch_deny_relaunch_approve_cancel_and_schedule(made):
    controller = made.controller

    def outcome(job):
        # A report is as red as AWX makes it: it fails unless the upgrade went on.
        if job["name"] == "flotilla report":
            done = any(other["name"] == "flotilla verify" for other in controller.jobs.of("jobs") if other["id"] > began())
            return ("successful" if done else "failed"), {}
        return "successful", {}

    def began():
        return max(job["id"] for job in controller.jobs.of("workflow_jobs"))

    controller.jobs.outcome = outcome
    walk.walk(walk.Api(controller.url, server.TOKEN, 10), "production", {"kubernetes_version": "1.36.3"}, "successful")


def test_a_controller_that_does_not_answer_to_the_token_says_so(made, tmp_path):
    run = site.setup(tmp_path, {**made.controller.environment, "CONTROLLER_OAUTH_TOKEN": "another"})
    assert run.status != 0 and "Invalid authentication credentials" in run.output


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
