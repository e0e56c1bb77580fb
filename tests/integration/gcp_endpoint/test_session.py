# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of Compute Engine's API: what errors mean, and when a call is made again."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp import errors
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.gcp.session import ENDPOINT, Session, session_for
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines import cloud
from clouds.faults import Answer
from clouds.gcp.endpoint import error

from .conftest import PROJECT, REGION, Google

NETWORK = {"name": "net", "autoCreateSubnetworks": False}

MEANT = [
    (403, "rateLimitExceeded", cloud.Throttled, "GCP_THROTTLED"),
    (429, "", cloud.Throttled, "GCP_THROTTLED"),
    (503, "backendError", cloud.Transient, "GCP_UNAVAILABLE"),
    (500, "", cloud.Transient, "GCP_UNAVAILABLE"),
    (400, "resourceNotReady", cloud.Transient, "GCP_UNAVAILABLE"),
    (400, "RESOURCE_IN_USE_BY_ANOTHER_RESOURCE", cloud.Transient, "GCP_UNAVAILABLE"),
    (412, "conditionNotMet", cloud.Transient, "GCP_UNAVAILABLE"),
    (503, "ZONE_RESOURCE_POOL_EXHAUSTED", cloud.NoCapacity, "GCP_CAPACITY"),
    (400, "ZONE_RESOURCE_POOL_EXHAUSTED_WITH_DETAILS", cloud.NoCapacity, "GCP_CAPACITY"),
    (403, "QUOTA_EXCEEDED", cloud.QuotaExceeded, "GCP_QUOTA"),
    (403, "quotaExceeded", cloud.QuotaExceeded, "GCP_QUOTA"),
    (400, "IP_SPACE_EXHAUSTED", cloud.QuotaExceeded, "GCP_QUOTA"),
    (401, "required", cloud.Unauthorised, "GCP_UNAUTHORISED"),
    (403, "forbidden", cloud.Unauthorised, "GCP_UNAUTHORISED"),
    (403, "accessNotConfigured", cloud.Unauthorised, "GCP_UNAUTHORISED"),
    (404, "notFound", cloud.NotFound, "GCP_NOT_FOUND"),
    (409, "alreadyExists", errors.AlreadyExists, "GCP_EXISTS"),
    (409, "RESOURCE_ALREADY_EXISTS", errors.AlreadyExists, "GCP_EXISTS"),
    (400, "invalid", cloud.Refused, "GCP_REFUSED"),
]


@pytest.mark.parametrize(("status", "reason", "kind", "code"), MEANT)
def test_what_errors_mean(status: int, reason: str, kind: type, code: str) -> None:
    found = errors.translate("instances.insert", status, reason, "It says why")
    assert isinstance(found, kind) and found.code == code and "It says why." in found.message and found.remedy


def test_remedies_name_what_is_missing() -> None:
    def remedy(status: int, reason: str, message: str) -> str:
        return errors.translate("x", status, reason, message).remedy

    assert "compute.instances.create" in remedy(403, "forbidden", "Required 'compute.instances.create' permission for 'projects/p'")
    assert "gcloud services enable" in remedy(403, "accessNotConfigured", "Compute Engine API has not been used in project 1 before")
    assert "SSD_TOTAL_GB in us-central1 (now 500)" in remedy(
        403, "QUOTA_EXCEEDED", "Quota 'SSD_TOTAL_GB' exceeded.  Limit: 500.0 in region us-central1."
    )
    assert "us-central1-a" in remedy(503, "ZONE_RESOURCE_POOL_EXHAUSTED", "The zone 'projects/p/zones/us-central1-a' does not have enough")
    assert "subnet_cidr" in remedy(400, "IP_SPACE_EXHAUSTED", "IP space of 'x' is exhausted.")


def test_a_change_is_done_once_however_often_it_is_said(session: Session, google: Google) -> None:
    endpoint, seen = google.endpoint, list[str]()

    def lose(request: Any) -> Answer | None:
        done = endpoint(request)
        seen.append(request.path)
        return None if len(seen) <= 2 else done

    google.endpoint = lose  # type: ignore[assignment]
    operation = session.change("networks", "insert", NETWORK)
    google.endpoint = endpoint
    session.finish([operation])
    assert len(set(seen)) == 1 and "requestId=" in seen[0] and google.names("networks") == ["net"]


def test_throttling_is_waited_out(session: Session, google: Google) -> None:
    google.answers = [("networks", error(403, "rateLimitExceeded", "Rate Limit Exceeded"))] * 5
    assert session.get("networks", network="none") is None and not google.answers


def test_an_operation_that_failed_says_why(session: Session, google: Google) -> None:
    failed = {"name": "operation-1", "status": "DONE", "operationType": "insert", "selfLink": "projects/p/global/operations/operation-1"}
    failed.update(error={"errors": [{"code": "QUOTA_EXCEEDED", "message": "Quota 'NETWORKS' exceeded.  Limit: 5.0 globally."}]})  # type: ignore[call-overload]
    with pytest.raises(cloud.QuotaExceeded, match="NETWORKS"):
        session.finish([failed])


def test_an_answer_that_is_no_answer_is_no_end(session: Session, google: Google) -> None:
    google.answers = [("networks", Answer(502, {"Content-Type": "text/html"}, b"<html>Bad Gateway</html>"))]
    assert session.get("networks", network="none") is None


def test_nobody_there_is_an_error_soon(session: Session, google: Google, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        monkeypatch.setenv(ENDPOINT, f"http://127.0.0.1:{taken.getsockname()[1]}/compute/v1/")
        with pytest.raises(FlotillaError) as caught:
            session.get("networks", network="none")
    assert caught.value.code == "GCP_UNREACHABLE" and session.clock.monotonic() < 30


def test_without_credentials_nothing_is_asked(google: Google, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    key = tmp_path / "key.json"
    key.write_text(json.dumps({"type": "service_account"}), encoding="utf-8")
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(key))
    with pytest.raises(cloud.Unauthorised) as caught:
        Session(PROJECT, REGION).call("networks", "get", network="none")
    assert "GOOGLE_APPLICATION_CREDENTIALS" in caught.value.remedy


def test_what_the_sdk_does_not_know_is_named(session: Session) -> None:
    with pytest.raises(FlotillaError, match="Upgrade google-cloud-compute"):
        session.call("networks", "insert", {**NETWORK, "noSuchField": 1})


def test_a_definition_says_project_and_region() -> None:
    for section, code in (({}, "GCP_PROJECT"), ({"project": PROJECT}, "GCP_REGION")):
        with pytest.raises(FlotillaError) as caught:
            session_for({"name": "payments", "gcp": section})
        assert caught.value.code == code
