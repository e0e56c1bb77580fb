# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What people do with the workflow, over the API of a controller: launch, deny, relaunch, approve, cancel, schedule."""

from __future__ import annotations

import datetime as dt
import json
import ssl
import time
import urllib.request
from typing import Any
from urllib.parse import quote

ENDED = ("successful", "failed", "error", "canceled")


class Api:
    """The API of a controller.

    :param patience: seconds that a job may take.
    :ivar pause: seconds between two looks.
    """

    def __init__(self, url: str, token: str, patience: float, verify: bool = True) -> None:
        self._url, self._token, self._patience = url.rstrip("/"), token, patience
        self.pause = min(2.0, patience / 100)
        # Whoever set CONTROLLER_VERIFY_SSL to false wants it.
        self._context = None if verify else ssl._create_unverified_context()

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self._url}{path}", data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=60, context=self._context) as answer:
            content = answer.read()
        return json.loads(content) if content else None

    def named(self, endpoint: str, name: str) -> dict[str, Any]:
        (found,) = self.call("GET", f"/api/v2/{endpoint}/?name={quote(name)}")["results"]
        return found

    def until_ended(self, job: dict[str, Any]) -> str:
        def ended() -> str:
            status = self.call("GET", job["url"])["status"]
            return status if status in ENDED else ""

        return self.until(ended)

    def answer(self, workflow: dict[str, Any], question: str, approve: bool) -> None:
        """Approve or deny, once the workflow asks."""

        def asked() -> str:
            nodes = self.call("GET", f"{workflow['url']}workflow_nodes/?page_size=200")["results"]
            jobs = {one["identifier"]: one["related"].get("job", "") for one in nodes}
            ended = self.call("GET", workflow["url"])["status"] in ENDED
            return jobs[question] or ("over" if ended else "")

        url = self.until(asked)
        assert url != "over", f"{workflow['url']} ended before it asked: {question}"
        self.call("POST", f"{url}{'approve' if approve else 'deny'}/", {})

    def until(self, condition: Any) -> str:
        until = time.monotonic() + self._patience
        while True:
            found = condition()
            if found:
                return str(found)
            assert time.monotonic() < until, "it takes too long"
            time.sleep(self.pause)


def walk(api: Api, foundation: str, answers: dict[str, Any], approved: str, prefix: str = "flotilla") -> None:
    """Do it all.

    :param answers: to the survey.
    :param approved: how a workflow ends that is approved.
    :param prefix: of the names of all objects.
    """
    template = api.named("workflow_job_templates", f"{prefix} upgrade {foundation}")
    launch = {"extra_vars": answers}
    denied = api.call("POST", template["related"]["launch"], launch)
    api.answer(denied, "approve", False)
    # The report follows the denial, and nothing was upgraded: a workflow that ends green here would hide that.
    assert api.until_ended(denied) == "failed"
    again = api.call("POST", denied["related"]["relaunch"], {})
    asked = {one["identifier"] for one in api.call("GET", f"{again['url']}workflow_nodes/?page_size=200")["results"]}
    for question in ("approve", "approve waves"):
        if question in asked:
            api.answer(again, question, True)
    assert api.until_ended(again) == approved
    cancelled = api.call("POST", template["related"]["launch"], launch)
    api.call("POST", cancelled["related"]["cancel"], {})
    assert api.until_ended(cancelled) == "canceled"
    run_schedule(api, api.named("schedules", f"{prefix} nightly preflight {foundation}"))


def run_schedule(api: Api, schedule: dict[str, Any]) -> None:
    """Let a schedule of the role, which is off, run once within a minute, and leave it as it was."""
    assert schedule["enabled"] is False
    jobs = f"{schedule['url']}jobs/?order_by=id"
    before = api.call("GET", jobs)["count"]
    soon = dt.datetime.now(dt.timezone.utc) + dt.timedelta(seconds=api.pause * 30)
    once = f"DTSTART:{soon:%Y%m%dT%H%M%SZ} RRULE:FREQ=MINUTELY;INTERVAL=1;COUNT=1"
    try:
        assert api.call("PATCH", schedule["url"], {"enabled": True, "rrule": once})["enabled"] is True
        api.until(lambda: api.call("GET", jobs)["count"] > before)
        job = api.call("GET", jobs)["results"][-1]
        assert job["launch_type"] == "scheduled" and job["job_type"] == schedule["job_type"]
        assert api.until_ended(job) == "successful"
    finally:
        api.call("PATCH", schedule["url"], {"enabled": False, "rrule": schedule["rrule"]})
