# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster through a cloud's API, whose machines and load balancer are real: the tests that every cloud passes.

What the cloud's endpoint says runs, runs in containers of this host (tests/support/backing). The tests of a cloud share one cluster
and run in the order of this file.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import outside
import pytest
from backing import process
from backing import stage as stages
from backing.podman import Host
from backing.stage import Stage
from conftest import VERSION, wait_for

PORT = 6443


def apply(stage: Stage, *options: str) -> outside.Run:
    """Run cluster_apply, and say what the machines say where it fails."""
    return succeed(stage, "cluster_apply", *options)


def succeed(stage: Stage, playbook: str, *options: str) -> outside.Run:
    run = stage.play(playbook, *options)
    assert run.status == 0, f"{run.output[-8000:]}\n{stage.logs()[-30000:]}"
    return run


def plan_id(stage: Stage) -> str:
    """Return the id of what cluster_apply would do now, as cluster_plan shows it."""
    report = stage.folder / "plan.json"
    run = stage.play("cluster_plan", "--check", "-e", f"flotilla_report={report}")
    assert run.status == 0 and stage.changes() == [], run.output[-4000:]
    return str(json.loads(report.read_text(encoding="utf-8"))["plan_id"])


def nodes(stage: Stage) -> dict[str, bool]:
    """Return whether each node is Ready, as a client of the API endpoint sees it."""
    items = json.loads(stage.kubectl("get", "nodes", "--output=json"))["items"]
    return {item["metadata"]["name"]: {c["type"]: c["status"] for c in item["status"]["conditions"]}["Ready"] == "True" for item in items}


def members(stage: Stage) -> set[str]:
    """Return the names of etcd's voting members."""
    pki = "/etc/kubernetes/pki/etcd"
    text = stage.run_on(
        stage.control_planes[0], "etcdctl", f"--cacert={pki}/ca.crt", f"--cert={pki}/healthcheck-client.crt",
        f"--key={pki}/healthcheck-client.key", "--endpoints=https://127.0.0.1:2379", "member", "list", "--write-out=json",
    )  # fmt: skip
    return {member["name"] for member in json.loads(text)["members"] if not member.get("isLearner")}


def ask(stage: Stage, machine: str, times: int = 12) -> Counter[str]:
    """Let a machine connect to the API by the load balancer's name or address so often, and count the answers."""
    (balancer,) = stage.picture().balancers
    command = f"curl --silent --insecure --max-time 3 https://{balancer.host}:{PORT}/livez || echo none"
    return Counter(stage.run_on(machine, "sh", "-c", f"for number in $(seq {times}); do {command}; echo; done").split())


class OnCloud:
    """The tests of a cloud."""

    cloud: ClassVar[str]
    cidr: ClassVar[str]
    """Of the cluster's network, on this host alone."""
    kinds: ClassVar[set[str]]
    """Some of the kinds of things that a cluster consists of, as the dump of the account names them."""
    makes: ClassVar[dict[str, int]]
    """Calls that a create makes -> how many at least."""
    leaves: ClassVar[str]
    """The call by which a member leaves the load balancer; empty where the cloud has none."""
    ends: ClassVar[str]
    """The call by which a machine ends."""
    helpers: ClassVar[int] = 2
    """Containers besides the machines: the network's resolver, and the load balancer."""

    @pytest.fixture(scope="class")
    def stage(self, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
        name, before = f"test-{self.cloud}", outside.settings()
        with stages.started(self.cloud, tmp_path_factory.mktemp(self.cloud), name, self.cidr, VERSION) as made:
            yield made
            if outside.left_of(name)["files"]:
                made.play("cluster_delete", "-e", f"flotilla_confirm={name}")
        assert not any(outside.left_of(name).values()), outside.left_of(name)
        assert outside.settings() == before

    def healthy(self, stage: Stage) -> set[str]:
        """Return the machines that the load balancer sends to, as the cloud's API gives them."""
        raise NotImplementedError

    def node_names(self, stage: Stage) -> dict[str, str]:
        """Return the name that each machine's node should have."""
        return {machine: f"{stage.name}-{pool}-{machine[-8:]}" for pool in ("control-plane", "workers") for machine in stage.machines(pool)}

    def check(self, stage: Stage, control_planes: int, workers: int) -> None:
        """Fail unless cloud, containers, nodes, etcd and load balancer agree on so many machines."""
        assert (len(stage.control_planes), len(stage.machines("workers"))) == (control_planes, workers)
        wait_for("every machine has its container, and no other has", lambda: sorted(stage.containers()) == stage.machines())
        names, wanted = self.node_names(stage), set(stage.control_planes)
        assert nodes(stage) == dict.fromkeys(names.values(), True)
        assert members(stage) == {names[machine] for machine in wanted}
        wait_for("the API's address leads to the control planes", lambda: self.healthy(stage) == wanted, 120)

    def test_the_first_run_makes_a_cluster_of_three_and_two(self, stage: Stage) -> None:
        stage.define(3, 2)
        apply(stage)
        made = Counter(stage.changes())
        assert all(made[call] >= least for call, least in self.makes.items()), made
        self.check(stage, 3, 2)
        # They were made as a cloud makes them: from their own user data.
        for machine in stage.machines():
            status = json.loads(stage.run_on(machine, "cloud-init", "status", "--format=json"))
            assert (status["status"], status["errors"]) == ("done", []), status
            assert "NoCloud" in status["detail"]

    def test_a_second_run_changes_nothing(self, stage: Stage) -> None:
        before = stage.ids()
        run = apply(stage)
        calls = stage.place.calls()
        assert run.changed == 0, run.recap
        assert stage.changes() == [] and calls, "the proxy wrote down no call at all"
        assert stage.ids() == before

    def test_the_load_balancer_is_a_real_one(self, stage: Stage) -> None:
        """It serves everybody, but loses what a machine sends to itself: the cluster came up without that."""
        assert ask(stage, stage.machines("workers")[0]) == {"ok": 12}
        own = ask(stage, stage.control_planes[0], times=40)
        assert set(own) == {"ok", "none"} and own["ok"] > own["none"], own

    def test_status_finds_nothing_wrong(self, stage: Stage) -> None:
        run = stage.play("cluster_status")
        assert run.status == 0 and stage.changes() == [], run.output[-4000:]

    def test_a_dump_shows_the_cluster_while_it_is_there(self, stage: Stage) -> None:
        """What the last test looks for is found as long as it is there."""
        kinds = {thing.kind for thing in stage.left()}
        assert kinds >= self.kinds, kinds
        here = Host(stage.name)
        assert len(here.containers()) == 3 + 2 + self.helpers and len(here.volumes()) == 3 * 5
        left = outside.left_of(stage.name)
        assert left["containers"] and left["volumes"] and left["networks"] and left["files"]

    def test_workers_are_added(self, stage: Stage) -> None:
        before = stage.ids()
        stage.define(3, 4)
        apply(stage)
        self.check(stage, 3, 4)
        assert before.items() < stage.ids().items()

    def test_what_takes_much_away_needs_consent(self, stage: Stage) -> None:
        before = stage.ids()
        stage.define(3, 1)
        run = stage.play("cluster_apply")
        assert run.status != 0 and "MACHINES_BRAKE" in run.output, run.output[-4000:]
        assert stage.changes() == [] and stage.ids() == before

    def test_workers_are_taken_away(self, stage: Stage) -> None:
        before = stage.ids()
        apply(stage, "-e", f"flotilla_plan_id={plan_id(stage)}")
        self.check(stage, 3, 1)
        after = stage.ids()
        assert after.items() < before.items() and set(stage.control_planes) < set(after)
        assert self.ends in stage.changes()
        assert {Host(stage.name).volumes()[volume] for volume in Host(stage.name).volumes()} == set(after), "disks go with their machines"

    def test_a_backing_that_was_killed_goes_on(self, stage: Stage) -> None:
        before = stage.ids()
        stage.backing.kill()
        stage.backing.popen = process.start(stage.backing.command, stage.backing.log).popen
        self.check(stage, 3, 1)
        assert stage.ids() == before

    def test_a_control_plane_is_replaced(self, stage: Stage) -> None:
        before, names, workers = stage.ids(), self.node_names(stage), stage.machines("workers")
        # The first by name is the one that a run asks first.
        victim = min(stage.control_planes, key=lambda machine: names[machine])
        succeed(stage, "machine_replace", "-e", f"flotilla_machine_name={victim}")
        self.check(stage, 3, len(workers))
        after = stage.ids()
        assert victim not in after and {key: value for key, value in before.items() if key != victim}.items() < after.items()
        changes = stage.changes()
        assert self.ends in changes
        if self.leaves:
            # It left the load balancer before it ended.
            assert changes.index(self.leaves) < changes.index(self.ends), changes

    @pytest.mark.last
    def test_deleting_leaves_nothing(self, stage: Stage) -> None:
        succeed(stage, "cluster_delete", "-e", f"flotilla_confirm={stage.name}")
        assert stage.left() == []
        # Others' things in the account are as they were.
        found = stage.place.cloud.dump(stage.place.direct)
        assert {(thing.kind, thing.id) for thing in found} == {(thing.kind, thing.id) for thing in stage.account}

        def gone() -> bool:
            left: dict[str, Any] = outside.left_of(stage.name)
            return not any(left.values())

        wait_for("the machines are gone for real", gone, 60)
