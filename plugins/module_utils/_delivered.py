# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the module `node_files` does between inspection and installation (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import _fetch, _seed

# Seconds of one call; a module returns only at its end, and people want to see that something moves.
SLICE = 15

ARGUMENTS: dict[str, Any] = {
    "delivery": {
        "type": "dict",
        "default": {},
        "options": {
            "method": {"type": "str", "choices": ["push", "seed", "pull"], "default": "push"},
            "url": {"type": "str"},
            "ca_file": {"type": "path"},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "address": {"type": "str"},
        },
    },
    "stage": {"type": "str", "choices": ["inspect", "serve", "fetch", "release", "finish"], "default": "inspect"},
    "staged": {"type": "dict", "default": {}},
    "origins": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {
            "url": {"type": "str", "required": True},
            "ca_certificates": {"type": "str", "default": ""},
            "only_ca": {"type": "bool", "default": False},
            "token": {"type": "str", "no_log": True},
            "username": {"type": "str"},
            "password": {"type": "str", "no_log": True},
            "by": {"type": "str", "choices": ["path", "sha256"], "default": "path"},
            "keys": {"type": "list", "elements": "str", "no_log": False},
            "may_fail": {"type": "bool", "default": False},
        },
    },
    "token": {"type": "str", "no_log": True},
    "remote_tmp": {"type": "str"},
}


def between(parameters: dict[str, Any], to_bring: Sequence[dict[str, str]]) -> tuple[dict[str, str], dict[str, Any]]:
    """Do what the stage asks for and return where files lie on this node, and what the action plugin is to know besides.

    With ``finished: false`` among it not everything is here yet and nothing is to be installed.

    :param parameters: of the module, as `ARGUMENTS` describes them.
    :param to_bring: ``key``, ``path`` and ``sha256`` of each file that the node lacks.
    :raises FlotillaError: a file can not be fetched, or the server for the other nodes does not start.
    """
    staged = dict(parameters["staged"])
    if parameters["stage"] == "serve":
        digests = {entry["key"]: entry["sha256"] for entry in to_bring}
        return staged, {"server": _seed.serve(staged, digests, parameters["delivery"]["address"], parameters["token"])}
    if parameters["stage"] == "release":
        _seed.release(parameters["origins"])
        return staged, {}
    _seed.clear_remains()
    if parameters["stage"] != "fetch":
        return staged, {}
    wanted = [entry for entry in to_bring if entry["key"] not in staged]
    found = _fetch.fetch_all(wanted, parameters["origins"], SLICE)
    staged.update(found["staged"])
    return staged, {"finished": not found["left"] and not found["refused"], **found, "staged": staged}
