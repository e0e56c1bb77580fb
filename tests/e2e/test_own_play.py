# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""examples/own_play as it is, on one machine without a cluster. In `make e2e-full` only."""

from __future__ import annotations

import os
from pathlib import Path

import bare_machines
import outside
import pytest

pytestmark = pytest.mark.full

NAME = "test-own-play"
NETWORK = os.environ.get("FLOTILLA_TEST_NETWORK", "172.30.222")


def test_roles_work_in_a_play_with_groups_of_ones_own(tmp_path: Path) -> None:
    example = outside.ROOT / "examples/own_play"
    with bare_machines.made(tmp_path / "made", NAME, f"{NETWORK}.0/24", workers=0) as (address,):
        hosts = {"build_servers": {"hosts": {"build-1": {"ansible_host": address, "ansible_user": "flotilla"}}}}
        own = bare_machines.inventory(tmp_path / "own.yml", hosts, {})
        arguments = ("-i", str(example / "hosts.yml"), "-i", str(own), str(example / "site.yml"))
        first = outside.command("ansible-playbook", *arguments)
        assert first.status == 0 and first.changed > 0, first.output[-4000:]
        assert "Server:" in outside.host("podman", "exec", outside.machines(NAME)[0], "ctr", "version")
        again = outside.command("ansible-playbook", *arguments)
        assert (again.status, again.changed) == (0, 0), again.output[-4000:]
