# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What modules share that ask the API server of the control plane on which they run (private to flotilla.kubernetes). Python 3.9."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .._errors import FlotillaError

# Documented in the fragment api_server.
ADDRESS: dict[str, dict[str, Any]] = {"address": {"type": "str", "required": True}}
USER: dict[str, dict[str, Any]] = {"user": {"type": "str", "default": "flotilla"}}


@contextmanager
def reached(remedy: str = "Read the log of its kube-apiserver.") -> Iterator[None]:
    """Tell in one clear error that the API server was not reached.

    :raises FlotillaError: ``API_UNREACHABLE``.
    """
    try:
        yield
    except OSError as error:
        raise FlotillaError("API_UNREACHABLE", f"The API server was not reached: {error}.", remedy, error) from error
