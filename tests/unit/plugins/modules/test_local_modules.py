# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three modules of the local cloud: what they pass on, what they return, how they fail."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.decision import Wish
from ansible_collections.flotilla.kubernetes.plugins.modules import local_load_balancer, local_machines, local_network

CLUSTER = {"name": "demo"}


class Exit(Exception):
    pass


@pytest.fixture
def run(monkeypatch):
    def leave(failed):
        def method(_self, **result):
            raise Exit({**result, "failed": failed})

        return method

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", leave(False))
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", leave(True))

    def call(module, check=False, **arguments):
        text = json.dumps({"ANSIBLE_MODULE_ARGS": {"cluster": CLUSTER, "_ansible_check_mode": check, **arguments}})
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", text.encode())
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(Exit) as left:
            module.main()
        return left.value.args[0]

    return call


def result(**value):
    return local_network.network.Result(True, {"a": 1}, {"a": 2}, value, [])


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize("state", ["present", "absent"])
def test_network(run, monkeypatch, state, check):
    calls = []
    monkeypatch.setattr(local_network.network, state, lambda _session, cluster, mode: calls.append((cluster, mode)) or result(name="n"))
    answer = run(local_network, check, state=state)
    assert calls == [(CLUSTER, check)]
    assert answer["changed"] and answer["network"] == {"name": "n"} and answer["diff"] == {"before": {"a": 1}, "after": {"a": 2}}


@pytest.mark.parametrize("check", [True, False])
def test_machines_present(run, monkeypatch, check):
    calls = []
    monkeypatch.setattr(
        local_machines.machines,
        "present",
        lambda _session, cluster, **options: calls.append((cluster, options)) or result(machines=[], steps=[{"action": "create"}]),
    )
    answer = run(local_machines, check, wait_timeout=7, removal="defer", replace=["a"], etcd={"n": True})
    assert calls == [(CLUSTER, {"wait_timeout": 7, "wish": Wish("defer", replace=("a",), etcd={"n": True}), "check_mode": check})]
    assert answer["steps"] == [{"action": "create"}]


@pytest.mark.parametrize("check", [True, False])
def test_machines_absent(run, monkeypatch, check):
    calls = []
    monkeypatch.setattr(
        local_machines.machines,
        "absent",
        lambda _session, _cluster, **options: calls.append(options) or result(machines=[]),
    )
    assert run(local_machines, check, state="absent")["machines"] == []
    run(local_machines, check, state="absent", ids=["a"])
    assert calls == [{"ids": None, "check_mode": check}, {"ids": ["a"], "check_mode": check}]


@pytest.mark.parametrize("check", [True, False])
def test_load_balancer_present(run, monkeypatch, check):
    calls = []
    monkeypatch.setattr(
        local_load_balancer.load_balancer,
        "present",
        lambda _session, _cluster, members, **options: calls.append((members, options)) or result(endpoint={"host": "h"}, members=[1]),
    )
    answer = run(local_load_balancer, check, members=[{"id": "a", "address": "192.0.2.1"}])
    assert calls == [([{"id": "a", "address": "192.0.2.1", "state": "active"}], {"drain_timeout": 10, "check_mode": check, "close": True})]
    assert answer["endpoint"] == {"host": "h"} and answer["members"] == [1]


@pytest.mark.parametrize("check", [True, False])
def test_load_balancer_absent(run, monkeypatch, check):
    calls = []
    monkeypatch.setattr(local_load_balancer.load_balancer, "absent", lambda _session, _cluster, mode: calls.append(mode) or result())
    answer = run(local_load_balancer, check, state="absent")
    assert calls == [check] and answer["endpoint"] == {} and answer["members"] == []


@pytest.mark.parametrize("check", [True, False])
@pytest.mark.parametrize(("module", "part"), [(local_machines, "machines"), (local_load_balancer, "load_balancer")])
def test_observed_plans_nothing(run, monkeypatch, module, part, check):
    seen = local_network.network.Result(value={"machines": [{"name": "m"}], "planned": [], "endpoint": {"host": "h"}})
    monkeypatch.setattr(getattr(module, part), "observed", lambda _session, _cluster: seen)
    monkeypatch.setattr(getattr(module, part), "present", None)
    answer = run(module, check, state="observed")
    assert not answer["changed"] and (answer.get("machines") == [{"name": "m"}] or answer.get("endpoint") == {"host": "h"})


@pytest.mark.parametrize(
    ("module", "part"), [(local_network, "network"), (local_machines, "machines"), (local_load_balancer, "load_balancer")]
)
def test_one_clear_failure(run, monkeypatch, module, part):
    def fail(*_arguments, **_options):
        raise FlotillaError("CODE", "It failed.", "Do this.", cause="why", details={"failed_ones": ["x"]})

    monkeypatch.setattr(getattr(module, part), "present", fail)
    answer = run(module)
    assert answer["failed"] and answer["code"] == "CODE" and answer["msg"] == "It failed. Do this." and answer["failed_ones"] == ["x"]
