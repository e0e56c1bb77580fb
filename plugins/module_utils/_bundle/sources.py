# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the contents of a bundle come from (private to flotilla.kubernetes)."""

from __future__ import annotations

from .._errors import FlotillaError
from .modules import ModulesSource
from .release import MirrorSource, ReleaseSource
from .source import Context, Source

SOURCES: dict[str, type[Source]] = {source.name: source for source in (ModulesSource, ReleaseSource, MirrorSource)}


def create(name: str, context: Context) -> Source:
    """Return the source `name`.

    :raises FlotillaError: ``BUNDLE_SOURCE_UNKNOWN``.
    """
    if name not in SOURCES:
        raise FlotillaError(
            "BUNDLE_SOURCE_UNKNOWN",
            f"The bundle source {name} is not in this release of flotilla.kubernetes.",
            f"Set bundle.source to auto, directory, {' or '.join(sorted(SOURCES))}.",
        )
    return SOURCES[name](context)
