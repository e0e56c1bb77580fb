# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which hosts an adoption looks at; a group that is not there must not make a green run that does nothing."""

from __future__ import annotations

import pytest
import yaml
from ansible import constants, context
from ansible.errors import AnsibleError
from ansible.module_utils.common.collections import ImmutableDict
from ansible.parsing.dataloader import DataLoader
from ansible_collections.flotilla.kubernetes.plugins.lookup.adoption_targets import DOCUMENTATION, LookupModule

GROUPS = {"all": ["a", "b"], "masters": ["a"], "nodes": ["b"], "empty": []}


@pytest.fixture(autouse=True)
def options(monkeypatch):
    """Tell Ansible the options of the plugin, as its loader does."""
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict())
    documented = yaml.safe_load(DOCUMENTATION)["options"]
    constants.config.initialize_plugin_configuration_definitions("lookup", "flotilla.kubernetes.adoption_targets", documented)


def targets(*terms, **variables):
    plugin = LookupModule(loader=DataLoader())
    plugin._load_name = "flotilla.kubernetes.adoption_targets"
    return plugin.run(list(terms), {"groups": GROUPS, **variables})


def test_groups_are_those_of_the_user():
    names = {"flotilla_control_plane_group": "masters", "flotilla_worker_group": "nodes"}
    assert targets("control_plane", "machines", **names) == ["masters", "masters:nodes"]
    assert targets("machines", flotilla_control_plane_group="masters") == ["masters"], "a cluster may have no workers"
    pools = {"flotilla_pool_groups": {"general": "nodes"}}
    assert targets("machines", flotilla_control_plane_group="masters", **pools) == ["masters:nodes"]


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        (
            {},
            "The group control_plane is not in the inventory. Name yours with -e flotilla_control_plane_group=<group>. There are: masters",
        ),
        ({"flotilla_control_plane_group": "master"}, "Did you mean masters?"),
        ({"flotilla_control_plane_group": "masters", "flotilla_worker_group": "empty"}, "-e flotilla_worker_group=<group>"),
        ({"flotilla_control_plane_group": "masters", "flotilla_pool_groups": {"a": "x"}}, "-e flotilla_pool_groups=<group>"),
    ],
)
def test_a_group_that_is_missing_or_empty_fails(variables, message):
    with pytest.raises(AnsibleError) as raised:
        targets("machines", **variables)
    assert message in str(raised.value)


def test_nothing_is_checked_where_nothing_runs(monkeypatch):
    monkeypatch.setattr(context, "CLIARGS", ImmutableDict({"syntax": True}))
    assert targets("machines") == ["all"]
