# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a collector of the user's gets of runs and fleets, and what happens where it does not take it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _telemetry
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._telemetry import endpoint_of, fleet_measures, send_fleet, send_run

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "support"))
import collector

DASHBOARD = Path(__file__).resolve().parents[4] / "docs/dashboards/fleet.json"


def step(name: str, result: str, attempt: int = 1) -> dict[str, Any]:
    times = {"began": "2026-11-23T07:31:00.000Z", "ended": "2026-11-23T07:32:00.500Z"}
    return {"step": name, "kind": "other", "phase": "Upgrade", "result": result, "attempt": attempt, **times}


DRAIN = step("Drain", "interrupted", 0)
REPORT: dict[str, Any] = {
    "cluster": "payments",
    "playbook": "cluster_upgrade",
    "result": "failed",
    "check_mode": False,
    "began": "2026-11-23T07:30:11.250Z",
    "ended": "2026-11-23T07:37:03.850Z",
    "seconds": 412.6,
    "run": "awx-4711",
    "by": {"user": "ops", "job_id": 4711},
    "stopped": {"step": "Ask the checks", "message": "the shop answered 503"},
    "versions": {"wanted": "1.36.3", "before": {}, "after": {}},
    "findings": [{"code": "NODE_DISK", "severity": "warning", "object": "node/a", "message": "little space"}],
    "gates": [{"waited": 3.5}, {"waited": 4.0}],
    "evictions": [{"at": "2026-11-23T07:32:40.114Z", "node": "a", "pod": "kube-system/coredns-1", "forced": False}],
    "earlier": [{"folder": "before"}],
    "nodes": [
        {"name": "a", "steps": [DRAIN, {**DRAIN, "result": "changed", "attempt": 1}]},
        {"name": "", "steps": [{**step("Ask the checks", "failed"), "error": {"message": "the shop answered 503"}}]},
    ],
}
FLEET: dict[str, Any] = {
    "created": "2026-11-24T00:00:00Z",
    "clusters": [
        {
            "name": "payments",
            "foundation": "production",
            "cloud": "aws",
            "state": "warning",
            "version": "1.35.4",
            "wanted": "1.36.3",
            "nodes": [{"ready": True}, {"ready": False}],
            "certificate": {"ends": "2027-01-01T00:00:00Z"},
            "backup": {"place": "s3", "age": 3600, "id": "b"},
            "items": [{"severity": "warning"}, {"severity": "warning"}, {"severity": "note"}],
        },
        {
            "name": "silent",
            "foundation": "production",
            "cloud": "aws",
            "state": "unknown",
            "version": "",
            "wanted": "1.36.3",
            "nodes": [],
            "certificate": None,
            "backup": {"place": "s3", "age": None, "id": ""},
            "items": [{"severity": "critical"}],
        },
    ],
}


@pytest.fixture
def there() -> Iterator[collector.Collector]:
    with collector.listening() as one:
        yield one


def test_a_run_is_a_trace_with_a_span_for_each_step_of_its_own(there):
    send_run(REPORT, there.url)
    root, *steps = sorted(there.spans, key=lambda span: span.parent_span_id != b"")
    assert root.name == "cluster_upgrade payments" and root.status.message == "the shop answered 503"
    assert (root.end_time_unix_nano - root.start_time_unix_nano) / 1e9 == 412.6
    about = collector.attributes(root.attributes)
    assert about["flotilla.run"] == "awx-4711" and about["flotilla.by.job_id"] == "4711" and about["flotilla.versions.wanted"] == "1.36.3"
    assert [event.name for event in root.events] == ["finding", "eviction"]
    assert {span.parent_span_id for span in steps} == {root.span_id} and {span.trace_id for span in steps} == {root.trace_id}
    seen = {span.name: (collector.attributes(span.attributes).get("k8s.node.name"), span.status.code) for span in steps}
    assert seen == {"Drain": ("a", 0), "Ask the checks": (None, 2)}, "steps of the run before are in its own trace"
    numbers = {name: value for name, value, _about in there.points}
    assert (
        numbers["flotilla.run.duration"] == 412.6 and numbers["flotilla.run.evictions"] == 1 and numbers["flotilla.run.gates.waited"] == 7.5
    )
    assert {(about["k8s.cluster.name"], about["result"]) for _name, _value, about in there.points} == {("payments", "failed")}


def test_a_fleet_has_numbers_of_what_is_known_and_none_of_what_is_not(there):
    send_fleet(FLEET, there.url)
    seen = {(about["k8s.cluster.name"], name): value for name, value, about in there.points if "severity" not in about}
    assert seen["payments", "flotilla.cluster.certificate.ends"] == 1798761600.0
    assert seen["payments", "flotilla.cluster.backup.age"] == 3600
    assert (seen["payments", "flotilla.cluster.nodes"], seen["payments", "flotilla.cluster.nodes.ready"]) == (2, 1)
    assert {name for cluster, name in seen if cluster == "silent"} == {
        "flotilla.cluster.seen",
        "flotilla.cluster.nodes",
        "flotilla.cluster.nodes.ready",
    }
    findings = {(about["k8s.cluster.name"], about["severity"]): value for name, value, about in there.points if "severity" in about}
    none = {(name, severity): 0 for name in ("payments", "silent") for severity in ("critical", "warning", "note")}
    assert findings == none | {("payments", "warning"): 2, ("payments", "note"): 1, ("silent", "critical"): 1}


@pytest.mark.parametrize("status", [400, 401, 404])
def test_a_collector_that_refuses_is_named(there, status):
    there.status = status
    with pytest.raises(FlotillaError) as caught:
        send_fleet(FLEET, there.url)
    assert caught.value.code == "TELEMETRY_NOT_SENT" and there.url in caught.value.message and there.requests == 1


def test_nobody_there_is_an_error_in_time(monkeypatch):
    monkeypatch.setattr(_telemetry, "_TIMEOUT", 1)
    with pytest.raises(FlotillaError, match="did not take"):
        send_fleet(FLEET, "http://127.0.0.1:9")


def test_headers_come_from_the_environment_and_go_to_the_collector_only(there, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20hunter2hunter2")
    send_fleet(FLEET, there.url)
    assert there.headers[0]["authorization"] == "Bearer hunter2hunter2"
    there.status = 401
    with pytest.raises(FlotillaError) as caught:
        send_fleet(FLEET, there.url)
    assert "hunter2" not in str(caught.value) + json.dumps(caught.value.as_result())


@pytest.mark.parametrize("given", ["collector:4318", "ftp://collector", "https://ops:hunter2@collector:4318", "https://", "https://c?x=1"])
def test_what_is_no_collector_has_one_clear_error(given):
    with pytest.raises(FlotillaError) as caught:
        endpoint_of(given)
    assert caught.value.code == "TELEMETRY_ENDPOINT_WRONG" and "hunter2" not in str(caught.value)


def test_without_a_word_nothing_is_sent(monkeypatch):
    monkeypatch.delenv("FLOTILLA_TELEMETRY_ENDPOINT", raising=False)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector.example.com:4318")
    assert endpoint_of(None) == "", "what others send is no consent"
    monkeypatch.setenv("FLOTILLA_TELEMETRY_ENDPOINT", "http://collector.example.com:4318/")
    assert endpoint_of(None) == "http://collector.example.com:4318"
    assert endpoint_of("none") == endpoint_of("") == "", "a variable wins"


def test_the_dashboard_asks_for_what_is_sent():
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    asked = set(re.findall(r"\bflotilla_[a-z_]+", json.dumps([panel["targets"] for panel in dashboard["panels"]])))
    measures = [*fleet_measures(FLEET), *_telemetry.run_measures(REPORT)]
    # https://prometheus.io/docs/guides/opentelemetry/: dots become underscores, and the unit of seconds is added.
    sent = {name.replace(".", "_") + ("_seconds" if unit == "s" else "") for name, unit, _value, _about in measures}
    labels = {label.replace(".", "_") for _name, _unit, _value, about in measures for label in about}
    assert asked & sent and asked <= sent | labels, asked - sent
