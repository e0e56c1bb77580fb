# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a fleet as JUnit XML: a suite for each foundation, a case for each cluster and for each thing that needs a hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .. import _junit


def junit(status: Mapping[str, Any]) -> bytes:
    """Return the file. What is critical is a failure, a warning is skipped, as it fails nobody."""
    root = _junit.root("fleet_status")
    for foundation in sorted({one["foundation"] for one in status["clusters"]}):
        suite = _junit.suite(root, foundation, status["created"])
        for cluster in sorted((one for one in status["clusters"] if one["foundation"] == foundation), key=lambda one: str(one["name"])):
            urgent = [one for one in cluster["items"] if one["severity"] != "note"]
            if not urgent:
                _junit.case(suite, cluster["name"], "needs nothing", 0.0)
            for item in urgent:
                case = _junit.case(suite, cluster["name"], f"{item['code']} {item['object']}".strip(), 0.0)
                if item["severity"] == "critical":
                    _junit.add(case, "failure", item["message"], item, kind=item["code"])
                else:
                    _junit.add(case, "skipped", f"{item['message']} {item['remedy']}".strip())
    return _junit.finish(root)
