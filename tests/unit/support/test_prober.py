# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How long an API was away, from what became of every request."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import prober  # noqa: E402


def written(tmp_path: Path, *requests: str) -> Path:
    log = tmp_path / "requests.log"
    log.write_text("".join(f"{request}\n" for request in requests), encoding="utf-8")
    return log


def test_it_ends_with_the_first_request_of_those_that_all_succeeded(tmp_path):
    log = written(
        tmp_path, "9.0 9.1 ok", "10.0 12.0 TimeoutError", "11.0 11.2 ok", "12.5 12.6 OSError refused", "13.0 13.4 ok", "13.1 13.2 ok"
    )
    assert prober.outage(log, 9.5) == pytest.approx(3.9)


def test_what_failed_before_does_not_count(tmp_path):
    assert prober.outage(written(tmp_path, "1.0 1.1 OSError early", "10.0 10.1 ok"), 9.5) == 0.0


def test_requests_that_still_fail_are_no_figure(tmp_path):
    with pytest.raises(ValueError, match="the last request failed: TimeoutError"):
        prober.outage(written(tmp_path, "10.0 10.1 ok", "10.2 12.2 TimeoutError"), 9.5)


def test_times_are_numbers_not_texts(tmp_path):
    assert prober.outage(written(tmp_path, "99.0 99.5 TimeoutError", "100.0 100.5 ok"), 98.0) == pytest.approx(2.5)
