# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs and the state of fleets, for a collector of the user's that speaks OpenTelemetry (private to flotilla.kubernetes).

Nothing is sent unless somebody names a collector. What is sent is in the reports already, without secrets. Headers, certificates and
compression are set by the variables of the environment that every exporter of OpenTelemetry reads (``OTEL_EXPORTER_OTLP_HEADERS`` ...):
https://opentelemetry.io/docs/specs/otel/protocol/exporter/
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from ..module_utils._errors import FlotillaError
from ..module_utils._moments import parse
from ._fleet_status.page import SEVERITIES

SCOPE = "flotilla.kubernetes"
_NOBODY = ("", "none", "false")
_TIMEOUT = 10  # seconds that one request may take, its further tries among them
# Name, unit, value, and what it is of.
Measure = tuple[str, str, float, Mapping[str, str]]


def endpoint_of(given: Any) -> str:
    """Return the URL of the collector, empty where nothing is to be sent.

    :param given: the variable ``flotilla_telemetry_endpoint``, or None without one.
    :raises FlotillaError: ``TELEMETRY_ENDPOINT_WRONG``.
    """
    named = str(given if given is not None else os.environ.get("FLOTILLA_TELEMETRY_ENDPOINT") or "").strip()
    if named.lower() in _NOBODY:
        return ""
    found = urlsplit(named)
    if found.scheme not in ("http", "https") or not found.hostname or found.username or found.query or found.fragment:
        raise FlotillaError(
            "TELEMETRY_ENDPOINT_WRONG",
            "flotilla_telemetry_endpoint (or FLOTILLA_TELEMETRY_ENDPOINT) is no URL of a collector.",
            "Write it like https://collector.example.com:4318; a user's name and password belong into OTEL_EXPORTER_OTLP_HEADERS.",
        )
    return named.rstrip("/")


def send_run(report: Mapping[str, Any], endpoint: str) -> None:
    """Send the report of a run: a trace with a span for each step of each node, and its numbers.

    :raises FlotillaError: ``TELEMETRY_PACKAGES_MISSING`` or ``TELEMETRY_NOT_SENT``.
    """
    _send(endpoint, "traces", lambda sdk: sdk.spans(report))
    _send(endpoint, "metrics", lambda sdk: sdk.measures(run_measures(report)))


def send_fleet(status: Mapping[str, Any], endpoint: str) -> None:
    """Send the state of a fleet: versions, ends of certificates, ages of backups.

    :raises FlotillaError: ``TELEMETRY_PACKAGES_MISSING`` or ``TELEMETRY_NOT_SENT``.
    """
    _send(endpoint, "metrics", lambda sdk: sdk.measures(fleet_measures(status)))


def run_measures(report: Mapping[str, Any]) -> list[Measure]:
    """Return the numbers of a run."""
    labels = {"k8s.cluster.name": report["cluster"], "playbook": report["playbook"], "result": report["result"]}
    return [
        ("flotilla.run.duration", "s", report["seconds"], labels),
        ("flotilla.run.ended", "s", parse(report["ended"]).timestamp(), labels),
        ("flotilla.run.evictions", "{pod}", len(report["evictions"]), labels),
        ("flotilla.run.gates.waited", "s", sum(gate["waited"] for gate in report["gates"]), labels),
    ]


def fleet_measures(status: Mapping[str, Any]) -> list[Measure]:
    """Return the numbers of a fleet. What is not known of a cluster has none, so that nobody takes it for zero."""
    found: list[Measure] = []
    seen = parse(status["created"]).timestamp()
    for one in status["clusters"]:
        cluster = {"k8s.cluster.name": one["name"], "flotilla.foundation": one["foundation"], "cloud.provider": one["cloud"]}
        # With a moment as value, a series of what was before can be told from that of what is.
        about = {**cluster, "state": one["state"], "version": one["version"], "wanted": one["wanted"]}
        found.append(("flotilla.cluster.seen", "s", seen, about))
        found.append(("flotilla.cluster.nodes", "{node}", len(one["nodes"]), cluster))
        found.append(("flotilla.cluster.nodes.ready", "{node}", sum(bool(node["ready"]) for node in one["nodes"]), cluster))
        if one["certificate"]:
            found.append(("flotilla.cluster.certificate.ends", "s", parse(one["certificate"]["ends"]).timestamp(), cluster))
        if one["backup"] and one["backup"].get("age") is not None:
            found.append(("flotilla.cluster.backup.age", "s", float(one["backup"]["age"]), cluster))
        for severity in SEVERITIES:
            number = sum(item["severity"] == severity for item in one["items"])
            found.append(("flotilla.cluster.findings", "{finding}", number, {**cluster, "severity": severity}))
    return found


def _send(endpoint: str, signal: str, make: Callable[[_Sdk], Any]) -> None:
    sdk = _Sdk()
    exporter = sdk.exporter(signal, f"{endpoint}/v1/{signal}")
    try:
        result = exporter.export(make(sdk))
    except Exception as error:  # whatever a proxy, a certificate or a header of the user's makes of it
        raise _not_sent(endpoint, error) from error
    finally:
        exporter.shutdown()
    if result.name != "SUCCESS":
        raise _not_sent(endpoint, None)


def _not_sent(endpoint: str, cause: Exception | None) -> FlotillaError:
    return FlotillaError(
        "TELEMETRY_NOT_SENT",
        f"The collector {endpoint} did not take what was to be sent.",
        "Nothing else of the run depends on it, and the report has it all. See that it takes OTLP over HTTP there.",
        cause,
    )


class _Sdk:
    """OpenTelemetry's SDK, which is loaded only where somebody wants it."""

    def __init__(self) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        except ImportError as error:
            raise FlotillaError(
                "TELEMETRY_PACKAGES_MISSING",
                f"Telemetry needs the Python package opentelemetry-exporter-otlp-proto-http on the controller ({error}).",
                "Install it: pip install opentelemetry-exporter-otlp-proto-http.",
            ) from error
        self._exporters = {"traces": OTLPSpanExporter, "metrics": OTLPMetricExporter}

    def exporter(self, signal: str, url: str) -> Any:
        return self._exporters[signal](endpoint=url, timeout=_TIMEOUT)

    def _resource(self, attributes: Mapping[str, str]) -> Any:
        from opentelemetry.sdk.resources import Resource

        return Resource.create({"service.name": SCOPE, **attributes})

    def spans(self, report: Mapping[str, Any]) -> Any:
        """Return the finished spans of a run: the run itself, and below it each step of each node."""
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from opentelemetry.trace import set_span_in_context
        from opentelemetry.trace.status import Status, StatusCode

        kept = InMemorySpanExporter()
        provider = TracerProvider(resource=self._resource({"k8s.cluster.name": report["cluster"]}), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(kept))
        tracer = provider.get_tracer(SCOPE)
        root = tracer.start_span(
            f"{report['playbook']} {report['cluster']}", start_time=_nanoseconds(report["began"]), attributes=_of_run(report)
        )
        below = set_span_in_context(root)
        for item in report["findings"]:
            attributes = {key: str(item[key]) for key in ("code", "severity", "object", "message") if item.get(key)}
            root.add_event("finding", attributes, _nanoseconds(report["began"]))
        for item in report["evictions"]:
            attributes = {"k8s.node.name": item["node"], "k8s.pod.name": item["pod"], "forced": item["forced"]}
            root.add_event("eviction", attributes, _nanoseconds(item["at"]))
        for node in report["nodes"]:
            for step in node["steps"]:
                if step["attempt"] != len(report["earlier"]):
                    continue  # of an earlier run, which has a trace of its own
                attributes = {"flotilla.step.kind": step["kind"], "flotilla.phase": step["phase"], "flotilla.result": step["result"]}
                if node["name"]:
                    attributes["k8s.node.name"] = node["name"]
                span = tracer.start_span(step["step"], context=below, start_time=_nanoseconds(step["began"]), attributes=attributes)
                if step["result"] in ("failed", "unreachable", "interrupted"):
                    span.set_status(Status(StatusCode.ERROR, str((step.get("error") or {}).get("message", step["result"]))))
                span.end(_nanoseconds(step["ended"]))
        if report["result"] != "done":
            root.set_status(Status(StatusCode.ERROR, str((report["stopped"] or {}).get("message", report["result"]))))
        root.end(_nanoseconds(report["ended"]))
        return kept.get_finished_spans()

    def measures(self, measures: Iterable[Measure]) -> Any:
        """Return gauges: what a process says once has no rate."""
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader

        reader = InMemoryMetricReader()
        provider = MeterProvider([reader], resource=self._resource({}), shutdown_on_exit=False)
        meter = provider.get_meter(SCOPE)
        gauges: dict[str, Any] = {}
        for name, unit, value, attributes in measures:
            if name not in gauges:
                gauges[name] = meter.create_gauge(name, unit=unit)
            gauges[name].set(value, attributes)
        return reader.get_metrics_data()


def _of_run(report: Mapping[str, Any]) -> dict[str, Any]:
    versions = report["versions"]
    return {
        "flotilla.playbook": report["playbook"],
        "flotilla.result": report["result"],
        "flotilla.check_mode": report["check_mode"],
        "flotilla.run": report["run"],
        "flotilla.versions.wanted": versions["wanted"],
        **{f"flotilla.by.{name}": str(value) for name, value in report["by"].items()},
    }


def _nanoseconds(moment: str) -> int:
    return round(parse(moment).timestamp() * 1000) * 1_000_000
