# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark measured, the bar that it has to hold, and how both are shown and kept."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Figure:
    """One measured value.

    :param name: also the name of the JSON file; lower case and hyphens.
    :param value: what was measured; lower is better in every benchmark here.
    :param limit: the bar, the highest value that is good enough.
    :param unit: of value and limit, empty for a ratio.
    :param reference: what the value was measured against, in words and figures.
    :param details: everything that somebody needs to understand a surprising value.
    """

    name: str
    value: float
    limit: float
    unit: str = ""
    reference: str = ""
    details: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        return self.value <= self.limit

    def as_dict(self) -> dict[str, Any]:
        """Return the content of the figure's file."""
        fields = asdict(self)
        return {
            **fields,
            "bar": fields.pop("limit"),
            "holds": self.holds,
            "load": [round(load, 2) for load in os.getloadavg()],
            "cpus": os.cpu_count(),
        }


def write(figures: Iterable[Figure], folder: Path) -> None:
    """Write each figure to ``<folder>/<name>.json``."""
    folder.mkdir(parents=True, exist_ok=True)
    for figure in figures:
        text = json.dumps(figure.as_dict(), indent=2, sort_keys=True, default=str)
        (folder / f"{figure.name}.json").write_text(f"{text}\n", encoding="utf-8")


def table(figures: Iterable[Figure]) -> list[str]:
    """Return the lines of a table of the figures."""
    rows = [("BENCHMARK", "VALUE", "BAR", "HOLDS", "REFERENCE")]
    for figure in figures:
        unit = f" {figure.unit}" if figure.unit else ""
        rows.append(
            (figure.name, f"{figure.value:.4g}{unit}", f"{figure.limit:.4g}{unit}", "yes" if figure.holds else "NO", figure.reference)
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
