# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the filters that choose parts of a bundle and members of a load balancer."""

from __future__ import annotations

from ansible_collections.flotilla.kubernetes.plugins.filter.bundle_destinations import bundle_destinations
from ansible_collections.flotilla.kubernetes.plugins.filter.bundle_images import bundle_images
from ansible_collections.flotilla.kubernetes.plugins.filter.load_balancer_members import load_balancer_members


def test_files_go_below_the_folder() -> None:
    file = {"path": "bin/kubectl", "sha256": "aa", "size": 1, "mode": "0755", "kind": "bin", "name": "kubectl"}
    assert bundle_destinations([file], "/usr/local/bin") == [
        {"path": "bin/kubectl", "dest": "/usr/local/bin/kubectl", "sha256": "aa", "mode": "0755"}
    ]


def test_a_worker_gets_no_image_of_a_control_plane() -> None:
    pause = {"name": "pause:1", "path": "images/pause.tar", "sha256": "aa", "size": 1, "roles": ["control_plane", "worker"]}
    server = {**pause, "name": "server:1", "roles": ["control_plane"]}
    assert [image["name"] for image in bundle_images([pause, server], "worker")] == ["pause:1"]
    assert bundle_images([server], "control_plane") == [{"name": "server:1", "path": "images/pause.tar", "sha256": "aa"}]


def test_only_control_planes_are_members() -> None:
    plane = {"id": "a", "role": "control_plane", "addresses": {"private": "192.0.2.1", "public": None}}
    members = load_balancer_members([plane, {**plane, "id": "b", "role": "worker"}])
    assert members == [{"id": "a", "address": "192.0.2.1", "state": "active"}]
