# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Problems of definitions: every one has a place, a value and a way out (private to flotilla.kubernetes)."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError


def short(text: str) -> str:
    """Return a value for a message: one line of at most 60 printable characters, without the password of a URL."""
    text = re.sub(r"(://[^/@:\s]*):[^/@\s]*@", r"\1:***@", text)
    text = "".join(character if character.isprintable() else "?" for character in " ".join(text.split()))
    return text if len(text) <= 60 else text[:57] + "..."


def path_text(path: Iterable[str | int]) -> str:
    """Return ``pools[0].machine.size`` for ``("pools", 0, "machine", "size")``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{short(part)}" if text else short(part)
    return text


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the known word that ``word`` was probably meant to be, or an empty text."""
    found = difflib.get_close_matches(word.lower(), {name.lower(): name for name in known}, n=1, cutoff=0.6)
    return next((name for name in known if found and name.lower() == found[0]), "")


@dataclass(frozen=True, order=True)
class Problem:
    """One thing that is wrong in a definition.

    :param file: the file's path, as absolute as the caller gave it.
    :param line: counted from 1; 0 when the value came from no file.
    :param path: place in the definition as `path_text` writes it; empty for the file as a whole.
    :param message: what is wrong with the value, and what to do; a sentence without the place.
    :param value: the value as written, shortened; empty when there is none.
    :param allowed: what may stand there.
    :param suggestion: the nearest valid key or value.
    """

    file: str
    line: int
    path: str
    message: str
    value: str = ""
    allowed: str = ""
    suggestion: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return ": ".join(part for part in (place, self.path, self.message) if part)

    def as_dict(self) -> dict[str, Any]:
        """Return the problem as plain data, for JSON output."""
        return asdict(self)


class DefinitionErrors(FlotillaError):
    """All problems of one or more definitions; the text has one line per problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = sorted(set(problems))
        count = len(self.problems)
        what = "1 error" if count == 1 else f"{count} errors"
        lines = "\n".join(str(problem) for problem in self.problems)
        super().__init__(
            "DEFINITION_INVALID",
            f"{what} in cluster definitions:\n{lines}",
            details={"errors": [problem.as_dict() for problem in self.problems]},
        )
