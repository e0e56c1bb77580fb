# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is wrong, told so that an operator can act on it (private to flotilla.kubernetes).

There is one error class: SDK and command errors become a `FlotillaError` at the edge where they happen; each module's `main()` catches it
once. Runs on nodes too: Python 3.9 and the standard library only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class FlotillaError(Exception):
    """Something that stops a run, told so that an operator can act on it.

    :param code: stable, upper case, e.g. ``NETWORK_ADDRESS_TAKEN``; other tools may match on it.
    :param message: one sentence that names the object and the value that is wrong.
    :param remedy: one sentence that says what to do.
    :param cause: the original error or output, shown as it came.
    :param details: further machine-readable fields of the result.
    """

    def __init__(
        self,
        code: str,
        message: str,
        remedy: str = "",
        cause: BaseException | str | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.remedy = remedy
        self.cause = cause
        self.details = details or {}

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}".strip()

    def as_result(self) -> dict[str, Any]:
        """Return the keyword arguments for ``AnsibleModule.fail_json``."""
        result: dict[str, Any] = {**self.details, "msg": str(self), "code": self.code}
        if self.remedy:
            result["remedy"] = self.remedy
        if self.cause:
            result["cause"] = str(self.cause).strip()
        return result


@contextmanager
def clear_os_errors(path: Path, done: str) -> Iterator[None]:
    """Turn what the operating system refuses into one clear error.

    :param done: what was to be done to ``path``: read, written ...
    :raises FlotillaError: ``FILE_NOT_WRITTEN`` or ``FILE_UNREADABLE``.
    """
    try:
        yield
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or error
        if done == "read":
            code, remedy = "FILE_UNREADABLE", "Remove what is there in its place, or mend its file system."
        else:
            code, remedy = "FILE_NOT_WRITTEN", "Look at the free space, the rights of its folder and whether its file system is read-only."
        raise FlotillaError(code, f"{path} could not be {done}: {reason}.", remedy, error) from error


@dataclass(frozen=True)
class Finding:
    """One of the things that a look found wrong: it is returned, not raised, so that an operator hears of all of them at once."""

    code: str
    object: str
    message: str
    remedy: str

    def as_dict(self) -> dict[str, str]:
        return asdict(self)
