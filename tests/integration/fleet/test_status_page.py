# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of fleet_status in a real browser, Chromium. Each zero that is asserted has a control that shows that it need not be one."""

from __future__ import annotations

import http.server
import shutil
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._fleet_status.page import page as make
from playwright.sync_api import sync_playwright

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from fleet_example import status

CHROMIUM = shutil.which("chromium")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")

LONGEST = "a-name-of-sixty-three-characters-which-no-line-of-a-phone-holds"
PHONE, DESK = {"width": 375, "height": 812}, {"width": 1280, "height": 900}
OPEN = "() => document.querySelectorAll('details').forEach((one) => { one.open = true; })"
# Every element with a text of its own that is seen: https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio.
CONTRASTS = """() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([red, green, blue]) => {
    const linear = (one) => one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4;
    const [r, g, b] = [red, green, blue].map((one) => linear(one / 255));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const colour = parse(getComputedStyle(one).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
      if (colour[3] !== 0) throw new Error("a background that lets others through");
    }
    throw new Error("nothing is behind the text");
  };
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
    const field = ["INPUT", "SELECT"].includes(element.tagName);
    if ((!own && !field) || element.closest("svg") || !element.checkVisibility()) continue;
    const before = getComputedStyle(element, "::before");
    const sorts = [getComputedStyle(element), ...(before.content === "none" ? [] : [before])];
    for (const sort of sorts) {
      const [high, low] = [light(parse(sort.color)), light(behind(element))].sort((a, b) => b - a);
      found.push([(high + 0.05) / (low + 0.05), `${element.tagName}.${element.className}: ${element.textContent.slice(0, 40)}`]);
    }
  }
  return found;
}"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_playwright() as playwright:
        # It runs in containers as root, where its own sandbox can not be.
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "status.html"
    path.write_text(make(status(LONGEST, more=20)), encoding="utf-8")
    return path


@contextmanager
def opened(browser: Any, path: Path, **settings: Any) -> Iterator[tuple[Any, list[str], list[str]]]:
    """Give the page, the addresses that it asked for, and what it complained about."""
    context = browser.new_context(viewport=DESK, **settings)
    tab = context.new_page()
    asked: list[str] = []
    complaints: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.goto(path.as_uri())
    try:
        yield tab, asked, complaints
    finally:
        context.close()


@contextmanager
def listener() -> Iterator[tuple[str, list[str]]]:
    """Give the address of an HTTP server, and what it was asked for."""
    hits: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            hits.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", hits
    finally:
        server.shutdown()
        server.server_close()


def rows(tab: Any) -> list[str]:
    """Return the names of the clusters in the table, as far as they are seen, in their order."""
    return tab.evaluate(
        "() => [...document.querySelectorAll('#clusters tbody tr')]"
        ".filter((one) => one.checkVisibility()).map((one) => one.cells[0].dataset.key)"
    )


def test_nothing_leaves_the_page(browser: Any, file: Path) -> None:
    with opened(browser, file) as (tab, asked, complaints):
        tab.evaluate(OPEN)
        tab.fill("#words", "orders")
        tab.select_option("#order", "1")
        tab.wait_for_timeout(300)
        assert asked == [file.as_uri()] and complaints == []


def test_a_page_that_asks_is_seen_and_this_one_could_not(browser: Any, tmp_path: Path) -> None:
    asking = "<img src='{0}/img'><script src='{0}/js'></script><style>body{{background:url({0}/css)}}</style>"
    with listener() as (address, hits):
        plain = tmp_path / "plain.html"
        plain.write_text(f"<!DOCTYPE html><body>{asking.format(address)}<script>fetch('{address}/fetch', {{mode: 'no-cors'}})</script>")
        with opened(browser, plain) as (tab, asked, _complaints):
            tab.wait_for_timeout(300)
            assert {url.rpartition("/")[2] for url in asked[1:]} == {"img", "js", "css", "fetch"} == {hit[1:] for hit in hits}
        hits.clear()
        # The same in our page: the policy keeps it in, and says so.
        ours = tmp_path / "ours.html"
        ours.write_text(make(status("demo")).replace("</main>", f"{asking.format(address)}</main>"), encoding="utf-8")
        with opened(browser, ours) as (tab, _asked, complaints):
            tab.wait_for_timeout(300)
            assert hits == [] and len(complaints) >= 3


def test_hostile_names_are_text(browser: Any, tmp_path: Path) -> None:
    with listener() as (address, hits):
        word = f"\"'><img src={address}/img onerror=document.title='mine'><script>document.title='mine'</script>"
        path = tmp_path / "hostile.html"
        path.write_text(make(status(word)), encoding="utf-8")
        with opened(browser, path) as (tab, asked, complaints):
            tab.evaluate(OPEN)
            tab.fill("#words", "mine")
            tab.wait_for_timeout(300)
            assert (tab.title(), hits, asked, complaints) == ("Status of the fleet", [], [path.as_uri()], [])
            assert word in rows(tab) and word in tab.inner_text("#clusters")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESK, PHONE], ids=["desk", "phone"])
def test_every_text_can_be_told_from_what_is_behind_it(browser: Any, file: Path, scheme: str, viewport: dict[str, int]) -> None:
    with opened(browser, file, color_scheme=scheme) as (tab, _asked, _complaints):
        tab.set_viewport_size(viewport)
        tab.evaluate(OPEN)
        found = tab.evaluate(CONTRASTS)
        assert len(found) > 300 and [one for one in found if one[0] < 4.5] == []
        tab.evaluate("() => { const all = document.documentElement; all.style.setProperty('--quiet', '#777'); }")
        assert min(tab.evaluate(CONTRASTS))[0] < 4.5
        dark = tab.evaluate("() => getComputedStyle(document.body).backgroundColor")
        assert (dark == "rgb(255, 255, 255)") is (scheme == "light")


@pytest.mark.parametrize("width", [375, 320])
def test_a_phone_has_to_scroll_downwards_only(browser: Any, file: Path, width: int) -> None:
    with opened(browser, file) as (tab, _asked, _complaints):
        tab.set_viewport_size({**PHONE, "width": width})
        tab.evaluate(OPEN)
        assert tab.evaluate("() => document.documentElement.scrollWidth") <= width
        tab.evaluate("() => { document.querySelector('h1').style.minWidth = '500px'; }")
        assert tab.evaluate("() => document.documentElement.scrollWidth") > width


def test_without_scripts_all_of_it_is_there(browser: Any, file: Path) -> None:
    shown = status(LONGEST, more=20)
    with opened(browser, file, java_script_enabled=False) as (tab, asked, _complaints):
        for summary in tab.locator("summary").all():
            summary.click()
        said = tab.inner_text("body")
        wanted = [
            word for one in shown["clusters"] for word in (one["name"], one["foundation"], one["version"], one["supported_until"] or "")
        ]
        wanted += [node["name"] for one in shown["clusters"] for node in one["nodes"]]
        wanted += [item[key] for one in shown["clusters"] for item in one["items"] for key in ("code", "message", "remedy")]
        wanted += [run["why"] for one in shown["clusters"] for run in one["runs"]]
        wanted += [release["minor"] for release in shown["releases"]]
        assert [word for word in wanted if word not in said] == []
        assert not tab.is_visible("#controls") and asked == [file.as_uri()]


def test_words_state_and_foundation_filter_the_whole_page(browser: Any, file: Path) -> None:
    with opened(browser, file) as (tab, _asked, _complaints):
        assert len(rows(tab)) == 25 and tab.input_value("#words") == ""
        tab.fill("#words", "ORDERS")
        assert rows(tab) == ["orders"] and tab.inner_text("#shown") == "1 of 25 clusters"
        assert "payments" not in tab.inner_text("main")
        tab.fill("#words", "owner=a-name c00")
        assert rows(tab) == [f"c{number:03}" for number in range(10)]
        tab.fill("#words", "")
        tab.select_option("#state", "warning")
        assert rows(tab) == ["payments", "search"]
        tab.select_option("#foundation", "aws-eu")
        assert rows(tab) == ["payments"]
        tab.fill("#words", "no such thing")
        assert rows(tab) == []
        tab.fill("#words", "")
        tab.select_option("#state", "")
        tab.select_option("#foundation", "")
        assert len(rows(tab)) == 25


def test_heads_and_the_list_sort(browser: Any, file: Path) -> None:
    with opened(browser, file) as (tab, _asked, _complaints):
        assert rows(tab)[:2] == [LONGEST, "orders"], "what is worst comes first"
        names = sorted(rows(tab))
        tab.click("#clusters th button >> text=Cluster")
        assert rows(tab) == names and tab.get_attribute("#clusters th >> nth=0", "aria-sort") == "ascending"
        tab.click("#clusters th button >> text=Cluster")
        assert rows(tab) == names[::-1] and tab.input_value("#order") == "0-"
        # As on a phone, where the heads are not seen.
        tab.set_viewport_size(PHONE)
        tab.select_option("#order", label="Certificates")
        # One that did not answer has none.
        assert rows(tab)[:2] == ["orders", "payments"]
        tab.select_option("#order", label="State")
        assert rows(tab)[:2] == [LONGEST, "orders"]
