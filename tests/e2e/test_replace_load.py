# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a pool are replaced, two at a time, under load, and nobody notices: `make e2e-replace-load`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import agnhost
import load
import loaded
import outside
import pytest

NAME, OLD, NEW = "test-replload", "1.35.4", "1.36.3"
NETWORK, WORKERS, SURGE = "172.30.225", 2, 2

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loaded.World]:
    rollout = {"strategy": "replace", "max_surge": SURGE, "drain_timeout": "5m"}
    with loaded.world(
        tmp_path_factory,
        NAME,
        # The local cloud gives a machine the lowest address that is free.
        more_addresses=[f"{NETWORK}.{number}" for number in range(15, 20)],
        by_proxy=True,
        kubernetes_version=OLD,
        control_plane={"count": 3},
        pools=[{"name": "workers", "count": WORKERS, "rollout": rollout}],
        local={"network_cidr": f"{NETWORK}.0/24"},
    ) as made:
        yield made


@contextmanager
def image_on_new_machines() -> Iterator[None]:
    """Let new machines have the application's image, which no registry has here."""
    _name, archive = agnhost.make("1.36.3")
    done, over = set(outside.machines(NAME, "workers")), threading.Event()

    def give() -> None:
        while not over.wait(2):
            for machine in set(outside.machines(NAME, "workers")) - done:
                # Its container runtime has to come first.
                with contextlib.suppress(AssertionError):
                    loaded.give_image(machine, archive)
                    done.add(machine)

    thread = threading.Thread(target=give)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_the_machine_is_quiet_enough(world: loaded.World) -> None:
    loaded.see_that_it_is_quiet(world)


def test_a_replace_roll_fails_no_request(world: loaded.World) -> None:
    before = set(outside.containers(NAME).values())
    with image_on_new_machines():
        done = world.upgrade(NEW)
    # There are empty machines of the new version before the first pod goes.
    print(done.summary(load.REPLICAS))
    assert done.run.status == 0, done.run.output[-6000:]
    workers = {one for name, one in outside.containers(NAME).items() if name.startswith(f"{NAME}-workers-")}
    assert len(workers) == WORKERS and not workers & before
    assert world.versions() == {NEW}
    assert (done.seen.failed, done.seen.lost) == (0, 0), str(done.seen)
    assert done.seen.first_try_errors <= done.leader_moves, str(done.seen)
    assert 0 < done.evictions <= load.REPLICAS


def test_afterwards_nothing_is_left_to_do(world: loaded.World) -> None:
    before = outside.containers(NAME)
    for name in ("cluster_upgrade", "cluster_apply"):
        run = world.cluster.play(name)
        assert (run.status, run.changed) == (0, 0), run.output[-6000:]
    assert outside.containers(NAME) == before
