# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine before it joins a cluster and after it left."""

from __future__ import annotations

import socket

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._haproxy import HEAD
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import machine

ADDRESS = "10.0.0.5"
ENDPOINT = f"{ADDRESS}:6443"
KUBECONFIG = "apiVersion: v1\nclusters:\n- cluster:\n    server: https://10.0.0.5:6443\n  name: prod\n"


@pytest.fixture
def node(tmp_path, monkeypatch):
    """A machine whose folders are below tmp_path, and the commands that were run on it."""
    folders = {name: tmp_path / name.replace("/", "_") for name in ("/etc/kubernetes", "/var/lib/etcd")}
    commands = []
    monkeypatch.setattr(machine, "FOLDERS", (str(folders["/etc/kubernetes"]),))
    monkeypatch.setattr(machine, "EMPTIED", (str(folders["/var/lib/etcd"]),))
    monkeypatch.setattr(machine, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(machine, "KUBECONFIGS", (tmp_path / "admin.conf", tmp_path / "kubelet.conf"))
    monkeypatch.setattr(machine, "OWN_SERVICES", {"haproxy": str(tmp_path / "haproxy.cfg")})
    monkeypatch.setattr(machine, "LINKS", ())
    monkeypatch.setattr(machine, "run", lambda argv, **_options: commands.append(" ".join(argv)) or "")
    monkeypatch.setattr(machine, "interfaces", lambda: {"10.0.0.11": "eth0", "10.0.0.5": "eth0"})
    monkeypatch.setattr(machine, "membership", lambda: "member")
    monkeypatch.setattr(machine.shutil, "which", lambda name, path=None: f"/usr/local/bin/{name}")
    for folder in folders.values():
        (folder / "member").mkdir(parents=True)
        (folder / "member/file").write_text("x")
    (tmp_path / "kubelet.conf").write_text(KUBECONFIG)
    return tmp_path, commands


def test_a_listener_and_its_process_are_found():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = str(server.getsockname()[1])
        assert port not in machine.listening()
        server.listen()
        assert machine.listening()[port]
    assert port not in machine.listening()


def test_the_endpoint_is_that_of_people_not_of_the_kubelet(node):
    folder, _commands = node
    assert machine.api_endpoint() == ENDPOINT
    (folder / "kubelet.conf").write_text(KUBECONFIG.replace("10.0.0.5", "10.0.0.11"))
    (folder / "admin.conf").write_text(KUBECONFIG)
    assert machine.api_endpoint() == ENDPOINT


def test_reset_leaves_nothing_of_the_cluster(node):
    folder, commands = node
    (folder / "haproxy.cfg").write_text(f"{HEAD}\nglobal\n")
    for name in ("kubeadm.ended", "upgraded.json", "upgrade.started", "fence"):
        (folder / "state").mkdir(exist_ok=True)
        (folder / "state" / name).touch()
    result = machine.reset(ENDPOINT, ADDRESS, 10, check_mode=False)
    assert [path.name for path in (folder / "state").iterdir()] == ["fence"], "an upgrade of another cluster is none of the next one"
    assert result["changed"] and result["membership"] == "member"
    assert not (folder / "_etc_kubernetes").exists() and not (folder / "haproxy.cfg").exists()
    assert list((folder / "_var_lib_etcd").iterdir()) == [], "a disk of its own stays, empty"
    assert commands[0].startswith("kubeadm reset --force --skip-phases=remove-etcd-member")
    assert "systemctl disable --now haproxy" in commands and "ip address delete 10.0.0.5/32 dev eth0" in commands


def test_an_endpoint_that_is_the_machines_own_address_stays_on_it(node):
    _folder, commands = node
    machine.reset(ENDPOINT, "", 10, check_mode=False)
    assert commands[0].startswith("kubeadm reset") and not [command for command in commands if "ip address" in command]


def test_somebody_elses_haproxy_is_left_alone(node):
    folder, commands = node
    (folder / "haproxy.cfg").write_text("global\n")
    machine.reset(ENDPOINT, ADDRESS, 10, check_mode=False)
    assert (folder / "haproxy.cfg").exists()
    assert not [command for command in commands if "haproxy" in command]


def test_check_mode_says_what_would_go_and_touches_nothing(node):
    folder, commands = node
    result = machine.reset(ENDPOINT, ADDRESS, 10, check_mode=True)
    assert result["changed"] and str(folder / "_etc_kubernetes") in result["removed"]
    assert (folder / "_etc_kubernetes/member/file").exists() and commands == []


def test_a_member_of_another_cluster_is_refused(node):
    folder, commands = node
    with pytest.raises(FlotillaError) as caught:
        machine.reset("10.7.7.7:6443", "10.7.7.7", 10, check_mode=False)
    assert caught.value.code == "MACHINE_IN_OTHER_CLUSTER" and ENDPOINT in str(caught.value)
    assert (folder / "_etc_kubernetes/member/file").exists() and commands == []


def test_a_second_reset_has_nothing_to_do(node, monkeypatch):
    machine.reset(ENDPOINT, ADDRESS, 10, check_mode=False)
    monkeypatch.setattr(machine, "membership", lambda: "none")
    _folder, commands = node
    commands.clear()
    assert machine.reset(ENDPOINT, ADDRESS, 10, check_mode=False) == {"changed": False, "membership": "none", "removed": []}
    assert commands == []
