# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The playbook fleet_status over simulated clusters: real SSH and the real modules, with API servers that are not."""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import collector
import fleet_nodes
import outside

pytestmark = pytest.mark.skipif(bool(fleet_nodes.missing()), reason=fleet_nodes.missing())

COUNT = 6
ENVIRONMENT = {"ANSIBLE_TIMEOUT": "4"}


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[fleet_nodes.Fleet]:
    """c001 runs an older version. The first control plane of c002 has no API server, that of c003 no SSH, those of c004 neither."""
    made = fleet_nodes.Fleet(tmp_path_factory.mktemp("fleet"), COUNT, versions={1: "1.34.4"})
    made.silent |= {("c002", 0)}
    made.gone |= {("c003", 0), *(("c004", index) for index in range(3))}
    with made:
        yield made


def run(
    fleet: fleet_nodes.Fleet, report: Path, *options: str, sources: tuple[str, ...] = ("lab", "shop")
) -> tuple[outside.Run, dict[str, Any]]:
    inventory = [word for source in sources for word in ("-i", str(fleet.folder / source))]
    environment = {**ENVIRONMENT, "FLOTILLA_CACHE": str(fleet.folder / "cache")}
    given = ["-e", f"flotilla_report={report}", *options]
    done = outside.command("ansible-playbook", *inventory, "flotilla.kubernetes.fleet_status", *given, environment=environment)
    assert report.exists(), done.output
    return done, json.loads(report.read_text(encoding="utf-8"))


def test_every_cluster_is_in_the_status_and_one_that_does_not_answer_has_the_reason(fleet: fleet_nodes.Fleet, tmp_path: Path) -> None:
    done, status = run(fleet, tmp_path / "status.json")
    clusters = {one["name"]: one for one in status["clusters"]}
    assert {name: one["state"] for name, one in clusters.items()} == {
        "c000": "healthy",
        "c001": "warning",  # upstream stopped
        "c002": "critical",
        "c003": "critical",
        "c004": "unknown",
        "c005": "healthy",
    }, done.output
    assert clusters["c000"]["asked"] == "c000-control-plane-0" and clusters["c000"]["items"] == []
    assert clusters["c000"]["components"] == {
        **{name: ["1.36.3"] for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubelet")},
        "etcd": ["3.6.8"],
    }
    assert len(clusters["c000"]["nodes"]) == 5 and clusters["c000"]["certificate"]["name"] == "apiserver"
    assert [one["code"] for one in clusters["c001"]["items"]] == ["VERSION_UNSUPPORTED", "DRIFT_VERSION"]
    for name, code in (("c002", "API_SERVER_NOT_READY"), ("c003", "API_SERVER_NOT_READY")):
        assert clusters[name]["asked"] == f"{name}-control-plane-1", "another one is asked"
        assert code in {one["code"] for one in clusters[name]["items"]}
    (silent,) = clusters["c004"]["items"]
    assert all(f"c004-control-plane-{index}: " in silent["message"] for index in range(3)), silent
    assert done.status != 0 and "3 of 6 clusters need a hand: c003, c002, c004." in done.output
    suites = {suite.get("name"): suite for suite in ElementTree.parse(tmp_path / "status.xml").getroot()}
    assert set(suites) == {"lab", "shop"}
    page = (tmp_path / "status.html").read_text(encoding="utf-8")
    assert all(name in page for name in fleet.names)


def test_a_healthy_foundation_is_green_and_check_mode_sees_the_same(fleet: fleet_nodes.Fleet, tmp_path: Path) -> None:
    done, status = run(fleet, tmp_path / "status.json", "-e", "flotilla_fail_on=critical", "--check", sources=("shop/clusters/c000.yml",))
    assert done.status == 0 and [one["state"] for one in status["clusters"]] == ["healthy"], done.output
    assert done.changed == 0
    done, status = run(fleet, tmp_path / "warned.json", "-e", "flotilla_fail_on=warning", sources=("lab/clusters/c001.yml",))
    assert done.status != 0 and [one["state"] for one in status["clusters"]] == ["warning"], done.output
    done, _status = run(fleet, tmp_path / "never.json", "-e", "flotilla_fail_on=never", sources=("shop/clusters/c004.yml",))
    assert done.status == 0, done.output


def test_a_collector_that_is_named_gets_the_numbers_of_the_fleet(fleet: fleet_nodes.Fleet, tmp_path: Path) -> None:
    given = ("-e", "flotilla_fail_on=never")
    with collector.listening() as there:
        run(fleet, tmp_path / "nobody.json", *given, sources=("lab/clusters/c001.yml",))
        assert there.requests == 0, "nothing is sent unless somebody names a collector"
        named = ("-e", f"flotilla_telemetry_endpoint={there.url}")
        _done, status = run(fleet, tmp_path / "status.json", *given, *named, sources=("lab/clusters/c001.yml",))
        seen = {name: (value, about) for name, value, about in there.points}
        value, about = seen["flotilla.cluster.seen"]
        assert (about["k8s.cluster.name"], about["state"], about["version"]) == ("c001", "warning", "1.34.4")
        assert seen["flotilla.cluster.nodes"][0] == len(status["clusters"][0]["nodes"]) == 5 and value > 0
        there.status = 503
        done, _status = run(fleet, tmp_path / "refused.json", *given, *named, sources=("lab/clusters/c001.yml",))
    assert done.status == 0 and f"The collector {there.url} did not take" in " ".join(done.output.split()), done.output
    wrong = ("-e", "flotilla_telemetry_endpoint=collector:4318")
    done, _status = run(fleet, tmp_path / "wrong.json", *given, *wrong, sources=("lab/clusters/c001.yml",))
    said = "flotilla_telemetry_endpoint (or FLOTILLA_TELEMETRY_ENDPOINT) is no URL"
    assert done.status == 0 and said in " ".join(done.output.split()), done.output


def test_a_machine_that_is_silent_ends_in_time_and_holds_up_nobody(fleet: fleet_nodes.Fleet, tmp_path: Path) -> None:
    """It takes the connection and says nothing, as a machine does whose disk is gone."""
    with socket.create_server(("0.0.0.0", 0)) as mute:
        path = tmp_path / "mute/clusters/c000.yml"
        path.parent.mkdir(parents=True)
        definition = yaml.safe_load((fleet.folder / "shop/clusters/c000.yml").read_text())
        for machine in definition["existing"]["machines"]:
            machine.update(ssh_port=mute.getsockname()[1])
        definition["name"] = "mute"
        path.write_text(yaml.safe_dump(definition, sort_keys=False))
        done, status = run(fleet, tmp_path / "status.json", "-i", str(tmp_path / "mute"), sources=("lab/clusters/c005.yml",))
    assert {one["name"]: one["state"] for one in status["clusters"]} == {"c005": "healthy", "mute": "unknown"}, done.output
    # Three control planes with four seconds each, and what Ansible itself takes on a machine that does other things, too.
    assert done.seconds < 60
