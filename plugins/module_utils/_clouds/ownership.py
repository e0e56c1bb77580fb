# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whose a thing in a cloud is, by its tags or labels (private to flotilla.kubernetes)."""

from __future__ import annotations

from .._errors import FlotillaError

UID = "flotilla-uid"
FOUNDATION = "flotilla-foundation"


def check_owner(tags: dict[str, str], cluster: str, foundation: str, uid: str, what: str, where: str = "", by_hand: str = "") -> None:
    """Fail unless ``tags`` say that ``what`` belongs to this cluster of this foundation.

    :param uid: the cluster's uid, or empty to accept any.
    :param where: for the message, where the cluster is, with a space before it.
    :param by_hand: for the remedy, the command that removes a thing, with a space before it.
    """
    found = tags.get(FOUNDATION, "")
    if found != foundation:
        raise FlotillaError(
            "CLUSTER_FOREIGN_FOUNDATION",
            f"{what} belongs to cluster '{cluster}' of foundation '{found}', not of '{foundation}'.",
            "Give the cluster another name, or run from the inventory that made it.",
        )
    if uid and tags.get(UID, "") != uid:
        raise FlotillaError(
            "CLUSTER_FOREIGN_UID",
            f"{what} carries the uid '{tags.get(UID, '')}', but cluster '{cluster}'{where} is '{uid}'.",
            f"It is not this cluster's and is left alone: remove it by hand{by_hand} if nobody needs it.",
        )
