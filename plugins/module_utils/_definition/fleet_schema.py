# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of fleet files: in which order and when the clusters of a fleet are changed (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import DURATION, mapping, pattern

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_NAME = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_CLUSTER = {
    "type": "string",
    "maxLength": 24,
    "pattern": pattern(_NAME),
    "x-allowed": "the name of a cluster",
}
_TIME_ZONE = {
    "type": "string",
    "pattern": pattern("[A-Za-z][-+A-Za-z0-9_]*(/[-+A-Za-z0-9_]+)*"),
    "x-allowed": "a time zone such as Europe/Berlin",
    "default": "UTC",
    "description": "Time zone of the times, by its name in the IANA database.",
}
_TIME = {"type": "string", "pattern": pattern("([01][0-9]|2[0-3]):[0-5][0-9]"), "x-allowed": 'a time such as "22:00"'}
_MOMENT = {
    "type": "string",
    "pattern": pattern("20[0-9]{2}-[01][0-9]-[0-3][0-9](T([01][0-9]|2[0-3]):[0-5][0-9])?"),
    "x-allowed": 'a day such as "2026-12-18", or a time of a day such as "2026-12-18T22:00"',
}
_IN_FLIGHT = {"type": "integer", "minimum": 1, "maximum": 1000}
_BUDGET = {
    "type": ["integer", "string"],
    "minimum": 0,
    "pattern": pattern("[0-9]%|[1-9][0-9]%|100%"),
    "x-allowed": "a number of clusters such as 2, or a part of the wave such as '10%'",
}
_ON_FAILURE = {"type": "string", "enum": ["stop", "skip"]}
_MAINTENANCE = {
    "type": "array",
    "items": mapping(
        {
            "days": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": True,
                "items": {"type": "string", "enum": list(DAYS)},
                "default": list(DAYS),
                "description": "Days on which the window opens.",
            },
            "from": {**_TIME, "description": "When it opens."},
            "to": {**_TIME, "description": "When it closes; on the next day where that is not later than `from`."},
            "time_zone": _TIME_ZONE,
        },
        "A time of the week in which clusters may be changed.",
        required=("from", "to"),
    ),
}
_FREEZE = {
    "type": "array",
    "items": mapping(
        {
            "from": {**_MOMENT, "description": "When it begins."},
            "to": {**_MOMENT, "description": "When it ends; a day without a time is over at its midnight."},
            "time_zone": _TIME_ZONE,
            "reason": {"type": "string", "minLength": 1, "maxLength": 200, "description": "What people are told."},
        },
        "A time in which no cluster is changed.",
        required=("from", "to", "reason"),
    ),
}

FLEET: dict[str, Any] = {
    "max_clusters_in_flight": {**_IN_FLIGHT, "default": 1, "description": "How many clusters are changed at the same time."},
    "failure_budget": {
        **_BUDGET,
        "default": 0,
        "description": "How many clusters of a wave may fail. One more, and `on_failure` says what happens. A part is rounded down.",
    },
    "on_failure": {
        **_ON_FAILURE,
        "default": "stop",
        "description": "`stop`: no other cluster of the fleet is begun. `skip`: no other cluster of the wave is, and the next wave comes.",
    },
    "maintenance_windows": {
        **_MAINTENANCE,
        "default": [],
        "description": "When a cluster may be begun; always, if there is none. One that has begun is not stopped by the end of a window.",
    },
    "freeze_windows": {**_FREEZE, "default": [], "description": "When no cluster is begun, whatever the maintenance windows say."},
    "waves": {
        "type": "array",
        "default": [],
        "description": "Groups of clusters, one after another. A cluster belongs to the first wave that takes it; one that none takes is "
        "left out, and told. Without waves there is one that takes all.",
        "items": mapping(
            {
                "name": {
                    "type": "string",
                    "maxLength": 40,
                    "pattern": pattern(_NAME),
                    "x-allowed": "a DNS label of at most 40 characters: small letters, digits and '-'",
                    "description": "Name of the wave, unique in the file.",
                },
                "clusters": mapping(
                    {
                        "names": {"type": "array", "items": _CLUSTER, "uniqueItems": True, "description": "Names of clusters."},
                        "labels": {
                            "type": "object",
                            "description": "Labels, all of which a cluster's definition has.",
                            "x-entries": "label keys and label values",
                            "additionalProperties": {"type": "string", "maxLength": 63},
                        },
                        "clouds": {
                            "type": "array",
                            "items": {"type": "string", "maxLength": 16},
                            "uniqueItems": True,
                            "description": "Clouds.",
                        },
                    },
                    "Which clusters the wave takes: those that fit everything that is said here, all of them if nothing is said.",
                    default={},
                ),
                "canary": {
                    "type": "boolean",
                    "default": False,
                    "description": "Whether the wave tries a change for the others: none may fail, and a failure stops the fleet.",
                },
                "soak": {**DURATION, "default": "0s", "description": "How long after the wave's last cluster the next wave waits."},
                "max_clusters_in_flight": {**_IN_FLIGHT, "description": "Instead of the fleet's, in this wave."},
                "failure_budget": {**_BUDGET, "description": "Instead of the fleet's, in this wave."},
                "on_failure": {**_ON_FAILURE, "description": "Instead of the fleet's, in this wave."},
            },
            "One wave.",
            required=("name",),
        ),
    },
    "clusters": {
        "type": "array",
        "default": [],
        "description": "What is different for some clusters.",
        "items": mapping(
            {
                "name": {**_CLUSTER, "description": "Name of the cluster."},
                "leave_out": {"type": "string", "minLength": 1, "maxLength": 200, "description": "Why the fleet does not change it."},
                "maintenance_windows": {**_MAINTENANCE, "description": "Instead of the fleet's."},
                "freeze_windows": {**_FREEZE, "description": "Besides the fleet's."},
            },
            "One cluster.",
            required=("name",),
        ),
    },
}
