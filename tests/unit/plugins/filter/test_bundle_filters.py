# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filters that choose parts of a bundle and members of a load balancer."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.filter.bundle_destinations import bundle_destinations
from ansible_collections.flotilla.kubernetes.plugins.filter.bundle_images import bundle_images
from ansible_collections.flotilla.kubernetes.plugins.filter.load_balancer_members import load_balancer_members


def test_files_go_below_the_folder() -> None:
    file = {"path": "bin/kubectl", "sha256": "aa", "size": 1, "mode": "0755", "kind": "bin", "name": "kubectl", "architecture": "amd64"}
    assert bundle_destinations([file, {**file, "architecture": "arm64", "sha256": "bb"}], "/usr/local/bin", "amd64") == [
        {"path": "bin/kubectl", "dest": "/usr/local/bin/kubectl", "sha256": "aa", "mode": "0755"}
    ]


def test_a_worker_gets_no_image_of_a_control_plane() -> None:
    pause = {
        "name": "pause:1",
        "path": "images/pause.tar",
        "sha256": "aa",
        "size": 1,
        "roles": ["control_plane", "worker"],
        "architecture": "amd64",
    }
    server = {**pause, "name": "server:1", "roles": ["control_plane"]}
    assert [image["name"] for image in bundle_images([pause, server, {**pause, "architecture": "arm64"}], "worker", "amd64")] == ["pause:1"]
    extra = {**pause, "name": "extra:1", "addons": ["metallb", "other"]}
    names = [image["name"] for image in bundle_images([pause, extra], "worker", "amd64")]
    assert names == ["pause:1"], "a cluster without add-ons has no images of them"
    assert [image["name"] for image in bundle_images([pause, extra], "worker", "amd64", ["metallb"])] == ["pause:1", "extra:1"]
    assert bundle_images([server], "control_plane", "amd64") == [{"name": "server:1", "path": "images/pause.tar", "sha256": "aa"}]


def test_a_machine_that_the_bundle_is_not_for_is_an_error() -> None:
    file = {"path": "bin/kubectl", "sha256": "aa", "mode": "0755", "name": "kubectl", "architecture": "amd64"}
    with pytest.raises(AnsibleFilterError, match=r"machine is arm64, but the bundle is for amd64.*\[amd64, arm64\]"):
        bundle_destinations([file], "/usr/local/bin", "arm64")
    assert bundle_destinations([{**file, "architecture": None}], "/x", "arm64"), "what is for all is for it too"


def test_only_control_planes_are_members() -> None:
    plane = {"id": "a", "role": "control_plane", "addresses": {"private": "192.0.2.1", "public": None}}
    members = load_balancer_members([plane, {**plane, "id": "b", "role": "worker"}])
    assert members == [{"id": "a", "address": "192.0.2.1", "state": "active"}]
    assert load_balancer_members([plane, {**plane, "id": "b"}], ["b"])[1]["state"] == "drained"
    assert [member["state"] for member in load_balancer_members([plane, {**plane, "id": "b"}], ["b"], waiting=True)] == [
        "waiting",
        "drained",
    ]
