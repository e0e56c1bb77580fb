# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what came from a bundle to a node: files, images."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _installed, _state
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> _installed.InstalledFiles:
    monkeypatch.setattr(_installed.os, "chown", lambda *_arguments: None)
    return _installed.InstalledFiles(tmp_path / "state/files.json")


def entry(tmp_path: Path, content: bytes, mode: str = "0755") -> dict[str, str]:
    return {"path": "bin/tool", "dest": str(tmp_path / "bin/tool"), "sha256": digest(content), "mode": mode}


def test_a_file_is_installed_once_and_then_found(tmp_path: Path, installed: _installed.InstalledFiles) -> None:
    wanted = entry(tmp_path, b"tool")
    assert installed.missing([wanted]) == [wanted["dest"]]
    (tmp_path / "arrived").write_bytes(b"tool")
    installed.install([wanted], {wanted["dest"]: str(tmp_path / "arrived")})
    assert Path(wanted["dest"]).read_bytes() == b"tool" and Path(wanted["dest"]).stat().st_mode & 0o777 == 0o755
    assert _installed.InstalledFiles(tmp_path / "state/files.json").missing([wanted]) == []


def test_a_changed_file_is_found_even_though_it_was_remembered(tmp_path: Path, installed: _installed.InstalledFiles) -> None:
    wanted = entry(tmp_path, b"tool")
    (tmp_path / "arrived").write_bytes(b"tool")
    installed.install([wanted], {wanted["dest"]: str(tmp_path / "arrived")})
    Path(wanted["dest"]).write_bytes(b"evil")
    assert installed.missing([wanted]) == [wanted["dest"]]


def test_a_changed_mode_is_mended_without_a_transfer(tmp_path: Path, installed: _installed.InstalledFiles) -> None:
    wanted = entry(tmp_path, b"tool")
    (tmp_path / "arrived").write_bytes(b"tool")
    installed.install([wanted], {wanted["dest"]: str(tmp_path / "arrived")})
    Path(wanted["dest"]).chmod(0o600)
    assert installed.missing([wanted]) == [wanted["dest"]] and installed.to_bring([wanted]) == []
    inode = Path(wanted["dest"]).stat().st_ino
    installed.install([wanted], {})
    assert installed.missing([wanted]) == [] and Path(wanted["dest"]).stat().st_ino == inode
    # The control: another content has to be brought.
    assert installed.to_bring([entry(tmp_path, b"newer")]) == [wanted["dest"]]


def test_what_arrived_with_another_digest_is_not_installed(tmp_path: Path, installed: _installed.InstalledFiles) -> None:
    wanted = entry(tmp_path, b"tool")
    (tmp_path / "arrived").write_bytes(b"broken")
    with pytest.raises(FlotillaError) as caught:
        installed.install([wanted], {wanted["dest"]: str(tmp_path / "arrived")})
    assert caught.value.code == "BUNDLE_FILE_CORRUPT" and wanted["dest"] in str(caught.value)
    assert not Path(wanted["dest"]).exists()


def test_an_image_from_another_archive_counts_as_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    present = ["example/pause:1"]

    def ctr(*arguments: str) -> str:
        if arguments[:2] == ("images", "import"):
            present.append("example/web:1")
        return "\n".join(present)

    monkeypatch.setattr(_installed, "_ctr", ctr)
    monkeypatch.setattr(_installed.shutil, "which", lambda *_arguments, **_options: "/usr/local/bin/ctr")
    images = _installed.ImportedImages(tmp_path / "images.json")
    web = {"name": "example/web:1", "path": "images/web.tar", "sha256": digest(b"web")}
    assert images.missing([web]) == ["example/web:1"]
    (tmp_path / "web.tar").write_bytes(b"web")
    images.add([web], {"example/web:1": str(tmp_path / "web.tar")})
    assert not (tmp_path / "web.tar").exists()
    again = _installed.ImportedImages(tmp_path / "images.json")
    assert again.missing([web]) == []
    assert again.missing([{**web, "sha256": digest(b"newer")}]) == ["example/web:1"]


def test_without_containerd_every_image_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_installed.shutil, "which", lambda *_arguments, **_options: None)
    web = {"name": "example/web:1", "path": "images/web.tar", "sha256": digest(b"web")}
    assert _installed.ImportedImages(tmp_path / "images.json").missing([web]) == ["example/web:1"]


def test_a_containerd_that_is_just_starting_is_waited_for_and_no_other_error_is(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = [FlotillaError("CONTAINERD_FAILED", "dial unix /run/containerd/containerd.sock: connect: connection refused"), "pause"]
    called = []

    def run(*_arguments: object, **_options: object) -> str:
        called.append(1)
        answer = answers.pop(0)
        if isinstance(answer, FlotillaError):
            raise answer
        return answer

    monkeypatch.setattr(_installed, "run", run)
    monkeypatch.setattr(_installed.time, "sleep", lambda _seconds: None)
    assert _installed._ctr("images", "list") == "pause" and len(called) == 2
    answers[:] = [FlotillaError("CONTAINERD_FAILED", "unknown flag"), "never"]
    with pytest.raises(FlotillaError, match="unknown flag"):
        _installed._ctr("images", "list")


def test_an_archive_without_its_image_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_installed, "_ctr", lambda *_arguments: "")
    (tmp_path / "web.tar").write_bytes(b"web")
    web = {"name": "example/web:1", "path": "images/web.tar", "sha256": digest(b"web")}
    with pytest.raises(FlotillaError) as caught:
        _installed.ImportedImages(tmp_path / "images.json").add([web], {"example/web:1": str(tmp_path / "web.tar")})
    assert caught.value.code == "IMAGE_NOT_IN_ARCHIVE"


def test_two_runs_at_once_install_one_file(tmp_path: Path, installed: _installed.InstalledFiles) -> None:
    wanted = entry(tmp_path, b"tool" * 100_000)
    arrived = [tmp_path / f"arrived-{number}" for number in range(8)]
    for path in arrived:
        path.write_bytes(b"tool" * 100_000)
    with ThreadPoolExecutor(len(arrived)) as pool:
        installers = [_installed.InstalledFiles(tmp_path / "state/files.json") for _path in arrived]
        list(pool.map(lambda one, path: one.install([wanted], {wanted["dest"]: str(path)}), installers, arrived))
    assert _installed.InstalledFiles(tmp_path / "state/files.json").missing([wanted]) == []
    assert [path.name for path in (tmp_path / "bin").iterdir()] == ["tool"]
    assert sum(path.exists() for path in arrived) == len(arrived) - 1, "who came later found it there"


def test_what_one_run_remembers_another_does_not_forget(tmp_path: Path, installed: _installed.InstalledFiles) -> None:
    late = _installed.InstalledFiles(tmp_path / "state/files.json")
    for number, one in enumerate((installed, late)):
        (tmp_path / "arrived").write_bytes(b"tool")
        wanted = {**entry(tmp_path, b"tool"), "dest": str(tmp_path / f"bin/tool-{number}")}
        one.install([wanted], {wanted["dest"]: str(tmp_path / "arrived")})
    assert len(_state.read_json(tmp_path / "state/files.json")) == 2


def test_only_what_we_copied_and_did_not_install_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("SUDO_USER", raising=False)
    ours, mixed, others = (tmp_path / f".ansible/tmp/ansible-tmp-{number}" for number in range(3))
    for folder in (ours, mixed, others):
        folder.mkdir(parents=True)
    for path in (ours / "flotilla-0-kubelet", mixed / "flotilla-0-web.tar", mixed / "AnsiballZ_copy.py", others / "AnsiballZ_copy.py"):
        path.touch()
    _installed.forget_staged("~/.ansible/tmp")
    left = sorted(str(path.relative_to(tmp_path / ".ansible/tmp")) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["ansible-tmp-1/AnsiballZ_copy.py", "ansible-tmp-2/AnsiballZ_copy.py"]
    assert not ours.exists()
    monkeypatch.setenv("SUDO_USER", "nobody-of-this-name")
    _installed.forget_staged("~/.ansible/tmp")
