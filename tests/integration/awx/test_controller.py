# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller of the tests refuses what AWX 24.6.1 does, and our objects are what the modules of awx.awx take.

Each of our objects is put on it as it is, and then with one thing wrong: a field that AWX has not, another type, another choice.
"""

from __future__ import annotations

import ast
import copy
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside
import peers
from ansible_collections.flotilla.kubernetes.plugins.module_utils._awx.objects import KINDS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from awx import jobs, rules, server, site
from awx.rules import Refused
from awx.store import TYPES, Store

TWICE = [
    {"name": "one", "credential_type": "Amazon Web Services"},
    {"name": "two", "credential_type": "Amazon Web Services"},
    {"name": "flotilla controller", "credential_type": "Red Hat Ansible Automation Platform"},
]
WRONG: dict[str, Any] = {"string": 5, "boolean": "maybe", "integer": "many", "id": 999999, "choice": "neither", "json": 5, "list": 5}


@pytest.fixture(scope="module")
def filled() -> Store:
    store = Store(outside.ROOT)
    site.fill(store)
    return store


def fields_of(store: Store, endpoint: str) -> list[dict[str, Any]]:
    """Return the objects of an endpoint as requests sent them."""
    return [one["_sent"] for one in store.objects[endpoint].values() if "_sent" in one]


ENDPOINTS = [endpoint for endpoint in TYPES if endpoint not in ("notification_templates", "teams")]


@pytest.mark.parametrize("endpoint", ENDPOINTS)
def test_what_we_send_is_taken_and_every_mutation_of_it_is_refused(filled, endpoint):
    sent = fields_of(filled, endpoint)
    assert sent
    for fields in sent[:3]:
        rules.checked(endpoint, fields, filled.has)
        with pytest.raises(Refused) as refused:
            rules.checked(endpoint, {**fields, "no_such_field": True}, filled.has)
        assert list(refused.value.body) == ["no_such_field"]
        for name, option in rules.OPTIONS[endpoint].items():
            kind = "choice" if "choices" in option else option["type"]
            with pytest.raises(Refused) as refused:
                rules.checked(endpoint, {**fields, name: WRONG[kind]}, filled.has)
            assert list(refused.value.body) == [name], f"{endpoint}.{name} takes {WRONG[kind]!r}"
            if option["required"]:
                with pytest.raises(Refused):
                    rules.checked(endpoint, {key: value for key, value in fields.items() if key != name}, filled.has)


@pytest.mark.parametrize(
    ("endpoint", "change", "told"),
    [
        ("job_templates", {"playbook": "playbooks/no_such.yml"}, "Playbook not found"),
        ("schedules", {"rrule": "RRULE:FREQ=DAILY;INTERVAL=1"}, "DTSTART"),
        ("schedules", {"rrule": "DTSTART;TZID=UTC:20260101T000000 RRULE:FREQ=DAILY"}, "INTERVAL"),
        # Fact 10: a required question without an answer blocks a schedule.
        ("schedules", {"extra_data": {}}, "'kubernetes_version' value missing"),
        ("schedules", {"limit": "c0.cluster"}, "not configured to prompt"),
        ("workflow_job_template_nodes", {"limit": "c0.cluster"}, "not configured to prompt"),
    ],
)
def test_rules_that_need_more_than_the_field(filled, endpoint, change, told):
    number = next(
        one["id"]
        for one in filled.objects[endpoint].values()
        if endpoint == "job_templates"
        or one.get("extra_data")
        or (endpoint == "workflow_job_template_nodes" and one["identifier"] == "report")
    )
    before = copy.deepcopy(filled.get(endpoint, number))
    with pytest.raises(Refused) as refused:
        filled.change(endpoint, number, change)
    assert told in str(refused.value)
    assert filled.get(endpoint, number) == before


@pytest.mark.parametrize(
    "change",
    [
        lambda spec: spec["spec"][0].pop("required"),
        lambda spec: spec["spec"][0].update(type="version"),
        lambda spec: spec["spec"].append(dict(spec["spec"][0])),
        lambda spec: spec.pop("description"),
        lambda spec: spec["spec"][4].update(default="ten"),
        lambda spec: spec["spec"][3].pop("choices"),
    ],
)
def test_a_survey_that_awx_refuses(filled, change):
    spec = copy.deepcopy(filled.named("workflow_job_templates", "flotilla upgrade production")["survey_spec"])
    rules.check_survey(spec)
    change(spec)
    with pytest.raises(Refused):
        rules.check_survey(spec)


def test_two_nodes_have_one_kind_of_line_and_no_circle(filled):
    node = {one["identifier"]: one["id"] for one in filled.objects["workflow_job_template_nodes"].values()}
    for kind, one, other in (("failure_nodes", "canary", "verify canary"), ("success_nodes", "report", "sync")):
        with pytest.raises(Refused):
            filled.associate("workflow_job_template_nodes", node[one], kind, node[other], False)


def test_a_node_does_not_name_its_templates_own_credential_again(filled):
    node = filled.named("workflow_job_template_nodes", "canary")
    own = filled.named("credentials", "flotilla controller")
    with pytest.raises(Refused, match="already uses"):
        filled.associate("workflow_job_template_nodes", node["id"], "credentials", own["id"], False)


def test_a_launch_needs_what_is_required_and_takes_only_what_is_asked(filled):
    work = jobs.Jobs(filled, lambda job: None)
    workflow = filled.named("workflow_job_templates", "flotilla upgrade production")
    for wrong in (
        {},
        {"kubernetes_version": 1.36},
        {"kubernetes_version": "1.36.3", "flotilla_drain_mode": "force"},
        {"kubernetes_version": "1.36.3", "other": 1},
    ):
        with pytest.raises(Refused):
            work.launch("workflow_job_templates", workflow["id"], {"extra_vars": wrong})
    # Fact 3: a limit of the workflow would take the clusters' own hosts, and their gates, out of every job.
    with pytest.raises(Refused):
        work.launch("workflow_job_templates", workflow["id"], {"extra_vars": {"kubernetes_version": "1.36.3"}, "limit": "c1.cluster"})
    job = work.launch(
        "job_templates",
        filled.named("job_templates", "flotilla recover")["id"],
        {"extra_vars": {"flotilla_cluster_name": "c1"}, "limit": "c1.cluster"},
    )
    assert job["limit"] == ""


def specification(module: str) -> dict[str, Any]:
    (path,) = [one / f"ansible_collections/awx/awx/plugins/modules/{module}.py" for one in peers.collections()]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    (text,) = [node.value.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == "DOCUMENTATION"]
    return {
        name: {key: option[key] for key in ("type", "elements", "choices", "required", "aliases") if key in option}
        for name, option in yaml.safe_load(text)["options"].items()
    }


@pytest.mark.parametrize(("kind", "listed"), KINDS)
def test_every_object_is_what_its_module_of_awx_awx_takes(kind, listed):
    notified = {"awx_setup_notifications": [{"name": "mail", "notification_type": "email"}]}
    spec = specification(kind)
    made = site.objects_of(**notified)[listed]
    assert made
    for item in made:
        one = dict(item)
        nodes = one.pop("simplified_workflow_nodes", [])
        assert ArgumentSpecValidator(spec).validate(one).error_messages == []
        for node in nodes:
            of = {"workflow_job_template": one["name"], "organization": one["organization"]}
            assert ArgumentSpecValidator(specification("workflow_job_template_node")).validate({**node, **of}).error_messages == []


def test_job_templates_run_playbooks_of_ours_and_leave_nothing_to_chance(filled):
    templates = list(filled.objects["job_templates"].values())
    assert len(templates) == 12
    for one in templates:
        assert (outside.ROOT / one["playbook"]).is_file()
        # Facts 3, 4, 9 and 11.
        assert (one["limit"], one["ask_limit_on_launch"], one["job_slice_count"], one["ask_job_slice_count_on_launch"]) == (
            "",
            False,
            1,
            False,
        )
        assert (one["use_fact_cache"], one["ask_job_type_on_launch"], one["ask_diff_mode_on_launch"]) == (False, True, True)
        assert one["timeout"] > 0 and len(one["_has"]["labels"]) == 1
        required = [question["variable"] for question in one["survey_spec"].get("spec", []) if question["required"]]
        # Fact 10: nothing is required that has a default.
        assert all(question["default"] == "" for question in one["survey_spec"].get("spec", []) if question["required"]), required
    several = {one["name"] for one in templates if one["allow_simultaneous"]}
    assert several == {"flotilla upgrade", "flotilla backup", "flotilla certificates"}


def test_the_inventory_source_can_not_disable_or_lose_hosts(filled):
    (one,) = filled.objects["inventory_sources"].values()
    # Facts 1 and 16.
    assert (one["enabled_var"], one["enabled_value"]) == ("flotilla_enabled", "True")
    assert (one["overwrite"], one["overwrite_vars"], one["update_on_launch"]) == (True, True, True)
    assert json.loads(one["source_vars"]) == {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}


def test_schedules_are_off_until_somebody_turns_them_on(filled):
    assert [one["enabled"] for one in filled.objects["schedules"].values()] == [False] * 5
    assert all("TZID=Europe/Berlin" in one["rrule"] for one in filled.objects["schedules"].values())


def test_waves_have_a_place_of_their_own():
    with pytest.raises(FlotillaError, match="they would wait for its place"):
        site.objects_of(awx_setup_foundations=[{"source_path": "inventories/production", "instance_group": "flotilla waves"}])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"awx_setup_foundations": []}, "foundations is empty"),
        ({"awx_setup_foundations": [{"source_path": "a/lab"}, {"source_path": "b/lab"}]}, "two foundations are called lab"),
        ({"awx_setup_foundations": [{"source_path": "a/lab", "credentials": ["unknown"]}]}, "is none of credentials"),
        # Fact 13.
        (
            {"awx_setup_foundations": [{"source_path": "a/lab", "credentials": ["one", "two"]}], "awx_setup_credentials": TWICE},
            "one per type",
        ),
        ({"awx_setup_control_credential": "machines"}, "is not Red Hat Ansible Automation Platform"),
        ({"awx_setup_waves": 0}, "1 to 50"),
    ],
)
def test_variables_that_do_not_go_together_are_told(changes, told):
    with pytest.raises(FlotillaError, match=told):
        site.objects_of(**changes)


def test_several_foundations_are_upgraded_one_after_the_other():
    made = site.objects_of(awx_setup_foundations=[{"source_path": f"inventories/{name}"} for name in ("dev", "stage", "production")])
    *_single, whole = made["controller_workflows"]
    assert whole["name"] == "flotilla upgrade"
    nodes = {one["identifier"]: one for one in whole["simplified_workflow_nodes"]}
    assert [nodes[name]["success_nodes"] for name in ("dev", "stage", "production")] == [["stage"], ["production"], []]


def test_the_api_wants_a_token():
    with server.controller(outside.ROOT) as controller:
        import urllib.error
        import urllib.request

        with pytest.raises(urllib.error.HTTPError, match="401"):
            urllib.request.urlopen(f"{controller.url}/api/v2/organizations/")


def test_the_image_has_the_ansible_core_that_awx_works_with():
    # Fact 1.
    image = yaml.safe_load((outside.ROOT / "examples/awx/execution-environment.yml").read_text(encoding="utf-8"))
    assert image["version"] == 3
    assert image["dependencies"]["ansible_core"] == {"package_pip": "ansible-core>=2.18.0,<2.19"}


@pytest.mark.parametrize("playbook", sorted((outside.ROOT / "playbooks").glob("*.yml")), ids=lambda path: path.stem)
def test_no_play_keeps_facts_of_the_controller(playbook):
    # Fact 11: they hold its environment, and that holds secrets.
    for play in yaml.safe_load(playbook.read_text(encoding="utf-8")):
        if play.get("connection") == "local":
            assert play["gather_facts"] is False and play["hosts"] != "localhost", play["name"]
