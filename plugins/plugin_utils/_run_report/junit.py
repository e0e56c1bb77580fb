# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as JUnit XML, which continuous integration and AWX's neighbours read: https://github.com/testmoapp/junitxml."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

from .. import _junit


def junit(report: Mapping[str, Any]) -> bytes:
    """Return the report: a suite for each node with its steps, one for the findings, and one for how the run ended."""
    root = _junit.root(f"{report['playbook']} of {report['cluster']}")
    for node in report["nodes"]:
        suite = _junit.suite(root, node["name"] or report["cluster"], report["began"])
        names: Counter[str] = Counter()
        # What an earlier run failed at is no failure of this one.
        for step in (one for one in node["steps"] if one["attempt"] == len(report["earlier"])):
            names[step["step"]] += 1
            again = f" ({names[step['step']]})" if names[step["step"]] > 1 else ""
            case = _junit.case(suite, f"{report['playbook']}.{step['phase']}", f"{step['step']}{again}", step["seconds"])
            if step["result"] == "ignored":
                _junit.add(case, "skipped", (step.get("error") or {}).get("message", ""))
            elif step["result"] not in ("ok", "changed"):
                error = step.get("error") or {"message": step["result"]}
                _junit.add(case, "failure", error["message"], error, kind=error.get("code") or step["result"])
    suite = _junit.suite(root, "findings", report["began"])
    for finding in report["findings"]:
        case = _junit.case(suite, f"{report['playbook']}.findings", f"{finding.get('code')} {finding.get('object')}", 0.0)
        if finding.get("acknowledged"):
            _junit.add(case, "skipped", f"acknowledged: {finding.get('message', '')}")
        elif finding.get("severity") == "blocker":
            _junit.add(case, "failure", finding.get("message", ""), finding, kind=str(finding.get("code")))
        else:
            ElementTree.SubElement(case, "system-out").text = _junit.text(f"{finding.get('message', '')} {finding.get('remedy', '')}")
    suite = _junit.suite(root, "run", report["began"])
    case = _junit.case(suite, report["playbook"], "ends well", report["seconds"])
    if report["result"] != "done":
        stopped = report["stopped"] or {"message": report["result"]}
        _junit.add(case, "failure", stopped["message"], stopped, kind=stopped.get("code") or report["result"])
    return _junit.finish(root)
