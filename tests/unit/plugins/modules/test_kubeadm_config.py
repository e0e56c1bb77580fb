# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module kubeadm_config: what it does where, what it predicts, what it returns."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.flotilla.kubernetes.plugins.module_utils._config_files import Change
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import configuration, presence
from ansible_collections.flotilla.kubernetes.plugins.modules import kubeadm_config

POD = Change(Path("/m/kube-apiserver.yaml"), "old\n", "new\n", 0o600, "file", True, "kube-apiserver")
RECORDED = {
    "kubernetes_version": "1.36.3",
    "pod_cidrs": "10.244.0.0/16",
    "service_cidrs": "10.96.0.0/12",
    "api_endpoint": "10.0.0.3:6443",
}
RECORD = {"ClusterConfiguration": ("a\n", "b\n")}


class Exit(Exception):
    pass


class Machine:
    """What the module finds; `done` is what it did."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.membership = "member"
        self.at_work = False
        self.api_problem = ""
        self.recorded = RECORDED
        self.kubelet = "wanted"
        self.records: dict[str, tuple[str, str]] = {}
        self.pods: list[Change] = []
        self.done: list[str] = []
        self.apply: Callable[[], object] = lambda: None


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)

    class ControlPlane:
        client = None
        encryption_due = False
        kubelet_configuration = "wanted"

        def __init__(self, *_arguments: Any) -> None:
            pass

        def differences(self) -> tuple[dict[str, tuple[str, str]], list[Change]]:
            return made.records, made.pods

        def apply(self, records: Any, pods: Any) -> bool:
            made.done.append("control plane")
            made.apply()
            return True

    class Restart:
        due = False

        def __init__(self, name: str) -> None:
            self.name = name

        def owe(self) -> None:
            made.done.append(f"owe {self.name}")

        def pay(self) -> None:
            """Nothing is owed."""

    original = kubeadm_config.ConfigFiles
    monkeypatch.setattr(kubeadm_config, "ConfigFiles", lambda owner, files: original(owner, files, tmp_path / "state"))
    monkeypatch.setattr(kubeadm_config, "ControlPlane", ControlPlane)
    monkeypatch.setattr(kubeadm_config, "Restart", Restart)
    monkeypatch.setattr(presence, "membership", lambda: made.membership)
    monkeypatch.setattr(presence, "api_server_problem", lambda _address: made.api_problem)
    monkeypatch.setattr(presence, "kubelet_version", lambda: "1.36.3")
    monkeypatch.setattr(presence, "step_at_work", lambda: made.at_work)
    monkeypatch.setattr(kubeadm_config, "step_at_work", lambda: made.at_work)
    monkeypatch.setattr(kubeadm_config, "cluster_settings", lambda _client: made.recorded)
    monkeypatch.setattr(kubeadm_config, "ensure_service", lambda name, check: made.done.append(f"service {name} {check}") or False)
    monkeypatch.setattr(kubeadm_config, "kubelet_difference", lambda wanted: None if wanted == made.kubelet else {"after": wanted})
    monkeypatch.setattr(kubeadm_config, "recorded_kubelet_configuration", lambda _client=None: "recorded")
    monkeypatch.setattr(kubeadm_config.Client, "short_lived", lambda *_arguments: None)
    monkeypatch.setattr(kubeadm_config, "apply_kubelet", lambda _timeout: made.done.append("kubelet"))

    def leave(failed: bool) -> Any:
        def method(_self: Any, **result: Any) -> None:
            raise Exit({**result, "failed": failed})

        return method

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", leave(False))
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", leave(True))
    return made


def run(monkeypatch: pytest.MonkeyPatch, check: bool = False, **arguments: Any) -> dict[str, Any]:
    monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": {"_ansible_check_mode": check, **arguments}}).encode())
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
    with pytest.raises(Exit) as left:
        kubeadm_config.main()
    return left.value.args[0]


CLUSTER = {
    "kind": "ClusterConfiguration",
    "clusterName": "demo",
    "kubernetesVersion": "v1.36.3",
    "controlPlaneEndpoint": "10.0.0.3:6443",
    "networking": {"podSubnet": "10.244.0.0/16", "serviceSubnet": "10.96.0.0/12"},
}
CONTROL_PLANE: dict[str, Any] = {"address": "10.0.0.11", "config": [{"kind": "InitConfiguration"}, CLUSTER]}


def test_in_line_means_nothing_to_do(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = run(monkeypatch, **CONTROL_PLANE)
    assert (answer["changed"], answer["differs"], answer["complete"], machine.done) == (False, [], True, [])
    assert answer["kubelet_configuration"] == "wanted"


@pytest.mark.parametrize(
    ("apply", "check", "changed", "done"),
    [(True, False, True, ["control plane", "kubelet"]), (True, True, True, []), (False, False, False, []), (False, True, True, [])],
)
def test_only_apply_changes_and_check_mode_predicts(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, apply: bool, check: bool, changed: bool, done: list[str]
) -> None:
    machine.records, machine.pods, machine.kubelet = RECORD, [POD], "old"
    answer = run(monkeypatch, check, apply=apply, **CONTROL_PLANE)
    assert answer["differs"] == ["ClusterConfiguration", "kube-apiserver", "kubelet"]
    assert (answer["changed"], machine.done) == (changed, done)
    assert [(entry.get("before"), entry["after"]) for entry in answer["diff"]] == [("a\n", "b\n"), ("old\n", "new\n"), (None, "wanted")]


def test_a_machine_in_no_cluster_gets_its_files_and_nothing_else(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.membership, machine.records = "none", RECORD
    path = machine.folder / "admission.json"
    files = [{"dest": str(path), "content": "{}", "restarts": "kube-apiserver"}]
    predicted = run(monkeypatch, True, files=files, service="approver", **CONTROL_PLANE)
    assert (predicted["changed"], predicted["written"], path.exists()) == (True, [str(path)], False)
    machine.done.clear()
    answer = run(monkeypatch, files=files, service="approver", **CONTROL_PLANE)
    assert (answer["changed"], answer["written"], answer["differs"]) == (True, [str(path)], [])
    assert machine.done == ["service approver False"], "there is no API server yet that would have to be restarted"
    assert path.read_text() == "{}"
    assert run(monkeypatch, files=files, service="approver", **CONTROL_PLANE)["changed"] is False


def test_a_control_plane_owes_a_restart_before_its_files_change(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [{"dest": str(machine.folder / "admission.json"), "content": "{}", "restarts": "kube-apiserver"}]
    run(monkeypatch, files=files, apply=False, **CONTROL_PLANE)
    assert machine.done[0] == "owe kube-apiserver"


def test_a_secret_file_is_for_root_only_and_shown_nowhere(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = machine.folder / "audit-webhook.json"
    for content in ("planted-secret", "another-secret"):
        files = [{"dest": str(path), "content": content, "restarts": "kube-apiserver"}]
        for check in (True, False):
            answer = run(monkeypatch, check, secret_files=files, apply=False, **CONTROL_PLANE)
            assert (answer["changed"], answer["written"]) == (True, [str(path)])
            assert content not in str(answer) and answer["diff"][0]["after"] != answer["diff"][0]["before"]
        assert path.read_text() == content and path.stat().st_mode & 0o777 == 0o600
        assert machine.done.pop() == "owe kube-apiserver"


def test_a_file_stays_as_long_as_the_api_server_names_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path, manifest = machine.folder / "audit-webhook.json", machine.folder / "kube-apiserver.yaml"
    monkeypatch.setattr(configuration, "MANIFESTS", machine.folder)
    others = [{"dest": str(machine.folder / "admission.json"), "content": "{}"}]
    run(monkeypatch, files=others, secret_files=[{"dest": str(path), "content": "x", "restarts": "kube-apiserver"}], **CONTROL_PLANE)
    machine.done.clear()
    manifest.write_text(f"spec:\n    - --audit-webhook-config-file={path}\n")
    for _run in range(2):
        answer = run(monkeypatch, files=others, apply=False, **CONTROL_PLANE)
        assert (answer["removed"], path.exists()) == ([], True)
    assert run(monkeypatch, True, files=others, **CONTROL_PLANE)["removed"] == [str(path)]
    # Its settings change, and then it goes in the same run.
    machine.pods, machine.apply = [POD], lambda: manifest.write_text("spec:\n")
    answer = run(monkeypatch, files=others, **CONTROL_PLANE)
    assert (answer["removed"], path.exists(), machine.done) == ([str(path)], False, ["control plane"])
    machine.pods = []
    assert run(monkeypatch, files=others, **CONTROL_PLANE)["changed"] is False


def test_what_can_not_be_changed_is_refused_before_anything_is_done(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = machine.folder / "admission.json"
    machine.recorded = {**RECORDED, "pod_cidrs": "10.1.0.0/16"}
    answer = run(monkeypatch, files=[{"dest": str(path), "content": "{}"}], service="approver", **CONTROL_PLANE)
    assert (answer["failed"], answer["code"]) == (True, "CLUSTER_SETTINGS_FIXED")
    assert "pod_cidrs 10.1.0.0/16, not 10.244.0.0/16" in answer["msg"] and "service_cidrs" not in answer["msg"]
    assert not path.exists() and machine.done == []


def test_a_member_that_is_kept_is_left_as_it_is(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    path = machine.folder / "admission.json"
    machine.records, machine.pods, machine.kubelet = RECORD, [POD], "somebody's"
    more = {"files": [{"dest": str(path), "content": "{}"}], "service": "approver", "keep": True}
    answer = run(monkeypatch, **more, **CONTROL_PLANE)
    assert (answer["changed"], answer["differs"], answer["complete"], machine.done) == (False, [], True, []) and not path.exists()
    assert (answer["membership"], answer["cluster"], answer["kubelet_configuration"]) == ("member", RECORDED, "recorded")
    machine.membership = "none"
    assert run(monkeypatch, **more, **CONTROL_PLANE)["written"] == [str(path)], "one that is to join is prepared"


def test_a_kept_member_may_lack_what_kubeadm_was_not_told_but_not_differ(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.recorded = {**RECORDED, "pod_cidrs": "", "api_endpoint": ""}
    assert not run(monkeypatch, keep=True, **CONTROL_PLANE)["failed"]
    assert run(monkeypatch, **CONTROL_PLANE)["code"] == "CLUSTER_SETTINGS_FIXED"
    machine.recorded = {**RECORDED, "service_cidrs": "10.1.0.0/16"}
    assert run(monkeypatch, keep=True, **CONTROL_PLANE)["code"] == "CLUSTER_SETTINGS_FIXED"


def test_an_endpoint_without_a_port_is_that_with_the_usual_one(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.recorded = {**RECORDED, "api_endpoint": "10.0.0.3"}
    assert not run(monkeypatch, **CONTROL_PLANE)["failed"]


def test_a_control_plane_says_what_it_is(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    answer = run(monkeypatch, **CONTROL_PLANE)
    assert (answer["membership"], answer["api_ready"], answer["address"], answer["cluster"]) == ("member", True, "10.0.0.11", RECORDED)
    machine.membership = "unfinished"
    answer = run(monkeypatch, **CONTROL_PLANE)
    assert (answer["membership"], answer["api_ready"], "cluster" in answer) == ("unfinished", False, False)
    assert "membership" not in run(monkeypatch), "a worker is not asked"


def test_a_step_of_a_killed_run_is_left_to_whoever_attaches_to_it(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.membership, machine.at_work = "unfinished", True
    path = machine.folder / "admission.json"
    files = [{"dest": str(path), "content": "{}", "restarts": "kube-apiserver"}]
    began = time.monotonic()
    answer = run(monkeypatch, files=files, wait=60, **CONTROL_PLANE)
    assert time.monotonic() - began < 30, "it was waited for"
    assert (answer["membership"], answer["written"]) == ("unfinished", [str(path)])
    assert machine.done == ["owe kube-apiserver"], "its API server may have read the file as it was"


def test_a_control_plane_without_its_api_server_is_left_to_the_gates(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.api_problem, machine.records, machine.kubelet = "refused", RECORD, "old"
    assert run(monkeypatch, **CONTROL_PLANE)["changed"] is False
    assert machine.done == []


@pytest.mark.parametrize(("given", "found"), [({}, "recorded"), ({"kubelet_configuration": "predicted"}, "predicted")])
def test_a_worker_takes_what_the_cluster_records_or_is_going_to(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], found: str
) -> None:
    answer = run(monkeypatch, **given)
    assert (answer["differs"], machine.done, answer["diff"]) == (["kubelet"], ["kubelet"], [{"after": found}])
    machine.kubelet = found
    assert run(monkeypatch, **given)["changed"] is False


def test_what_stops_it_is_said_with_its_code(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise FlotillaError("CONTROL_PLANE_NOT_READY", "The other one is down.", "Mend it.")

    monkeypatch.setattr(presence, "membership", refuse)
    answer = run(monkeypatch, **CONTROL_PLANE)
    assert (answer["failed"], answer["code"]) == (True, "CONTROL_PLANE_NOT_READY")
