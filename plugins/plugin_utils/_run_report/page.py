# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A report as one HTML page that asks nobody for anything: no script, no font, no picture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import _page
from .._page import clock, document, duration, facts, seconds_of, section, table, text

LIGHT = {
    **_page.LIGHT,
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
    **_page.DARK,
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
RESULTS = {"done": ("good", "✓ ended well"), "failed": ("bad", "✗ stopped"), "interrupted": ("warn", "◌ was interrupted")}
_STEP = {
    "ok": "✓ ok",
    "changed": "✓ changed",
    "ignored": "– passed over",
    "failed": "✗ failed",
    "unreachable": "✗ out of reach",
    "interrupted": "◌ interrupted",
}


STYLE = _page.style(
    LIGHT,
    DARK,
    f"""
.stop h2{{margin-top:0}}
.stop{{border-left:.3rem solid var(--bad);background:var(--panel);padding:.75rem 1rem;margin:1rem 0}}
pre{{white-space:pre-wrap;margin:.25rem 0;font:.875rem/1.4 ui-monospace,monospace}}
.legend{{display:flex;flex-wrap:wrap;gap:.2rem 1rem;margin:.25rem 0;padding:0;list-style:none;font-size:.875rem}}
.legend svg{{display:inline-block;width:.8rem;height:.8rem;vertical-align:baseline;margin:0 .35rem 0 0}}
{"".join(f".k-{kind.replace('_', '-')}{{fill:var(--{kind.replace('_', '-')})}}" for kind in KINDS)}
""",
)


def page(report: Mapping[str, Any]) -> str:
    """Return the page."""
    title = f"{report['playbook']} of {report['cluster']}"
    tone, said = RESULTS[report["result"]]
    parts = [
        f"<header>\n<h1>{text(title)}</h1>",
        f'<p class="{tone}"><strong>{said}</strong>{" (a prediction)" if report["check_mode"] else ""}</p>',
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
        "</main>",
    ]
    return document(f"{title}: {report['result']}", STYLE, parts)


def _facts(report: Mapping[str, Any]) -> str:
    by = report["by"]
    job = ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in by.items() if name != "user")
    about = {
        "Began": clock(report["began"]),
        "Ended": f"{clock(report['ended'])}, after {duration(report['seconds'])}",
        "Run": f"{report['run']}, generation {report['generation']}" if report["run"] else "it changed no node",
        "Took over from": ", ".join(report["took_over_from"]),
        "By": f"{by.get('user', '')}{f' ({job})' if job else ''}",
        "Backup": f"{report['backup']['id']}, Kubernetes {report['backup'].get('kubernetes_version', '?')}" if report["backup"] else "",
    }
    return facts(about)


def _stop(report: Mapping[str, Any]) -> str:
    stopped = report["stopped"]
    if not stopped:
        return ""
    nodes = ", ".join(one or "the cluster" for one in stopped["nodes"])
    where = " · ".join(one for one in (stopped["phase"], stopped["step"], nodes) if one)
    code = f"<strong>{text(stopped['code'])}</strong> " if stopped.get("code") else ""
    lines = [
        '<section class="stop" aria-labelledby="stop"><h2 id="stop">Where it stopped, and why</h2>',
        f'<p class="quiet">{text(clock(stopped["at"]))} · {text(where)}</p>' if where else "",
        f"<p>{code}{text(stopped['message'])}</p>",
        f"<pre>{text(stopped['cause'])}</pre>" if stopped.get("cause") else "",
        f"<p><strong>What to do:</strong> {text(stopped['remedy'])}</p>" if stopped.get("remedy") else "",
    ]
    others = report["failures"][1:]
    if others:
        listed = "".join(f"<li>{text(one['step'])} ({text(', '.join(one['nodes']))}): {text(one['message'])}</li>" for one in others)
        lines.append(f"<p>After that:</p><ul>{listed}</ul>")
    return "".join(lines) + "</section>"


def _versions(versions: Mapping[str, Any]) -> str:
    rows = []
    for node in sorted(versions["after"]):
        before, after = versions["before"].get(node, {}), versions["after"][node]
        for part in sorted(after):
            old, new = before.get(part, "?"), after[part]
            rows.append((node, part, old, new if old == new else f"→ {new}"))
    return section("Versions", ("Node", "Part", "Before", "After"), rows)


def _timeline(report: Mapping[str, Any]) -> str:
    nodes = report["nodes"]
    if not nodes:
        return ""
    legend = "".join(f"<li>{_mark(f'k-{kind}')}{name}</li>" for kind, name in KINDS.items() if _has(nodes, kind))
    for result, (mark, name) in {"failed": ("bad", "failed"), "interrupted": ("warn", "interrupted")}.items():
        if any(step["result"] == result for node in nodes for step in node["steps"]):
            legend += f"<li>{_mark(f'k-{mark}')}{name}</li>"
    attempts = [(seconds_of(one["began"]), one["seconds"]) for one in report["earlier"]] + [
        (seconds_of(report["began"]), report["seconds"])
    ]
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
        left = sum(seconds for _began, seconds in attempts[: step["attempt"]]) + max(seconds_of(step["began"]) - began, 0.0)
        kind = {"failed": "bad", "unreachable": "bad", "interrupted": "warn"}.get(step["result"], step["kind"].replace("_", "-"))
        # What took no time can be seen, too.
        start, width = min(100 * left / whole, 99.7), max(100 * step["seconds"] / whole, 0.3)
        title = text(f"{step['step']}, {duration(step['seconds'])}, {_STEP[step['result']]}")
        bars.append(
            f'<rect class="k-{kind}" x="{start:.2f}%" width="{min(width, 100 - start):.2f}%" height="100%"><title>{title}</title></rect>'
        )
    name = node["name"] or report["cluster"]
    about = "as a whole" if not node["name"] else _what(node)
    last = len(attempts) - 1
    bad = any(step["attempt"] == last and step["result"] not in ("ok", "changed", "ignored") for step in node["steps"])
    rows = [
        (
            clock(step["began"]),
            duration(step["seconds"]),
            step["step"],
            KINDS[step["kind"]],
            _STEP[step["result"]] + (f": {step['error'].get('code', '')} {step['error']['message']}" if step.get("error") else ""),
        )
        for step in node["steps"]
    ]
    return (
        f"<details{' open' if bad else ''}><summary>{text(name)} <small>{text(about)}, {len(rows)} steps</small>"
        f'<svg role="img" aria-label="{text(name)}: {len(rows)} steps">{"".join(bars)}</svg></summary>'
        f"{table(('Began', 'Took', 'Step', 'Kind', 'Result'), rows)}</details>"
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
    return section("Findings of the preflight", ("Severity", "Code", "Object", "What, and what to do"), rows)


def _gates(report: Mapping[str, Any]) -> str:
    rows = []
    for gate in report["gates"]:
        said = "; ".join(f"{one.get('code', '')}: {one.get('message', '')}" for one in gate["findings"])
        rows.append((clock(gate["at"]), gate["step"], gate["node"] or "the cluster", duration(gate["waited"]), _held(gate["held"], said)))
    for check in report["checks"]:
        answers = "; ".join(
            f"{one['name']} {'held' if not one['problem'] else one['problem']} ({one['seconds']:g} s)" for one in check["answers"]
        )
        rows.append((clock(check["at"]), check["step"], "your checks", duration(check["waited"]), _held(check["held"], answers)))
    return section("Gates and checks", ("When", "Gate", "Of", "Waited", "What it saw"), sorted(rows))


def _held(held: bool, said: str) -> str:
    return ("✓ held" if held else "✗ did not hold") + (f": {said}" if said else "")


def _evictions(evictions: Sequence[Mapping[str, Any]]) -> str:
    rows = [(clock(one["at"]), one["pod"], one["node"], "forced past its budget" if one["forced"] else "evicted") for one in evictions]
    return section(f"Evictions ({len(rows)})" if rows else "Evictions", ("When", "Pod", "Node", "How"), rows)


def _phases(phases: Iterable[Mapping[str, Any]]) -> str:
    rows = [(clock(one["began"]), one["name"], duration(one["seconds"])) for one in phases]
    return section("Phases", ("Began", "Phase", "Took"), rows)


def _earlier(earlier: Iterable[Mapping[str, Any]]) -> str:
    rows = [
        (
            clock(one["began"]),
            duration(one["seconds"]),
            RESULTS[one["result"]][1],
            (one["stopped"] or {}).get("message", ""),
            one["folder"],
        )
        for one in earlier
    ]
    return section("Runs that this one went on with", ("Began", "Took", "Result", "Why", "Report"), rows)
