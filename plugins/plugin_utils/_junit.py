# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""JUnit XML, which continuous integration and AWX's neighbours read (private to flotilla.kubernetes): https://github.com/testmoapp/junitxml."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from xml.etree import ElementTree

# https://www.w3.org/TR/xml/#charsets
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def root(name: str) -> ElementTree.Element:
    """Return the element that holds all suites."""
    return ElementTree.Element("testsuites", name=text(name))


def finish(root: ElementTree.Element) -> bytes:
    """Return the file: suites without a case are left out, and what there is is counted."""
    for empty in [one for one in root if not len(one)]:
        root.remove(empty)
    _count(root)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def suite(root: ElementTree.Element, name: str, began: str) -> ElementTree.Element:
    """Add a suite.

    :param began: a time as ``2026-11-23T07:03:11Z``.
    """
    # Without the fraction and the Z, as the schema of JUnit asks.
    return ElementTree.SubElement(root, "testsuite", name=text(name), timestamp=began[:19])


def case(suite: ElementTree.Element, group: str, name: str, seconds: float) -> ElementTree.Element:
    """Add a case, which passed as long as nothing is added to it."""
    return ElementTree.SubElement(suite, "testcase", classname=text(group), name=text(name), time=f"{max(seconds, 0.0):.3f}")


def add(case: ElementTree.Element, tag: str, message: Any, more: Mapping[str, Any] | None = None, kind: str = "") -> None:
    """Add a result to a case.

    :param tag: ``failure`` or ``skipped``.
    :param more: ``message``, ``cause`` and ``remedy`` as far as they are known.
    """
    element = ElementTree.SubElement(case, tag, message=text(message))
    if kind:
        element.set("type", text(kind))
    if more:
        element.text = text("\n".join(str(more[one]) for one in ("message", "cause", "remedy") if more.get(one)))


def _count(root: ElementTree.Element) -> None:
    for element in [*root, root]:
        cases = list(element.iter("testcase"))
        element.set("tests", str(len(cases)))
        element.set("failures", str(sum(case.find("failure") is not None for case in cases)))
        element.set("errors", "0")
        element.set("skipped", str(sum(case.find("skipped") is not None for case in cases)))
        element.set("time", f"{sum(float(case.get('time', '0')) for case in cases):.3f}")


def text(value: Any) -> str:
    """Return a value as XML can hold it: characters that it does not allow are replaced."""
    return _ILLEGAL.sub("?", str(value))
