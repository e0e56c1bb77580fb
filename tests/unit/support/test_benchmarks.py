# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the benchmarks compute from what they saw; a benchmark that counts wrongly always holds its bar."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(TESTS / "support"), str(TESTS / "benchmarks")]

import bench_cluster
import bench_upgrade
import journal
import processes
import report
import rival


def entry(**changes: Any) -> journal.Entry:
    return journal.Entry(
        **{
            "play": "Nodes",
            "task": "t",
            "action": "a",
            "host": "n",
            "status": "ok",
            "changed": False,
            "began": 0.0,
            "ended": 1.0,
            **changes,
        }
    )


def test_skipped_results_are_counted_apart() -> None:
    entries = [entry(), entry(), entry(status="skipped"), entry(host="m", status="skipped"), entry(host="m", status="failed")]
    assert journal.counts(entries) == {"n": journal.Count(2, 1), "m": journal.Count(1, 1)}


def test_the_figure_is_of_the_node_with_most_results_and_not_of_the_cluster_s_own_host() -> None:
    counts = {"a": journal.Count(30, 1), "b": journal.Count(41, 7), "c.cluster": journal.Count(99, 2)}
    figure = bench_cluster._results("create-results-per-node", 40, counts)
    assert (figure.value, figure.holds) == (41, False)
    assert "7 skipped" in figure.reference and "99" in figure.reference


def samples(pattern: str) -> list[tuple[float, frozenset[str]]]:
    return [(10 + index / 10, frozenset({"kubeadm"} if letter == "x" else ())) for index, letter in enumerate(pattern)]


@pytest.mark.parametrize(("pattern", "share"), [("x" * 10, 0.0), ("." * 10, 1.0), ("xx......xx", 0.6), ("x.x.x.x.x.", 0.5)])
def test_idle_is_where_no_wanted_process_ran(pattern: str, share: float) -> None:
    assert processes.idle_share(samples(pattern), 10.0, 11.0) == pytest.approx(share)


def test_time_that_nobody_looked_at_counts_as_idle() -> None:
    assert processes.idle_share(samples("x" * 10), 0.0, 11.0) == pytest.approx(10 / 11)
    assert processes.idle_share([], 0.0, 11.0) == 1.0


def test_the_sampler_sees_a_process_with_its_arguments_and_environment() -> None:
    with processes.Sampler(wanted=lambda process: b"planted-argument" in process.command, environments=True) as sampler:
        subprocess.run(
            [sys.executable, "-c", "import time; time.sleep(0.5)", "planted-argument"], env={"PLANTED": "in-the-environment"}, check=True
        )
    assert any(b"planted-argument" in command for command in sampler.commands)
    assert any(b"in-the-environment" in environment for environment in sampler.seen_environments)
    assert [programs for _moment, programs in sampler.busy if programs]


def test_only_the_cluster_s_own_machines_count_as_work(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = "a" * 64, "b" * 64
    monkeypatch.setattr(bench_cluster, "_container_name", {own: "test-bench-workers-1", other: "test-e2e-workers-1"}.__getitem__)

    def works(command: bytes, cgroup: str) -> bool:
        return bench_cluster._works(processes.Process(1, command, b"", f"0::{cgroup}"))

    assert works(b"/usr/local/bin/kubeadm\0join", f"/libpod_parent/libpod-{own}/init.scope")
    assert not works(b"/usr/local/bin/kubeadm\0join", f"/libpod_parent/libpod-{other}/init.scope")
    assert not works(b"/usr/local/bin/kubelet", f"/libpod_parent/libpod-{own}/init.scope")
    assert not works(b"kubeadm\0join", "/user.slice")
    assert works(b"podman\0start\0test-bench-workers-1", "/") and not works(b"podman\0start\0test-e2e-workers-1", "/")


def test_a_machine_boots_until_its_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    own, other = "a" * 64, "b" * 64
    monkeypatch.setattr(bench_cluster, "_container_name", {own: "test-bench-workers-1", other: "test-e2e-workers-1"}.__getitem__)

    def boots(container: str, *commands: bytes) -> bool:
        cgroup = f"0::/libpod_parent/libpod-{container}/init.scope"
        return bool(bench_cluster._boots([processes.Process(1, command, b"", cgroup) for command in commands]))

    assert boots(own, b"/sbin/init", b"/usr/lib/systemd/systemd-journald")
    assert not boots(own, b"/sbin/init", b"sshd: /usr/sbin/sshd -D [listener] 0 of 10-100 startups")
    assert not boots(other, b"/sbin/init") and not boots(own, b"sleep\0infinity")


def test_a_gap_is_named_by_the_task_that_ran_in_it() -> None:
    entries = [entry(task="slow", began=10.0, ended=10.45), entry(task="working", began=10.45, ended=11.0)]
    gaps = bench_cluster._gaps(samples(".....xxxxx"), entries)
    assert "slow" in gaps[0] and not any("working" in gap for gap in gaps)


def measured(**changes: Any) -> dict[str, Any]:
    count = {"n": journal.Count(10, 0), "c.cluster": journal.Count(30, 0)}
    return {
        "load": 0.1, "floor": 100.0, "floor_phases": {}, "create": 130.0, "again": 20.0, "idle": 0.2, "gaps": [],
        "create_counts": count, "again_counts": count, **changes,
    }  # fmt: skip


def test_figures_are_medians_over_the_rounds() -> None:
    figures = {figure.name: figure for figure in bench_cluster.figures([measured(create=c) for c in (130.0, 150.0, 141.0)])}
    assert figures["create-to-floor"].value == pytest.approx(1.41)
    assert not figures["create-to-floor"].holds
    assert figures["no-op-to-create"].value == pytest.approx(20 / 141)
    assert figures["create-waiting"].holds
    assert set(figures) == {"create-results-per-node", "no-op-results-per-node", "create-to-floor", "no-op-to-create", "create-waiting"}


def test_rounds_that_differ_ask_for_one_more() -> None:
    assert bench_cluster._noisy([measured(), measured(floor=120.0)])
    assert not bench_cluster._noisy([measured(), measured(floor=101.0)])


def test_a_figure_is_written_with_value_bar_reference_and_verdict(tmp_path: Path) -> None:
    figures = [report.Figure("good", 1.39, 1.4, reference="of 100 s"), report.Figure("bad", 6.0, 5.0, "s")]
    report.write(figures, tmp_path)
    written = {path.stem: json.loads(path.read_text()) for path in tmp_path.iterdir()}
    assert {name: (entry["value"], entry["bar"], entry["holds"]) for name, entry in written.items()} == {
        "good": (1.39, 1.4, True),
        "bad": (6.0, 5.0, False),
    }
    assert written["good"]["reference"] == "of 100 s"
    lines = report.table(figures)
    assert "yes" in lines[1] and "NO" in lines[2] and "6 s" in lines[2]


class Runs:
    """Playbooks that take no time and leave machines.

    :param made: form -> how many machines it makes, and of which size.
    """

    def __init__(self, made: dict[str, tuple[int, str]]) -> None:
        self.made = {"ours": (3, "large"), "loop": (3, "large"), "async": (3, "large"), **made}
        self.machines: list[dict[str, Any]] = []
        self.asked: dict[str, list[dict[str, Any]]] = {}

    def play(self, playbook: Path, tasks: list[dict[str, Any]], _environment: dict[str, str], _python: str) -> dict[str, int]:
        count, size = self.made[playbook.stem]
        # In whatever order it is told.
        self.machines += [dict([("zone", 1), ("size", size)][:: 1 if playbook.stem == "ours" else -1])] * count
        self.asked[playbook.stem] = tasks
        return {"ok": 1, "changed": 1}

    def compare(self, folder: Path) -> list[report.Figure]:
        ground = rival.Ground(self.machines.clear, lambda: self.machines, lambda: 0, {})
        return rival.compare("cloud", rival.Task("a.b.ours", {}), rival.Task("c.d.theirs", {"name": "{{ item }}"}), 3, folder, ground)


def test_a_rival_is_measured_over_the_same_machines_looped_and_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runs, clock = Runs({}), iter([0.0, 1.0, 10.0, 26.0, 30.0, 30.5])
    monkeypatch.setattr(rival.peers, "play", runs.play)
    monkeypatch.setattr(rival, "time", types.SimpleNamespace(monotonic=lambda: next(clock)))
    figures = {figure.name: figure for figure in runs.compare(tmp_path)}
    assert {name: (figure.value, figure.holds) for name, figure in figures.items()} == {
        "cloud-create-to-loop": (1 / 16, True),
        "cloud-create-to-async": (2.0, False),
    }
    loop, asynchronous = runs.asked["loop"][0], runs.asked["async"][0]
    assert loop["loop"] == [0, 1, 2] and "async" not in loop and asynchronous["async"] and asynchronous["poll"] == 0


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"loop": (2, "large")}, "loop made 2 machines, not 3"),
        ({"async": (0, "large")}, "async made 0 machines, not 3"),
        ({"ours": (4, "large")}, "ours made 4 machines, not 3"),
        ({"async": (3, "small")}, "async made other machines"),
    ],
)
def test_a_rival_that_made_no_such_machines_measures_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made: dict[str, tuple[int, str]], words: str
) -> None:
    runs = Runs(made)
    monkeypatch.setattr(rival.peers, "play", runs.play)
    with pytest.raises(RuntimeError, match=words):
        runs.compare(tmp_path)


def test_machines_of_a_run_before_measure_nothing(tmp_path: Path) -> None:
    ground = rival.Ground(lambda: None, lambda: [{"size": "large"}], lambda: 0, {})
    with pytest.raises(RuntimeError, match="there are machines before ours"):
        rival.compare("cloud", rival.Task("a.b.ours", {}), rival.Task("c.d.theirs", {}), 1, tmp_path, ground)


def test_time_outside_work_is_what_no_working_task_covers_and_names_what_ran_then() -> None:
    entries = [
        entry(task="plan", began=10.0, ended=11.0),
        entry(task="upgrade", action="flotilla.kubernetes.kubeadm_upgrade", began=11.0, ended=15.0),
        entry(task="drain", action="node_drain", began=14.0, ended=18.0),
        entry(task="not done", action="node_drain", status="skipped", began=18.0, ended=19.0),
    ]
    share, longest = bench_upgrade.outside_of_work(entries, 10.0, 20.0)
    assert share == pytest.approx(0.3)
    assert "plan" in "".join(longest) and "upgrade" not in "".join(longest)


def test_a_run_without_work_is_all_outside() -> None:
    assert bench_upgrade.outside_of_work([], 10.0, 20.0)[0] == 1.0
