# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Azure answers instead of doing what it was asked, as errors with a remedy (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

import re
from typing import Any

from ..._machines.cloud import CloudError, NoCapacity, NotFound, QuotaExceeded, Refused, Throttled, Transient, Unauthorised

TAKEN = "PreconditionFailed"
"""Something has the name already."""

# https://learn.microsoft.com/azure/azure-resource-manager/troubleshooting/common-deployment-errors and the pages that it leads to.
_TRANSIENT = {
    "AnotherOperationInProgress",
    "Conflict",
    "ReferencedResourceNotProvisioned",
    "ResourceGroupBeingDeleted",
    "RetryableError",
    "RetryableErrorDueToAnotherOperation",
    "OperationPreempted",
    "OperationPreemptedByAnotherRequest",
    "ServerTimeout",
    "GatewayTimeout",
    # What hangs on it is still going away.
    "NicInUse",
    "PublicIPAddressCannotBeDeleted",
}
_CAPACITY = {
    "SkuNotAvailable",
    "AllocationFailed",
    "ZonalAllocationFailed",
    "OverconstrainedAllocationRequest",
    "OverconstrainedZonalAllocationRequest",
    "SubnetIsFull",
}
_QUOTA = {"QuotaExceeded", "ResourceQuotaExceeded", "TooManyResources"}
_UNAUTHORISED = {"AuthorizationFailed", "LinkedAuthorizationFailed", "AuthenticationFailed", "ScopeLocked", "ReadOnlyDisabledSubscription"}
_NOT_FOUND = {"InvalidResourceReference", "ParentResourceNotFound"}
_QUOTA_REMEDY = (
    "Ask for a higher quota (Azure portal, Quotas, this subscription and region), free what is not needed, or ask for less; then run "
    "again: what was made is kept."
)
CAPACITY_REMEDY = "Use another machine size (azure.other_sizes names some to fall back on) or more zones for the pool, or run again later."


def translate(operation: str, code: str, message: str, status: int = 0, retry_after: float = 0.0) -> CloudError:
    """Return what an error response of Azure means.

    :param operation: such as ``compute:virtual_machines.begin_delete``.
    :param code: Azure's error code.
    :param status: the HTTP status, for codes that are not known here.
    """
    details: dict[str, Any] = {"azure_code": code, "operation": operation}
    message = " ".join(message.split())
    said = f"Azure refused {operation}: {message or code}"
    said = said if said.endswith(".") else f"{said}."
    kind, own, remedy = _kind(code, message, status)
    return kind(own, said, remedy, f"{code}: {message}", details, retry_after=retry_after)


def is_capacity(code: str) -> bool:
    """Tell whether a code means that a zone has no such machine to give."""
    return code in _CAPACITY


def _kind(code: str, message: str, status: int) -> tuple[type[CloudError], str, str]:
    if status == 429 or code in ("TooManyRequests", "SubscriptionRequestsThrottled"):
        return Throttled, "AZURE_THROTTLED", "Run again later: other programs use up the subscription's rate of calls."
    if is_capacity(code):
        return NoCapacity, "AZURE_CAPACITY", CAPACITY_REMEDY
    short = re.search(r"quota|exceeding approved|limit (is|has been) reached", message, re.IGNORECASE)
    if code in _QUOTA or re.search(r"(Count|Quota)?Limit(Reached|Exceeded)$", code) or (code == "OperationNotAllowed" and short):
        return QuotaExceeded, "AZURE_QUOTA", _QUOTA_REMEDY
    if code == "MissingSubscriptionRegistration":
        return Unauthorised, "AZURE_PROVIDER", "Register it: az provider register --namespace Microsoft.Compute (and Microsoft.Network)."
    if code == "RequestDisallowedByPolicy":
        return Refused, "AZURE_POLICY", "A policy of the subscription forbids it: change the definition, or ask its owner for an exemption."
    if code in _UNAUTHORISED or status in (401, 403):
        return Unauthorised, "AZURE_UNAUTHORISED", _credentials_remedy(code, message)
    if code == "SubscriptionNotFound":
        remedy = "Correct azure.subscription_id, or sign in to the tenant that has it."
        return Unauthorised, "AZURE_SUBSCRIPTION_UNKNOWN", remedy
    if code in _TRANSIENT or re.fullmatch(r"InUse\w+CannotBe\w+", code) or status >= 500 or status == 408:
        return Transient, "AZURE_UNAVAILABLE", "Run again; when it lasts, look at https://azure.status.microsoft and in the activity log."
    if status == 404 or code in _NOT_FOUND or code.endswith("NotFound"):
        return NotFound, "AZURE_NOT_FOUND", "Run again; when it lasts, correct the name in the definition."
    return Refused, "AZURE_REFUSED", "Correct what Azure names in the definition, then run again."


def _credentials_remedy(code: str, message: str) -> str:
    if code == "ScopeLocked":
        return "Remove the lock from the resource or its group (az lock list), then run again."
    what = re.search(r"perform action '([^']+)'", message)
    if code in ("AuthorizationFailed", "LinkedAuthorizationFailed") or what:
        action = what.group(1) if what else "what Azure names"
        return f"Allow {action} to the identity that runs this; docs/azure.md has the whole role."
    return "Sign in again, or set valid credentials: docs/azure.md says where they are looked for."


def unreachable(operation: str, error: BaseException, again: bool = True) -> CloudError:
    """Return what an interrupted call means: nobody knows whether it was done.

    :param again: whether to repeat it.
    """
    return (Transient if again else CloudError)(
        "AZURE_UNREACHABLE",
        f"Azure did not answer {operation}: {' '.join(str(error).split())}.",
        "Check the network, the proxy of the machine that runs this and, where it is a URL, azure.cloud_environment; then run again.",
        error,
        {"operation": operation},
    )


def without_credentials(operation: str, error: BaseException, again: bool = False) -> CloudError:
    """Return what it means that the sign-in gave no token.

    :param again: whether the sign-in itself was out of order.
    """
    words = " ".join(str(error).split())
    words = words if len(words) < 400 else f"{words[:400]} ..."
    return (Transient if again else Unauthorised)(
        "AZURE_UNAUTHORISED",
        f"There are no usable credentials for {operation}: {words.rstrip('.')}.",
        "Set them: AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET, 'az login', or a managed identity; see docs/azure.md.",
        error,
        {"operation": operation},
    )
