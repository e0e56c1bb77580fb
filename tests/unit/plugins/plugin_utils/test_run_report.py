# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Reports of runs: what is kept, what it means, and how it is shown."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import stat
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._run_report import folder, page, record, summary
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._run_report.junit import junit
from hypothesis import given, settings
from hypothesis import strategies as st

PLANE, WORKER = "demo-control-plane-1", "demo-workers-1"
SECRETS = (
    "hunter2hunter2",
    "abcdef.0123456789abcdef",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl",
    "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC",
)
# As messages quote them.
QUOTED = (
    f"the proxy http://ops:{SECRETS[0]}@proxy.example.com:3128 refused",
    f"the proxy https://{SECRETS[0]}@proxy.example.com refused",
    f"kubeadm join 192.0.2.3:6443 --token {SECRETS[1]}",
    f"Authorization: Bearer {SECRETS[2]}",
    f"the answer was {SECRETS[2]}",
    f"-----BEGIN RSA PRIVATE KEY-----\n{SECRETS[3]}\n-----END RSA PRIVATE KEY-----",
    f"-----BEGIN PRIVATE KEY-----\n{SECRETS[3]}",
    f'{{"password": "{SECRETS[0]}"}}',
    f"AWS_SECRET={SECRETS[0]}, region eu-west-1",
)


class Story:
    """The records of a run, second by second."""

    def __init__(self, playbook: str = "cluster_upgrade", at: float = 1_800_000_000.0) -> None:
        self.at = at
        self.records: list[dict[str, Any]] = []
        self.add(
            "run",
            0,
            cluster="demo",
            playbook=playbook,
            wanted="1.36.3",
            check_mode=False,
            by={"user": "ops"},
            made_with={"ansible_core": "2.19"},
        )
        self.add("phase", 0, name="Upgrade")

    def add(self, kind: str, seconds: float = 1.0, **fields: Any) -> Story:
        self.at += seconds
        self.records.append({"kind": kind, "at": self.at, **fields})
        return self

    def about(self, action: str, node: str) -> dict[str, Any]:
        role = "" if not node else "control_plane" if node == PLANE else "worker"
        return {
            "host": node or "demo.cluster",
            "task": f"{action}-{len(self.records)}",
            "title": f"Do {action}",
            "action": action,
            "step_kind": record.kind_of(f"{record.COLLECTION}{action}"),
            "phase": "Upgrade",
            "node": node,
            "role": role,
            "pool": "workers" if role == "worker" else "",
        }

    def begin(self, action: str, node: str = "") -> Story:
        return self.add("begin", 0, **self.about(action, node))

    def did(self, action: str, node: str = "", status: str = "changed", seconds: float = 5.0, **more: Any) -> Story:
        fields = {"detail": {}, "told": True, **self.about(action, node), **more}
        return self.add("result", seconds, began=self.at, status=status, **fields)

    def end(self, *failed: str) -> Story:
        return self.add("end", failed=list(failed), unreachable=[])


def finding(code: str, severity: str = "blocker", acknowledged: bool = False) -> dict[str, Any]:
    return {
        "code": code,
        "severity": severity,
        "object": "node/a",
        "message": "It is so.",
        "remedy": "Do it.",
        "acknowledged": acknowledged,
    }


def ended_well() -> Story:
    old = {"control_planes": {PLANE: {"kube-apiserver": "1.35.4", "etcd": "3.6.6"}}, "kubelets": {PLANE: "1.35.4", WORKER: "1.35.4"}}
    new = {"control_planes": {PLANE: {"kube-apiserver": "1.36.3", "etcd": "3.6.8"}}, "kubelets": {PLANE: "1.36.3", WORKER: "1.36.3"}}
    story = Story()
    story.did("cluster_versions", detail=old, status="ok", told=False)
    story.did(
        "upgrade_preflight", status="ok", detail={"findings": [finding("UPGRADE_SINGLE_REPLICA", acknowledged=True), finding("B", "info")]}
    )
    story.did("etcd_backup", detail={"backup": {"id": "20261123T040000Z-1a2b3c4d", "kubernetes_version": "1.35.4"}})
    story.add("fence", run="awx-4711", generation=12)
    story.begin("kubeadm_upgrade", PLANE)
    story.did(
        "kubeadm_upgrade", PLANE, task=story.records[-1]["task"], detail={"versions": {"kubelet": "1.35.4", "kube-apiserver": "1.36.3"}}
    )
    story.did("node_drain", WORKER, detail={"evicted": ["shop/web-1", "shop/web-2"], "forced": ["shop/web-2"], "drained": True})
    story.did("cluster_health", WORKER, status="ok", detail={"healthy": True, "waited": 3.2, "findings": []})
    story.did(
        "health_checks", status="ok", detail={"checks": [{"name": "the shop answers", "problem": "", "seconds": 0.1}], "failures": []}
    )
    return story.did("cluster_versions", detail=new, status="ok", told=False).end()


def stopped() -> Story:
    error = {"code": "CHECK_FAILED", "message": "Of 1 checks, 1 did not hold.", "remedy": "Mend it.", "cause": "503 < 200 & more"}
    story = Story().did("node_drain", WORKER, detail={"evicted": ["shop/web-1"]})
    return story.did("health_checks", status="failed", error=error, detail={"failures": ["the shop answers: 503"]}).end(WORKER)


def killed() -> Story:
    return (
        Story()
        .did("node_drain", PLANE, detail={"evicted": ["shop/web-0"]})
        .begin("kubeadm_upgrade", PLANE)
        .begin("kubeadm_upgrade", WORKER)
    )


def test_a_run_that_ended_well() -> None:
    report = summary.build(ended_well().records)
    assert (report["result"], report["stopped"], report["failures"]) == ("done", None, [])
    assert (report["run"], report["generation"]) == ("awx-4711", 12)
    assert report["versions"]["before"][PLANE] == {"kube-apiserver": "1.35.4", "etcd": "3.6.6", "kubelet": "1.35.4"}
    assert report["versions"]["after"] == {
        PLANE: {"kube-apiserver": "1.36.3", "etcd": "3.6.8", "kubelet": "1.36.3"},
        WORKER: {"kubelet": "1.36.3"},
    }
    assert [(one["node"], one["pod"], one["forced"]) for one in report["evictions"]] == [
        (WORKER, "shop/web-1", False),
        (WORKER, "shop/web-2", True),
    ]
    assert [one["code"] for one in report["findings"]] == ["UPGRADE_SINGLE_REPLICA", "B"]
    assert report["backup"]["id"] == "20261123T040000Z-1a2b3c4d"
    assert [(gate["held"], gate["waited"]) for gate in report["gates"]] == [(True, 3.2)]
    assert [check["answers"][0]["name"] for check in report["checks"]] == ["the shop answers"]
    assert [node["name"] for node in report["nodes"]] == ["", PLANE, WORKER]
    assert [step["kind"] for step in report["nodes"][2]["steps"]] == ["drain", "gate"]
    assert json.loads(json.dumps(report)) == report


def test_a_run_that_stopped_says_where_and_why() -> None:
    report = summary.build(stopped().records)
    assert report["result"] == "failed"
    assert (report["stopped"]["code"], report["stopped"]["nodes"], report["stopped"]["step"]) == ("CHECK_FAILED", [""], "Do health_checks")
    assert report["checks"][0]["held"] is False and report["checks"][0]["failures"] == ["the shop answers: 503"]


def test_a_run_that_was_killed_names_the_step_that_it_was_at() -> None:
    report = summary.build(killed().records)
    assert report["result"] == "interrupted"
    assert report["stopped"]["nodes"] == [PLANE, WORKER] and report["stopped"]["step"] == "Do kubeadm_upgrade"
    assert [step["result"] for step in report["nodes"][0]["steps"]] == ["changed", "interrupted"]


def test_a_run_names_those_that_it_took_the_nodes_from() -> None:
    signs = [{"run": "awx-1", "ended": True}, {"run": "awx-2", "ended": False}, {"run": "", "ended": True}]
    story = Story()
    for sign in signs:
        story.did("node_fence", PLANE, status="ok", told=False, detail={"sign": sign})
    assert summary.build([*story.records, {"kind": "end", "at": story.at, "failed": [], "unreachable": []}])["took_over_from"] == []
    story.add("fence", run="awx-3", generation=7).did(
        "node_fence", PLANE, status="ok", told=False, detail={"sign": {"run": "awx-3", "ended": False}}
    )
    report = summary.build(story.end().records)
    assert report["took_over_from"] == ["awx-2"]
    assert "Took over from" in page.page(report) and "Took over from" not in page.page(summary.build(ended_well().records))


def test_what_fails_alike_on_several_nodes_is_one_entry() -> None:
    error = {"message": "no space left"}
    story = Story()
    for node in (PLANE, WORKER):
        story.did("node_files", node, status="failed", error=error)
    (failure,) = summary.build(story.end(PLANE).records)["failures"]
    assert failure["nodes"] == [PLANE, WORKER]


def test_the_run_that_goes_on_tells_of_those_before_it() -> None:
    report = summary.build(ended_well().records, [("a", killed().records), ("b", stopped().records)])
    assert report["result"] == "done" and report["stopped"] is None
    assert [(one["folder"], one["result"]) for one in report["earlier"]] == [("a", "interrupted"), ("b", "failed")]
    assert [one["pod"] for one in report["evictions"]] == ["shop/web-0", "shop/web-1", "shop/web-1", "shop/web-2"]
    plane = next(node for node in report["nodes"] if node["name"] == PLANE)
    assert [(step["attempt"], step["result"]) for step in plane["steps"]] == [(0, "changed"), (0, "interrupted"), (2, "changed")]
    # What the earlier ones failed at is no failure of this run.
    assert ElementTree.fromstring(junit(report)).get("failures") == "0"


def test_a_row_of_runs_ends_at_one_that_ended_well() -> None:
    header = Story().records[0]
    others = [("5", stopped().records), ("4", Story("cluster_status").end().records), ("3", killed().records)]
    done, before = ("2", ended_well().records), ("1", stopped().records)
    assert [name for name, _records in summary.pick_earlier(header, [*others, done, before])] == ["3", "5"]
    restored = ("2", Story("cluster_restore").end().records)
    assert [name for name, _records in summary.pick_earlier(header, [*others, restored, before])] == ["3", "5"]
    failed = ("2", Story("cluster_restore").end(PLANE).records)
    assert [name for name, _records in summary.pick_earlier(header, [*others, failed, before])] == ["1", "3", "5"]


def test_junit_has_a_suite_per_node_and_says_what_failed() -> None:
    root = ElementTree.fromstring(junit(summary.build(stopped().records)))
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["demo", WORKER, "run"]
    assert (root.get("tests"), root.get("failures")) == ("3", "2")
    failure = suites["demo"].find("testcase/failure")
    assert failure is not None and failure.get("type") == "CHECK_FAILED" and "Mend it." in (failure.text or "")


def test_a_finding_that_was_acknowledged_is_skipped_in_junit() -> None:
    story = Story().did("upgrade_preflight", detail={"findings": [finding("A", acknowledged=True), finding("B"), finding("C", "warning")]})
    (suite,) = [one for one in ElementTree.fromstring(junit(summary.build(story.end().records))) if one.get("name") == "findings"]
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "1", "1")


class Page(HTMLParser):
    """What a browser would see of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.said: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.said.append(data)


@pytest.mark.parametrize("story", [ended_well(), stopped(), killed()])
def test_the_page_asks_nobody_for_anything(story: Story) -> None:
    text = page.page(summary.build(story.records, [("a", killed().records)]))
    seen = Page(text)
    names = {tag for tag, _attributes in seen.tags}
    assert not names & {
        "script",
        "link",
        "img",
        "iframe",
        "object",
        "embed",
        "base",
        "form",
        "a",
        "video",
        "audio",
        "source",
        "foreignobject",
    }
    attributes = {name for _tag, given in seen.tags for name in given}
    assert not {name for name in attributes if name.startswith("on")} | (attributes & {"style", "src", "href", "srcset", "action"})
    assert "://" not in text and "url(" not in text and "@import" not in text
    (policy,) = [given["content"] for tag, given in seen.tags if tag == "meta" and given.get("http-equiv") == "Content-Security-Policy"]
    style = re.search(r"<style>(.*?)</style>", text, re.DOTALL)
    assert style and policy and policy.startswith("default-src 'none';")
    assert base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode() in policy
    identifiers = [given["id"] for _tag, given in seen.tags if "id" in given]
    assert len(identifiers) == len(set(identifiers))
    assert {given["aria-labelledby"] for _tag, given in seen.tags if "aria-labelledby" in given} == set(identifiers)


def test_the_page_says_where_it_stopped() -> None:
    said = " ".join(Page(page.page(summary.build(stopped().records))).said)
    for words in (
        "Where it stopped, and why",
        "CHECK_FAILED",
        "Of 1 checks, 1 did not hold.",
        "503 < 200 & more",
        "Mend it.",
        "shop/web-1",
    ):
        assert words in said


def test_a_long_table_is_folded() -> None:
    def folds(pods: int) -> int:
        story = Story().did("node_drain", WORKER, detail={"evicted": [f"shop/web-{number}" for number in range(pods)]}).end()
        return sum(tag == "details" for tag, _attributes in Page(page.page(summary.build(story.records))).tags)

    assert (folds(40), folds(41)) == (1, 2)  # one is the node's


def _luminance(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (one / 12.92 if one <= 0.04045 else ((one + 0.055) / 1.055) ** 2.4 for one in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    high, low = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("colours", [page.LIGHT, page.DARK], ids=["light", "dark"])
def test_colours_can_be_told_from_what_is_behind_them(colours: dict[str, str]) -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    for behind in ("page", "panel"):
        for text in ("text", "quiet", "good", "bad", "warn"):
            assert contrast(colours[text], colours[behind]) >= 4.5, (text, behind)
    for kind in page.KINDS:
        assert contrast(colours[kind], colours["panel"]) >= 3, kind


def _with(text: str) -> dict[str, Any]:
    """Return a report with ``text`` wherever a text comes from elsewhere."""
    error = {"code": text, "message": text, "remedy": text, "cause": text}
    story = Story()
    story.records[0].update(cluster=text or "demo", by={"user": text, "job_id": text})
    story.did("upgrade_preflight", detail={"findings": [{"code": text, "severity": text, "object": text, "message": text, "remedy": text}]})
    story.did("node_drain", text, title=text, phase=text, detail={"evicted": [text]})
    story.did("health_checks", status="failed", error=error, detail={"checks": [{"name": text, "problem": text, "seconds": 1.0}]})
    return summary.build(story.end("a").records, [(text, stopped().records)])


PLAIN = Page(page.page(_with("plain")))


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.text(), st.sampled_from(["<script>alert(1)</script>", '"><b onclick="x">', "</style><style>", "]]>", "&amp;", "\x00\ufffe"])
    )
)
def test_no_text_becomes_a_part_of_the_page_or_breaks_the_xml(text: str) -> None:
    report = _with(text)
    seen = Page(page.page(report))
    assert {tag for tag, _attributes in seen.tags} <= {tag for tag, _attributes in PLAIN.tags}
    assert {name for _tag, given in seen.tags for name in given} <= {name for _tag, given in PLAIN.tags for name in given}
    page.page(report).encode()
    ElementTree.fromstring(junit(report))


def test_the_last_run_and_the_upgrades_before_it_are_found_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folder.recent(tmp_path, "demo", 5) == []
    begins = ("20261120T070000Z", "20261121T070000Z", "20261122T070000Z", "20261123T070000Z", "20261123T080000Z")
    playbooks = ("cluster_upgrade", "cluster_backup", "cluster_upgrade", "cluster_backup", "cluster_apply")
    for began, playbook in zip(begins, playbooks):
        path = tmp_path / "demo" / f"{began}-{playbook}"
        path.mkdir(parents=True)
        if playbook == "cluster_apply":  # made by hand, and no report
            (path / folder.JSON).write_text("{}")
            continue
        report = summary.build((stopped() if began.startswith("20261122") else ended_well()).records)
        (path / folder.JSON).write_text(json.dumps({**report, "playbook": playbook}))
    # A killed one has a journal only.
    path = tmp_path / "demo" / "20261119T070000Z-cluster_upgrade"
    path.mkdir()
    records = [{**one, "schema": 1} if one["kind"] == "run" else one for one in killed().records]
    (path / folder.JOURNAL).write_text("".join(f"{json.dumps(one)}\n" for one in records))
    found = folder.recent(tmp_path, "demo", 5)
    assert [(one["playbook"], one["result"]) for one in found] == [
        ("cluster_backup", "done"),
        ("cluster_upgrade", "failed"),
        ("cluster_upgrade", "done"),
        ("cluster_upgrade", "interrupted"),
    ]
    assert (found[2]["from"], found[2]["to"]) == ("1.35.4", "1.36.3")
    assert found[1]["why"] == "Of 1 checks, 1 did not hold." and found[1]["remedy"] == "Mend it."
    assert len(folder.recent(tmp_path, "demo", 2)) == 2
    monkeypatch.setenv("FLOTILLA_REPORT_DIR", str(tmp_path))
    assert folder.directory_of(None) == tmp_path and folder.directory_of("none") is None


@pytest.mark.parametrize("text", QUOTED)
def test_messages_lose_the_secrets_that_they_quote(text: str) -> None:
    assert any(secret in text for secret in SECRETS)
    kept = json.dumps(record.clean({"message": [text]}))
    assert not any(secret in kept for secret in SECRETS), kept


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.sampled_from(QUOTED))
def test_secrets_are_found_between_other_words(before: str, after: str, text: str) -> None:
    kept = record.clean(f"{before} {text} {after}")
    assert not any(secret in kept for secret in SECRETS if secret not in before + after)


def test_what_is_no_secret_stays_readable() -> None:
    text = "pod shop/web-5d5c7 on demo-workers-1: https://shop.example.com/healthz answered 503; sha256:" + "0a" * 32
    assert record.clean(text) == text
    assert len(record.clean("x" * 100_000)) < 5_000 and record.clean("x" * 100_000).endswith("...")


def test_a_secret_at_the_end_of_a_long_text_is_not_cut_in_two() -> None:
    for length in range(3900, 4010, 7):
        assert "eyJ" not in record.clean("word " * (length // 5) + "x" * (length % 5) + " " + SECRETS[2] + " more " * 100)


def test_only_known_fields_are_kept() -> None:
    fields = {
        "evicted": ["a/b"],
        "token": SECRETS[1],
        "invocation": {"module_args": {"key": SECRETS[0]}},
        "stdout": SECRETS[0],
        "changed": True,
    }
    assert record.detail_of("flotilla.kubernetes.node_drain", fields) == {"evicted": ["a/b"]}
    assert record.detail_of("ansible.builtin.command", fields) == record.detail_of("somebody.else.node_drain", fields) == {}


def test_an_error_is_told_in_parts_and_a_hidden_one_is_not() -> None:
    fields = {"msg": "It broke. Mend it.", "code": "BROKEN", "remedy": "Mend it.", "cause": "rc 1", "stdout": SECRETS[0]}
    assert record.error_of(fields, False) == {"code": "BROKEN", "remedy": "Mend it.", "cause": "rc 1", "message": "It broke."}
    assert record.error_of(fields, True) == {"message": record.HIDDEN}
    assert record.error_of({"msg": "One or more items failed", "results": [{"failed": True, "censored": "x", "msg": "y"}]}, False) == {
        "message": record.HIDDEN
    }


def _journal(directory: Path, story: Story, finish: bool = True, keep: int = 50) -> folder.Journal:
    journal = folder.Journal(directory, "demo", story.records[0]["playbook"])
    for one in story.records:
        journal.write(**{name: value for name, value in one.items() if name != "at"})
    if finish:
        journal.finish(keep)
    return journal


def _reports(directory: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in sorted(directory.glob("demo/*/report.json"))]


def test_files_belong_to_their_owner_alone(tmp_path: Path) -> None:
    directory = tmp_path / "reports"
    journal = _journal(directory, ended_well())
    assert sorted(path.name for path in journal.folder.iterdir()) == ["journal.jsonl", "report.html", "report.json", "report.xml"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in journal.folder.iterdir()} == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (journal.folder, directory / "demo")} == {0o700}


def test_the_next_run_reports_of_one_that_was_killed(tmp_path: Path) -> None:
    dead = _journal(tmp_path, killed(), finish=False)
    dead._file.write('{"kind": "res')  # it died while it wrote
    dead._file.close()
    _journal(tmp_path, ended_well())
    first, second = _reports(tmp_path)
    assert (first["result"], second["result"]) == ("interrupted", "done")
    assert [one["folder"] for one in second["earlier"]] == [dead.folder.name]


def test_a_run_that_still_goes_on_is_left_alone(tmp_path: Path) -> None:
    other = _journal(tmp_path, killed(), finish=False)
    program = "import fcntl, sys; file = open(sys.argv[1], 'r+'); fcntl.lockf(file, fcntl.LOCK_EX); print(flush=True); sys.stdin.read()"
    other._file.close()
    with subprocess.Popen(
        [sys.executable, "-c", program, str(other.folder / "journal.jsonl")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stdout.readline()
        _journal(tmp_path, ended_well(), keep=1)
        process.kill()
    (report,) = _reports(tmp_path)
    assert report["earlier"] == [] and other.folder.exists()


def test_what_another_release_wrote_is_left_alone(tmp_path: Path) -> None:
    other = _journal(tmp_path, killed(), finish=False)
    other._file.close()
    journal = other.folder / "journal.jsonl"
    assert '"schema": 1' in journal.read_text()
    journal.write_text(journal.read_text().replace('"schema": 1', '"schema": 2').replace('"told"', '"new"'))
    _journal(tmp_path, ended_well())
    (report,) = _reports(tmp_path)
    assert report["result"] == "done" and report["earlier"] == []


def test_the_oldest_reports_go(tmp_path: Path) -> None:
    names = [_journal(tmp_path, ended_well(), keep=2).folder.name for _number in range(3)]
    assert sorted(path.name for path in (tmp_path / "demo").iterdir()) == names[1:]


def test_what_is_not_a_report_is_not_touched(tmp_path: Path) -> None:
    strange = tmp_path / "demo" / "0-somebody's"
    strange.mkdir(parents=True)
    (strange / "notes").touch()
    (tmp_path / "demo" / "1").touch()
    _journal(tmp_path, ended_well(), keep=1)
    assert (strange / "notes").exists() and (tmp_path / "demo" / "1").exists()
