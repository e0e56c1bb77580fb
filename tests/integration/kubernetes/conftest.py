# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real control plane on loopback for the tests of this folder."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import Client

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import control_plane
from nodes import Node


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture
def etcd(tmp_path: Path, programs: Path) -> Iterator[control_plane.EtcdMembers]:
    """etcd without a member yet."""
    processes = control_plane.Processes(tmp_path)
    program = control_plane.program(control_plane.bundle(tmp_path), "etcd", programs)
    yield control_plane.EtcdMembers(processes, program, control_plane.Authority(tmp_path / "etcd-pki"))
    processes.end()


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Iterator[control_plane.ApiServer]:
    """An API server with an etcd of its own, and nothing else."""
    folder = tmp_path_factory.mktemp("server")
    processes = control_plane.Processes(folder)
    program = control_plane.program(control_plane.bundle(folder), "etcd", programs)
    members = control_plane.EtcdMembers(processes, program, control_plane.Authority(folder / "etcd-pki"))
    try:
        members.reserve("m1")
        members.start("m1", ("m1",))
        yield control_plane.start_api_server(folder, programs, control_plane.Authority(folder / "pki"), members, "--allow-privileged=true")
    finally:
        processes.end()


@pytest.fixture
def node(server: control_plane.ApiServer) -> Node:
    """A node of its own for each test."""
    return Node(server)


@pytest.fixture
def ask(node: Node, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., dict[str, Any]]:
    """Run a module as Ansible does, on the control plane; return what it prints and what it warns of."""
    warnings: list[str] = []
    monkeypatch.setattr(Client, "short_lived", lambda address, user: node.client())
    # Ansible shows warnings itself, and does not return them, in a process that has loaded its controller for any other test.
    monkeypatch.setattr(basic.AnsibleModule, "warn", lambda _module, text: warnings.append(text))
    monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)

    def run(module: Any, check_mode: bool = False, **arguments: Any) -> dict[str, Any]:
        given = {"address": "127.0.0.1", **arguments, "_ansible_check_mode": check_mode}
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode())
        warnings.clear()
        with pytest.raises(SystemExit):
            module.main()
        return {**json.loads(capsys.readouterr().out), "warnings": list(warnings)}

    return run
