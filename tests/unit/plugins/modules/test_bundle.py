# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module bundle: present, predicted, one slice, failed."""

from __future__ import annotations

import json

import pytest
from ansible.module_utils import basic
from ansible.module_utils.common.text.converters import to_bytes
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.modules import bundle

MANIFEST = {"kubernetes_version": "1.36.3", "files": [], "images": []}


class FakeSession:
    """What the module may do with a session; `calls` tells what it did."""

    prepared: dict = {}
    calls: list = []

    def __init__(self, request, start):
        FakeSession.calls = [(request.version, str(request.directory), request.rebuild, start.python)]

    def present(self):
        self.calls.append("present")
        if isinstance(self.prepared["found"], FlotillaError):
            raise self.prepared["found"]
        return self.prepared["found"]

    def preflight(self):
        self.calls.append("preflight")

    def advance(self, token, seconds):
        self.calls.append(("advance", token))
        assert 0 < seconds <= 15, "longer than a slice may be"
        return self.prepared["answer"]


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    def call(check_mode=False, found=None, answer=None, **arguments):
        monkeypatch.setenv("FLOTILLA_CACHE", str(tmp_path))
        monkeypatch.setattr(bundle, "Session", FakeSession)
        monkeypatch.setattr(FakeSession, "prepared", {"found": found, "answer": answer})
        given = {
            "version": "1.36.3",
            "source": "modules",
            "modules_dir": "/modules",
            "worker": {"python": "python", "collections_path": "/c"},
            **arguments,
        }
        monkeypatch.setattr(
            basic, "_ANSIBLE_ARGS", to_bytes(json.dumps({"ANSIBLE_MODULE_ARGS": {**given, "_ansible_check_mode": check_mode}}))
        )
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        with pytest.raises(SystemExit):
            bundle.main()
        return json.loads(capsys.readouterr().out)

    return call


def test_a_bundle_that_is_there_is_not_touched(run, tmp_path):
    result = run(found=MANIFEST)
    assert (result["changed"], result["finished"], result["manifest"]) == (False, True, MANIFEST)
    assert result["directory"] == str(tmp_path / "bundles/1.36.3")
    assert FakeSession.calls == [("1.36.3", result["directory"], False, "python"), "present"]


def test_check_mode_starts_nothing_and_predicts(run):
    result = run(check_mode=True)
    assert result["changed"] and result["finished"] and "manifest" not in result
    assert "bundle of Kubernetes 1.36.3 from modules" in result["diff"]["after"]
    assert FakeSession.calls[1:] == ["present", "preflight"]


def test_a_slice_comes_back_with_progress(run):
    result = run(answer={"finished": False, "progress": ["one"], "progress_token": "t"})
    assert (result["finished"], result["progress"], result["progress_token"]) == (False, ["one"], "t")
    assert FakeSession.calls[1:] == ["present", ("advance", None)]


def test_the_last_slice_has_the_manifest(run):
    result = run(answer={"finished": True, "progress": [], "manifest": MANIFEST}, progress_token="t", directory="/srv/b", rebuild=True)
    assert (result["changed"], result["manifest"], result["directory"]) == (True, MANIFEST, "/srv/b")
    assert FakeSession.calls == [("1.36.3", "/srv/b", True, "python"), ("advance", "t")], "no look at the bundle between slices"


def test_an_error_is_told_once_and_whole(run):
    result = run(found=FlotillaError("BUNDLE_FILE_CORRUPT", "It is bad.", "Mend it."))
    assert (result["failed"], result["code"], result["msg"], result["remedy"]) == (
        True,
        "BUNDLE_FILE_CORRUPT",
        "It is bad. Mend it.",
        "Mend it.",
    )
