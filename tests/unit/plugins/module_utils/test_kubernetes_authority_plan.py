# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rotations that are killed at any write, with nodes that join meanwhile: each ends, and nobody is cut off on the way.

The world is a model: nodes are what `authorities.look` returns of them, and each step of the rotation is the writes that it makes.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.filter.authority_plan import authority_plan
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.authority_plan import PHASES, Seen, due, plan
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.certificates import AUTHORITY_FILES, LEAVES, Condition
from hypothesis import given, settings
from hypothesis import strategies as st

NAMES = tuple(AUTHORITY_FILES)
NOW = 1_800_000_000.0
DAY = 86400.0
DUE = Condition(365 * DAY)
FILE_NAMES = {file: name for name, file in AUTHORITY_FILES.items()}
CONFIGS = ("admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf")
Write = Callable[[], None]


class World:
    def __init__(self, control_planes: int, workers: int, names: tuple[str, ...]) -> None:
        self.names = names
        self.certificates = {
            f"{name}-old": {
                "name": name,
                "begins": NOW - 3600 * DAY,
                "ends": NOW + (30 if name in names else 3000) * DAY,
                "pem": f"{name}-old",
            }
            for name in NAMES
        }
        self.nodes: dict[str, dict[str, Any]] = {}
        self.control_planes: list[str] = []
        self.cluster: dict[str, Any] = {
            "cluster_info": ["kubernetes-old"],
            "delegated": {"kubernetes": ["kubernetes-old"], "front-proxy": ["front-proxy-old"]},
            "separate": False,
            "unpublished": [],
            "workloads": [],
            "webhooks": [],
        }
        self.given = ["kubernetes-old"]  # what pods read that start now
        self.pods: list[list[str]] = [["kubernetes-old"], ["kubernetes-old"]]
        for number in range(control_planes):
            self._control_plane(f"cp-{number}", None)
        for number in range(workers):
            self._worker(f"worker-{number}")

    def _control_plane(self, name: str, source: dict[str, Any] | None) -> None:
        """Have a control plane; one that joins gets the files of another one, as kubeadm sends them."""
        has = {
            one: {"trusted": list(source["authorities"][one]["trusted"]), "signs": source["authorities"][one]["signs"], "next": ""}
            if source
            else {"trusted": [f"{one}-old"], "signs": f"{one}-old", "next": ""}
            for one in NAMES
        }
        signs = {one: has[one]["signs"] for one in NAMES}
        both = len(has["kubernetes"]["trusted"]) > 1
        self.nodes[name] = {
            "authorities": has,
            "signed_by": {
                **{leaf: signs[FILE_NAMES[file]] for leaf, (_path, file) in LEAVES.items()},
                "kubelet-client": signs["kubernetes"],
                "kubelet-server": signs["kubernetes"],
            },
            # kubeadm gives them the first one only; the kubelet's own comes from cluster-info.
            "kubeconfigs": {
                **{one: [signs["kubernetes"]] for one in CONFIGS},
                "kubelet.conf": list(self.cluster["cluster_info"] if source else ["kubernetes-old"]),
            },
            "separate": both and self.cluster["separate"],
            # The API server of one that joins shows it as soon as kubeadm is over.
            "chained": [signs["kubernetes"]] if both and signs["kubernetes"].endswith("new") else [],
            "rotating": both,
            "restarts": {},
        }
        self.control_planes.append(name)

    def _worker(self, name: str) -> None:
        signs = self.nodes[self.control_planes[0]]["authorities"]["kubernetes"]["signs"]
        self.nodes[name] = {
            "authorities": {"kubernetes": {"trusted": list(self.cluster["cluster_info"]), "signs": "", "next": ""}},
            "signed_by": {"kubelet-client": signs, "kubelet-server": signs},
            "kubeconfigs": {"kubelet.conf": list(self.cluster["cluster_info"])},
            "separate": False,
            "chained": [],
            "rotating": False,
            "restarts": {},
        }

    def join(self, control_plane: bool) -> None:
        name = f"late-{len(self.nodes)}"
        if control_plane:
            self._control_plane(name, self.nodes[self.control_planes[len(self.nodes) % len(self.control_planes)]])
        else:
            self._worker(name)

    def seen(self) -> Seen:
        nodes = copy.deepcopy(self.nodes)
        for node in self.control_planes:
            held = [key for one in nodes[node]["authorities"].values() for key in [*one["trusted"], one["next"]] if key]
            nodes[node]["certificates"] = {key: self.certificates[key] for key in held}
        cluster = copy.deepcopy(self.cluster)
        new = plan(Seen(nodes, self.control_planes, {}), {})["stays"]["kubernetes"]
        cluster["unpublished"] = [] if new in self.given else ["default"]
        behind = sum(new not in pod for pod in self.pods)
        cluster["workloads"] = [{"workload": "default/Deployment/a", "pods": behind, "restartable": True}] if behind else []
        return Seen(nodes, self.control_planes, cluster)

    def plan(self) -> dict[str, Any]:
        seen = self.seen()
        return plan(seen, due(seen, DUE, self.names, NOW))

    def writes(self, found: dict[str, Any]) -> Iterator[Write]:
        """Yield what a run does until its next look at everything, one write after another."""
        phase, new = found["phase"], found["successors"]
        if phase == "make":
            for name in found["make"]:
                yield lambda name=name: self._make(name)
            return
        if phase == "trust":
            for node, (name, key) in itertools.product(self.control_planes, new.items()):
                yield lambda node=node, name=name, key=key: self._receive(node, name, key)
            if "kubernetes" in new:
                yield lambda: self.cluster.update(separate=True)
        nodes = sorted(found["nodes"].get(phase, {}), key=lambda one: (one in self.control_planes) != (phase != "drop"))
        for node in nodes:
            yield from getattr(self, f"_{phase}")(node, new)
        if phase == "reissue" and "kubernetes" in new:
            for node, leaf in itertools.product(nodes, ("kubelet-client", "kubelet-server")):
                yield lambda node=node, leaf=leaf: self._sign_kubelet(node, leaf, new["kubernetes"])
        if phase == "trust" and "kubernetes" in new:
            yield lambda: self.cluster.update(cluster_info=list(self.nodes["cp-0"]["authorities"]["kubernetes"]["trusted"]))
            yield self._give
        if phase == "workloads":
            for number in range(len(self.pods)):
                yield lambda number=number: self.pods.__setitem__(number, list(self.given))
        if phase == "drop":
            for name in self.cluster["delegated"]:
                yield lambda name=name: self.cluster["delegated"].update({name: [found["stays"][name]]})
            yield lambda: self.cluster.update(separate=False)
            yield lambda: self.cluster.update(cluster_info=list(self.nodes["cp-0"]["authorities"]["kubernetes"]["trusted"]))

    def _make(self, name: str) -> None:
        maker = self.nodes[self.control_planes[0]]
        if not maker["authorities"][name]["next"]:
            key = f"{name}-new"
            self.certificates[key] = {"name": name, "begins": NOW, "ends": NOW + 3650 * DAY, "pem": key}
            maker["authorities"][name]["next"] = key
            maker["rotating"] = True

    def _receive(self, node: str, name: str, key: str) -> None:
        has = self.nodes[node]["authorities"][name]
        self.nodes[node]["rotating"] = True
        if has["signs"] != key:
            has["next"] = key

    def _give(self) -> None:
        self.given = list(self.nodes["cp-0"]["authorities"]["kubernetes"]["trusted"])

    def _ordered(self, node: str, name: str, keys: list[str]) -> list[str]:
        signs = self.nodes[node]["authorities"][name]["signs"]
        return sorted(set(keys), key=lambda key: (key != signs, -self.certificates[key]["begins"]))

    def _place(self, node: str, wanted: dict[str, list[str]]) -> Iterator[Write]:
        has = self.nodes[node]
        both = len(wanted.get("kubernetes", [])) > 1
        if both and node in self.control_planes:
            yield lambda: has.update(separate=True)
        for name in wanted:
            yield lambda name=name: self._put(node, name, wanted[name])
        if "kubernetes" in wanted:
            for file in has["kubeconfigs"]:
                yield lambda file=file: has["kubeconfigs"].update({file: list(wanted["kubernetes"])})
        if "kubernetes" in wanted and not both:
            yield lambda: has.update(chained=[])
            yield lambda: has.update(separate=False)
        yield has["restarts"].clear

    def _put(self, node: str, name: str, keys: list[str]) -> None:
        self.nodes[node]["authorities"][name]["trusted"] = list(keys)
        if node in self.control_planes and name in self.cluster["delegated"]:
            # API servers only add.
            self.cluster["delegated"][name] = sorted({*self.cluster["delegated"][name], *keys})
        self.nodes[node]["restarts"]["kubelet"] = "runs since before its authority changed"

    def _trust(self, node: str, new: dict[str, str]) -> Iterator[Write]:
        has = self.nodes[node]["authorities"]
        yield from self._place(node, {name: self._ordered(node, name, [*has[name]["trusted"], new[name]]) for name in new if name in has})

    def _reissue(self, node: str, new: dict[str, str]) -> Iterator[Write]:
        if node not in self.control_planes:
            return
        has = self.nodes[node]
        for name, key in new.items():
            yield lambda name=name, key=key: has["authorities"][name].update(signs=key)
            yield lambda name=name: self._put(node, name, self._ordered(node, name, has["authorities"][name]["trusted"]))
        for leaf, (_path, file) in LEAVES.items():
            if FILE_NAMES[file] in new:
                yield lambda leaf=leaf, file=file: self._sign(node, leaf, new[FILE_NAMES[file]])
        if "kubernetes" in new:
            for file in has["kubeconfigs"]:
                yield lambda file=file: has["kubeconfigs"].update({file: list(has["authorities"]["kubernetes"]["trusted"])})
        yield has["restarts"].clear

    def _sign(self, node: str, leaf: str, key: str) -> None:
        has = self.nodes[node]
        if leaf == "apiserver" and has["signed_by"][leaf] != key:
            # It takes a new certificate while it runs, and its chain is in one file with it.
            has["chained"] = [key] if len(has["authorities"]["kubernetes"]["trusted"]) > 1 else []
        if leaf.endswith(".conf") and has["signed_by"][leaf] != key:
            has["kubeconfigs"][leaf] = [key]
        has["signed_by"][leaf] = key

    def _sign_kubelet(self, node: str, leaf: str, key: str) -> None:
        signing = {self.nodes[one]["authorities"]["kubernetes"]["signs"] for one in self.control_planes}
        assert signing == {key}, "whichever controller-manager leads signs"
        self.nodes[node]["signed_by"][leaf] = key

    def _drop(self, node: str, new: dict[str, str]) -> Iterator[Write]:
        has = self.nodes[node]
        yield from self._place(node, {name: [key] for name, key in new.items() if name in has["authorities"]})

    def _tidy(self, node: str, _new: dict[str, str]) -> Iterator[Write]:
        yield lambda: [has.update(next="") for has in self.nodes[node]["authorities"].values()] and self.nodes[node].update(rotating=False)

    def nobody_is_cut_off(self, strict: bool) -> None:
        """:param strict: also ask what holds only when a phase is over: kubeadm gives kubeconfigs the first authority only at first."""
        servers = [self.nodes[node] for node in self.control_planes]
        for name, has in self.nodes.items():
            for server in servers:
                trusted = server["authorities"]["kubernetes"]["trusted"]
                clients = [leaf for leaf in has["signed_by"] if leaf == "kubelet-client" or leaf.endswith(".conf")]
                assert all(has["signed_by"][leaf] in trusted for leaf in clients), f"an API server refuses a client of {name}"
                assert has["signed_by"]["kubelet-server"] in trusted, f"an API server does not believe the kubelet of {name}"
                if strict:
                    for file, believed in has["kubeconfigs"].items():
                        assert self._believes(believed, server), f"{file} of {name} does not believe an API server"
        for one, other in itertools.product(servers, servers):
            for leaf in ("etcd-server", "etcd-peer", "apiserver-etcd-client"):
                assert one["signed_by"][leaf] in other["authorities"]["etcd"]["trusted"], "members of etcd do not believe each other"
            assert one["signed_by"]["front-proxy-client"] in self.cluster["delegated"]["front-proxy"] or not strict
        for pod, server in itertools.product(self.pods, servers):
            assert self._believes(pod, server), "a pod does not believe an API server"
        if strict:
            assert all(len(one["authorities"]["kubernetes"]["trusted"]) == 1 or one["separate"] for one in servers)

    @staticmethod
    def _believes(trusted: list[str], server: dict[str, Any]) -> bool:
        return server["signed_by"]["apiserver"] in trusted or ("kubernetes-old" in trusted and bool(server["chained"]))


@settings(deadline=None, max_examples=60)
@given(
    st.integers(1, 3),
    st.integers(0, 2),
    st.sets(st.sampled_from(NAMES), min_size=1),
    st.lists(st.integers(0, 40), max_size=12),
    st.lists(st.tuples(st.integers(0, 14), st.booleans()), max_size=3),
)
def test_a_rotation_that_is_killed_anywhere_ends_and_cuts_nobody_off(control_planes, workers, names, kills, joins) -> None:
    world = World(control_planes, workers, tuple(name for name in NAMES if name in names))
    left, phases = iter(kills), []
    for turn in range(40):
        for moment, control_plane in joins:
            if moment == turn:
                world.join(control_plane)
        found = world.plan()
        if not found["phase"]:
            break
        phases.append(found["phase"])
        kill = next(left, None)
        for write in itertools.islice(world.writes(found), kill):
            write()
            world.nobody_is_cut_off(strict=False)
        # What a machine that joined is to mend comes with the phase trust, and new authorities are made before that.
        if kill is None and found["phase"] not in ("make", "trust"):
            world.nobody_is_cut_off(strict=True)
    assert world.plan()["phase"] == "", f"it does not end: {world.plan()}"
    for node, has in world.nodes.items():
        for name, one in has["authorities"].items():
            wanted = f"{name}-new" if name in names else f"{name}-old"
            assert one["trusted"] == [wanted] and one["signs"] in ("", wanted) and not one["next"], node
    assert not any("-old" in str(has["signed_by"]) for has in world.nodes.values()) or len(names) < len(NAMES)
    if not joins and not kills:
        assert phases == [phase for phase in PHASES if phase != "workloads" or "kubernetes" in names]


def test_what_is_not_due_is_left_alone() -> None:
    world = World(3, 1, ())
    assert (world.plan()["phase"], world.plan()["begun"]) == ("", False)
    seen = world.seen()
    assert due(seen, Condition(365 * DAY, 3000 * DAY), ["etcd"], NOW) == {"etcd": "is 3600 days old"}
    assert due(seen, Condition(4000 * DAY), ["etcd"], NOW) == {"etcd": "ends in 3000 days"}


def _run(world: World, until: str) -> dict[str, Any]:
    while (found := world.plan())["phase"] != until:
        for write in world.writes(found):
            write()
    return found


def test_pods_that_read_only_the_old_one_stop_it_and_may_be_let_go() -> None:
    world = World(1, 0, ("kubernetes",))
    found = _run(world, "workloads")
    (finding,) = found["findings"]
    assert finding["code"] == "CA_ROTATION_WORKLOADS" and "2 pods of default/Deployment/a" in finding["message"]
    assert "flotilla_restart_workloads=default/Deployment/a" in finding["remedy"]
    assert plan(world.seen(), {}, ignored=["default/Deployment/a"])["phase"] == "drop"


def test_a_webhook_that_trusts_the_old_one_only_is_a_finding() -> None:
    world = World(1, 0, ("kubernetes",))
    found = _run(world, "workloads")
    world.cluster["webhooks"] = ["ValidatingWebhookConfiguration/policies"]
    found = world.plan()
    assert [one["code"] for one in found["findings"]] == ["CA_ROTATION_WORKLOADS", "CA_ROTATION_WEBHOOK"]


def test_an_authority_whose_key_is_lost_is_taken_back() -> None:
    """The control plane that made it died after the others had begun to trust it."""
    world = World(2, 1, ("etcd",))
    for node in world.control_planes:
        world.nodes[node]["authorities"]["etcd"]["trusted"] = ["etcd-old", "etcd-lost"]
    world.certificates["etcd-lost"] = {"name": "etcd", "begins": NOW, "ends": NOW + 3650 * DAY, "pem": ""}
    found = world.plan()
    assert (found["phase"], found["successors"]) == ("drop", {"etcd": "etcd-old"})


def test_what_did_not_restart_comes_first() -> None:
    world = World(1, 0, ("etcd",))
    found = _run(world, "drop")
    world.nodes["cp-0"]["restarts"]["etcd"] = "runs since before ca.crt changed"
    found = world.plan()
    assert found["phase"] == "trust" and found["nodes"]["trust"] == {"cp-0": ["etcd runs since before ca.crt changed"]}


def test_the_plan_is_told_in_lines() -> None:
    world = World(1, 1, ("kubernetes", "etcd"))
    for name in ("kubernetes", "etcd"):
        world.certificates[f"{name}-old"]["begins"], world.certificates[f"{name}-old"]["ends"] = 0.0, 1.0
    seen = world.seen()
    found = authority_plan(seen.nodes, seen.control_planes, seen.cluster)
    assert found["make"] == ["etcd", "kubernetes"] and found["phase"] == "make"
    assert "make: make the new authority" in found["lines"] and any(line.startswith("  etcd: ended ") for line in found["lines"])
    found = authority_plan(seen.nodes, seen.control_planes, seen.cluster, names=["front-proxy"])
    assert found["lines"][-1] == "nothing is to be done"
