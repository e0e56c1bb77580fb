# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one HTML page that asks nobody for anything: no script, no font, no picture."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

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
    "drain": "#8a4baf",
    "kubeadm": "#0b6bbd",
    "etcd": "#0a7a76",
    "load_balancer": "#9a5b00",
    "gate": "#6b7686",
    "check": "#4a7d12",
    "preflight": "#5a61c2",
    "backup": "#a8467c",
    "other": "#7a6a58",
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
    "drain": "#c79be6",
    "kubeadm": "#6cb2f3",
    "etcd": "#57c4be",
    "load_balancer": "#e0a54f",
    "gate": "#8f9bab",
    "check": "#9acb5f",
    "preflight": "#a0a6f2",
    "backup": "#e792bf",
    "other": "#b7a690",
}
KINDS = {
    "preflight": "preflight",
    "backup": "backup",
    "load_balancer": "load balancer",
    "etcd": "etcd",
    "drain": "drain",
    "kubeadm": "kubeadm",
    "gate": "health gate",
    "check": "your checks",
    "other": "other",
}
_LONG = 40  # lines of a table that are shown without being asked for
RESULTS = {"done": ("good", "✓ ended well"), "failed": ("bad", "✗ stopped"), "interrupted": ("warn", "◌ was interrupted")}
_STEP = {
    "ok": "✓ ok",
    "changed": "✓ changed",
    "ignored": "– passed over",
    "failed": "✗ failed",
    "unreachable": "✗ out of reach",
    "interrupted": "◌ interrupted",
}


def _colours(colours: Mapping[str, str]) -> str:
    return "".join(f"--{name.replace('_', '-')}:{colour};" for name, colour in colours.items())


STYLE = f"""
:root{{color-scheme:light dark;{_colours(LIGHT)}}}
@media (prefers-color-scheme:dark){{:root{{{_colours(DARK)}}}}}
*{{box-sizing:border-box}}
body{{margin:0 auto;padding:1rem;max-width:76rem;background:var(--page);color:var(--text);
font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}}
h1{{font-size:1.5rem;margin:.25rem 0}}
h2{{font-size:1.15rem;margin:2rem 0 .5rem}}
p{{margin:.25rem 0}}
.quiet,th,summary small{{color:var(--quiet)}}
.good{{color:var(--good)}}.bad{{color:var(--bad)}}.warn{{color:var(--warn)}}
.stop h2{{margin-top:0}}
.stop{{border-left:.3rem solid var(--bad);background:var(--panel);padding:.75rem 1rem;margin:1rem 0}}
pre{{white-space:pre-wrap;margin:.25rem 0;font:.875rem/1.4 ui-monospace,monospace}}
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
.legend{{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.25rem 0;padding:0;list-style:none;font-size:.875rem}}
.legend svg{{display:inline-block;width:.8rem;height:.8rem;vertical-align:baseline;margin:0 .35rem 0 0}}
{"".join(f".k-{kind.replace('_', '-')}{{fill:var(--{kind.replace('_', '-')})}}" for kind in KINDS)}
.k-bad{{fill:var(--bad)}}.k-warn{{fill:var(--warn)}}
@media (max-width:40rem){{
thead{{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%)}}
tr{{display:block;padding:.4rem 0;border-bottom:1px solid var(--line)}}
td,td:not(:last-child){{display:block;border:0;padding:.1rem 0;overflow-wrap:anywhere}}
td[data-head]::before{{content:attr(data-head) ": ";color:var(--quiet)}}
dl{{grid-template-columns:1fr;gap:0}}dd{{margin-bottom:.4rem}}
}}
@media print{{details:not([open])>*{{display:block}}}}
"""
_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
# https://html.spec.whatwg.org/multipage/parsing.html#preprocessing-the-input-stream
_ILLEGAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'"


def page(report: Mapping[str, Any]) -> str:
    """Return the page."""
    title = f"{report['playbook']} of {report['cluster']}"
    tone, said = RESULTS[report["result"]]
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_text(POLICY)}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n<meta name="referrer" content="no-referrer">',
        f"<title>{_text(title)}: {_text(report['result'])}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<header>",
        f'<h1>{_text(title)}</h1>\n<p class="{tone}"><strong>{said}</strong>{" (a prediction)" if report["check_mode"] else ""}</p>',
        _facts(report),
        "</header>\n<main>",
        _stop(report),
        _versions(report["versions"]),
        _timeline(report),
        _findings(report["findings"]),
        _gates(report),
        _evictions(report["evictions"]),
        _phases(report["phases"]),
        _earlier(report["earlier"]),
        "</main>\n</body>\n</html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _text(value: Any) -> str:
    """Return a value as text of the page; characters that HTML does not allow are replaced."""
    return escape(_ILLEGAL.sub("?", str(value)))


def _facts(report: Mapping[str, Any]) -> str:
    by = report["by"]
    job = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in by.items() if name != "user")
    facts = {
        "Began": _clock(report["began"]),
        "Ended": f"{_clock(report['ended'])}, after {_duration(report['seconds'])}",
        "Run": f"{report['run']}, generation {report['generation']}" if report["run"] else "it changed no node",
        "Took over from": ", ".join(report["took_over_from"]),
        "By": f"{by.get('user', '')}{f' ({job})' if job else ''}",
        "Backup": f"{report['backup']['id']}, Kubernetes {report['backup'].get('kubernetes_version', '?')}" if report["backup"] else "",
    }
    return "<dl>" + "".join(f"<dt>{name}</dt><dd>{_text(value)}</dd>" for name, value in facts.items() if value) + "</dl>"


def _stop(report: Mapping[str, Any]) -> str:
    stopped = report["stopped"]
    if not stopped:
        return ""
    nodes = ", ".join(one or "the cluster" for one in stopped["nodes"])
    where = " · ".join(one for one in (stopped["phase"], stopped["step"], nodes) if one)
    code = f"<strong>{_text(stopped['code'])}</strong> " if stopped.get("code") else ""
    lines = [
        '<section class="stop" aria-labelledby="stop"><h2 id="stop">Where it stopped, and why</h2>',
        f'<p class="quiet">{_text(_clock(stopped["at"]))} · {_text(where)}</p>' if where else "",
        f"<p>{code}{_text(stopped['message'])}</p>",
        f"<pre>{_text(stopped['cause'])}</pre>" if stopped.get("cause") else "",
        f"<p><strong>What to do:</strong> {_text(stopped['remedy'])}</p>" if stopped.get("remedy") else "",
    ]
    others = report["failures"][1:]
    if others:
        listed = "".join(f"<li>{_text(one['step'])} ({_text(', '.join(one['nodes']))}): {_text(one['message'])}</li>" for one in others)
        lines.append(f"<p>After that:</p><ul>{listed}</ul>")
    return "".join(lines) + "</section>"


def _versions(versions: Mapping[str, Any]) -> str:
    rows = []
    for node in sorted(versions["after"]):
        before, after = versions["before"].get(node, {}), versions["after"][node]
        for part in sorted(after):
            old, new = before.get(part, "?"), after[part]
            rows.append((node, part, old, new if old == new else f"→ {new}"))
    return _section("Versions", ("Node", "Part", "Before", "After"), rows)


def _timeline(report: Mapping[str, Any]) -> str:
    nodes = report["nodes"]
    if not nodes:
        return ""
    legend = "".join(f"<li>{_mark(f'k-{kind}')}{name}</li>" for kind, name in KINDS.items() if _has(nodes, kind))
    for result, (mark, name) in {"failed": ("bad", "failed"), "interrupted": ("warn", "interrupted")}.items():
        if any(step["result"] == result for node in nodes for step in node["steps"]):
            legend += f"<li>{_mark(f'k-{mark}')}{name}</li>"
    attempts = [(_seconds(one["began"]), one["seconds"]) for one in report["earlier"]] + [(_seconds(report["began"]), report["seconds"])]
    rows = "".join(_node(node, report, attempts) for node in nodes)
    note = f" {len(attempts)} runs side by side, without the time between them." if len(attempts) > 1 else ""
    return (
        '<section aria-labelledby="timeline"><h2 id="timeline">Timeline</h2>'
        f'<p class="quiet">Each bar is a step. Open a node for its steps.{note}</p><ul class="legend">{legend}</ul>{rows}</section>'
    )


def _has(nodes: Iterable[Mapping[str, Any]], kind: str) -> bool:
    return any(step["kind"] == kind for node in nodes for step in node["steps"])


def _mark(kind: str) -> str:
    return f'<svg aria-hidden="true"><rect class="{kind.replace("_", "-")}" width="100%" height="100%"/></svg>'


def _node(node: Mapping[str, Any], report: Mapping[str, Any], attempts: Sequence[tuple[float, float]]) -> str:
    whole = sum(seconds for _began, seconds in attempts) or 1.0
    bars = []
    for step in node["steps"]:
        began, _length = attempts[step["attempt"]]
        left = sum(seconds for _began, seconds in attempts[: step["attempt"]]) + max(_seconds(step["began"]) - began, 0.0)
        kind = {"failed": "bad", "unreachable": "bad", "interrupted": "warn"}.get(step["result"], step["kind"].replace("_", "-"))
        # What took no time can be seen, too.
        start, width = min(100 * left / whole, 99.7), max(100 * step["seconds"] / whole, 0.3)
        title = _text(f"{step['step']}, {_duration(step['seconds'])}, {_STEP[step['result']]}")
        bars.append(
            f'<rect class="k-{kind}" x="{start:.2f}%" width="{min(width, 100 - start):.2f}%" height="100%"><title>{title}</title></rect>'
        )
    name = node["name"] or report["cluster"]
    about = "as a whole" if not node["name"] else _what(node)
    last = len(attempts) - 1
    bad = any(step["attempt"] == last and step["result"] not in ("ok", "changed", "ignored") for step in node["steps"])
    rows = [
        (
            _clock(step["began"]),
            _duration(step["seconds"]),
            step["step"],
            KINDS[step["kind"]],
            _STEP[step["result"]] + (f": {step['error'].get('code', '')} {step['error']['message']}" if step.get("error") else ""),
        )
        for step in node["steps"]
    ]
    return (
        f"<details{' open' if bad else ''}><summary>{_text(name)} <small>{_text(about)}, {len(rows)} steps</small>"
        f'<svg role="img" aria-label="{_text(name)}: {len(rows)} steps">{"".join(bars)}</svg></summary>'
        f"{_table(('Began', 'Took', 'Step', 'Kind', 'Result'), rows)}</details>"
    )


def _what(node: Mapping[str, Any]) -> str:
    if node["role"] == "worker":
        return f"worker of the pool {node['pool']}"
    return node["role"].replace("_", " ") or "machine"


def _findings(findings: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            str(one.get("severity", "")) + (", acknowledged" if one.get("acknowledged") else ""),
            str(one.get("code", "")),
            str(one.get("object", "")),
            f"{one.get('message', '')} {one.get('remedy', '')}".strip(),
        )
        for one in findings
    ]
    return _section("Findings of the preflight", ("Severity", "Code", "Object", "What, and what to do"), rows)


def _gates(report: Mapping[str, Any]) -> str:
    rows = []
    for gate in report["gates"]:
        said = "; ".join(f"{one.get('code', '')}: {one.get('message', '')}" for one in gate["findings"])
        rows.append((_clock(gate["at"]), gate["step"], gate["node"] or "the cluster", _duration(gate["waited"]), _held(gate["held"], said)))
    for check in report["checks"]:
        answers = "; ".join(
            f"{one['name']} {'held' if not one['problem'] else one['problem']} ({one['seconds']:g} s)" for one in check["answers"]
        )
        rows.append((_clock(check["at"]), check["step"], "your checks", _duration(check["waited"]), _held(check["held"], answers)))
    return _section("Gates and checks", ("When", "Gate", "Of", "Waited", "What it saw"), sorted(rows))


def _held(held: bool, said: str) -> str:
    return ("✓ held" if held else "✗ did not hold") + (f": {said}" if said else "")


def _evictions(evictions: Sequence[Mapping[str, Any]]) -> str:
    rows = [(_clock(one["at"]), one["pod"], one["node"], "forced past its budget" if one["forced"] else "evicted") for one in evictions]
    return _section(f"Evictions ({len(rows)})" if rows else "Evictions", ("When", "Pod", "Node", "How"), rows)


def _phases(phases: Iterable[Mapping[str, Any]]) -> str:
    rows = [(_clock(one["began"]), one["name"], _duration(one["seconds"])) for one in phases]
    return _section("Phases", ("Began", "Phase", "Took"), rows)


def _earlier(earlier: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            _clock(one["began"]),
            _duration(one["seconds"]),
            RESULTS[one["result"]][1],
            (one["stopped"] or {}).get("message", ""),
            one["folder"],
        )
        for one in earlier
    ]
    return _section("Runs that this one went on with", ("Began", "Took", "Result", "Why", "Report"), rows)


def _section(title: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    if not rows:
        return ""
    name = title.split(" (", maxsplit=1)[0].lower().replace(" ", "-")
    table = _table(heads, rows)
    if len(rows) > _LONG:
        table = f"<details><summary>{len(rows)} lines</summary>{table}</details>"
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{_text(title)}</h2>{table}</section>'


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    def cell(head: str, value: str) -> str:
        number = ' class="number"' if head in ("Began", "Took", "When", "Waited") else ""
        tone = ' class="bad"' if value.startswith("✗") else number
        return f'<td{tone} data-head="{_text(head)}">{_text(value)}</td>'

    top = "".join(f'<th scope="col">{_text(head)}</th>' for head in heads)
    body = "".join("<tr>" + "".join(cell(head, value) for head, value in zip(heads, row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment.replace("Z", "+00:00")).timestamp()


def _clock(moment: str) -> str:
    return f"{moment[:10]} {moment[11:19]} UTC"


def _duration(seconds: float) -> str:
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s"
