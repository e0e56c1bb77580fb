# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wrong inputs of people: each gives one clear error with its remedy, and nothing has changed on the host.

Each case runs the whole playbook `cluster_apply`, as a person would.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import outside

NAME = "test-wrong"
NETWORK = {"network_cidr": "172.30.249.0/24"}


@pytest.fixture
def foundation(tmp_path: Path) -> Path:
    return tmp_path / "foundation"


def world() -> tuple[str, ...]:
    """Return what a run could have changed: containers, volumes, networks, packet filters, kernel parameters."""
    return (
        outside.host("podman", "ps", "--all", "--quiet", "--no-trunc"),
        outside.host("podman", "volume", "ls", "--quiet"),
        outside.host("podman", "network", "ls", "--quiet"),
        outside.host("nft", "list", "tables"),
        json.dumps(outside.settings(), sort_keys=True),
    )


def refused(foundation: Path, *texts: str, environment: dict[str, str] | None = None, options: tuple[str, ...] = ()) -> None:
    """Expect that `cluster_apply` fails with every one of ``texts`` in its output and changes nothing."""
    before = world()
    run = outside.playbook("cluster_apply", foundation, *options, environment=environment)
    assert run.status != 0, run.output
    for text in texts:
        assert text in run.output, f"{text!r} is not in:\n{run.output[-5000:]}"
    assert "Traceback" not in run.output, run.output
    assert world() == before


DEFINITIONS: dict[str, tuple[dict[str, object], tuple[str, ...]]] = {
    "even_count": ({"control_plane": {"count": 2}}, ("control_plane.count", "1, 3, 5")),
    "unknown_key": ({"control_plane": {"cout": 3}}, ("control_plane.cout", "count")),
    "overlapping_cidrs": ({"network": {"pod_cidrs": ["10.96.0.0/16"]}}, ("network.", "10.96.0.0/16", "overlap")),
    "host_bits": ({"network": {"pod_cidrs": ["10.244.0.1/16"]}}, ("network.pod_cidrs[0]", "10.244.0.0/16")),
    "version_as_number": ({"kubernetes_version": 1.36}, ("kubernetes_version", "1.36")),
    "unknown_version": ({"kubernetes_version": "1.2.3"}, ("1.2.3", "1.36.3")),
    "long_name": ({"name": "x" * 30}, ("name", "24")),
    "provider_of_later": ({"api_endpoint": {"provider": "avi"}}, ("api_endpoint.provider", "avi", "kube_vip")),
}


@pytest.mark.parametrize("case", DEFINITIONS)
def test_a_wrong_definition(foundation: Path, case: str) -> None:
    changes, texts = DEFINITIONS[case]
    path = outside.write_definition(foundation, str(changes.get("name", NAME)), **{"local": NETWORK, **changes})
    refused(foundation, *texts, *(() if case == "unknown_version" else (str(path),)))


def test_a_wrong_definition_names_the_line(foundation: Path) -> None:
    path = outside.write_definition(foundation, NAME, local=NETWORK, control_plane={"cout": 3})
    line = 1 + path.read_text(encoding="utf-8").splitlines().index("  cout: 3")
    refused(foundation, f"{path}:{line}")


def test_a_limit(foundation: Path) -> None:
    outside.write_definition(foundation, NAME, local=NETWORK)
    refused(foundation, "--limit", options=("--limit", f"{NAME}.cluster"))


def test_a_network_that_the_host_uses(foundation: Path) -> None:
    routes = json.loads(outside.host("ip", "-json", "-4", "route"))
    taken = next(route["dst"] for route in routes if "/" in route["dst"])
    outside.write_definition(foundation, NAME, local={"network_cidr": taken})
    refused(foundation, taken)


@pytest.fixture(scope="module")
def bundle() -> None:
    """Have the bundle of the demo cluster: on a new machine this is the first test that needs it."""
    built = outside.playbook("bundle_build", outside.ROOT / "inventories/local/clusters/demo.yml", timeout=3600)
    assert built.status == 0, built.output[-5000:]


@contextmanager
def copied_cache(folder: Path) -> Iterator[Path]:
    """Give a cache whose bundle is a copy: as hard links, so that one file can be broken without the others."""
    cache, real = folder / "cache", Path(os.environ.get("FLOTILLA_CACHE") or Path.home() / ".cache/flotilla")
    (cache / "bundles").mkdir(parents=True)
    shutil.copytree(real / "bundles/1.36.3", cache / "bundles/1.36.3", copy_function=os.link)
    yield cache
    shutil.rmtree(cache)


@pytest.mark.parametrize(
    ("file", "breaks"),
    [
        pytest.param("bin/amd64/kubelet", lambda path: path.unlink(), id="missing_file"),
        pytest.param("images/amd64/kube-apiserver.tar", lambda path: _rewrite(path, lambda data: data[:-4096]), id="truncated_image"),
        pytest.param("images/amd64/etcd.tar", lambda path: _rewrite(path, _flip_a_bit), id="corrupted_image"),
    ],
)
@pytest.mark.usefixtures("bundle")
def test_a_broken_bundle(foundation: Path, tmp_path: Path, file: str, breaks: Callable[[Path], None]) -> None:
    outside.write_definition(foundation, NAME, local=NETWORK)
    with copied_cache(tmp_path) as cache:
        breaks(cache / "bundles/1.36.3" / file)
        refused(foundation, file, "bundle_build", environment={"FLOTILLA_CACHE": str(cache)})


def test_no_disk_space(foundation: Path, tmp_path: Path) -> None:
    outside.write_definition(foundation, NAME, local=NETWORK)
    cache = tmp_path / "small"
    cache.mkdir()
    outside.host("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", str(cache))
    try:
        refused(foundation, "DISK_SPACE", str(cache), environment={"FLOTILLA_CACHE": str(cache)})
    finally:
        outside.host("umount", str(cache))


@pytest.mark.usefixtures("bundle")
def test_the_control_that_a_right_definition_passes(foundation: Path) -> None:
    """Without this, every test above could pass for a reason that has nothing to do with its mistake."""
    outside.write_definition(foundation, NAME, local=NETWORK)
    before = world()
    run = outside.playbook("cluster_apply", foundation, "--check")
    assert run.status == 0, run.output[-5000:]
    assert world() == before


def _rewrite(path: Path, change: Callable[[bytes], bytes]) -> None:
    data = path.read_bytes()
    path.unlink()
    path.write_bytes(change(data))


def _flip_a_bit(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def test_an_inventory_without_a_definition(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "There is no cluster definition", str(tmp_path / "nowhere"))
