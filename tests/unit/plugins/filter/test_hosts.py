# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters behind `add_host`."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible.utils import unsafe_proxy
from ansible_collections.flotilla.kubernetes.plugins.filter import hosts as filters
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _fleet, _untrusted

DEFINITION = {"name": "demo", "cloud": "local", "access": {"ssh_user": "ops", "ssh_private_key_file": None}}


def machine(**fields):
    return {
        "id": "1",
        "name": "demo-workers-1",
        "pool": "workers",
        "role": "worker",
        "zone": "local",
        "state": "running",
        "addresses": {"private": "172.30.86.10", "public": None},
        "host_key": "ssh-ed25519 AAAA",
        **fields,
    }


@pytest.fixture(autouse=True)
def cloud(monkeypatch, tmp_path):
    class Provider:
        @staticmethod
        def default_private_key(definition):
            return f"/keys/{definition['name']}"

    monkeypatch.setattr(_fleet, "provider", lambda _cloud: Provider)
    monkeypatch.setenv("FLOTILLA_CACHE", str(tmp_path))


def test_paths_come_from_the_cloud_and_the_cache(tmp_path):
    (host,) = filters.machine_hosts([machine()], DEFINITION)
    assert host["name"] == "demo-workers-1"
    assert host["variables"]["ansible_ssh_private_key_file"] == "/keys/demo"
    assert host["variables"]["ansible_ssh_common_args"].endswith(f"UserKnownHostsFile={tmp_path}/known_hosts/demo")


def test_a_key_of_the_definition_wins_over_the_cloud():
    definition = {**DEFINITION, "access": {"ssh_user": "ops", "ssh_private_key_file": "~/.ssh/id"}}
    (host,) = filters.machine_hosts([machine()], definition)
    assert host["variables"]["ansible_ssh_private_key_file"] == "~/.ssh/id"


def test_a_machine_that_can_not_answer_gives_no_host():
    machines = [machine(state="stopped"), machine(addresses={"private": None, "public": None}), machine()]
    assert len(filters.machine_hosts(machines, DEFINITION)) == 1


@pytest.mark.parametrize("machines", [None, "text", {"a": 1}, [1], [{}]])
def test_wrong_machines_are_one_clear_error(machines):
    with pytest.raises(AnsibleFilterError, match=r"flotilla\.kubernetes\.machine_hosts (needs a list of machines|misses)"):
        filters.machine_hosts(machines, DEFINITION)


@pytest.mark.parametrize("definition", [None, "demo", {}])
def test_a_wrong_definition_is_one_clear_error(definition):
    with pytest.raises(AnsibleFilterError, match="needs the merged definition"):
        filters.machine_hosts([machine()], definition)


def test_every_filter_is_offered():
    own = {
        "behind_group",
        "control_plane_group",
        "defined_machines",
        "leaving_group",
        "machine_findings",
        "machine_hosts",
        "machines_group",
        "successor_hosts",
        "successors_group",
    }
    assert set(filters.FilterModule().filters()) == own


@pytest.mark.parametrize("text", ["{{ x }}", "{% x %}", "{# x #}", "#jinja2:variable_start_string:'[['\n[[ x ]]"])
def test_before_core_2_19_text_that_could_be_a_template_is_marked_unsafe(monkeypatch, text):
    marked = []
    monkeypatch.setattr(_untrusted, "TEXTS_ARE_DATA", False)
    monkeypatch.setattr(unsafe_proxy, "wrap_var", lambda value: marked.append(value) or value)
    value = {"a": ["plain", text, 1, None, True]}
    assert _untrusted.as_data(value) == value
    assert marked == [text]


def test_the_group_of_the_control_planes_is_that_of_the_inventory():
    assert filters.control_plane_group("a-b") == "cluster_a_b__control_plane"
    with pytest.raises(AnsibleFilterError):
        filters.control_plane_group(None)
