# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster of three and three is upgraded by two minors under load, and nobody notices: `make e2e-upgrade`."""

from __future__ import annotations

from collections.abc import Iterator

import load
import loaded
import outside
import pytest
from conftest import wait_for

NAME, OLD, NEW = "test-upgrade", "1.34.4", "1.36.3"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loaded.World]:
    with loaded.world(
        tmp_path_factory,
        NAME,
        kubernetes_version=OLD,
        control_plane={"count": 3},
        pools=[{"name": "workers", "count": 3}],
        local={"network_cidr": "172.30.242.0/24"},
    ) as made:
        yield made


def test_the_machine_is_quiet_enough(world: loaded.World) -> None:
    loaded.see_that_it_is_quiet(world)


def test_a_prediction_changes_nothing(world: loaded.World) -> None:
    containers, term, evicted = outside.containers(NAME), world.leaders(), world.evictions()
    world.set_version(NEW)
    run = world.cluster.play("cluster_upgrade", "--check")
    world.set_version(OLD)
    assert run.status == 0 and run.changed > 0, run.output[-6000:]
    assert f"{OLD} -> 1.35.4 -> {NEW}" in run.output
    assert (outside.containers(NAME), world.leaders(), world.evictions(), world.versions()) == (containers, term, evicted, {OLD})


def test_two_minors_in_a_row_fail_no_request(world: loaded.World) -> None:
    # Every pod once, and those of the first batch, which find no upgraded node yet, once more.
    nodes = [pod["spec"]["nodeName"] for pod in world.cluster.get("pods", "--selector=app=shop")]
    bound = load.REPLICAS + max(nodes.count(node) for node in set(nodes))
    done = world.upgrade(NEW)
    print(done.summary(bound))
    assert done.run.status == 0, done.run.output[-6000:]
    assert world.versions() == {NEW}
    assert (done.seen.failed, done.seen.lost) == (0, 0), str(done.seen)
    assert done.seen.first_try_errors <= done.leader_moves, str(done.seen)
    assert 0 < done.evictions <= bound


def test_afterwards_nothing_is_left_to_do(world: loaded.World) -> None:
    containers = outside.containers(NAME)
    for name in ("cluster_upgrade", "cluster_apply"):
        run = world.cluster.play(name)
        assert (run.status, run.changed) == (0, 0), run.output[-6000:]
    assert outside.containers(NAME) == containers
    taints = [taint["key"] for node in world.cluster.get("nodes") for taint in node["spec"].get("taints", [])]
    assert not [key for key in taints if key.startswith("flotilla")]
    wait_for(
        "every pod of the application",
        lambda: len(world.cluster.get("pods", "--field-selector=status.phase=Running", "--selector=app=shop")) == 6,
    )


def test_a_downgrade_is_refused_before_anything_changes(world: loaded.World) -> None:
    world.set_version("1.35.4")
    run = world.cluster.play("cluster_upgrade")
    world.set_version(NEW)
    assert run.status != 0 and run.changed == 0
    assert "which is newer than 1.35.4" in run.output
