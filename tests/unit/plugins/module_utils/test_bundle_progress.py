# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What those who wait for a bundle get to see."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.progress import Journal, Report, duration, read


@pytest.mark.parametrize(("seconds", "text"), [(0, "0s"), (59.4, "59s"), (59.6, "1m0s"), (130, "2m10s"), (3605, "1h0m5s")])
def test_durations_are_written_as_kubernetes_writes_them(seconds, text):
    assert duration(seconds) == text


def test_a_step_tells_its_number_name_and_time():
    now = [100.0]
    events = []
    report = Report(events.append, "bundle 1.36.3", lambda: now[0])
    report.steps(2)
    report.line("begin")
    report.step("runc")
    now[0] += 14
    report.working(lambda: "compiling")  # too soon
    now[0] += 2
    report.working(lambda: "compiling, 12 packages so far")
    now[0] += 14
    report.working(lambda: "compiling")  # too soon after the line before
    report.done("compiled")
    report.step("kubernetes")
    now[0] += 130
    report.done()
    assert [event["line"] for event in events] == [
        "bundle 1.36.3: begin",
        "bundle 1.36.3: 1/2 runc: compiling, 12 packages so far (16s)",
        "bundle 1.36.3: 1/2 runc: compiled (30s)",
        "bundle 1.36.3: 2/2 kubernetes: done (2m10s)",
    ]


def test_a_reader_goes_on_where_it_was(tmp_path):
    path = tmp_path / "journal"
    assert read(path, None, 0) == (None, 0, [])
    journal = Journal.start(path, "a")
    journal.emit({"line": "1"})
    run, offset, events = read(path, None, 0)
    assert (run, events) == ("a", [{"line": "1"}])
    assert read(path, run, offset) == ("a", offset, [])
    journal.emit({"line": "2"})
    with path.open("a", encoding="utf-8") as stream:
        stream.write('{"line": "half')
    run, offset, events = read(path, run, offset)
    assert events == [{"line": "2"}], "a line that is still being written waits"
    with path.open("a", encoding="utf-8") as stream:
        stream.write(' a line"}\n')
    assert read(path, run, offset)[2] == [{"line": "half a line"}]


def test_a_new_run_is_read_from_its_beginning(tmp_path):
    path = tmp_path / "journal"
    for number in range(20):
        Journal.start(path, "a") if number == 0 else Journal(path).emit({"line": str(number)})
    run, offset, _events = read(path, None, 0)
    Journal.start(path, "b").emit({"line": "new"})
    assert read(path, run, offset) == ("b", path.stat().st_size, [{"line": "new"}])
