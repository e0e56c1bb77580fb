# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sets of objects: what is part of one, in which order they come and go, and when they do their work."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import apply_set
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.apply_set import DEFINITION, Key, key_of
from hypothesis import given
from hypothesis import strategies as st

EXPECTED_ID = "applyset-MUbuvjp-UwelJdLU2OfHZP2hhk9E_EV9_jaCAH3DnBc-v1"
KINDS = (
    ("v1", "Namespace"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("apps/v1", "Deployment"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("apiregistration.k8s.io/v1", "APIService"),
    ("example.com/v1", "Thing"),
    ("example.com/v1", "Other"),
)


def definition(kind: str) -> dict[str, Any]:
    spec = {"group": "example.com", "names": {"kind": kind}}
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": DEFINITION, "metadata": {"name": f"{kind.lower()}s.example.com"}, "spec": spec}


@st.composite
def sets(draw: st.DrawFn) -> list[dict[str, Any]]:
    chosen = draw(st.lists(st.sampled_from(KINDS), max_size=12))
    objects = [{"apiVersion": version, "kind": kind, "metadata": {"name": f"n{number}"}} for number, (version, kind) in enumerate(chosen)]
    objects += [definition(kind) for kind in draw(st.sets(st.sampled_from(["Thing", "Other"])))]
    return draw(st.permutations(objects))


@given(sets())
def test_everything_is_applied_once_and_after_what_it_needs(objects: list[dict[str, Any]]) -> None:
    stages = apply_set.in_stages(objects)
    assert all(stages)
    order = [key_of(item) for stage in stages for item in stage]
    assert sorted(order) == sorted(key_of(item) for item in objects)
    defined = {item["spec"]["names"]["kind"] for item in objects if item["kind"] == DEFINITION}
    stage_of = {key_of(item): number for number, stage in enumerate(stages) for item in stage}
    for first, second in itertools.permutations(order, 2):
        if first.kind in ("Namespace", DEFINITION) and second.kind not in ("Namespace", DEFINITION):
            assert stage_of[first] < stage_of[second]
        if second.kind in defined and first.kind in ("Deployment", "ValidatingWebhookConfiguration"):
            assert stage_of[first] < stage_of[second], "what admits them is up"
        if first.kind in apply_set.ASKED and second.kind in ("Deployment", "Service"):
            assert order.index(second) < order.index(first), "nobody is asked who is not there yet"


@given(sets())
def test_everything_is_removed_once_and_before_what_it_needs(objects: list[dict[str, Any]]) -> None:
    definitions = [item for item in objects if item["kind"] == DEFINITION]
    stages = apply_set.in_removal_order([key_of(item) for item in objects], definitions)
    assert all(stages)
    stage_of = {key: number for number, stage in enumerate(stages) for key in stage}
    assert len(stage_of) == sum(map(len, stages)) == len(objects)
    defined = {item["spec"]["names"]["kind"] for item in definitions}
    for first, second in itertools.permutations(stage_of, 2):
        if first.kind in defined and first.group == "example.com" and second.kind not in defined:
            assert stage_of[first] < stage_of[second]
        if first.kind in apply_set.ASKED and second.kind in ("Deployment", "Service", DEFINITION, "Namespace"):
            assert stage_of[first] < stage_of[second], "nobody is asked who is gone"
        if second.kind == "Namespace" and first.kind != "Namespace":
            assert stage_of[first] < stage_of[second]


def test_the_id_is_that_of_kubernetes_own_specification() -> None:
    # sha256("name.namespace.ConfigMap."), by https://kubernetes.io/docs/reference/labels-annotations-taints/#applyset-kubernetes-io-id
    assert apply_set.set_id("flotilla-addon-metallb") == EXPECTED_ID
    made = apply_set.parent(
        "flotilla-addon-metallb", {"a": "b"}, {"version": "1"}, ["Deployment.apps", "Secret", "Secret"], ["x", "kube-system", ""]
    )
    assert made["metadata"]["labels"] == {"a": "b", "applyset.kubernetes.io/id": EXPECTED_ID}
    assert made["metadata"]["annotations"] == {
        "applyset.kubernetes.io/tooling": "flotilla.kubernetes/v1",
        "applyset.kubernetes.io/contains-group-kinds": "Deployment.apps,Secret",
        "applyset.kubernetes.io/additional-namespaces": "x",
    }
    assert apply_set.kinds_of(made) == {("apps", "Deployment"), ("", "Secret")}


def test_lists_are_opened_and_what_is_no_object_is_named() -> None:
    one = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "x"}}
    assert apply_set.checked([{"apiVersion": "v1", "kind": "List", "items": [one]}], "It") == [one]
    for wrong in ("text", {"kind": "A"}, {"apiVersion": "v1", "kind": "A", "metadata": {}}):
        with pytest.raises(FlotillaError, match="no object of Kubernetes"):
            apply_set.checked([wrong], "It")
    with pytest.raises(FlotillaError, match="ConfigMap/x/a twice"):
        apply_set.checked([one, dict(one)], "It")


def test_what_the_server_writes_is_no_difference() -> None:
    live = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a", "resourceVersion": "1", "generation": 1}, "data": {"k": "v"}}
    tried = {**live, "metadata": {**live["metadata"], "resourceVersion": "2", "generation": 2}, "status": {"a": 1}}
    assert not apply_set.differs(live, tried)
    assert apply_set.differs(live, {**tried, "data": {"k": "w"}})
    assert apply_set.visible(live) == {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}, "data": {"k": apply_set.MASK}}
    assert apply_set.visible(None) == {}


def deployment(updated: int, available: int, replicas: int = 2) -> dict[str, int]:
    return {"observedGeneration": 3, "replicas": replicas, "updatedReplicas": updated, "availableReplicas": available}


def daemon_set(updated: int, available: int) -> dict[str, int]:
    return {"observedGeneration": 3, "desiredNumberScheduled": 3, "updatedNumberScheduled": updated, "numberAvailable": available}


@pytest.mark.parametrize(
    ("kind", "status", "why"),
    [
        ("ConfigMap", {}, ""),
        ("Deployment", {}, "its controller has not seen it yet"),
        ("Deployment", {**deployment(2, 2), "observedGeneration": 2}, "its controller has not seen it yet"),
        ("Deployment", deployment(1, 2), "1 of 2 pods are up, 1 old ones are to go"),
        ("Deployment", deployment(2, 1), "1 of 2 pods are up"),
        ("Deployment", deployment(2, 2, 3), "2 of 2 pods are up, 1 old ones are to go"),
        ("Deployment", deployment(2, 2), ""),
        ("DaemonSet", daemon_set(2, 3), "2 of 3 pods are up"),
        ("DaemonSet", daemon_set(3, 3), ""),
        ("StatefulSet", {"observedGeneration": 3, "updatedReplicas": 2, "availableReplicas": 0}, "0 of 2 pods are up"),
        ("StatefulSet", {"observedGeneration": 3, "updatedReplicas": 2, "availableReplicas": 2}, ""),
        (DEFINITION, {}, "it is not Established"),
        ("APIService", {"conditions": [{"type": "Available", "status": "False", "message": "no endpoints"}]}, "no endpoints"),
        ("APIService", {"conditions": [{"type": "Available", "status": "True"}]}, ""),
        ("Job", {}, "it has not ended yet"),
        ("Job", {"conditions": [{"type": "Complete", "status": "True"}]}, ""),
    ],
)
def test_why_an_object_does_not_do_its_work_yet(kind: str, status: dict[str, Any], why: str) -> None:
    item = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "a", "generation": 3}, "spec": {"replicas": 2}, "status": status}
    assert apply_set.unready(item) == why


def test_a_job_that_failed_is_an_error() -> None:
    status = {"conditions": [{"type": "Failed", "status": "True", "message": "deadline"}]}
    with pytest.raises(FlotillaError, match="deadline"):
        apply_set.unready({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}, "status": status})


def test_a_key_is_shown_as_people_name_it() -> None:
    assert str(Key("apps", "Deployment", "shop", "web")) == "Deployment/shop/web"
    assert Key("apps", "Deployment", "shop", "web").group_kind == "Deployment.apps" and Key("", "Node", "", "a").group_kind == "Node"
