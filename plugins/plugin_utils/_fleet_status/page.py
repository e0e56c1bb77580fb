# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The status of a fleet as one HTML page that asks nobody for anything. Its script only filters and sorts what is there without it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .. import _page
from .._page import clock, document, duration, folded, seconds_of, table, text

# State -> tone, mark and words: what a colour says is said without it, too.
STATES = {
    "critical": ("bad", "✗", "critical"),
    "unknown": ("bad", "?", "unknown"),
    "warning": ("warn", "!", "warning"),
    "healthy": ("good", "✓", "healthy"),
}
SEVERITIES = {"critical": ("bad", "✗ critical"), "warning": ("warn", "! warning"), "note": ("quiet", "note")}
RESULTS = {"done": ("good", "✓ ended well"), "failed": ("bad", "✗ failed"), "interrupted": ("warn", "! was interrupted")}
HEADS = ("Cluster", "Foundation", "State", "Kubernetes", "Patched until", "Certificates", "Backup", "Nodes")

STYLE = _page.style(
    _page.LIGHT,
    _page.DARK,
    """
[hidden]{display:none!important}
h3{font-size:1rem;margin:1rem 0 .3rem}
a{color:inherit}
.counts,.map{display:flex;flex-wrap:wrap;gap:.5rem;margin:.5rem 0;padding:0;list-style:none}
.counts li{background:var(--panel);padding:.3rem .75rem}
.map a{display:block;background:var(--panel);border-left:.3rem solid;padding:.3rem .6rem;text-decoration:none}
.map a:focus-visible{outline:2px solid var(--link);outline-offset:2px}
.map .name{color:var(--text)}
.controls{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:end;margin:1rem 0}
.controls label{display:grid;grid-template-columns:minmax(0,1fr);max-width:100%;color:var(--quiet);font-size:.875rem}
.controls output{font-size:.875rem}
input,select,th button{font:inherit;color:var(--text);background:var(--panel);border:1px solid var(--quiet);padding:.25rem .5rem}
input,select{max-width:100%}
th button{border:0;padding:0;background:none;color:inherit;cursor:pointer;text-align:left}
th[aria-sort=ascending] button::after{content:" ↑"}
th[aria-sort=descending] button::after{content:" ↓"}
td details{border:0;padding:.2rem 0}
ul{margin:.25rem 0;padding-left:1.2rem}
""",
)

SCRIPT = """
"use strict";
(() => {
  const find = (name) => document.getElementById(name);
  const rows = [...document.querySelectorAll("[data-words]")];
  const body = document.querySelector("#clusters tbody");
  const heads = [...document.querySelectorAll("#clusters th")];
  const order = {column: -1, down: false};

  function filter() {
    const words = find("words").value.toLowerCase().split(/\\s+/).filter(Boolean);
    const state = find("state").value, foundation = find("foundation").value;
    for (const row of rows) {
      const fits = words.every((word) => row.dataset.words.includes(word));
      const other = (state && row.dataset.state !== state) || (foundation && row.dataset.foundation !== foundation);
      row.hidden = !fits || Boolean(other);
    }
    for (const group of document.querySelectorAll("[data-group]")) {
      group.hidden = ![...group.querySelectorAll("[data-words]")].some((row) => !row.hidden);
    }
    const left = [...body.rows].filter((row) => !row.hidden).length;
    find("shown").value = `${left} of ${body.rows.length} clusters`;
  }

  function sort(column, down) {
    Object.assign(order, {column, down});
    const key = (row) => row.cells[column].dataset.key;
    const compare = (one, other) => key(one).localeCompare(key(other), "en", {numeric: true});
    body.append(...[...body.rows].sort((one, other) => (down ? compare(other, one) : compare(one, other))));
    heads.forEach((head, index) => {
      if (index === column) head.setAttribute("aria-sort", down ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    });
    find("order").value = `${column}${down ? "-" : ""}`;
  }

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    button.addEventListener("click", () => sort(column, order.column === column && !order.down));
    head.replaceChildren(button);
  });
  for (const name of ["words", "state", "foundation"]) find(name).addEventListener("input", filter);
  find("order").addEventListener("input", (event) => {
    const chosen = event.target.value;
    sort(parseInt(chosen, 10), chosen.endsWith("-"));
  });
  find("controls").hidden = false;
  filter();
})();
"""


def page(status: Mapping[str, Any]) -> str:
    """Return the page."""
    clusters = status["clusters"]
    parts = [
        f'<header>\n<h1>Status of the fleet</h1>\n<p class="quiet">As of {text(clock(status["created"]))}</p>',
        _counts(status["counts"]),
        _controls(clusters),
        "</header>\n<main>",
        _hands(clusters),
        _map(clusters),
        _releases(status["releases"]),
        _clusters(clusters),
        _timeline(clusters, status["created"]),
        "</main>",
    ]
    return document("Status of the fleet", STYLE, parts, SCRIPT)


def _counts(counts: Mapping[str, int]) -> str:
    shown = [
        f'<li class="{STATES[state][0]}">{STATES[state][1]} {number} {STATES[state][2]}</li>' for state, number in counts.items() if number
    ]
    return f'<ul class="counts">{"".join(shown)}</ul>'


def _controls(clusters: Sequence[Mapping[str, Any]]) -> str:
    """Return what filters and sorts, hidden until the script is there to do it."""
    foundations = "".join(
        f'<option value="{text(one)}">{text(one)}</option>' for one in sorted({str(one["foundation"]) for one in clusters})
    )
    states = "".join(f'<option value="{state}">{words}</option>' for state, (_tone, _mark, words) in STATES.items())
    orders = "".join(
        f'<option value="{column}">{head}</option><option value="{column}-">{head}, downwards</option>' for column, head in enumerate(HEADS)
    )
    return (
        '<div class="controls" id="controls" role="search" hidden>'
        '<label>Words<input id="words" type="search" autocomplete="off"></label>'
        f'<label>State<select id="state"><option value="">all</option>{states}</select></label>'
        f'<label>Foundation<select id="foundation"><option value="">all</option>{foundations}</select></label>'
        f'<label>Order of clusters<select id="order"><option value="">what is worst first</option>{orders}</select></label>'
        '<output id="shown" aria-live="polite"></output></div>'
    )


def _marks(cluster: Mapping[str, Any], *more: str) -> str:
    """Return the attributes by which the script finds what belongs to a cluster."""
    labels = [f"{key}={value}" for key, value in cluster["labels"].items()]
    words = [cluster["name"], cluster["foundation"], cluster["cloud"], cluster["version"], STATES[cluster["state"]][2], *labels, *more]
    said = " ".join(str(word) for word in words).lower()
    return f'data-words="{text(said)}" data-state="{cluster["state"]}" data-foundation="{text(cluster["foundation"])}"'


def _hands(clusters: Iterable[Mapping[str, Any]]) -> str:
    urgent = [(one, item) for one in clusters for item in one["items"] if item["severity"] != "note"]
    urgent.sort(key=lambda pair: pair[1]["severity"] != "critical")
    head = '<section aria-labelledby="hands"><h2 id="hands">Needs a hand today</h2>'
    if not urgent:
        return f'{head}<p class="good">✓ Nothing.</p></section>'
    rows = "".join(
        f"<tr {_marks(one, item['code'], item['message'])}>"
        f'<td data-head="Cluster">{_link(one)}</td>'
        f'<td class="{SEVERITIES[item["severity"]][0]}" data-head="How urgent">{SEVERITIES[item["severity"]][1]}</td>'
        f'<td data-head="What"><strong>{text(item["code"])}</strong> {text(item["message"])}</td>'
        f'<td data-head="What to do">{text(item["remedy"])}</td></tr>'
        for one, item in urgent
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Cluster", "How urgent", "What", "What to do"))
    return f"{head}<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></section>"


def _anchor(cluster: Mapping[str, Any]) -> str:
    return f"cluster-{cluster['name']}"


def _link(cluster: Mapping[str, Any]) -> str:
    return f'<a href="#{text(_anchor(cluster))}">{text(cluster["name"])}</a>'


def _map(clusters: Sequence[Mapping[str, Any]]) -> str:
    parts = []
    for foundation in sorted({str(one["foundation"]) for one in clusters}):
        there = sorted((one for one in clusters if one["foundation"] == foundation), key=lambda one: str(one["name"]))
        clouds = ", ".join(sorted({str(one["cloud"]) for one in there}))
        tiles = "".join(
            f'<li {_marks(one)}><a class="{STATES[one["state"]][0]}" href="#{text(_anchor(one))}">'
            f'<span class="name">{text(one["name"])}</span> '
            f"{STATES[one['state']][1]} {text(one['version'] or '?')}</a></li>"
            for one in there
        )
        about = f"{clouds}, {len(there)} cluster{'' if len(there) == 1 else 's'}"
        head = f'<h3>{text(foundation)} <small class="quiet">{text(about)}</small></h3>'
        parts.append(f'<div data-group>{head}<ul class="map">{tiles}</ul></div>')
    return f'<section aria-labelledby="map"><h2 id="map">Foundations and clusters</h2>{"".join(parts)}</section>'


def _releases(releases: Sequence[Mapping[str, Any]]) -> str:
    most = max((one["clusters"] for one in releases), default=0) or 1
    rows = []
    for one in releases:
        left = one["days_left"]
        if left is None:
            tone, said = "warn", "this release does not know it: upstream patches no minor that is older than those here"
        elif left < 0:
            tone, said = "bad", f"✗ since {one['ends']} no more"
        else:
            tone, said = ("warn" if left < 60 else "good"), f"until {one['ends']}, {left} days"
        width = f"{100 * one['clusters'] / most:.1f}%"
        share = f'<svg aria-hidden="true"><rect class="k-{tone}" width="{width}" height="100%"/></svg>'
        rows.append(
            f'<tr><td data-head="Minor">{text(one["minor"])}</td><td data-head="Newest known patch">{text(one["newest"] or "none")}</td>'
            f'<td class="{tone}" data-head="Patched upstream">{text(said)}</td><td data-head="Clusters">{one["clusters"]}{share}</td></tr>'
        )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Minor", "Newest known patch", "Patched upstream", "Clusters"))
    return (
        '<section aria-labelledby="releases"><h2 id="releases">Versions, and what upstream supports</h2>'
        f"<table><thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table></section>"
    )


def _clusters(clusters: Iterable[Mapping[str, Any]]) -> str:
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    rows = "".join(_row(one, rank) for rank, one in enumerate(clusters))
    return (
        '<section aria-labelledby="all"><h2 id="all">Clusters</h2>'
        f'<table id="clusters"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></section>'
    )


def _row(one: Mapping[str, Any], rank: int) -> str:
    tone, mark, words = STATES[one["state"]]
    wanted = "" if one["version"] == one["wanted"] else f" → {one['wanted']}"
    certificate, backup = one["certificate"], one["backup"]
    ready = sum(bool(node["ready"]) for node in one["nodes"])
    cells = (
        (one["name"], one["name"], "", _details(one)),
        (one["foundation"], one["foundation"], "", ""),
        (f"{rank:06}", f"{mark} {words}", tone, ""),
        (one["version"], f"{one['version'] or 'not known'}{wanted}", "", ""),
        (one["supported_until"] or "", one["supported_until"] or "not known", "", ""),
        (
            f"{certificate['days_left'] + 100000:06}" if certificate else "",
            f"{certificate['days_left']} days" if certificate else "not known",
            "",
            "",
        ),
        (str(backup["age"] or "") if backup else "", _age(backup), "", ""),
        (str(len(one["nodes"])), f"{ready} of {len(one['nodes'])} ready" if one["nodes"] else "not known", "", ""),
    )
    shown = "".join(
        f'<td class="{tone}" data-head="{head}" data-key="{text(key)}">{text(value)}{more}</td>'
        for head, (key, value, tone, more) in zip(HEADS, cells)
    )
    said = [item["code"] for item in one["items"]]
    return f'<tr id="{text(_anchor(one))}" {_marks(one, *said)}>{shown}</tr>'


def _age(backup: Mapping[str, Any] | None) -> str:
    if backup is None:
        return "no place"
    if backup["age"] is None:
        return "none"
    hours = int(backup["age"]) // 3600
    return f"{hours // 24} days old" if hours >= 48 else f"{hours} hours old"


def _details(one: Mapping[str, Any]) -> str:
    """Return what is folded below the name of a cluster."""
    labels = ", ".join(f"{key}={value}" for key, value in one["labels"].items())
    certificate, backup = one["certificate"], one["backup"]
    facts = {
        "Cloud": one["cloud"],
        "Labels": labels,
        "Asked": one["asked"],
        **{component: ", ".join(versions) for component, versions in one["components"].items()},
        "Half done": ", ".join(one["half_done"]),
        "Next certificate to end": f"{certificate['name']} {certificate['node']}, {certificate['ends']}" if certificate else "",
        "Backups": f"{backup['place']} {backup['id']}".strip() if backup else "",
        "Add-ons": ", ".join(f"{name} {version}" for name, version in one["addons"].items()),
    }
    items = "".join(
        f'<li><span class="{SEVERITIES[item["severity"]][0]}">{SEVERITIES[item["severity"]][1]}</span> {text(item["code"])}: '
        f"{text(item['message'])} {text(item['remedy'])}</li>"
        for item in one["items"]
    )
    nodes = table(
        ("Node", "Roles", "State", "Kubelet", "Runtime"),
        [
            (
                str(node["name"]),
                ", ".join(node["roles"] or ()) or "worker",
                ("✓ ready" if node["ready"] else "✗ not ready") + ("" if node["schedulable"] else ", takes no pods"),
                str(node["version"]),
                str(node["runtime"] or ""),
            )
            for node in one["nodes"]
        ],
    )
    listed = f"<ul>{items}</ul>" if items else ""
    return f"<details><summary>more</summary>{_page.facts(facts)}{listed}{nodes if one['nodes'] else ''}</details>"


def _timeline(clusters: Sequence[Mapping[str, Any]], created: str) -> str:
    runs = sorted(((run, one) for one in clusters for run in one["runs"]), key=lambda pair: pair[0]["began"], reverse=True)
    head = '<section aria-labelledby="timeline"><h2 id="timeline">Upgrades and last runs</h2>'
    if not runs:
        return f'{head}<p class="quiet">The reports of this controller hold no run of these clusters.</p></section>'
    now, first = seconds_of(created), seconds_of(runs[-1][0]["began"])
    whole = max(now - first, 1.0)
    lanes = ""
    for foundation in sorted({str(one["foundation"]) for _run, one in runs}):
        bars = "".join(_bar(run, one, first, whole) for run, one in runs if one["foundation"] == foundation)
        label = f"{foundation}: runs over time; the table below has them"
        lanes += f'<h3>{text(foundation)}</h3><svg role="img" aria-label="{text(label)}">{bars}</svg>'
    rows = "".join(
        f"<tr {_marks(one, run['playbook'])}>"
        f'<td class="number" data-head="Began">{text(clock(run["began"]))}</td><td data-head="Cluster">{_link(one)}</td>'
        f'<td data-head="Playbook">{text(run["playbook"])}</td><td data-head="Versions">{text(_way(run))}</td>'
        f'<td class="number" data-head="Took">{text(duration(run["seconds"]))}</td>'
        f'<td data-head="Result"><span class="{RESULTS[run["result"]][0]}">{RESULTS[run["result"]][1]}</span> {text(run["why"])}</td></tr>'
        for run, one in runs
    )
    heads = "".join(f'<th scope="col">{name}</th>' for name in ("Began", "Cluster", "Playbook", "Versions", "Took", "Result"))
    content = folded(len(runs), f"<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>")
    return f'{head}<p class="quiet">From {text(clock(runs[-1][0]["began"]))} to now. Each mark is a run.</p>{lanes}{content}</section>'


def _bar(run: Mapping[str, Any], one: Mapping[str, Any], first: float, whole: float) -> str:
    # What took no time beside months can be seen, too.
    left = min(100 * (seconds_of(run["began"]) - first) / whole, 99.4)
    width = min(max(100 * run["seconds"] / whole, 0.6), 100 - left)
    title = f"{one['name']}: {run['playbook']} {_way(run)}, {run['began'][:10]}, {RESULTS[run['result']][1]}"
    place = f'x="{left:.2f}%" width="{width:.2f}%" height="100%"'
    return f'<rect class="k-{RESULTS[run["result"]][0]}" {place}><title>{text(title)}</title></rect>'


def _way(run: Mapping[str, Any]) -> str:
    return f"{run['from']} → {run['to']}" if run["from"] != run["to"] else str(run["to"])
