# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Without the steps that take a control plane out of service an upgrade is noticed: `make e2e-upgrade-unprotected`.

The positive control of `test_upgrade`: what finds nothing there finds something here. The collection is copied, and in the copy no other
member of etcd is let lead and no load balancer is told.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import loaded
import outside
import pytest

NAME, OLD, NEW = "test-unprotected", "1.35.4", "1.36.3"
STEPS = ("out_of_service.yml", "into_service.yml")

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loaded.World]:
    with loaded.world(
        tmp_path_factory, NAME, kubernetes_version=OLD, control_plane={"count": 3}, local={"network_cidr": "172.30.226.0/24"}
    ) as made:
        yield made


def without_steps(folder: Path) -> Path:
    """Return a collections path with a copy of the collection that leaves the steps out."""
    copy = folder / "ansible_collections/flotilla/kubernetes"
    files = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=outside.ROOT, capture_output=True, check=True
    )
    for name in files.stdout.decode().split("\0"):
        source = outside.ROOT / name
        if name and source.is_file() and not source.is_symlink():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, copy / name)
    for step in STEPS:
        path = copy / "roles/kubernetes_upgrade/tasks" / step
        assert path.is_file()
        path.write_text("---\n- name: Leave it out\n  ansible.builtin.debug:\n    msg: left out\n", encoding="utf-8")
    return folder


def test_the_machine_is_quiet_enough(world: loaded.World) -> None:
    loaded.see_that_it_is_quiet(world)


def test_an_upgrade_without_them_fails_requests(world: loaded.World, tmp_path: Path) -> None:
    path = f"{without_steps(tmp_path)}:{Path.home()}/.ansible/collections"
    done = world.upgrade(NEW, {"ANSIBLE_COLLECTIONS_PATH": path})
    print(done.summary(0))
    assert done.run.status == 0 and "left out" in done.run.output, done.run.output[-6000:]
    assert world.versions() == {NEW}
    assert done.seen.failed > 0 or done.seen.first_try_errors > done.leader_moves, str(done.seen)
