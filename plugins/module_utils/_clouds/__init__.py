# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clouds: one folder each, which alone knows the cloud's interface (private to flotilla.kubernetes)."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .._errors import FlotillaError

CLOUDS = ("local", "existing", "aws", "gcp", "azure", "vsphere")


def provider(cloud: str) -> Any:
    """Return the module of a cloud, imported on first use, so that no cloud's SDK is needed for another.

    It has ``observe_machines(definition) -> list[Machine]`` (one read, no side effects) and ``default_private_key(definition) -> str``.
    """
    if cloud not in CLOUDS:
        raise FlotillaError(
            "CLOUD_UNKNOWN",
            f"Cloud '{cloud}' is not in this release of flotilla.kubernetes.",
            f"Set cloud to one of: {', '.join(CLOUDS)}.",
        )
    return import_module(f".{cloud}.machines", __name__)


CLAIMERS = ("aws",)
"""Clouds whose machines can be claimed for a cluster."""


def claimer(cloud: str) -> Any:
    """Return the module of a cloud that claims machines which somebody else made, imported on first use.

    It has ``session_for(definition)``, ``plan(session, definition, wanted)`` (only reads) and ``apply(session, claims)``.

    :raises FlotillaError: ``CLAIM_CLOUD_UNSUPPORTED``.
    """
    if cloud not in CLAIMERS:
        raise FlotillaError(
            "CLAIM_CLOUD_UNSUPPORTED",
            f"Machines of the cloud '{cloud}' can not be claimed; so far those of {', '.join(CLAIMERS)} can.",
            "Keep the definition with cloud: existing, which needs no claim.",
        )
    return import_module(f".{cloud}.claim", __name__)
