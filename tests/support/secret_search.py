# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Finds secrets in what a run left: as they are, in base64, URL-encoded, escaped for JSON. Pure: bytes in, findings out."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

# What is shorter turns up by chance.
MINIMUM = 8
# Line breaks and blanks that a program put into base64, also escaped ones as in a JSON string within a JSON string.
_BREAKS = re.compile(rb"(?:\\+[nrt]|\s)+")


@dataclass(frozen=True)
class Finding:
    """A secret in a place; ``form`` is how it was written."""

    secret: str
    form: str
    where: str

    def __str__(self) -> str:
        return f"{self.secret} ({self.form}) in {self.where}"


def forms(secret: bytes) -> dict[str, set[bytes]]:
    """Return how ``secret`` may be written, URL encoding apart.

    In base64 a text looks different after 0, 1 and 2 other bytes, and its first and last digit depend on the neighbours: what is returned
    are the digits in between, in the standard and in the URL-safe alphabet.
    """
    text = secret.decode("utf-8", "surrogateescape")
    found: dict[str, set[bytes]] = {"plain": {secret}, "base64": set(), "JSON-escaped": set()}
    for before in range(3):
        digits = base64.b64encode(b"\0" * before + secret)
        known = digits[(before * 8 + 5) // 6 : (before + len(secret)) * 8 // 6]
        found["base64"] |= {known, known.translate(bytes.maketrans(b"+/", b"-_"))}
    escaped = [text]
    for _level in range(2):  # a JSON text within a JSON text escapes the escapes
        escaped = [json.dumps(one, ensure_ascii=ascii_only)[1:-1] for one in escaped for ascii_only in (True, False)]
        found["JSON-escaped"] |= {one.encode("utf-8", "surrogateescape") for one in escaped}
        # PHP and Ansible's own output escape the slash as well, which JSON allows.
        found["JSON-escaped"] |= {one.replace("/", "\\/").encode("utf-8", "surrogateescape") for one in escaped}
    found["JSON-escaped"] -= {secret}
    return found


class Search:
    """Looks for several secrets at once."""

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        """:param secrets: name -> value. Of a PEM text or any other with several lines, two long lines are searched for."""
        self._needles: list[tuple[str, str, bytes]] = []
        for name, value in secrets.items():
            lines = _telling_lines(value) if b"\n" in value.strip() else [value.strip()]
            if not lines or min(map(len, lines)) < MINIMUM:
                raise ValueError(f"{name} is too short to be searched for")
            self._needles += [(name, form, needle) for line in lines for form, needles in forms(line).items() for needle in sorted(needles)]

    def find(self, data: bytes, where: str) -> list[Finding]:
        """Return the secrets that are in ``data``, each once per form; ``where`` is for the finding."""
        found = {(name, form) for name, form, needle in self._needles if needle in data}
        # Only base64 may be broken into lines; a plain secret is one word.
        joined = _BREAKS.sub(b"", data)
        found |= {(name, form) for name, form, needle in self._needles if form == "base64" and needle in joined}
        # Which characters are encoded is the writer's choice, so the text is decoded instead.
        for decoded in (unquote_to_bytes(data), unquote_to_bytes(data.replace(b"+", b" "))) if b"%" in data or b"+" in data else ():
            found |= {(name, "URL-encoded") for name, form, needle in self._needles if form == "plain" and needle in decoded}
        found -= {(name, "URL-encoded") for name, form in found if form == "plain"}
        return [Finding(name, form, where) for name, form in sorted(found)]

    def find_all(self, places: Iterable[tuple[str, bytes]]) -> list[Finding]:
        """Return the findings of many places: pairs of where and content."""
        return [finding for where, data in places for finding in self.find(data, where)]


def _telling_lines(text: bytes) -> list[bytes]:
    """Return the long lines of a short text, of a long one two: an RSA key begins with what its certificate shows, too."""
    lines = [line for line in text.split() if len(line) >= 40]
    return lines if len(lines) <= 3 else [lines[len(lines) // 2], lines[-1]]
