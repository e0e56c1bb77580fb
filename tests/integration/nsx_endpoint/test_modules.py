# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The modules themselves over TLS, in check mode so that nothing waits in real time."""

from __future__ import annotations

import importlib
import json
import ssl
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.nsx import session as sessions
from clouds import tls
from clouds.nsx.manager import Manager
from clouds.wire import Wire

NAMES = ("nsx_network", "nsx_load_balancer")


def run(name: str, capsys: pytest.CaptureFixture[str], **arguments: Any) -> dict[str, Any]:
    module = importlib.import_module(f"ansible_collections.flotilla.kubernetes.plugins.modules.{name}")
    with patch_module_args({**arguments, "_ansible_check_mode": True}), pytest.raises(SystemExit):
        module.main()
    return dict(json.loads(capsys.readouterr().out))


@pytest.fixture
def served(nsx: Manager, tmp_path: Path, definition: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[tls.Front]:
    """The manager behind TLS, whose authority only the environment of NSX knows."""
    wire = Wire()
    authority, own = tls.make_certificates(tmp_path)
    with wire.installed():
        front = tls.Front(own)
        front.to = urllib.parse.urlsplit(wire.publish(nsx)).port or 0
        definition["nsx"]["manager"] = front.url.removeprefix("https://")
        monkeypatch.setenv(sessions.AUTHORITY, str(authority))
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield front
        front.close()


@pytest.mark.usefixtures("served")
def test_check_mode_predicts_everything_and_changes_nothing(nsx, capsys, definition):
    before = nsx.dump()
    network = run("nsx_network", capsys, cluster=definition)
    assert network["changed"] and network["differs"] and len(network["diff"]["after"]) == 13 and network["diff"]["before"] == {}
    assert network["network"]["segments"]["worker"]["name"] == "flotilla-payments-worker" and network["network"]["uid"] is None
    balancer = run("nsx_load_balancer", capsys, cluster=definition, members=[{"id": "vm-1", "address": "10.20.0.4"}])
    assert balancer["changed"] and balancer["endpoint"] == {"host": None, "port": 6443}
    assert run("nsx_load_balancer", capsys, cluster=definition, state="observed")["endpoint"] == {}
    for name in NAMES:
        assert not run(name, capsys, cluster=definition, state="absent")["changed"]
    assert nsx.dump() == before and not nsx.changes()


def test_a_principal_identity_needs_no_password(nsx, served, capsys, definition, tmp_path, monkeypatch):
    for name in (sessions.USER, sessions.PASSWORD):
        monkeypatch.delenv(name)
    assert run("nsx_network", capsys, cluster=definition)["code"] == "NSX_UNAUTHORISED"
    served.context.verify_mode = ssl.CERT_REQUIRED
    served.context.load_verify_locations(tmp_path / "authority.pem")
    nsx.principal = True
    for name in (sessions.CERTIFICATE, sessions.KEY):
        monkeypatch.setenv(name, str(tmp_path / "endpoint.pem"))
    assert run("nsx_network", capsys, cluster=definition)["changed"]


@pytest.mark.usefixtures("served")
def test_a_manager_that_nobody_vouches_for_is_not_spoken_to(nsx, capsys, definition, monkeypatch):
    monkeypatch.delenv(sessions.AUTHORITY)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    result = run("nsx_network", capsys, cluster=definition)
    assert result["code"] == "NSX_CERTIFICATE" and sessions.AUTHORITY in result["remedy"] and not nsx.log


def test_a_definition_without_the_section_is_refused(capsys):
    for name in NAMES:
        result = run(name, capsys, cluster={"name": "payments"})
        assert result["failed"] and result["code"] == "NSX_SECTION"
