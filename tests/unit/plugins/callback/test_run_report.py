# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-playbook with the callback, judged by the reports that they leave."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.callback import run_report

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "support"))
import collector

COLLECTIONS = Path(run_report.__file__).absolute().parents[5]
PLAYBOOK = Path(sys.executable).with_name("ansible-playbook")
SECRET = "hunter2hunter2"

pytestmark = pytest.mark.skipif(not PLAYBOOK.exists(), reason="ansible-core is not in the environment of this Python")

Start = Callable[..., "subprocess.Popen[str]"]


def change(name: str, command: str = "true", **keywords: Any) -> dict[str, Any]:
    return {"name": name, "ansible.builtin.command": {"argv": ["sh", "-c", command]}, **keywords}


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Return a function that starts a play on the hosts of a cluster, and does not wait for its end."""

    def start_play(
        *tasks: dict[str, Any], name: str = "playbook", inventory: str = "hosts.yml", enabled: bool = True, **variables: Any
    ) -> subprocess.Popen[str]:
        play = {"name": "A phase", "hosts": "all", "gather_facts": False, "any_errors_fatal": True, "tasks": list(tasks)}
        if tasks:
            (tmp_path / f"{name}.yml").write_text(yaml.safe_dump([play], sort_keys=False), encoding="utf-8")
        hosts: dict[str, dict[str, Any]] = {
            "demo.cluster": {},
            "demo-a": {"flotilla_node_name": "node-a", "flotilla_machine": {"role": "control_plane", "pool": "control-plane"}},
            "demo-b": {"flotilla_node_name": "node-b", "flotilla_machine": {"role": "worker", "pool": "workers"}},
        }
        for known in hosts.values():
            known["flotilla_cluster"] = {"name": "demo", "kubernetes_version": "1.36.3"}
        everywhere = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"vars": everywhere, "hosts": hosts}}), encoding="utf-8")
        (tmp_path / "ansible.cfg").write_text("", encoding="utf-8")
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
            "ANSIBLE_CONFIG": str(tmp_path / "ansible.cfg"),
            "ANSIBLE_LOCALHOST_WARNING": "false",
            "FLOTILLA_REPORT_DIR": str(tmp_path / "reports"),
            **({"ANSIBLE_CALLBACKS_ENABLED": "flotilla.kubernetes.run_report"} if enabled else {}),
        }
        return subprocess.Popen(
            [sys.executable, str(PLAYBOOK), "-i", inventory, f"{name}.yml", "-e", json.dumps(variables)],
            cwd=tmp_path,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    return start_play


@pytest.fixture
def run(start: Start) -> Callable[..., str]:
    """Return a function that runs a play and gives its output."""

    def run_play(*tasks: dict[str, Any], **keywords: Any) -> str:
        return start(*tasks, **keywords).communicate(timeout=900)[0]

    return run_play


def reports(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("reports/*/*/report.json"))]


def steps(report: dict[str, Any]) -> dict[str, list[tuple[str, str]]]:
    return {node["name"]: [(step["step"], step["result"]) for step in node["steps"]] for node in report["nodes"]}


def test_a_run_leaves_a_report_of_each_node(run: Callable[..., str], tmp_path: Path) -> None:
    checks = {"checks": [{"name": "all is well", "command": ["true"]}]}
    output = run(
        {"name": "Look", "ansible.builtin.debug": None},
        change("Change it", when="inventory_hostname != 'demo.cluster'"),
        {"name": "Ask", "flotilla.kubernetes.health_checks": checks, "run_once": True},
        {"name": "Take it", "ansible.builtin.set_fact": {"flotilla_fence": {"run": "awx-7", "generation": 3}}, "run_once": True},
        awx_job_id=7,
    )
    (report,) = reports(tmp_path)
    assert (report["cluster"], report["playbook"], report["result"], report["versions"]["wanted"]) == ("demo", "playbook", "done", "1.36.3")
    assert (report["run"], report["generation"], report["by"]["job_id"]) == ("awx-7", 3, 7)
    found = steps(report)
    assert found["node-a"] == found["node-b"] == [("Change it", "changed")]
    assert found[""] == [("Ask", "ok")]
    assert [answer["name"] for answer in report["checks"][0]["answers"]] == ["all is well"]
    (page,) = tmp_path.glob("reports/demo/*/report.html")
    assert f"Report: {page}" in output


def test_events_and_the_trace_of_a_run_go_where_somebody_says(run: Callable[..., str], tmp_path: Path) -> None:
    events = tmp_path / "events.jsonl"
    with collector.listening() as there:
        output = run(
            change("Print it", f"echo {SECRET}"), flotilla_events_file=str(events), flotilla_telemetry_endpoint=there.url, token=SECRET
        )
        assert there.requests == 2, output
        assert {span.name for span in there.spans} == {"playbook demo", "Print it"}
    lines = [json.loads(line) for line in events.read_text(encoding="utf-8").splitlines()]
    assert [line["kind"] for line in lines] == ["run", "phase", "result", "result", "result", "end"]
    assert {line["cluster"] for line in lines} == {"demo"} and stat.S_IMODE(events.stat().st_mode) == 0o600
    assert SECRET not in events.read_text(encoding="utf-8")


def test_a_collector_and_a_file_that_are_not_there_stop_nothing(run: Callable[..., str], tmp_path: Path) -> None:
    output = run(
        change("Change it"), flotilla_events_file=str(tmp_path / "no/such/folder"), flotilla_telemetry_endpoint="http://127.0.0.1:9"
    )
    assert "did not take" in output and "The file of events lacks" in output and "failed=0" in output
    assert len(reports(tmp_path)) == 1


def test_a_run_that_fails_says_why_and_nothing_that_is_secret(run: Callable[..., str], tmp_path: Path) -> None:
    run(
        change("Print it", f"echo {SECRET}"),
        change("Fail and hide it", f"echo {SECRET}; exit 1", no_log=True, ignore_errors=True, when="inventory_hostname == 'demo-a'"),
        {
            "name": "Fail",
            "ansible.builtin.fail": {"msg": f"http://ops:{SECRET}@proxy.example.com does not answer"},
            "when": "inventory_hostname == 'demo-b'",
        },
        change("Never reached"),
        token=SECRET,
    )
    (report,) = reports(tmp_path)
    assert report["result"] == "failed"
    assert (report["stopped"]["step"], report["stopped"]["nodes"]) == ("Fail", ["node-b"])
    assert report["stopped"]["message"] == "http://***@proxy.example.com does not answer"
    assert ("Fail and hide it", "ignored") in steps(report)["node-a"]
    files = [path for path in (tmp_path / "reports").rglob("*") if path.is_file()]
    assert len(files) == 4
    assert [path for path in files if SECRET in path.read_text(encoding="utf-8")] == []
    # That it was there to be found:
    assert SECRET in (tmp_path / "playbook.yml").read_text(encoding="utf-8")


def test_what_a_killed_run_did_is_in_the_report_of_the_next(start: Start, run: Callable[..., str], tmp_path: Path) -> None:
    going, waiting = tmp_path / "going", tmp_path / "waiting"
    waiting.touch()
    checks = {"checks": [{"name": "slow", "command": ["sh", "-c", f"touch {going}; while test -e {waiting}; do sleep 0.1; done"]}]}
    tasks = (change("Change it"), {"name": "Ask", "flotilla.kubernetes.health_checks": checks, "run_once": True})
    process = start(*tasks)
    until = time.monotonic() + 600
    while not going.exists() and time.monotonic() < until:
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait(60)
    waiting.unlink()
    if process.stdout:
        process.stdout.read()  # until what it started has ended
    assert going.exists() and reports(tmp_path) == []
    run(*tasks)
    killed, report = reports(tmp_path)
    assert (killed["result"], killed["stopped"]["step"]) == ("interrupted", "Ask")
    assert report["result"] == "done" and [one["result"] for one in report["earlier"]] == ["interrupted"]
    assert steps(report)["node-a"] == [("Change it", "changed")] * 2
    assert steps(report)[""] == [("Change it", "changed"), ("Ask", "interrupted"), ("Change it", "changed"), ("Ask", "ok")]


@pytest.mark.parametrize("directory", ["none", ""])
def test_somebody_can_do_without(run: Callable[..., str], tmp_path: Path, directory: str) -> None:
    assert "Report:" not in run(change("Change it"), flotilla_report_dir=directory)
    assert not (tmp_path / "reports").exists()


def test_a_folder_that_cannot_be_written_stops_nothing(run: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    output = run(change("Change it"), flotilla_report_dir="{{ playbook_dir }}/taken")
    assert "failed=0" in output and "changed=1" in output and "taken" in output


def test_the_playbooks_that_change_a_cluster_bring_it_along(run: Callable[..., str], tmp_path: Path) -> None:
    # There is no definition of such a cluster, and therefore no place for backups.
    (tmp_path / "site.yml").write_text(
        yaml.safe_dump([{"import_playbook": "flotilla.kubernetes.validate"}, {"import_playbook": "flotilla.kubernetes.cluster_backup"}]),
        encoding="utf-8",
    )
    (tmp_path / "clusters").mkdir()
    definition = {
        "plugin": "flotilla.kubernetes.cluster",
        "schema": 1,
        "name": "office",
        "cloud": "existing",
        "kubernetes_version": "1.36.3",
        "pools": [{"name": "workers"}],
        "api_endpoint": {"provider": "external", "address": "192.0.2.5"},
        "access": {"ssh_user": "ops"},
        "existing": {
            "host_keys": "accept_new",
            "machines": [{"address": "192.0.2.11", "role": "control_plane"}, {"address": "192.0.2.21", "pool": "workers"}],
        },
    }
    (tmp_path / "clusters" / "office.yml").write_text(yaml.safe_dump(definition), encoding="utf-8")
    output = run(name="site", inventory="clusters/office.yml", enabled=False)
    (report,) = reports(tmp_path)
    assert (report["cluster"], report["playbook"], report["result"]) == ("office", "cluster_backup", "failed"), output
    assert "backup_store" in report["stopped"]["message"]
