#!/usr/bin/python
# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: health_checks
short_description: Wait until what matters to the users of a cluster holds
version_added: "0.1.0"
description:
  - Runs on the controller. Asks all checks together, again and again, until all hold or O(timeout) is over, which is a failure that names
    those that do not hold.
  - With O(hold) they have to go on holding for so long; one that fails meanwhile gets O(timeout) to hold again, and the time begins anew.
  - In check mode they are asked once, without the programs, and nothing is waited for.
options:
  checks:
    description: The section C(checks) of a cluster definition.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: What it is about.
        type: str
        required: true
      http:
        description: A request with C(url), the C(status) that has to come (V(200)), and text that the answer C(contains).
        type: dict
      promql:
        description: C(url) of a Prometheus server and a C(query) whose answer must not be empty.
        type: dict
      command:
        description: A program and its arguments, which has to end with 0.
        type: list
        elements: str
  timeout:
    description: How long checks that do not hold may take until they do, like V(90s) or V(2m).
    type: str
    default: 2m
  hold:
    description: How long all have to hold without a break.
    type: str
    default: 0s
  folder:
    description: Where programs run.
    type: path
    default: .
  environment:
    description: What programs find in their environment, besides what this one has.
    type: dict
    default: {}
  progress_token:
    description: Where the slice of work before this one stopped. Set by the action plugin.
    type: str
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Wait until the shop answers
  flotilla.kubernetes.health_checks:
    checks:
      - name: the shop answers
        http: {url: https://shop.example.com/healthz, contains: ok}
      - name: few errors
        promql: {url: https://prometheus.example.com, query: "sum(rate(http_errors_total[5m])) < 1"}
      - name: an order can be placed
        command: [./place-order.sh, --dry-run]
"""

RETURN = r"""
failures:
  description: A line for each check that does not hold.
  returned: always
  type: list
  elements: str
  sample: ["the shop answers: https://shop.example.com/healthz answered 503 instead of 200"]
checks:
  description: The last answer to each check.
  returned: always
  type: list
  elements: dict
  contains:
    name: {description: What it is about., type: str, returned: always, sample: the shop answers}
    problem: {description: Why it does not hold; empty when it does., type: str, returned: always, sample: ""}
    seconds: {description: How long the answer took., type: float, returned: always, sample: 0.021}
"""

import json
import time
from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._checks import ask, failures
from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.duration import parse_duration

SLICE = 10.0  # seconds
PAUSE = 1.0  # seconds between two times
PATIENCE = 10.0  # seconds for one check


def run(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the module's result, or what to say after a slice of waiting.

    :raises FlotillaError: ``CHECK_FAILED``, something did not hold in time.
    """
    timeout, hold = parse_duration(params["timeout"], "timeout"), parse_duration(params["hold"], "hold")
    # Seconds since the epoch: since when all hold, or since when some do not.
    seen = json.loads(params["progress_token"]) if params["progress_token"] else {"holds": None, "fails": None}
    until = time.monotonic() + SLICE
    while True:
        answers = ask(params["checks"], PATIENCE, params["folder"], params["environment"], not check_mode)
        failing = failures(answers)
        if check_mode:
            return {"failures": failing, "checks": answers}
        now = time.time()
        if failing:
            seen = {"holds": None, "fails": seen["fails"] or now}
            if now - seen["fails"] >= timeout:
                raise FlotillaError(
                    "CHECK_FAILED",
                    f"Of {len(params['checks'])} checks, {len(failing)} did not hold for {params['timeout']}: {'; '.join(failing)}.",
                    "Mend what they ask for, or take them out of `checks`, and run again.",
                    details={"failures": failing, "checks": answers},
                )
            line = f"Waiting since {now - seen['fails']:.0f} s for {'; '.join(failing)}"
        else:
            seen = {"holds": seen["holds"] or now, "fails": None}
            if now - seen["holds"] >= hold:
                return {"failures": [], "checks": answers}
            line = f"All checks hold, for another {hold - (now - seen['holds']):.0f} s"
        if time.monotonic() >= until:
            return {"finished": False, "progress": [line], "progress_token": json.dumps(seen), "failures": failing}
        time.sleep(PAUSE)


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "checks": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "http": {"type": "dict"},
                    "promql": {"type": "dict"},
                    "command": {"type": "list", "elements": "str"},
                },
                "mutually_exclusive": [("http", "promql", "command")],
                "required_one_of": [("http", "promql", "command")],
            },
            "timeout": {"type": "str", "default": "2m"},
            "hold": {"type": "str", "default": "0s"},
            "folder": {"type": "path", "default": "."},
            "environment": {"type": "dict", "default": {}},
            "progress_token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(changed=False, **run(module.params, module.check_mode))
    except FlotillaError as error:
        module.fail_json(**error.as_result())


if __name__ == "__main__":
    main()
