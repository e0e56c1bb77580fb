# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the module `node_files` while its files are on their way."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _delivered, _fetch, _installed, _seed
from ansible_collections.flotilla.kubernetes.plugins.modules import node_files

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "support"))
web = pytest.importorskip("web", reason="an installed collection has no test servers")

CONTENT = {"bin/one": os.urandom(3 << 20), "bin/two": os.urandom(1 << 20)}


class Ended(Exception):
    """The module returned."""


@pytest.fixture
def call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return what calls the module with a stage and further arguments."""
    monkeypatch.setattr(_fetch, "INCOMING", tmp_path / "incoming")
    monkeypatch.setattr(_fetch.Incoming.__init__, "__defaults__", (tmp_path / "incoming",))
    monkeypatch.setattr(_installed.InstalledFiles.__init__, "__defaults__", (tmp_path / "state/files.json",))
    monkeypatch.setattr(_seed, "SPOOL", tmp_path / "seed")
    monkeypatch.setattr(_installed.os, "chown", lambda *_arguments: None)
    for path, content in CONTENT.items():
        (tmp_path / "bundle" / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "bundle" / path).write_bytes(content)
    files = [
        {"path": path, "dest": str(tmp_path / "node" / path), "sha256": hashlib.sha256(content).hexdigest()}
        for path, content in CONTENT.items()
    ]
    ended: list[dict[str, Any]] = []

    def end(_module: Any, **result: Any) -> None:
        ended.append(json.loads(json.dumps(result)))
        raise Ended

    def run(stage: str, **more: Any) -> dict[str, Any]:
        given = {"bundle": str(tmp_path / "bundle"), "bundle_files": files, "stage": stage, **more}
        monkeypatch.setattr(basic, "_load_params", lambda *_arguments: given, raising=False)
        monkeypatch.setattr(basic.AnsibleModule, "_load_params", lambda self: setattr(self, "params", dict(given)), raising=False)
        with pytest.raises(Ended):
            node_files.main()
        return ended[-1]

    monkeypatch.setattr(basic.AnsibleModule, "exit_json", end)
    monkeypatch.setattr(basic.AnsibleModule, "fail_json", end)
    return run


def test_nothing_is_installed_before_everything_is_here(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_delivered, "SLICE", 0)
    with web.serving(web.WebServer(tmp_path / "bundle")) as server:
        origins = [{"url": f"http://127.0.0.1:{server.port}"}]
        answer, staged, received = call("inspect"), {}, 0
        assert len(answer["sources"]) == 2
        for _round in range(10):
            answer = call("fetch", origins=origins, staged=staged)
            received += answer["received"]
            if answer["finished"]:
                break
            assert not (tmp_path / "node").exists()
            staged = answer["staged"]
        assert answer["finished"] and received == sum(map(len, CONTENT.values()))
    for path, content in CONTENT.items():
        assert (tmp_path / "node" / path).read_bytes() == content
    assert answer["changed"] and not call("inspect")["changed"] and list((tmp_path / "incoming").iterdir()) == []


def test_another_machine_that_does_not_answer_is_no_failure(call: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fetch, "_pause", lambda _seconds: None)
    keys = list(call("inspect")["sources"])
    with web.serving(web.WebServer(tmp_path / "bundle")) as server:
        gone = f"http://127.0.0.1:{server.port}"
    answer = call("fetch", origins=[{"url": gone, "may_fail": True, "keys": keys}])
    assert not answer["finished"] and sorted(answer["refused"]) == sorted(keys) and not (tmp_path / "node").exists()
    # The control: a mirror that does not answer is one.
    assert call("fetch", origins=[{"url": gone}])["code"] == "BUNDLE_SOURCE_UNREACHABLE"
