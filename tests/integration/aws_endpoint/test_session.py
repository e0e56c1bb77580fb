# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses at which nobody answers."""

from __future__ import annotations

import socket
import struct
import threading

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws import machines
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.aws.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError


@pytest.fixture
def nobody(monkeypatch, endpoint):
    """An address that refuses connections."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{taken.getsockname()[1]}")
        yield endpoint


@pytest.mark.usefixtures("nobody")
def test_a_dead_endpoint_is_an_error_within_half_a_minute(definition, session):
    with pytest.raises(FlotillaError) as caught:
        machines.observed(session, definition)
    assert caught.value.code == "AWS_UNREACHABLE" and "network" in caught.value.remedy
    assert session.clock.monotonic() < 30 and session.calls["ec2:DescribeInstances"] > 1
    # What is read with the session's own patience ends as soon.
    with pytest.raises(FlotillaError) as caught:
        Session("eu-west-1", clock=session.clock).repeat("ec2", "describe_vpcs")
    assert caught.value.code == "AWS_UNREACHABLE" and session.clock.monotonic() < 60


@pytest.mark.usefixtures("nobody")
def test_a_region_that_nobody_knows_is_named_at_once(session):
    with pytest.raises(FlotillaError) as caught:
        Session("eu-wst-1", clock=session.clock).repeat("ec2", "describe_vpcs")
    assert caught.value.code == "AWS_REGION_UNKNOWN" and "eu-west-1" in caught.value.remedy and session.clock.monotonic() == 0


@pytest.fixture
def cutting(monkeypatch, endpoint):
    """An address that takes connections and cuts them off."""
    with socket.create_server(("127.0.0.1", 0)) as door:

        def cut() -> None:
            while True:
                try:
                    taken, _address = door.accept()
                except OSError:
                    return
                taken.recv(4096)
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                taken.close()

        threading.Thread(target=cut, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{door.getsockname()[1]}")
        yield endpoint


@pytest.mark.usefixtures("cutting")
def test_somebody_who_cuts_connections_off_gets_patience(definition, session):
    """A network that is bad for a while does not end a run."""
    with pytest.raises(FlotillaError) as caught:
        machines.observed(session, definition)
    assert caught.value.code == "AWS_UNREACHABLE" and session.clock.monotonic() > 100


def test_what_answered_once_gets_patience(session, definition, server, request):
    assert machines.observed(session, definition).value["machines"] == []
    request.getfixturevalue("nobody")
    session._clients.clear()  # they keep their address
    with pytest.raises(FlotillaError):
        machines.observed(session, definition)
    assert session.clock.monotonic() > 100
