# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Defaults of a definition, taken from the schema (private to flotilla.kubernetes)."""

from __future__ import annotations

import copy
from typing import Any


def fill(data: Any, schema: dict[str, Any]) -> Any:
    """Return a copy of ``data`` in which every absent key that has a default is there.

    :param data: a value of the shape that ``schema`` describes; values of another shape are left alone.
    """
    if isinstance(data, dict):
        properties = schema.get("properties", {})
        filled = {key: fill(value, properties.get(key, {})) for key, value in data.items()}
        for key, part in properties.items():
            if key not in filled and "default" in part:
                filled[key] = fill(copy.deepcopy(part["default"]), part)
        return filled
    if isinstance(data, list):
        return [fill(item, schema.get("items", {})) for item in data]
    return copy.deepcopy(data)
