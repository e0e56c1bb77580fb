# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What HAProxy in front of API servers says, and what it is told."""

from __future__ import annotations

from ansible_collections.flotilla.kubernetes.plugins.module_utils import _haproxy

STAT = """junk
# pxname,svname,qcur,scur,status,check_status,last_chk,addr
control_planes,a,0,2,UP,* L7OK,OK,172.30.86.10:6443
control_planes,b,0,0,MAINT,,,172.30.86.11:6443
control_planes,c,0,0,UP 1/2,L4CON,Connection refused,172.30.86.12:6443
control_planes,d,0,0,DOWN,L4CON,Connection refused,172.30.86.13:6443
control_planes,e,0,0,UP,INI,,172.30.86.14:6443
control_planes,BACKEND,0,2,UP,,,
last_resort,a,0,0,no check,,,172.30.86.10:6443
last_resort,b,0,3,MAINT,,,172.30.86.11:6443
"""


def test_health_from_haproxy():
    servers = _haproxy.parse_stat(STAT)
    assert {name: server.health for name, server in servers.items()} == {
        "a": "healthy", "b": "drained", "c": "unknown", "d": "unhealthy", "e": "unknown",
    }  # fmt: skip
    assert (servers["a"].sessions, servers["b"].sessions) == (2, 3), "those of the last resort, too"
    assert servers["d"].detail == "Connection refused"
    assert _haproxy.parse_stat("") == {}


def test_servers_leave_both_backends_and_come_back():
    assert _haproxy.switch(["a"], [], leave_open=True) == [
        ["set server control_planes/a state drain", "set server last_resort/a state drain"],
        [],
        [],
        ["disable health control_planes/a"],
    ]
    assert _haproxy.switch([], ["a"], leave_open=True)[1:3] == [
        ["enable health control_planes/a"],
        ["set server control_planes/a state ready", "set server last_resort/a state ready"],
    ]
    assert not _haproxy.switch(["a"], [], leave_open=False)[3], "health checks go on"
