# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of kubeadm upgrade as a repeatable step, with a kubeadm that is a shell script."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _command
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import configuration, membership, node_step, upgrade

OLD, NEW = "1.35.4", "1.36.3"


class Node:
    """A node whose kubeadm, kubelet and manifests are files of a folder."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.manifests = folder, folder / "manifests"
        for name in ("bin", "run", "manifests"):
            (folder / name).mkdir()
        script = f"""#!/bin/sh
[ "$1" = version ] && {{ echo v{NEW}; exit; }}
echo "$@" >> {folder}/calls
[ -e {folder}/fails ] && {{ echo "error: the reason"; exit 1; }}
exit 0
"""
        (folder / "bin/kubeadm").write_text(script)
        (folder / "bin/kubelet").write_text(f'#!/bin/sh\necho "Kubernetes v$(cat {folder}/kubelet)"\n')
        for command in (folder / "bin").iterdir():
            command.chmod(0o755)
        self.kubelet(OLD)
        (folder / "kubelet.conf").touch()
        monkeypatch.setattr(_command, "SEARCH_PATH", f"{folder}/bin:/usr/bin:/bin")
        monkeypatch.setattr(node_step, "POLL", 0.01)
        for module in (membership, node_step, upgrade):
            monkeypatch.setattr(module, "STATE_DIR", folder / "state")
        monkeypatch.setattr(node_step, "LOG_DIR", folder / "log")
        monkeypatch.setattr(node_step, "RUN_DIR", folder / "run")
        monkeypatch.setattr(membership, "KUBELET_KUBECONFIG", folder / "kubelet.conf")
        monkeypatch.setattr(upgrade.static_pod_versions, "__defaults__", (self.manifests,))

    def kubelet(self, version: str) -> None:
        (self.folder / "kubelet").write_text(version)

    def pods(self, version: str) -> None:
        for component in upgrade.STATIC_PODS:
            (self.manifests / f"{component}.yaml").write_text(f"spec:\n  containers:\n    image: registry.k8s.io/{component}:v{version}\n")

    @property
    def calls(self) -> list[str]:
        path = self.folder / "calls"
        return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def step(command: str = "node") -> upgrade.Upgrade:
    return upgrade.Upgrade(NEW, command, "worker w", "", "flotilla", [], 30)


def finish(one: upgrade.Upgrade) -> dict:
    token = None
    while not (answer := node_step.advance(one, token, 20))["finished"]:
        token = answer["progress_token"]
    return answer


def test_kubeadm_runs_once_though_the_kubelet_is_exchanged_later(node: Node) -> None:
    assert finish(step())["changed"]
    assert not finish(step())["changed"]
    assert node.calls == ["upgrade node"]
    assert json.loads((node.folder / "state/upgraded.json").read_text(encoding="utf-8")) == {"version": NEW, "command": "node"}
    assert not (node.folder / "state/upgrade.started").exists() and not list((node.folder / "run").iterdir())


def test_a_node_that_was_made_with_the_version_needs_nothing(node: Node) -> None:
    node.kubelet(NEW)
    assert not finish(step())["changed"]
    node.pods(NEW)
    assert not finish(step("apply"))["changed"]
    assert node.calls == []


def test_a_control_plane_with_one_pod_of_the_old_version_is_outdated(node: Node) -> None:
    node.kubelet(NEW)
    node.pods(NEW)
    (node.manifests / "kube-scheduler.yaml").write_text(f"    image: registry.k8s.io/kube-scheduler:v{OLD}\n")
    assert upgrade.upgrade(step(), None, check_mode=True)["changed"]
    assert upgrade.static_pod_versions()["kube-scheduler"] == OLD


def test_what_was_interrupted_is_run_again_and_is_no_unfinished_join(node: Node) -> None:
    (node.folder / "fails").touch()
    with pytest.raises(FlotillaError) as caught:
        finish(step())
    assert caught.value.code == "KUBEADM_FAILED" and "the reason" in str(caught.value)
    assert membership.membership() == "member", "else the next cluster_apply would reset the node"
    # As if the kubelet had been exchanged by hand: kubeadm's part is still owed.
    node.kubelet(NEW)
    (node.folder / "fails").unlink()
    assert finish(step())["changed"] and node.calls == ["upgrade node"] * 2


def test_another_kubeadm_and_no_member_are_refused_before_anything_runs(node: Node) -> None:
    other = upgrade.Upgrade(OLD, "node", "worker w", "", "flotilla", [], 30)
    node.kubelet("1.34.4")
    with pytest.raises(FlotillaError) as caught:
        finish(other)
    assert caught.value.code == "UPGRADE_WRONG_KUBEADM"
    (node.folder / "kubelet.conf").unlink()
    with pytest.raises(FlotillaError) as caught:
        finish(step())
    assert caught.value.code == "UPGRADE_NO_MEMBER" and node.calls == []


def test_check_mode_starts_nothing(node: Node) -> None:
    found = upgrade.upgrade(step(), None, check_mode=True)
    assert found["changed"] and found["diff"]["before"] == {"kubelet": OLD} and node.calls == []


def test_the_kubelet_starts_anew_each_time_its_api_server_is_back_and_never_on_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    answers, commands, notes = ["", "refused", "refused", "", "", "not ready", ""], [], {}
    monkeypatch.setattr(upgrade, "api_server_problem", lambda _address: answers.pop(0))
    monkeypatch.setattr(configuration, "run", lambda words, **_options: commands.append(words))
    one = upgrade.Upgrade(NEW, "node", "control plane c", "10.0.0.12", "flotilla", [], 30)
    while answers:
        one.meanwhile(notes)
        notes = json.loads(json.dumps(notes))
    assert commands == [["systemctl", "restart", "kubelet"]] * 2
    step().meanwhile({})
    assert len(commands) == 2


def test_a_control_plane_is_refused_until_one_has_been_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = [OLD, NEW, OLD]
    monkeypatch.setattr(upgrade, "cluster_settings", lambda _client: {"kubernetes_version": recorded.pop(0)})
    one = upgrade.Upgrade(NEW, "node", "control plane c", "10.0.0.12", "flotilla", [], 30)
    with pytest.raises(FlotillaError) as caught:
        one._refuse_before_apply(None)
    assert caught.value.code == "UPGRADE_NOT_APPLIED"
    one._refuse_before_apply(None)
    upgrade.Upgrade(NEW, "apply", "control plane c", "10.0.0.12", "flotilla", [], 30)._refuse_before_apply(None)


def test_a_mark_does_not_hide_static_pods_of_the_old_version(node: Node) -> None:
    finish(step())
    assert step().state() == "upgraded"
    node.pods(OLD)
    assert step().state() == "outdated"
    node.pods(NEW)
    assert step().state() == "upgraded"
