# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of running commands on a node, and of the files that only they read."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._command import memory_file, run


def test_a_command_sees_no_proxy_of_the_login_but_the_rest_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "http_proxy", "No_Proxy", "SITE_PROXY"):
        monkeypatch.setenv(name, "http://user:secret@proxy:3128")
    monkeypatch.setenv("FLOTILLA_TEST", "there")
    seen = run(["env"])
    assert "secret" not in seen and "FLOTILLA_TEST=there\n" in seen


@pytest.mark.parametrize("content", ["s3cret", b"s3cret"])
def test_a_command_reads_a_memory_file_as_often_as_it_likes(content: str | bytes) -> None:
    with memory_file(content) as path:
        assert run(["cat", str(path), str(path)]) == "s3crets3cret"
        assert path.read_text() == "s3cret"
        assert run(["sh", "-c", "ls -l /proc/self/fd"]).count("memfd") == 0, "commands inherit nothing"


def test_a_memory_file_has_no_name_and_ends_with_its_block() -> None:
    with memory_file("s3cret") as path:
        assert "(deleted)" in str(path.readlink())
    assert not path.exists()
