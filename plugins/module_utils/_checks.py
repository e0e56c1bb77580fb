# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has to hold by the word of who runs a cluster, asked from the controller (private to flotilla.kubernetes)."""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlencode

from ansible.module_utils.urls import open_url

_MOST = 1 << 20  # bytes of an answer that are read
_SHOWN = 300  # characters of it that are shown
_TOGETHER = 8  # checks that are asked at once


def ask(
    checks: Sequence[Mapping[str, Any]], timeout: float, folder: str, environment: Mapping[str, str], programs: bool = True
) -> list[dict[str, Any]]:
    """Ask all checks once, and return the answer to each: ``name``, ``problem`` if it does not hold, and the ``seconds`` that it took.

    :param checks: the section ``checks`` of a definition.
    :param timeout: seconds that one of them may take.
    :param folder: where programs run.
    :param environment: what programs have in their environment, besides that of this process.
    :param programs: whether programs run; they may do anything, so a prediction leaves them out.
    """

    def ask_one(check: Mapping[str, Any]) -> dict[str, Any]:
        began = time.monotonic()
        if check.get("http"):
            problem = _http(check["http"], timeout)
        elif check.get("promql"):
            problem = _promql(check["promql"], timeout)
        else:
            problem = _program(check["command"], timeout, folder, environment) if programs else ""
        return {"name": check["name"], "problem": problem, "seconds": round(time.monotonic() - began, 3)}

    with ThreadPoolExecutor(_TOGETHER) as pool:
        return list(pool.map(ask_one, checks))


def failures(answers: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return a line for each check that does not hold."""
    return [f"{answer['name']}: {answer['problem']}" for answer in answers if answer["problem"]]


def _http(wanted: Mapping[str, Any], timeout: float) -> str:
    status, text = _get(wanted["url"], timeout)
    expected = wanted.get("status") or 200
    if status != expected:
        return f"{wanted['url']} answered {status or text} instead of {expected}"
    if wanted.get("contains") and wanted["contains"] not in text:
        return f"{wanted['url']} answered without {wanted['contains']!r}: {text[:_SHOWN]}"
    return ""


def _promql(wanted: Mapping[str, Any], timeout: float) -> str:
    # https://prometheus.io/docs/prometheus/latest/querying/api/#instant-queries
    url = f"{wanted['url'].rstrip('/')}/api/v1/query?{urlencode({'query': wanted['query']})}"
    status, text = _get(url, timeout)
    try:
        answer = json.loads(text)
        found = answer["data"]["result"]
    except (ValueError, KeyError, TypeError):
        return f"{wanted['url']} answered {status or ''} {text[:_SHOWN]}".strip()
    if answer["data"].get("resultType") in ("scalar", "string"):
        return f"{wanted['query']} gives a {answer['data']['resultType']}, which always holds; compare something, such as vector(1) > 0"
    return "" if found else f"{wanted['query']} gives nothing"


def _get(url: str, timeout: float) -> tuple[int, str]:
    """Return status and body; no status with the reason when there was no answer."""
    try:
        with open_url(url, timeout=timeout, follow_redirects="safe") as answer:
            return answer.status, answer.read(_MOST).decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read(_MOST).decode("utf-8", "replace")
    except Exception as error:  # open_url raises what http, ssl and socket raise, and errors of its own
        return 0, str(error)


def _program(command: Sequence[str], timeout: float, folder: str, environment: Mapping[str, str]) -> str:
    try:
        done = subprocess.run(
            list(command),
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{command[0]} did not end within {timeout:g} s"
    except OSError as error:
        return f"{command[0]} could not be run: {error.strerror}"
    if done.returncode == 0:
        return ""
    said = done.stdout.decode("utf-8", "replace").strip()[-_SHOWN:]
    return f"{command[0]} ended with {done.returncode}{': ' if said else ''}{said}"
