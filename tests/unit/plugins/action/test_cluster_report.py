# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of what people read at the end of a run."""

from __future__ import annotations

from ansible_collections.flotilla.kubernetes.plugins.action.cluster_report import (
    backup_line,
    foundation_lines,
    next_commands,
    report,
)
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._backups import backup_findings
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._table import table

CLUSTER = {"name": "demo", "kubernetes_version": "1.36.3", "file": "/somewhere/clusters/demo.yml"}
ENDPOINT = {"host": "192.0.2.3", "port": 6443}


def node(name: str, *roles: str, ready: bool = True) -> dict[str, object]:
    return {
        "name": name,
        "roles": list(roles),
        "ready": ready,
        "version": "1.36.3",
        "address": "192.0.2.9",
        "runtime": "containerd://2.2.9",
        "schedulable": True,
    }


def test_a_healthy_cluster_is_one_table_with_control_planes_first() -> None:
    lines = report(CLUSTER, ENDPOINT, [node("a-worker"), node("b-plane", "control-plane")], [], under_make=True)
    assert lines[1] == "Cluster demo: Kubernetes 1.36.3, healthy"
    rows = [line.split()[0] for line in lines if line.startswith(("NODE", "a-", "b-"))]
    assert rows == ["NODE", "b-plane", "a-worker"]
    assert "API endpoint   https://192.0.2.3:6443" in lines
    assert sum(line.startswith("  make ") for line in lines) == 3


def test_findings_come_with_their_remedy() -> None:
    finding = {"code": "NODE_NOT_READY", "message": "The node a is not Ready.", "remedy": "Read its log."}
    lines = report(CLUSTER, ENDPOINT, [node("a", ready=False)], [finding], under_make=False)
    assert lines[1].endswith("1 finding") and "NotReady" in "\n".join(lines)
    assert "  NODE_NOT_READY: The node a is not Ready." in lines and "      Read its log." in lines


def test_a_half_done_upgrade_is_shown() -> None:
    left = {**node("b"), "version": "1.35.4", "schedulable": False}
    lines = report(CLUSTER, ENDPOINT, [node("a"), left], [], under_make=False)
    assert "Upgrade        1 of 2 nodes run 1.36.3, 1 with 1.35.4; cluster_upgrade does the rest" in lines
    assert "Ready,SchedulingDisabled" in "\n".join(lines)
    assert not [line for line in report(CLUSTER, ENDPOINT, [node("a")], [], under_make=False) if line.startswith("Upgrade")]


def test_a_half_done_rotation_of_authorities_is_shown() -> None:
    lines = report(CLUSTER, {}, [node("a")], [], under_make=False, rotation=["kubernetes", "etcd"])
    assert "Authorities    kubernetes, etcd: the old and the new one are trusted; cluster_rotate_ca does the rest" in lines
    assert not any("cluster_rotate_ca" in line for line in report(CLUSTER, {}, [node("a")], [], under_make=False))


def test_a_cluster_that_is_not_there_is_said_so() -> None:
    lines = report(CLUSTER, {}, [], [], under_make=False)
    assert lines[1].endswith("not there")
    assert next_commands(CLUSTER, [], False) == ["ansible-playbook -i /somewhere/clusters/demo.yml flotilla.kubernetes.cluster_apply"]


def test_machines_without_an_api_are_not_reported_as_not_there() -> None:
    finding = {"code": "API_UNREACHABLE", "message": "No API server answers.", "remedy": "Read the log."}
    assert report(CLUSTER, ENDPOINT, [], [finding], under_make=True)[1].endswith("1 finding")


def test_the_next_commands_name_another_cluster_than_the_default() -> None:
    small = {**CLUSTER, "name": "small"}
    assert all("CLUSTER=small" in command for command in next_commands(small, [node("a")], True))


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    assert table(("A", "B"), [("long", "x")]) == ["A     B", "long  x"]


def write(folder, name: str, text: str = "") -> str:
    path = folder / "clusters" / f"{name}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    network = len(list(path.parent.iterdir())) + 1
    path.write_text(
        f"plugin: flotilla.kubernetes.cluster\nschema: 1\nname: {name}\ncloud: local\nkubernetes_version: 1.36.3\n"
        f"control_plane: {{count: 1}}\npools: []\nlocal: {{network_cidr: 172.30.{network}.0/24}}\n{text}"
    )
    return str(path)


def test_machines_without_definition_and_definitions_without_machines_are_listed(tmp_path) -> None:
    cluster = {**CLUSTER, "name": "a", "cloud": "local", "foundation": "lab", "file": write(tmp_path / "lab", "a")}
    assert foundation_lines(cluster, {}) == []
    for name in ("made", "planned"):
        write(tmp_path / "lab", name)
    write(tmp_path / "lab", "broken", "colour: blue\n")
    lines = foundation_lines(cluster, {"made": ["made-1"], "broken": ["broken-1"], "lost": ["lost-1", "lost-2"]})
    assert "has the cluster lost, and it has machines: lost-1, lost-2" in lines[1] and "clusters/lost.yml" in lines[2]
    assert "".join(lines).count("No definition") == 1
    assert lines[3] == "  Defined, and without machines: planned"
    assert foundation_lines({**cluster, "file": "/nowhere/clusters/a.yml"}, {"lost": ["lost-1"]}) == []


BACKUPS = {
    "place": "the bucket b",
    "age": 7500,
    "backups": [{"id": "new", "whole": False, "verified": True}, {"id": "old", "whole": True, "verified": True}],
}


def test_the_newest_good_backup_is_named_with_its_age() -> None:
    assert backup_line(BACKUPS) == "Backups        1 in the bucket b, the newest one, old, 2 h old"
    assert backup_line({"place": "the bucket b", "backups": []}) == "Backups        0 in the bucket b"
    assert backup_line(None) == backup_line({"skipped": True}) == ""
    line = backup_line(BACKUPS)
    assert line in report(CLUSTER, ENDPOINT, [node("a")], [], under_make=False, backups=line)


def test_backups_that_are_too_old_are_a_finding() -> None:
    def codes(backups, max_age=None):
        return [finding["code"] for finding in backup_findings({"backup_store": {"max_age": max_age}}, backups)]

    assert codes(BACKUPS) == codes(BACKUPS, "3h") == codes({"skipped": True}, "3h") == codes(None, "3h") == []
    assert codes(BACKUPS, "2h") == codes({"place": "x", "backups": []}, "2h") == ["BACKUP_TOO_OLD"]
    assert codes({"place": "x", "backups": []}) == []
    assert codes({"failed": True, "code": "BACKUP_STORE_REFUSED", "msg": "no"}) == ["BACKUP_STORE_REFUSED"]
