# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What pages for people have in common: look, escaping, and a policy that lets nothing out (private to flotilla.kubernetes).

A page is one HTML file that asks nobody for anything: no font, no picture, no other file. Pure.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from ..module_utils._moments import parse

# Text and its background have a contrast of at least 4.5, marks of at least 3: https://www.w3.org/TR/WCAG22/#contrast-minimum.
LIGHT = {
    "page": "#ffffff",
    "panel": "#f3f5f8",
    "text": "#1b2330",
    "quiet": "#515c6b",
    "line": "#c9d0da",
    "link": "#0b57a4",
    "good": "#176b3a",
    "bad": "#b3261e",
    "warn": "#855300",
}
DARK = {
    "page": "#12161c",
    "panel": "#1c222b",
    "text": "#e6eaf0",
    "quiet": "#a7b1bf",
    "line": "#3a4452",
    "link": "#8ab8f0",
    "good": "#6fce95",
    "bad": "#ff8f85",
    "warn": "#e9b765",
}
_LONG = 40  # lines of a table that are shown without being asked for
# https://html.spec.whatwg.org/multipage/parsing.html#preprocessing-the-input-stream
_ILLEGAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def _colours(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name.replace('_', '-')}:{colour};" for name, colour in colours.items())


def style(light: Mapping[str, str], dark: Mapping[str, str], more: str) -> str:
    """Return the style sheet of a page.

    :param light: colours by name, which the style sheet knows as ``--<name>``; ``dark`` has the same names.
    :param more: what the page has besides.
    """
    return f"""
:root{{color-scheme:light dark;{_colours(light)}}}
@media (prefers-color-scheme:dark){{:root{{{_colours(dark)}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;padding:1rem;max-width:76rem;background:var(--page);color:var(--text);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}}
h1{{font-size:1.5rem;margin:.25rem 0}}
h2{{font-size:1.15rem;margin:2rem 0 .5rem}}
p{{margin:.25rem 0}}
.quiet,th,summary small{{color:var(--quiet)}}
.good{{color:var(--good)}}.bad{{color:var(--bad)}}.warn{{color:var(--warn)}}
dl{{display:grid;grid-template-columns:max-content 1fr;gap:.1rem 1rem;margin:.5rem 0}}
dt{{color:var(--quiet)}}dd{{margin:0}}
table{{border-collapse:collapse;width:100%;font-size:.9rem}}
th,td{{text-align:left;vertical-align:top;padding:.3rem .75rem .3rem 0;border-bottom:1px solid var(--line)}}
th{{font-weight:600}}
th,td:not(:last-child){{overflow-wrap:normal}}
.number{{white-space:nowrap;font-variant-numeric:tabular-nums}}
details{{border-bottom:1px solid var(--line);padding:.4rem 0}}
summary{{cursor:pointer}}
summary:focus-visible{{outline:2px solid var(--link);outline-offset:2px}}
svg{{display:block;width:100%;height:1.1rem;background:var(--panel);margin:.2rem 0}}
rect{{stroke:none}}
.k-bad{{fill:var(--bad)}}.k-warn{{fill:var(--warn)}}.k-good{{fill:var(--good)}}
{more}
@media (max-width:40rem){{
thead{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}}
tr{{display:block;padding:.4rem 0;border-bottom:1px solid var(--line)}}
td,td:not(:last-child){{display:block;border:0;padding:.1rem 0;overflow-wrap:anywhere}}
td[data-head]::before{{content:attr(data-head) ": ";color:var(--quiet)}}
dl{{grid-template-columns:1fr;gap:0}}dd{{margin-bottom:.4rem}}
}}
@media print{{details:not([open])>*{{display:block}}}}
"""


def policy(style_sheet: str, script: str = "") -> str:
    """Return the Content-Security-Policy under which a page does what is in it, and nothing else: https://www.w3.org/TR/CSP3/."""
    allowed = f" script-src 'sha256-{_hash(script)}';" if script else ""
    return f"default-src 'none'; style-src 'sha256-{_hash(style_sheet)}';{allowed} base-uri 'none'; form-action 'none'"


def _hash(content: str) -> str:
    return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


def document(title: str, style_sheet: str, parts: Iterable[str], script: str = "") -> str:
    """Return a whole page.

    :param parts: of its body, in HTML; empty ones are left out.
    :param script: what makes it handier; everything is there without it.
    """
    lines = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{text(policy(style_sheet, script))}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">',
        f"<title>{text(title)}</title>\n<style>{style_sheet}</style>\n</head>\n<body>",
        *(part for part in parts if part),
        f"<script>{script}</script>" if script else "",
        "</body>\n</html>\n",
    ]
    return "\n".join(line for line in lines if line)


def text(value: Any) -> str:
    """Return a value as text of a page; characters that HTML does not allow are replaced."""
    return escape(_ILLEGAL.sub("?", str(value)))


def facts(pairs: Mapping[str, str]) -> str:
    """Return a list of names and values; those without a value are left out."""
    return "<dl>" + "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs.items() if value) + "</dl>"


def section(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a section with a table, folded where it is long; nothing where there are no rows."""
    if not rows:
        return ""
    name = title.split(" (", maxsplit=1)[0].lower().replace(" ", "-")
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{text(title)}</h2>{folded(len(rows), table(heads, rows))}</section>'


def folded(lines: int, content: str) -> str:
    """Return a part of a page, folded where it has many lines."""
    return f"<details><summary>{lines} lines</summary>{content}</details>" if lines > _LONG else content


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table, which is a list of blocks on a phone."""

    def cell(head: str, value: str) -> str:
        number = ' class="number"' if head in ("Began", "Took", "When", "Waited") else ""
        tone = ' class="bad"' if value.startswith("✗") else number
        return f'<td{tone} data-head="{text(head)}">{text(value)}</td>'

    top = "".join(f'<th scope="col">{text(head)}</th>' for head in heads)
    body = "".join("<tr>" + "".join(cell(head, value) for head, value in zip(heads, row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def seconds_of(moment: str) -> float:
    """Return a time like ``2026-11-23T07:03:11Z`` in seconds since the epoch."""
    return parse(moment).timestamp()


def clock(moment: str) -> str:
    """Return a time like ``2026-11-23T07:03:11Z`` as people read it."""
    return f"{moment[:10]} {moment[11:19]} UTC"


def duration(seconds: float) -> str:
    """Return how long something took, as people read it."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
