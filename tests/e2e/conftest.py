# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One real cluster for all end-to-end tests: three control planes, two workers, and nothing may leave its network."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "support"), str(Path(__file__).resolve().parent)]
pytest.register_assert_rewrite("on_cloud")

import leaks
import outside
import watch_host

NAME = "test-e2e"
VERSION = "1.36.3"


@dataclass(frozen=True)
class Cluster:
    """The cluster under test and the ways to reach it."""

    foundation: Path
    name: str
    first_run: outside.Run
    settings_before: dict[str, str]
    # What the host showed during the first run, the facts that Ansible kept of it, and a file with the secret inputs.
    watched: watch_host.Watched
    facts: Path
    vault: Path

    @property
    def kubeconfig(self) -> Path:
        return Path.home() / f".kube/flotilla/{self.name}.conf"

    @property
    def bundle(self) -> Path:
        return Path(os.environ.get("FLOTILLA_CACHE") or Path.home() / ".cache/flotilla") / "bundles" / VERSION

    def play(self, name: str, *options: str, **more: Any) -> outside.Run:
        return outside.playbook(name, self.foundation, "-e", f"@{self.vault}", *options, **more)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        done = subprocess.run(
            [str(self.bundle / "bin/amd64/kubectl"), f"--kubeconfig={self.kubeconfig}", "--request-timeout=30s", *arguments],
            input=stdin, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert not check or done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def get(self, *arguments: str) -> list[dict[str, Any]]:
        return json.loads(self.kubectl("get", *arguments, "--output=json"))["items"]

    def egress_packets(self) -> int:
        """Return how many packets wanted to leave the network, by the kernel's own counter."""
        table = f"flotilla_{self.name.replace('-', '_')}"
        listed = json.loads(outside.host("nft", "--json", "list", "counters", "table", "inet", table))["nftables"]
        return sum(entry["counter"]["packets"] for entry in listed if "counter" in entry)


def wait_for(what: str, condition: Any, timeout: float = 300) -> Any:
    """Return the first true answer of ``condition``; the limit in seconds only ends what hangs."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {timeout:g} s"
        time.sleep(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--all-cases", action="store_true", help="run every rotating case, not just the one whose turn it is")
    parser.addoption("--long", action="store_true", help="run the tests that take long and are a make target of their own, and no others")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "rotating: one of these runs at a time, chosen by the commit")
    config.addinivalue_line("markers", "long: runs with --long only")
    config.addinivalue_line("markers", "full: runs with --all-cases only")
    config.addinivalue_line("markers", "last: ends the cluster that the others share")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the long tests or the others, and of these the one rotating case whose turn it is: the next commit takes the next one."""
    # All that share the cluster, then the one that deletes it, then those that make clusters of their own, each to its end.
    sharing = {item.path for item in items if "cluster" in item.fixturenames}
    own = [path for path in dict.fromkeys(item.path for item in items) if path not in sharing]
    items.sort(
        key=lambda item: (own.index(item.path) if item.path in own else -1, item.get_closest_marker("last") is not None),
    )
    unwanted = [item for item in items if bool(item.get_closest_marker("long")) != config.getoption("--long")]
    if not config.getoption("--all-cases"):
        unwanted += [item for item in items if item.get_closest_marker("full") and item not in unwanted]
    config.hook.pytest_deselected(items=unwanted)
    items[:] = [item for item in items if item not in unwanted]
    rotating = [item for item in items if item.get_closest_marker("rotating")]
    if config.getoption("--all-cases") or not rotating:
        return
    counted = subprocess.run(["git", "rev-list", "--count", "HEAD"], cwd=outside.ROOT, capture_output=True, text=True, check=True)
    others = [item for index, item in enumerate(rotating) if index != int(counted.stdout) % len(rotating)]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in others]


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    foundation = tmp_path_factory.mktemp("e2e")
    outside.write_definition(
        foundation,
        NAME,
        kubernetes_version=VERSION,
        control_plane={"count": 3},
        pools=[{"name": "workers", "count": 2, "labels": {"tier": "web"}}],
        local={"network_cidr": "172.30.240.0/24", "egress": "deny"},
        site=leaks.SITE,
    )
    # Not in the foundation, where Ansible would take them for inventory.
    inputs = tmp_path_factory.mktemp("inputs")
    vault, facts = leaks.write_private(inputs / "vault.json", json.dumps(leaks.PLANTED)), inputs / "facts"
    leftovers = outside.left_of(NAME)
    if any(leftovers.values()):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={NAME}")
    before = outside.settings()
    with watch_host.watching(outside.SUDO) as watched:
        first = outside.playbook("cluster_apply", foundation, "-e", f"@{vault}", "-vvv", environment=outside.fact_cache(facts))
    made = Cluster(foundation, NAME, first, before, watched, facts, vault)
    yield made
    if not os.environ.get("FLOTILLA_KEEP"):
        made.play("cluster_delete", "-e", f"flotilla_confirm={NAME}")
