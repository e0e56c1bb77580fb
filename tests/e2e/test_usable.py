# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A new cluster of three and two with add-ons and no way out is of use, and is so after two minors under load: `make e2e-usable`."""

from __future__ import annotations

from collections.abc import Iterator

import agnhost
import load
import loaded
import outside
import pytest
import usable

NAME, OLD, NEW, NETWORK = "test-usable", "1.34.4", "1.36.3", "172.30.239"

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[loaded.World]:
    with loaded.world(
        tmp_path_factory,
        NAME,
        kubernetes_version=OLD,
        control_plane={"count": 3},
        pools=[{"name": "workers", "count": 2}],
        local={"network_cidr": f"{NETWORK}.0/24", "egress": "deny"},
        addons=usable.addons(NETWORK),
    ) as made:
        yield made


def test_it_is_of_use_at_once(world: loaded.World) -> None:
    kubectl, image, names = world.cluster.kubectl, agnhost.make(NEW)[0], outside.machines(NAME)
    usable.see_top(kubectl, names)
    usable.see_metrics(kubectl, names)
    usable.see_service(kubectl, image, NETWORK)
    usable.see_volume(kubectl, image)


def test_two_minors_in_a_row_fail_no_request(world: loaded.World) -> None:
    loaded.see_that_it_is_quiet(world)
    nodes = [pod["spec"]["nodeName"] for pod in world.cluster.get("pods", "--selector=app=shop")]
    bound = load.REPLICAS + max(nodes.count(node) for node in set(nodes))
    done = world.upgrade(NEW)
    print(done.summary(bound))
    assert done.run.status == 0, done.run.output[-6000:]
    assert world.versions() == {NEW}
    assert (done.seen.failed, done.seen.lost) == (0, 0), str(done.seen)
    assert done.seen.first_try_errors <= done.leader_moves, str(done.seen)


def test_it_is_of_use_afterwards_and_has_what_it_had(world: loaded.World) -> None:
    kubectl, image, names = world.cluster.kubectl, agnhost.make(NEW)[0], outside.machines(NAME)
    usable.see_top(kubectl, names)
    usable.see_metrics(kubectl, names)
    usable.see_service(kubectl, image, NETWORK)
    usable.see_volume(kubectl, image, write="")
    assert usable.asked(kubectl, f'max_over_time(kubernetes_build_info{{git_version="v{OLD}"}}[6h])'), "Prometheus has what it read before"
    again = world.cluster.play("cluster_apply")
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]
