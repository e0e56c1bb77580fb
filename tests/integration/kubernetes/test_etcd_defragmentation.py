# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module etcd_defragmentation against real etcd processes: space that is given back, and an alarm that is cleared or has to stay."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import etcd_space
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import ApiError, Client
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.etcd import client_context
from ansible_collections.flotilla.kubernetes.plugins.modules import etcd_defragmentation
from control_plane import EtcdMembers, wait_for

NAMES = ("m1", "m2", "m3")
QUOTA = 24  # MiB


class Three:
    """etcd with three members and a small quota."""

    def __init__(self, members: EtcdMembers) -> None:
        self.members, folder = members, members.authority.folder
        members.reserve(*NAMES)
        for name in NAMES:
            members.start(name, NAMES, "new", f"--quota-backend-bytes={QUOTA * etcd_space.MIB}")
        self.context = client_context(str(members.authority.file), str(folder / "healthcheck-client"))
        wait_for("a leader", self.led, explain=lambda: members.processes.log("m1"))

    def led(self) -> bool:
        try:
            return all(etcd_space.read(self.client(name)).led for name in NAMES)
        except (OSError, ApiError):
            return False

    def client(self, name: str) -> Client:
        host, _colon, port = self.members.endpoint(name).partition(":")
        return Client(host, int(port), self.context, timeout=30)

    def put(self, key: str, size: int = etcd_space.MIB - 4096) -> None:
        value = base64.b64encode(b"x" * size).decode()
        self.client("m1").request("POST", "/v3/kv/put", {"key": base64.b64encode(key.encode()).decode(), "value": value})

    def fill(self, keys: int, times: int, size: int = etcd_space.MIB - 4096) -> None:
        """Write ``times`` values to ``keys`` keys in turn, until etcd refuses."""
        for index in range(times):
            self.put(f"k{index % keys}", size)

    def run(self, name: str, state: str | None = None, check_mode: bool = False, least: int = 4) -> dict[str, Any]:
        return etcd_defragmentation.run(self.client(name), {"state": state, "min_free_mib": least, "timeout": 60}, check_mode)


@pytest.fixture
def three(etcd: EtcdMembers) -> Three:
    return Three(etcd)


def test_space_that_is_free_is_given_back_once(three: Three) -> None:
    three.fill(keys=1, times=10)
    # The history of a key takes space until it is compacted, as API servers do it.
    assert [three.run(name)["due"] for name in NAMES] == [False] * 3
    etcd_space.compact(three.client("m1"), etcd_space.read(three.client("m1")))
    # A page is free once something else is written.
    wait_for("free pages", lambda: three.put("other", 1) or all(three.run(name)["in_use_mib"] <= 2 for name in NAMES))
    assert all(three.run(name)["due"] for name in NAMES)
    before = three.run("m2")
    predicted = three.run("m2", "defragmented", check_mode=True)
    assert predicted["changed"] and three.run("m2")["size_mib"] == before["size_mib"]
    done = three.run("m2", "defragmented")
    assert done["changed"] and done["size_mib"] <= 3 < before["size_mib"]
    assert three.run("m2", "defragmented")["changed"] is False and three.run("m3")["due"], "each member has its own file"
    assert three.run("m3", "defragmented", least=100)["changed"] is False, "it is not worth it"
    assert three.run("m1", "compacted")["changed"] is False and three.run("m1", "disarmed")["changed"] is False
    three.put("after")


def test_the_alarm_is_cleared_when_there_is_space_again(three: Three) -> None:
    with pytest.raises(ApiError) as caught:
        three.fill(keys=2, times=3 * QUOTA)
    assert "exceeded" in str(caught.value)
    assert set(three.run("m2")["alarms"]) == {"NOSPACE"}
    # Without compaction and defragmentation first it would come back at once, from the member whose file is full: how large the same
    # content gets in a file depends on when that member wrote it down.
    fullest = max(NAMES, key=lambda name: etcd_space.read(three.client(name)).size)
    with pytest.raises(FlotillaError) as full:
        three.run(fullest, "disarmed")
    assert full.value.code == "ETCD_FULL"
    assert three.run("m1", "compacted")["changed"]
    for name in NAMES:
        assert three.run(name, "defragmented", least=1000)["changed"]
    assert three.run("m1", "disarmed")["changed"]
    three.put("after")
    assert [three.run(name)["alarms"] for name in NAMES] == [[]] * 3
    assert not any(three.run(name, state, least=100)["changed"] for name in NAMES for state in ("compacted", "defragmented", "disarmed"))


def test_an_etcd_that_is_full_of_live_keys_is_told(three: Three) -> None:
    with pytest.raises(ApiError):
        # Of small ones more fit into the same file.
        three.fill(keys=10**6, times=10**6, size=30000)
    three.run("m1", "compacted")
    for name in NAMES:
        three.run(name, "defragmented")
    with pytest.raises(FlotillaError) as full:
        three.run("m1", "disarmed")
    assert full.value.code == "ETCD_FULL" and f"of {QUOTA} MiB" in str(full.value)
    assert three.run("m1")["alarms"], "it is still there"


def test_corruption_is_no_matter_of_space(three: Three) -> None:
    member = json.loads(three.client("m1").request("POST", "/v3/cluster/member/list", {}))["members"][0]["ID"]
    three.client("m1").request("POST", "/v3/maintenance/alarm", {"action": "ACTIVATE", "memberID": member, "alarm": "CORRUPT"})
    with pytest.raises(FlotillaError) as caught:
        three.run("m1", "defragmented")
    assert caught.value.code == "ETCD_CORRUPT"
