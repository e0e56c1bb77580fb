# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of how the settings of a running cluster are compared and changed, with a control plane made of files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import configuration
from ansible_collections.flotilla.kubernetes.plugins.module_utils._restart import Restart

STREAM = """apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
clusterName: demo
"""
PRINTED = """---
kind: ConfigMap
apiVersion: v1
data:
  kubeconfig.conf: |-
    apiVersion: v1
    kind: Config

    users: []
  config.conf: |-
    apiVersion: kubeproxy.config.k8s.io/v1alpha1
    conntrack:
      maxPerCore: 0
---
kind: DaemonSet
"""
ETCD = """spec:
  containers:
  - command:
    - etcd
    - --data-dir=/var/lib/etcd
    - --initial-advertise-peer-urls=https://10.0.0.12:2380
    - --initial-cluster={cluster}
{more}    - --name=b
    - --tls-min-version=TLS1.2
"""


def test_a_document_is_found_by_its_kind() -> None:
    assert configuration.document(STREAM, "ClusterConfiguration").endswith("clusterName: demo\n")
    with pytest.raises(FlotillaError, match="0 documents of the kind KubeletConfiguration"):
        configuration.document(STREAM, "KubeletConfiguration")


def test_an_entry_of_a_printed_config_map_loses_its_indentation_only() -> None:
    printed = configuration.document(PRINTED, "ConfigMap")
    assert configuration.entry_of(printed, "config.conf") == "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nconntrack:\n  maxPerCore: 0\n"
    assert configuration.entry_of(printed, "kubeconfig.conf").endswith("\nusers: []\n")
    with pytest.raises(FlotillaError):
        configuration.entry_of(printed, "other.conf")


def test_nodes_may_differ_in_their_container_runtime_only() -> None:
    kind = "KubeletConfiguration"
    one = "cgroupDriver: systemd\ncontainerRuntimeEndpoint: unix:///run/one.sock\nreadOnlyPort: 0\n"
    assert configuration.comparable(kind, one) == configuration.comparable(kind, one.replace("one.sock", "two.sock"))
    assert configuration.comparable(kind, one) != configuration.comparable(kind, one.replace("systemd", "cgroupfs"))


def test_a_member_that_joined_keeps_the_flags_of_its_birth() -> None:
    rendered = ETCD.format(cluster="b=https://10.0.0.12:2380", more="")
    joined = ETCD.format(cluster="a=https://10.0.0.11:2380,b=https://10.0.0.12:2380", more="    - --initial-cluster-state=existing\n")
    assert configuration.keep_birth(rendered, joined) == joined
    assert configuration.keep_birth(rendered, rendered) == rendered
    # Any other difference is still one.
    assert "TLS1.3" in configuration.keep_birth(rendered.replace("TLS1.2", "TLS1.3"), joined)


def test_the_flags_of_a_manifest() -> None:
    assert "--tls-min-version=TLS1.2" in configuration.arguments(ETCD.format(cluster="b", more=""))
    assert "etcd" not in configuration.arguments(ETCD.format(cluster="b", more=""))


def test_a_running_process_shows_its_flags_and_its_start() -> None:
    # Not the name of a program that this machine might run.
    program = Path(sys.executable)
    process = subprocess.Popen([f"/x/{'flotilla-probe'}", "-c", "import time; time.sleep(60)", "--a=b"], executable=program)
    try:
        deadline = time.monotonic() + 20
        found: list[Any] = []
        while not found and time.monotonic() < deadline:
            found = list(configuration.processes("flotilla-probe"))
        ((number, flags, started),) = found
        assert number == process.pid
        assert "--a=b" in flags
        assert abs(started - time.time()) < 30
    finally:
        process.kill()
        process.wait()
    assert list(configuration.processes("flotilla-probe")) == []


class Components:
    """Components that come back with the flags of their manifest, after some looks; and a clock of the looks."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.broken: set[str] = set()
        self.killed: list[tuple[int, int]] = []
        self.deaf = False
        self.events: list[str] = []
        self.started = dict.fromkeys(configuration.COMPONENTS, 1.0)
        self.flags: dict[str, set[str]] = {}

    def processes(self, component: str) -> list[tuple[int, set[str], float]]:
        wanted = configuration.arguments((self.folder / f"{component}.yaml").read_text())
        if component not in self.broken and self.flags.get(component) != wanted:
            self.flags[component] = wanted
            self.started[component] = time.time() + 1
            self.events.append(f"{component} restarted")
        return [(42, self.flags.get(component, set()), self.started[component])]

    def kill(self, process: int, number: int) -> None:
        self.killed.append((process, number))
        if self.deaf and number != signal.SIGKILL:
            return
        self.started[configuration.API_SERVER] = time.time() + 1


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Components:
    components = Components(tmp_path)
    monkeypatch.setattr(configuration, "MANIFESTS", tmp_path)
    monkeypatch.setattr(configuration, "processes", components.processes)
    monkeypatch.setattr(configuration.os, "kill", components.kill)
    monkeypatch.setattr(configuration, "component_problem", lambda _component, _address: "")
    monkeypatch.setattr(configuration, "Restart", lambda name: Restart(name, tmp_path / "state"))
    monkeypatch.setattr(configuration.time, "sleep", lambda _seconds: None)
    monkeypatch.setattr(configuration, "api_server_problem", lambda address: "refused" if address == "10.0.0.13" else "")
    for component in configuration.COMPONENTS:
        (tmp_path / f"{component}.yaml").write_text(f"    - {component}\n    - --old=1\n")
    return components


class Connection:
    """A kept connection, which no restart of an API server survives."""

    def __init__(self) -> None:
        self.times = 0

    def disconnect(self) -> None:
        self.times += 1

    def get(self, path: str) -> dict[str, Any]:
        assert path.endswith("/configmaps/kubeadm-config")
        return {"data": {"ClusterConfiguration": "kind: ClusterConfiguration\n"}}


def control_plane(peers: tuple[str, ...] = (), timeout: float = 5.0) -> configuration.ControlPlane:
    made = object.__new__(configuration.ControlPlane)
    made._documents, made._address, made._peers, made._user, made._timeout = [], "10.0.0.11", peers, "flotilla", timeout
    made.client, made._encryption = Connection(), None
    return made


def changes(machine: Components) -> list[Any]:
    made = control_plane()
    return made._pods({name: f"    - {name}\n    - --new=2\n" for name in configuration.COMPONENTS}).changes()


def test_components_change_one_after_another_and_etcd_first(machine: Components) -> None:
    for component in configuration.COMPONENTS:
        list(machine.processes(component))
    machine.events.clear()
    assert control_plane().apply({}, changes(machine)) is True
    assert machine.events == [f"{name} restarted" for name in configuration.COMPONENTS]
    assert (machine.folder / "etcd.yaml").stat().st_mode & 0o777 == 0o600
    assert changes(machine) == []


def test_nothing_changes_while_another_control_plane_is_down(machine: Components) -> None:
    with pytest.raises(FlotillaError) as caught:
        control_plane(peers=("10.0.0.12", "10.0.0.13")).apply({}, changes(machine))
    assert caught.value.code == "CONTROL_PLANE_NOT_READY"
    assert len(changes(machine)) == 4


def test_a_component_that_does_not_come_back_stops_the_rest(machine: Components) -> None:
    for component in configuration.COMPONENTS:
        list(machine.processes(component))
    machine.broken.add(configuration.API_SERVER)
    with pytest.raises(FlotillaError) as caught:
        control_plane(timeout=0.05).apply({}, changes(machine))
    assert caught.value.code == "COMPONENT_NOT_BACK"
    assert [change.tag for change in changes(machine)] == ["kube-controller-manager", "kube-scheduler"]


def test_an_api_server_whose_files_changed_is_restarted_once(machine: Components) -> None:
    list(machine.processes(configuration.API_SERVER))
    machine.started[configuration.API_SERVER] = 1.0
    restart = Restart(configuration.API_SERVER, machine.folder / "state")
    restart.owe()
    made = control_plane()
    assert made.apply({}, []) is True
    assert made.client.times == 1
    assert machine.killed == [(42, signal.SIGTERM)]
    assert not restart.due
    assert control_plane().apply({}, []) is True
    assert machine.killed == [(42, signal.SIGTERM)]


def test_a_control_plane_that_joined_after_its_files_were_written_owes_nothing(machine: Components) -> None:
    list(machine.processes(configuration.API_SERVER))
    restart = Restart(configuration.API_SERVER, machine.folder / "state")
    assert not configuration.restart_due(restart)
    restart.owe()
    machine.started[configuration.API_SERVER] = time.time() + 1
    assert not configuration.restart_due(restart)
    machine.started[configuration.API_SERVER] = time.time() - 100
    assert configuration.restart_due(restart)


def test_a_component_that_only_lost_flags_is_waited_for(machine: Components) -> None:
    """The old process has all flags of the new manifest, so only its start tells it from the new one."""
    component = "kube-scheduler"
    list(machine.processes(component))
    machine.started[component] = time.time() - 100
    machine.flags[component] = {"--old=1", "--new=1", "--gone=1"}
    machine.broken.add(component)
    with pytest.raises(FlotillaError) as caught:
        control_plane(timeout=0.05).apply({}, [change for change in changes(machine) if change.tag == component])
    assert caught.value.code == "COMPONENT_NOT_BACK"


def test_an_api_server_that_does_not_end_is_ended(machine: Components, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration, "GRACE", 0.05)
    list(machine.processes(configuration.API_SERVER))
    machine.started[configuration.API_SERVER] = 1.0
    machine.deaf = True
    Restart(configuration.API_SERVER, machine.folder / "state").owe()
    assert control_plane().apply({}, []) is True
    assert [number for _process, number in machine.killed] == [signal.SIGTERM, signal.SIGKILL]


def test_a_restart_that_a_killed_run_saw_through_is_not_done_again(machine: Components) -> None:
    list(machine.processes(configuration.API_SERVER))
    restart = Restart(configuration.API_SERVER, machine.folder / "state")
    restart.owe()
    os.utime(machine.folder / "state/restart-kube-apiserver", (2.0, 2.0))
    assert control_plane().apply({}, []) is True
    assert machine.killed == []
    assert not restart.due


@pytest.mark.parametrize(
    ("present", "wanted", "refused"), [(True, False, True), (True, True, False), (False, False, False), (False, True, False)]
)
def test_encryption_is_not_taken_from_a_cluster_that_has_it(
    machine: Components, monkeypatch: pytest.MonkeyPatch, present: bool, wanted: bool, refused: bool
) -> None:
    flag = "    - --encryption-provider-config=/x\n" if present else ""
    (machine.folder / "kube-apiserver.yaml").write_text(f"    - kube-apiserver\n{flag}")
    monkeypatch.setattr(configuration.Client, "short_lived", lambda *_arguments: Connection())
    monkeypatch.setattr(configuration, "Conversion", lambda *_arguments: None)
    arguments = [{"name": "encryption-provider-config", "value": "/x"}] if wanted else []
    documents = [
        {"kind": "InitConfiguration", "nodeRegistration": {"name": "a"}},
        {"kind": "ClusterConfiguration", "apiServer": {"extraArgs": arguments}},
    ]
    try:
        configuration.ControlPlane(documents, "10.0.0.11", [], "flotilla", 1.0)
    except FlotillaError as error:
        assert refused and error.code == "ENCRYPTION_CAN_NOT_END"
    else:
        assert not refused


def test_keys_of_somebody_else_are_never_replaced(machine: Components, monkeypatch: pytest.MonkeyPatch) -> None:
    (machine.folder / "kube-apiserver.yaml").write_text(
        "    - kube-apiserver\n    - --encryption-provider-config=/etc/kubernetes/enc/enc.yaml\n"
    )
    monkeypatch.setattr(configuration.Client, "short_lived", lambda *_arguments: Connection())
    monkeypatch.setattr(configuration, "Conversion", lambda *_arguments: pytest.fail("a new key would be made"))
    arguments = [{"name": "encryption-provider-config", "value": "/etc/kubernetes/flotilla/encryption.json"}]
    documents = [
        {"kind": "InitConfiguration", "nodeRegistration": {"name": "a"}},
        {"kind": "ClusterConfiguration", "apiServer": {"extraArgs": arguments}},
    ]
    with pytest.raises(FlotillaError) as raised:
        configuration.ControlPlane(documents, "10.0.0.11", [], "flotilla", 1.0)
    assert raised.value.code == "ENCRYPTION_FOREIGN" and "/etc/kubernetes/enc/enc.yaml" in str(raised.value)
