# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Storage policies of a vCenter by their names, and the datastores that fit them (private to flotilla.kubernetes)."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from ..._errors import FlotillaError
from .session import Entry, Session


def resolve(session: Session, wanted: str, setting: str) -> str:
    """Return the id of the storage policy of a name, which no two have.

    :param setting: what names it, for messages.
    :raises FlotillaError: ``VSPHERE_UNKNOWN``, with the candidates.
    """
    kind = session.pbm.profile.ResourceType(resourceType="STORAGE")
    ids = session.storage("profileManager", "PbmQueryProfile", resourceType=kind, profileCategory="REQUIREMENT")
    profiles = session.storage("profileManager", "PbmRetrieveContent", profileIds=ids) if ids else ()
    names = {str(profile.name): str(profile.profileId.uniqueId) for profile in profiles or ()}
    if wanted in names:
        return names[wanted]
    close = difflib.get_close_matches(wanted, names, 3, 0.6) or sorted(names)[:5]
    raise FlotillaError(
        "VSPHERE_UNKNOWN",
        f"{setting} is '{wanted}', and the account sees no storage policy of that name.",
        f"It sees {', '.join(close)}: correct {setting}, or give the account the right to see it."
        if close
        else "It sees none at all: give its role the privilege StorageProfile.View on the vCenter.",
        details={"candidates": close},
    )


def fitting(session: Session, policy: str, stores: Sequence[Entry]) -> list[Entry]:
    """Return those of some datastores that fit a storage policy, in their order.

    https://developer.broadcom.com/xapis/vmware-storage-policy-api/latest/pbm.placement.PlacementSolver.html#checkRequirements
    """
    placement = session.pbm.placement
    hubs = [placement.PlacementHub(hubType="Datastore", hubId=entry.id) for entry in stores]
    profile = session.pbm.profile.ProfileId(uniqueId=policy)
    requirement = [placement.CapabilityProfileRequirement(profileId=profile)]
    parameters = {"hubsToSearch": hubs, "placementSubjectRequirement": requirement}
    answer = session.storage("placementSolver", "PbmCheckRequirements", **parameters) if hubs else ()
    good = {str(one.hub.hubId) for one in answer or () if not one.error}
    return [entry for entry in stores if entry.id in good]
