# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The way from one version to another, judged by the skew policy that each moment of it must keep."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.versions import Version, hops, of_image
from hypothesis import given
from hypothesis import strategies as st

AVAILABLE = ["1.34.4", "1.35.1", "1.35.4", "1.36.3"]


def written(path) -> str:
    return " ".join(f"{hop.version}{'+' if hop.workers else ''}" for hop in path)


@pytest.mark.parametrize(
    ("live", "target", "workers", "path"),
    [
        ("1.36.3", "1.36.3", ["1.36.3"], ""),
        ("1.36.3", "1.36.3", [], ""),
        ("1.36.3", "1.36.3", ["1.36.3", "1.34.4"], "1.36.3+"),
        ("1.36.1", "1.36.3", ["1.36.1"], "1.36.3+"),
        ("1.35.4", "1.36.3", ["1.35.4"], "1.36.3+"),
        ("1.34.4", "1.36.3", ["1.34.4"], "1.35.4 1.36.3+"),
        ("1.34.4", "1.36.3", ["1.32.0"], "1.35.4+ 1.36.3+"),
        ("1.34.4", "1.36.3", ["1.31.0"], "1.34.4+ 1.35.4 1.36.3+"),
        ("1.34.2", "1.35.4", ["1.31.0"], "1.34.4+ 1.35.4+"),
        ("1.36.1", "1.36.3", ["1.31.0"], "1.36.3+"),
    ],
)
def test_the_way(live, target, workers, path) -> None:
    assert written(hops(live, target, AVAILABLE, workers)) == path


def test_a_version_need_not_be_available_to_be_the_target() -> None:
    assert written(hops("1.36.3", "1.37.0", AVAILABLE, ["1.36.3"])) == "1.37.0+"


@pytest.mark.parametrize(
    ("live", "target", "code", "says"),
    [
        ("1.36.3", "1.35.4", "UPGRADE_DOWNGRADE", "1.36.3, which is newer than 1.35.4"),
        ("1.36.3", "1.36.1", "UPGRADE_DOWNGRADE", "1.36.3"),
        ("1.33.0", "1.39.0", "UPGRADE_NO_PATH", "1.37, 1.38"),
        ("1.36.3", "2.0.0", "UPGRADE_NO_PATH", "2.0.0"),
    ],
)
def test_no_way(live, target, code, says) -> None:
    with pytest.raises(FlotillaError) as caught:
        hops(live, target, AVAILABLE)
    assert caught.value.code == code and says in str(caught.value)


@pytest.mark.parametrize("text", ["1.36", "latest", "", "1.36.x"])
def test_what_is_no_version(text) -> None:
    with pytest.raises(FlotillaError, match="is no version"):
        Version.parse(text)


@pytest.mark.parametrize(
    ("image", "version"),
    [
        ("registry.k8s.io/kube-proxy:v1.36.3", "1.36.3"),
        ("registry.k8s.io:5000/kube-proxy:v1.36.3@sha256:0a", "1.36.3"),
        ("registry.k8s.io/etcd:3.6.8-0", "3.6.8"),
        ("registry.k8s.io:5000/kube-proxy", ""),
        ("kube-proxy@sha256:0a", ""),
    ],
)
def test_the_version_of_an_image(image, version) -> None:
    assert of_image(image) == version


minors = st.integers(20, 40)


@given(minors, st.integers(0, 8), st.lists(st.integers(0, 3), max_size=5), st.sets(st.tuples(minors, st.integers(0, 9)), min_size=40))
def test_every_moment_of_a_way_keeps_the_skew_policy(minor, up, behind, extra) -> None:
    available = [f"1.{number}.{patch}" for number, patch in {*extra, *((number, 0) for number in range(20, 50))}]
    live, target = f"1.{minor}.1", f"1.{minor + up}.9"
    workers = [f"1.{minor - back}.0" for back in behind]
    path = hops(live, target, available, workers)
    control_plane = Version.parse(live)
    oldest = min(map(Version.parse, workers), default=control_plane)
    waited = 0
    for hop in path:
        version = Version.parse(hop.version)
        assert hop.version in {*available, target, live}
        assert version >= control_plane and version.minors_after(control_plane) <= 1, "one minor at a time, never back"
        assert version.minors_after(oldest) <= 3 or (hop.workers and version.minor == control_plane.minor), "kubelets are still served"
        assert version == max(Version.parse(one) for one in [*available, hop.version] if Version.parse(one).minor == version.minor) or (
            hop.version == target
        ), "the newest patch"
        control_plane = version
        waited = 0 if hop.workers else waited + 1
        oldest = version if hop.workers else oldest
    assert control_plane == Version.parse(target) and (not workers or oldest == control_plane), "everything arrives"
    # No worker is drained more often than every third minor asks for, but for those that begin at the limit.
    assert sum(hop.workers for hop in path) <= (up + max([0, *behind]) + 2) // 3 + 1
