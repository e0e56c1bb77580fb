# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what a role puts on a node, and in which order."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _config_files, _installed, _node_files
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._node_files import NodeFiles

BINARY = b"new"
IMAGE = {"name": "registry.example.com/pause:1", "path": "images/amd64/pause.tar", "sha256": "0" * 64}


class Node:
    """A machine whose files are in a folder; services and images write down what becomes of them."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.binary, self.config = folder / "bin/kubelet", folder / "etc/kubelet.conf"
        self.arrived = folder / "arrived"
        self.memory = folder / "state/files.json"
        self.events: list[str] = []
        self.images: list[str] = []
        self.asked = 0
        node = self

        class Service:
            def __init__(self, name: str, _debt: object, reload: bool) -> None:
                self.name = name

            def owe(self) -> None:
                node.note("owe")

            def due(self, running: bool, restart: bool) -> list[str]:
                node.asked += 1
                return ["restarted"] if restart else []

            def apply(self, steps: list[str]) -> None:
                node.note(f"service {steps}")

        class Images:
            def missing(self, images: list[dict[str, str]]) -> list[str]:
                return [image["name"] for image in images if image["name"] not in node.images]

            def add(self, images: list[dict[str, str]], staged: dict[str, str]) -> None:
                for image in images:
                    node.images.append(image["name"])
                    node.note(f"import {staged[image['name']]}")

        monkeypatch.setattr(_node_files, "Service", Service)
        monkeypatch.setattr(_node_files, "ImportedImages", Images)
        monkeypatch.setattr(_installed.InstalledFiles.__init__, "__defaults__", (self.memory,))
        self.store = folder / "state/brought"
        monkeypatch.setattr(_installed.BroughtFiles.__init__, "__defaults__", (self.store,))
        monkeypatch.setattr(_config_files.ConfigFiles.__init__, "__defaults__", (folder / "state",))
        monkeypatch.setattr(_installed.os, "chown", lambda *_arguments: None)

    def note(self, event: str) -> None:
        there = "".join(sign for sign, path in (("b", self.binary), ("c", self.config)) if path.exists())
        self.events.append(f"{event} with {there}")

    def wanted(self, **more: Any) -> NodeFiles:
        entry = {"path": "bin/kubelet", "dest": str(self.binary), "sha256": hashlib.sha256(BINARY).hexdigest(), "mode": "0755"}
        config = {"dest": str(self.config), "content": "x\n", "mode": "0644", "restart": True}
        service = {"name": "kubelet", "running": False, "restart": False, "reload": False}
        given = {"bundle_files": [entry], "images": [IMAGE], "files": [config], "secret_files": [], "owner": None, "services": [service]}
        given["ahead"] = given["hold"] = False
        return NodeFiles({**given, **more})

    def staged(self) -> dict[str, str]:
        self.arrived.write_bytes(BINARY)
        return {str(self.binary): str(self.arrived), IMAGE["name"]: "/arrived.tar"}


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    return Node(tmp_path, monkeypatch)


def test_a_service_is_owed_before_and_restarted_after_its_files_and_images_come_last(node: Node) -> None:
    wanted = node.wanted()
    assert [entry["key"] for entry in wanted.to_bring()] == [str(node.binary), IMAGE["name"]]
    wanted.apply(node.staged())
    assert node.events == ["owe with ", "service ['restarted'] with bc", "import /arrived.tar with bc"]
    result = wanted.result()
    assert (result["changed"], result["installed"], result["imported"]) == (True, [str(node.binary)], [IMAGE["name"]])
    assert (result["written"], result["service_steps"]) == ([str(node.config)], ["kubelet restarted"])
    assert [entry["after_header"] for entry in result["diff"]] == [str(node.config), "files", "images", "services"]


def test_a_node_that_has_everything_needs_nothing(node: Node) -> None:
    node.wanted().apply(node.staged())
    memory = node.memory.stat()
    node.asked = 0
    again = node.wanted()
    assert again.to_bring() == [] and not again.result()["changed"] and again.result()["diff"] == []
    again.apply({})
    assert node.asked == 1, "systemd is asked once"
    assert node.memory.stat() == memory, "what the node remembers is not written again"


def test_what_is_brought_ahead_changes_nothing_that_runs_and_is_not_brought_again(node: Node) -> None:
    nothing_else = {"files": [], "services": [], "ahead": True}
    node.wanted(**nothing_else).apply(node.staged())
    assert node.events == ["import /arrived.tar with "] and not node.binary.exists()
    assert not node.wanted(**nothing_else).result()["changed"]
    later = node.wanted()
    assert later.to_bring() == [] and later.result()["installed"] == [str(node.binary)]
    later.apply({})
    assert node.binary.read_bytes() == BINARY and list(node.store.iterdir()) == []
    assert not node.wanted(**nothing_else).result()["changed"], "what is in its place need not be brought ahead"


def test_what_would_restart_something_is_held_and_brought_ahead(node: Node) -> None:
    held = node.wanted(hold=True)
    held.apply(node.staged())
    assert held.result()["held"] == ["kubelet"] and held.result()["service_steps"] == held.result()["written"] == []
    assert node.events == ["import /arrived.tar with "] and not node.binary.exists() and not node.config.exists()
    again = node.wanted(hold=True)
    assert again.to_bring() == [] and not again.result()["changed"] and again.result()["held"] == ["kubelet"]
    rest = node.wanted()
    assert rest.to_bring() == [] and rest.result()["held"] == []
    rest.apply({})
    assert node.events[1:] == ["owe with ", "service ['restarted'] with bc"]
    assert node.wanted(hold=True).result()["held"] == []


def test_what_restarts_nothing_is_not_held(node: Node) -> None:
    wanted = node.wanted(hold=True, services=[])
    wanted.apply(node.staged())
    assert node.binary.exists() and node.config.exists() and wanted.result()["held"] == []


def test_a_damaged_file_is_not_kept_and_brought_again(node: Node) -> None:
    node.wanted(files=[], services=[], images=[], ahead=True).apply(node.staged())
    (kept,) = node.store.iterdir()
    kept.write_bytes(b"damaged")
    with pytest.raises(FlotillaError) as caught:
        node.wanted().apply({})
    assert caught.value.code == "BUNDLE_FILE_CORRUPT" and not node.binary.exists()
    assert str(node.binary) in [entry["key"] for entry in node.wanted().to_bring()]


def test_what_is_only_looked_at_is_predicted_and_left_alone(node: Node) -> None:
    assert node.wanted().result()["service_steps"] == ["kubelet restarted"]
    assert node.events == [] and not node.binary.exists() and not node.config.exists()


def test_a_file_that_the_service_does_not_read_restarts_nothing(node: Node) -> None:
    node.wanted().apply(node.staged())
    node.events.clear()
    other = {"dest": str(node.config), "content": "y\n", "mode": "0644", "restart": False}
    wanted = node.wanted(files=[other])
    wanted.apply({})
    assert node.events == ["service [] with bc"] and wanted.result()["written"] == [str(node.config)]
