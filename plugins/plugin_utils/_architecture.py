# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What of a bundle is for one architecture (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError


def of_architecture(entries: list[dict[str, Any]], architecture: str) -> list[dict[str, Any]]:
    """Return the entries of a manifest for ``architecture``.

    :raises AnsibleFilterError: there are entries, but none of that architecture.
    """
    found = [entry for entry in entries if entry["architecture"] in (architecture, None)]
    if entries and not found:
        has = sorted({entry["architecture"] for entry in entries})
        raise AnsibleFilterError(
            f"The machine is {architecture}, but the bundle is for {' and '.join(has)}."
            f" Set bundle.architectures to [{', '.join(sorted({architecture, *has}))}] in the cluster's definition."
        )
    return found
