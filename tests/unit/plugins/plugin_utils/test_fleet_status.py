# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the status of a fleet is shown; what a browser makes of the page is in tests/integration/fleet."""

from __future__ import annotations

import base64
import hashlib
import re
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.flotilla.kubernetes.plugins.action import fleet_status as action
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._fleet_status.junit import junit
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._fleet_status.page import page
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "support"))

from fleet_example import status

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style><style>*{display:none}",
    "]]>",
    "&amp;",
    "\x00\ufffe",
    "{{ 7*7 }}",
)


class Page(HTMLParser):
    """Tags, attributes and texts of a page."""

    def __init__(self, content: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.said: list[str] = []
        self.feed(content)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.said.append(data)

    @property
    def shape(self) -> Counter[tuple[str, tuple[str, ...]]]:
        """Return how often each tag is there with which attributes; foundations come in the order of their names."""
        return Counter((tag, tuple(sorted(given))) for tag, given in self.tags)


PLAIN = Page(page(status("plain")))


def test_the_page_may_run_its_own_script_and_style_and_nothing_else() -> None:
    content = page(status("demo"))
    (policy,) = [given["content"] for tag, given in Page(content).tags if given.get("http-equiv") == "Content-Security-Policy"]
    assert policy and policy.startswith("default-src 'none';")
    for tag in ("style", "script"):
        (inner,) = re.findall(rf"<{tag}>(.*?)</{tag}>", content, re.DOTALL)
        assert f"{tag}-src 'sha256-{base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()}'" in policy
    attributes = {name for _tag, given in Page(content).tags for name in given}
    assert not {name for name in attributes if name.startswith("on")} | (attributes & {"style", "src", "srcset", "action"})
    assert all(str(given["href"]).startswith("#") for _tag, given in Page(content).tags if "href" in given)
    assert "http:" not in content and "https:" not in content and "url(" not in content and "@import" not in content


def test_every_link_leads_to_a_cluster_and_every_name_is_there_once() -> None:
    tags = PLAIN.tags
    identifiers = [given["id"] for _tag, given in tags if "id" in given]
    assert len(identifiers) == len(set(identifiers))
    assert {str(given["href"])[1:] for _tag, given in tags if "href" in given} <= set(identifiers)
    assert {given["aria-labelledby"] for _tag, given in tags if "aria-labelledby" in given} <= set(identifiers)


@settings(max_examples=60, deadline=None)
@given(st.one_of(st.text(min_size=1), st.sampled_from(HOSTILE)))
def test_no_text_becomes_a_part_of_the_page_or_breaks_the_xml(word: str) -> None:
    hostile = status(word)
    assert Page(page(hostile)).shape == PLAIN.shape
    page(hostile).encode()
    ElementTree.fromstring(junit(hostile))


def test_junit_has_a_failure_for_what_is_critical_and_a_case_for_every_cluster() -> None:
    root = ElementTree.fromstring(junit(status("plain")))
    assert {case.get("classname") for case in root.iter("testcase")} == {one["name"] for one in status("plain")["clusters"]}
    failures = [case.find("failure").get("type") for case in root.iter("testcase") if case.find("failure") is not None]
    critical = [item["code"] for one in status("plain")["clusters"] for item in one["items"] if item["severity"] == "critical"]
    assert sorted(failures) == sorted(critical) and critical
    assert int(root.get("skipped", "0")) == sum(
        item["severity"] == "warning" for one in status("plain")["clusters"] for item in one["items"]
    )


def test_people_see_what_needs_a_hand_and_what_to_do() -> None:
    lines = list(action.shown(status("plain")))
    assert any(line.startswith("CLUSTER") for line in lines)
    (place,) = [index for index, line in enumerate(lines) if "CLUSTER_SILENT" in line]
    assert "plain" in lines[place] and lines[place + 1].strip()
    assert lines[-2].startswith("5 clusters: 1 critical, 1 unknown, 2 warning, 1 healthy")


def _result(**fields: Any) -> dict[str, Any]:
    return {"versions": {"oldest": "1.36.3"}, "findings": [], "nodes": [], "certificates": [], "sign": {}, **fields}


def test_the_first_control_plane_that_answers_is_taken() -> None:
    dead, alive = {"unreachable": True, "msg": "timed\nout"}, _result()
    look, asked, problem = action.answer({"flotilla_seen": alive}, ["a", "b"])
    assert look and (asked, problem) == ("a", "")
    look, asked, problem = action.answer({"flotilla_seen": dead, "flotilla_seen_others": {"results": [dead, alive]}}, ["a", "b", "c"])
    assert look and (asked, problem) == ("c", "")
    look, asked, problem = action.answer({"flotilla_seen": dead, "flotilla_seen_others": {"results": [dead]}}, ["a", "b"])
    assert (look, asked, problem) == (None, "", "a: timed out; b: timed out")
    look, asked, problem = action.answer({"flotilla_seen": {"skipped": True}}, [])
    assert look is None and "no control plane" in problem


def test_findings_lose_the_secrets_that_they_quote() -> None:
    finding = {"code": "A", "object": "b", "message": "Authorization: Bearer abcdefghijklmnop", "remedy": ""}
    look, _asked, _problem = action.answer({"flotilla_seen": _result(findings=[finding])}, ["a"])
    assert look and "abcdefghijklmnop" not in str(look)


def test_what_hangs_is_given_up_and_holds_nobody_up() -> None:
    began = time.monotonic()
    found = action.side_by_side(lambda seconds: time.sleep(seconds) or seconds, [0.0, 60.0, 0.0, 0.1], at_once=2, patience=1.0)
    assert time.monotonic() - began < 5 and found == {0: 0.0, 2: 0.0, 3: 0.1}


@pytest.mark.parametrize("suffix", [".json", ".txt"])
def test_the_page_and_junit_lie_beside_the_report(tmp_path: Path, suffix: str) -> None:
    files = action.write(status("plain"), tmp_path / "build" / f"fleet{suffix}")
    assert [path.name for path in files] == [f"fleet{suffix}", "fleet.xml", "fleet.html"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
