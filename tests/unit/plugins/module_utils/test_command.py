# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of running commands on a node."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._command import run


def test_a_command_sees_no_proxy_of_the_login_but_the_rest_of_its_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "http_proxy", "No_Proxy", "SITE_PROXY"):
        monkeypatch.setenv(name, "http://user:secret@proxy:3128")
    monkeypatch.setenv("FLOTILLA_TEST", "there")
    seen = run(["env"])
    assert "secret" not in seen and "FLOTILLA_TEST=there\n" in seen
