# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts a play runs on, and when it must not run at all."""

from __future__ import annotations

import pytest
import yaml
from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.module_utils.common.collections import ImmutableDict
from ansible.parsing.dataloader import DataLoader
from ansible_collections.flotilla.kubernetes.plugins.filter.hosts import FilterModule
from ansible_collections.flotilla.kubernetes.plugins.lookup.targets import DOCUMENTATION, LookupModule, filter_loader
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _fleet

DEMO = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: {name}
cloud: local
kubernetes_version: "1.36.3"
control_plane: {{count: {count}}}
local: {{network_cidr: {network}}}
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict())
    monkeypatch.setattr(_fleet, "FAILURES", {})


@pytest.fixture(autouse=True)
def imported(monkeypatch):
    """Return the filters that were asked for; Ansible finds those of collections in a run only."""
    names = []
    monkeypatch.setattr(filter_loader, "get", names.append)
    return names


@pytest.fixture(autouse=True, scope="module")
def options():
    """Tell Ansible the options of the plugin, as its loader does."""
    documented = yaml.safe_load(DOCUMENTATION)["options"]
    constants.config.initialize_plugin_configuration_definitions("lookup", "flotilla.kubernetes.targets", documented)


@pytest.fixture
def fleet(tmp_path):
    """Two clusters, a-b and small."""
    folder = tmp_path / "lab" / "clusters"
    folder.mkdir(parents=True)
    (folder / "a-b.yml").write_text(DEMO.format(name="a-b", count=1, network="172.30.1.0/24"))
    (folder / "small.yml").write_text(DEMO.format(name="small", count=1, network="172.30.2.0/24"))
    return folder.parent


def targets(*terms, sources=(), clusters=(), run_limit=None, variables=None, **options):
    members = [f"{name}.cluster" for name in clusters]
    every = {
        "ansible_inventory_sources": [str(source) for source in sources],
        "groups": {"all": [*members, "w1"], "flotilla_clusters": members, "cluster_small": ["w1"]},
        **({"ansible_limit": run_limit} if run_limit else {}),
        **(variables or {}),
    }
    plugin = LookupModule(loader=DataLoader())
    plugin._load_name = "flotilla.kubernetes.targets"
    return plugin.run(list(terms), every, **options)


def test_filters_are_imported_before_ansible_forks(fleet, imported):
    targets("cluster", sources=[fleet], clusters=["a-b", "small"], of="all")
    (name,) = imported
    collection, _dot, filter_name = name.rpartition(".")
    assert collection == "flotilla.kubernetes" and filter_name in FilterModule().filters()


def test_who_only_looks_goes_on_without_the_clusters_of_a_cloud_that_is_silent(fleet):
    assert targets("cluster", sources=[fleet], clusters=["small"], of="all", lost="allow") == ["small.cluster"]
    with pytest.raises(AnsibleError, match="no host for the cluster a-b"):
        targets("cluster", sources=[fleet], clusters=["small"], of="all")
    with pytest.raises(AnsibleError, match="no host for the cluster a-b, small"):
        targets("cluster", sources=[fleet], of="all", lost="allow")
    with pytest.raises(AnsibleError, match="no host for the cluster a-b"):
        targets("cluster", sources=[fleet], clusters=["small"], of="all", lost="allow", variables={"flotilla_cluster_name": "a-b"})


def test_one_cluster_is_the_target(fleet):
    found = targets("cluster", "control_plane", "workers", "machines", sources=[fleet / "clusters/a-b.yml"], clusters=["a-b"])
    assert found == ["a-b.cluster", "cluster_a_b__control_plane", "cluster_a_b:!cluster_a_b__control_plane", "cluster_a_b"]


def test_a_run_does_nothing_more_on_machines_that_are_about_to_leave(fleet):
    groups = {
        "flotilla_clusters": ["small.cluster"],
        "cluster_small": ["w1"],
        "cluster_small__leaving": ["w1"],
        "cluster_small__behind": ["w2"],
    }
    chosen = {"sources": [fleet / "clusters/small.yml"], "clusters": ["small"], "variables": {"groups": groups}}
    assert targets("control_plane", "workers", "machines", "cluster", **chosen) == [
        "cluster_small__control_plane:!cluster_small__leaving:!cluster_small__behind",
        "cluster_small:!cluster_small__control_plane:!cluster_small__leaving:!cluster_small__behind",
        "cluster_small:!cluster_small__leaving:!cluster_small__behind",
        "small.cluster",
    ]


def test_of_several_clusters_one_is_chosen_by_name(fleet):
    chosen = {"flotilla_cluster_name": "small"}
    assert targets("cluster", sources=[fleet], clusters=["a-b", "small"], variables=chosen) == ["small.cluster"]


def test_all_clusters_are_a_target_too(fleet):
    assert targets("cluster", sources=[fleet], clusters=["small", "a-b"], of="all") == ["a-b.cluster:small.cluster"]


def test_a_frozen_inventory_without_definition_files_is_enough(tmp_path):
    assert targets("cluster", sources=[tmp_path], clusters=["small"]) == ["small.cluster"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {},
            "This playbook takes one cluster, and {fleet} holds 2: a-b, small. Add -e flotilla_cluster_name=<name>, "
            "for example -e flotilla_cluster_name=a-b.",
        ),
        (
            {"variables": {"flotilla_cluster_name": "smal"}},
            'flotilla_cluster_name is smal, but {fleet} holds no such cluster. Did you mean "small"?',
        ),
        (
            {"variables": {"flotilla_cluster_name": "zzz"}},
            "flotilla_cluster_name is zzz, but {fleet} holds no such cluster. There are: a-b, small.",
        ),
        (
            {"clusters": ["small"]},
            "The inventory has no host for the cluster a-b, whose definition is valid: no reason is known. "
            "Run ansible-inventory --graph with the same -i for the reason "
            "(FLOTILLA_HIDE_CLUSTER_HOSTS hides them, too).",
        ),
        (
            {"of": "all", "run_limit": "w1"},
            "--limit w1 hides a-b.cluster, small.cluster, on which this playbook checks and plans. "
            "Add the host to the limit: --limit 'w1:a-b.cluster:small.cluster'.",
        ),
        (
            {"of": "all", "run_limit": "all", "limit": "refuse"},
            "--limit all is refused here: machines that this playbook creates would be "
            "dropped from the run silently. Choose a cluster by "
            "-e flotilla_cluster_name=<name> instead.",
        ),
    ],
)
def test_what_would_be_a_green_run_that_does_nothing_is_an_error(fleet, arguments, message):
    with pytest.raises(AnsibleError) as caught:
        targets("cluster", sources=[fleet], **{"clusters": ["a-b", "small"], **arguments})
    assert str(caught.value) == message.format(fleet=fleet)


def test_nothing_to_run_on_is_an_error(tmp_path):
    with pytest.raises(AnsibleError, match=f"There is no cluster definition in {tmp_path}/nothing"):
        targets("cluster", sources=[tmp_path / "nothing"])


def test_the_reason_of_the_inventory_is_repeated(fleet):
    _fleet.FAILURES["x"] = "podman does not answer."
    with pytest.raises(AnsibleError, match="no host for the cluster a-b, small, whose definition is valid: podman does not answer."):
        targets("cluster", sources=[fleet])


def test_another_clusters_cloud_that_does_not_answer_is_no_reason_to_stop(fleet):
    chosen = {"flotilla_cluster_name": "small"}
    assert targets("cluster", sources=[fleet], clusters=["small"], variables=chosen) == ["small.cluster"]


def test_a_limit_that_keeps_the_cluster_is_fine(fleet):
    chosen = {"flotilla_cluster_name": "small"}
    assert targets("machines", sources=[fleet], clusters=["a-b", "small"], variables=chosen, run_limit="small.cluster:w1") == [
        "cluster_small"
    ]


def test_all_errors_of_all_definitions_stop_the_run(fleet):
    (fleet / "clusters/a-b.yml").write_text(DEMO.format(name="a-b", count=2, network="172.30.1.0/24"))
    (fleet / "clusters/small.yml").write_text("plugin: flotilla.kubernetes.cluster\nname: [")
    with pytest.raises(AnsibleError) as caught:
        targets("cluster", sources=[fleet], variables={"flotilla_cluster_name": "small"})
    assert [line.split(": ")[0].rpartition("/")[2] for line in str(caught.value).splitlines()[1:]] == ["a-b.yml:6", "small.yml:2"]


def test_a_definition_that_changes_during_a_run_is_read_again(fleet):
    sources, clusters = [fleet / "clusters/small.yml"], ["small"]
    assert targets("cluster", sources=sources, clusters=clusters) == ["small.cluster"]
    sources[0].write_text(DEMO.format(name="small", count=20, network="172.30.1.0/24"))
    with pytest.raises(AnsibleError, match="is 20; allowed: 1, 3, 5 or 7"):
        targets("cluster", sources=sources, clusters=clusters)


@pytest.mark.parametrize("option", ["syntax", "listhosts", "listtasks", "listtags"])
def test_nothing_is_checked_when_nothing_runs(monkeypatch, option):
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict({option: True}))
    assert targets("cluster", sources=["/missing"]) == ["flotilla_clusters"]


def test_a_wrong_term_is_an_error(fleet):
    with pytest.raises(
        AnsibleError, match="knows no 'nodes'; there are: cluster, control_plane, workers, machines, machines_and_successors"
    ):
        targets("nodes", sources=[fleet], clusters=["a-b"])


def test_only_machines_that_exist_already_are_looked_at(fleet):
    assert targets("existing", sources=[fleet / "clusters/a-b.yml"], clusters=["a-b"]) == ["all:!all"]
    groups = {"flotilla_clusters": ["a-b.cluster"], "all": ["a-b.cluster", "w1"], "cluster_a_b": ["w1"], "cloud_existing": ["w1"]}
    found = targets("existing", sources=[fleet / "clusters/a-b.yml"], clusters=["a-b"], variables={"groups": groups})
    assert found == ["cluster_a_b:&cloud_existing"]
