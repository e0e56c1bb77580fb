# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What NSX answers instead of doing what it was asked, as errors with a remedy (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

from typing import Any

from ..._machines.cloud import CloudError, NotFound, Refused, Throttled, Transient, Unauthorised

# "The object ... cannot be deleted as either it has children or it is being referenced by other objects"
_REFERENCED = 500030


class Stale(Refused):
    """Somebody changed the thing between our read and our write: read again, and decide again."""


class Referenced(Transient):
    """Something still refers to what is to be deleted. What was deleted before it is gone only when its realization is."""


def translate(operation: str, status: int, document: dict[str, Any], retry_after: float = 0.0) -> CloudError:
    """Return what an error of a response means.

    :param operation: such as ``PUT /infra/tier-1s/flotilla-payments``.
    :param document: NSX's own words for it.
    """
    code, said = int(document.get("error_code") or 0), message(document)
    kind, name, remedy = _kind(status, code)
    details: dict[str, Any] = {"nsx_error": code, "operation": operation}
    return kind(
        name, f"NSX refused {operation}: {said or f'status {status}'}", remedy, f"{status} {code}: {said}", details, retry_after=retry_after
    )


def message(document: dict[str, Any]) -> str:
    """Return what an error says, with what it is related to: that is where the reason often is."""
    related = [str(part.get("error_message") or "") for part in document.get("related_errors") or ()]
    words = [str(document.get("error_message") or ""), str(document.get("details") or ""), *related]
    return " ".join(" ".join(word.split()) for word in dict.fromkeys(words) if word.strip())


def _kind(status: int, code: int) -> tuple[type[CloudError], str, str]:
    if status == 429:
        return Throttled, "NSX_THROTTLED", "Run again later: other programs use up the manager's rate of calls."
    if status in (409, 412):
        return Stale, "NSX_STALE", "Somebody else changes the same thing: run again when they are done."
    if code == _REFERENCED:
        return Referenced, "NSX_REFERENCED", "Remove what refers to it, then run again."
    if status >= 500:
        return Transient, "NSX_UNAVAILABLE", "Run again; when it lasts, look at the health of the NSX managers (System, Appliances)."
    if status == 404:
        return NotFound, "NSX_NOT_FOUND", "Run again; when it lasts, correct the name in the definition's section nsx."
    if status == 401:
        return (
            Unauthorised,
            "NSX_UNAUTHORISED",
            "Set NSXT_USERNAME and NSXT_PASSWORD, or NSXT_CLIENT_AUTH_CERT_FILE and ..._KEY_FILE, to valid ones.",
        )
    if status == 403:
        return Unauthorised, "NSX_FORBIDDEN", "Grant the user or principal identity that runs this the roles of docs/nsx.md."
    return Refused, "NSX_REFUSED", "Correct what NSX names in the definition's section nsx, then run again."


def unreachable(operation: str, error: BaseException, again: bool = True) -> CloudError:
    """Return what an interrupted call means: nobody knows whether it was done.

    :param again: whether to repeat it.
    """
    return (Transient if again else CloudError)(
        "NSX_UNREACHABLE",
        f"NSX did not answer {operation}: {' '.join(str(error).split())}.",
        "Check nsx.manager, the network and the proxy of the machine that runs this, then run again.",
        error,
        {"operation": operation},
    )
