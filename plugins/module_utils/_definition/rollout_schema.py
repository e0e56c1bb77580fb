# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The parts of the schema that say how a change goes through a cluster (private to flotilla.kubernetes)."""

from __future__ import annotations

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import DURATION, mapping, pattern, url

ROLLOUT = mapping(
    {
        "strategy": {
            "enum": ["in_place", "replace"],
            "default": "in_place",
            "description": "How the machines of the pool come to a new version: `in_place` upgrades each, `replace` makes successors, "
            "which join with the new version, and then takes the old machines away. `replace` does the same for another image or size.",
        },
        "max_surge": {
            "type": ["integer", "string"],
            "minimum": 0,
            "pattern": pattern("[1-9][0-9]?%|100%"),
            "x-allowed": "a number of machines such as 2, or a part of the pool such as '25%'",
            "description": "How many successors may be there at the same time, besides the machines that `count` asks for; a part is "
            "rounded up. With `replace` it is at least 1, and 1 when left out; so many old machines then leave together, as budgets allow.",
        },
        "max_unavailable": {
            "type": ["integer", "string"],
            "minimum": 1,
            "pattern": pattern("[1-9][0-9]?%|100%"),
            "x-allowed": "a number of machines such as 2, or a part of the pool such as '25%'",
            "default": 1,
            "description": "How many machines of the pool an upgrade may take out of service at the same time, rounded down, but one at "
            "least. Fewer go together where budgets, StatefulSets, zones or room for their pods ask for it.",
        },
        "drain_timeout": {
            **DURATION,
            "default": "10m",
            "description": "How long the pods of a machine may take to leave. When it is over the upgrade stops, and the machine takes "
            "pods again.",
        },
        "canary": {
            "type": "boolean",
            "default": False,
            "description": "Whether an upgrade visits this pool before those that are no canaries.",
        },
        "soak": {
            **DURATION,
            "default": "0s",
            "description": "How long everything has to hold (nodes, workloads, `checks`) after the last machine of the pool, before the "
            "next pool begins.",
        },
    },
    "How an upgrade goes through the machines of the pool.",
    default={},
)

CHECKS = {
    "type": "array",
    "description": "What has to hold before an upgrade begins, after each control plane and batch of workers, and while a pool soaks. "
    "The machine that runs Ansible asks.",
    "items": mapping(
        {
            "name": {"type": "string", "minLength": 1, "maxLength": 63, "description": "What it is about, for people; unique."},
            "http": mapping(
                {
                    "url": {**url("https?", "https://shop.example.com/healthz", query=True), "description": "What is asked."},
                    "status": {
                        "type": "integer",
                        "minimum": 100,
                        "maximum": 599,
                        "default": 200,
                        "description": "The status that has to come.",
                    },
                    "contains": {"type": "string", "minLength": 1, "description": "Text that the answer has to have in it."},
                },
                "An HTTP request that has to be answered well.",
                required=("url",),
            ),
            "promql": mapping(
                {
                    "url": {
                        **url("https?", "https://prometheus.example.com"),
                        "description": "The Prometheus server, or what speaks its API.",
                    },
                    "query": {
                        "type": "string",
                        "minLength": 1,
                        "description": "A query that has to give at least one series, such as `sum(rate(errors_total[5m])) < 1`.",
                    },
                },
                "A query to Prometheus whose answer must not be empty.",
                required=("url", "query"),
            ),
            "command": {
                "type": "array",
                "items": {"type": "string"},
                "minItems": 1,
                "description": "A program and its arguments, relative to the definition's folder, that has to end with 0; it is not run by "
                "a shell, and has `KUBECONFIG` and `FLOTILLA_CLUSTER` in its environment.",
            },
        },
        "One check, of one kind: `http`, `promql` or `command`.",
        required=("name",),
    ),
    "default": [],
}
