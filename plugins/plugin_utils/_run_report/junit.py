# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as JUnit XML, which continuous integration and AWX's neighbours read: https://github.com/testmoapp/junitxml."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

# https://www.w3.org/TR/xml/#charsets
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit(report: Mapping[str, Any]) -> bytes:
    """Return the report: a suite for each node with its steps, one for the findings, and one for how the run ended."""
    root = ElementTree.Element("testsuites", name=_text(f"{report['playbook']} of {report['cluster']}"))
    for node in report["nodes"]:
        suite = _suite(root, node["name"] or report["cluster"], report["began"])
        names: Counter[str] = Counter()
        # What an earlier run failed at is no failure of this one.
        for step in (one for one in node["steps"] if one["attempt"] == len(report["earlier"])):
            names[step["step"]] += 1
            again = f" ({names[step['step']]})" if names[step["step"]] > 1 else ""
            case = _case(suite, f"{report['playbook']}.{step['phase']}", f"{step['step']}{again}", step["seconds"])
            if step["result"] == "ignored":
                _add(case, "skipped", (step.get("error") or {}).get("message", ""))
            elif step["result"] not in ("ok", "changed"):
                error = step.get("error") or {"message": step["result"]}
                _add(case, "failure", error["message"], error, kind=error.get("code") or step["result"])
    suite = _suite(root, "findings", report["began"])
    for finding in report["findings"]:
        case = _case(suite, f"{report['playbook']}.findings", f"{finding.get('code')} {finding.get('object')}", 0.0)
        if finding.get("acknowledged"):
            _add(case, "skipped", f"acknowledged: {finding.get('message', '')}")
        elif finding.get("severity") == "blocker":
            _add(case, "failure", finding.get("message", ""), finding, kind=str(finding.get("code")))
        else:
            ElementTree.SubElement(case, "system-out").text = _text(f"{finding.get('message', '')} {finding.get('remedy', '')}")
    suite = _suite(root, "run", report["began"])
    case = _case(suite, report["playbook"], "ends well", report["seconds"])
    if report["result"] != "done":
        stopped = report["stopped"] or {"message": report["result"]}
        _add(case, "failure", stopped["message"], stopped, kind=stopped.get("code") or report["result"])
    for suite in [one for one in root if not len(one)]:
        root.remove(suite)
    _count(root)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _suite(root: ElementTree.Element, name: str, began: str) -> ElementTree.Element:
    # Without the fraction and the Z, as the schema of JUnit asks.
    return ElementTree.SubElement(root, "testsuite", name=_text(name), timestamp=began[:19])


def _case(suite: ElementTree.Element, group: str, name: str, seconds: float) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=_text(group), name=_text(name), time=f"{max(seconds, 0.0):.3f}")


def _add(case: ElementTree.Element, tag: str, message: Any, more: Mapping[str, Any] | None = None, kind: str = "") -> None:
    element = ElementTree.SubElement(case, tag, message=_text(message))
    if kind:
        element.set("type", _text(kind))
    if more:
        element.text = _text("\n".join(str(more[one]) for one in ("message", "cause", "remedy") if more.get(one)))


def _count(root: ElementTree.Element) -> None:
    for element in [*root, root]:
        cases = list(element.iter("testcase"))
        element.set("tests", str(len(cases)))
        element.set("failures", str(sum(case.find("failure") is not None for case in cases)))
        element.set("errors", "0")
        element.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
        element.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")


def _text(value: Any) -> str:
    return _ILLEGAL.sub("?", str(value))
