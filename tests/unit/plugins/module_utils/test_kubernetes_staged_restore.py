# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm init begins with a backup where one lies, and only there."""

from __future__ import annotations

import json

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import kubeadm_step, staged_restore


@pytest.fixture
def start(tmp_path, monkeypatch):
    """Return what the shell would run, and the command."""
    monkeypatch.setattr(staged_restore, "STAGED", tmp_path / "restore")
    monkeypatch.setattr(staged_restore, "RESTORED", tmp_path / "restored.json")
    monkeypatch.setattr(kubeadm_step, "ETCD_DATA", tmp_path / "etcd")

    def of(name, membership="none", lies=True):
        monkeypatch.setattr(kubeadm_step, "membership", lambda: membership)
        if lies:
            (tmp_path / "restore").mkdir(exist_ok=True)
            note = {"name": "cp 1", "address": "10.0.0.11", "revision": 7}
            (tmp_path / "restore/restore.json").write_text(json.dumps(note), encoding="utf-8")
        folder = tmp_path / "folder"
        folder.mkdir(exist_ok=True)
        return (*kubeadm_step.Step(name, "title", [], ["Swap"], 60).start(folder), folder)

    return of


def test_it_comes_after_the_undoing_and_before_kubeadm(start):
    script, command, folder = start("init", "unfinished")
    places = [script.index(part) for part in ("kubeadm reset", "restore.sh", 'timeout --kill-after=10 "$limit" "$@"', "restored.json")]
    assert places == sorted(places)
    assert "--ignore-preflight-errors=Swap,DirAvailable--var-lib-etcd" in command
    lines = (folder / "restore.sh").read_text(encoding="utf-8")
    assert lines.startswith("set -e; set -- ") and "'cp 1' 10.0.0.11 restored-" in lines
    assert "--bump-revision=1000000000 --mark-compacted" in lines
    assert "{" not in lines


def test_each_restore_makes_an_etcd_of_its_own(start):
    texts = [(start("init")[2] / "restore.sh").read_text(encoding="utf-8").splitlines()[0] for _time in range(2)]
    assert texts[0] != texts[1]


@pytest.mark.parametrize(("name", "lies"), [("init", False), ("join", True)])
def test_nobody_else_begins_with_it(start, name, lies):
    script, command, folder = start(name, lies=lies)
    assert "restore" not in script and not (folder / "restore.sh").exists()
    assert "--ignore-preflight-errors=Swap" in command


def test_a_new_cluster_on_the_machine_was_not_restored(start, tmp_path):
    (tmp_path / "restored.json").write_text("{}", encoding="utf-8")
    assert staged_restore.restored()
    start("init", lies=False)
    assert not staged_restore.restored()


def test_what_lies_there_can_be_discarded(start, tmp_path):
    start("init")
    assert staged_restore.staged()["revision"] == 7
    assert staged_restore.discard() and not staged_restore.staged() and not (tmp_path / "restore").exists()
    assert not staged_restore.discard()
