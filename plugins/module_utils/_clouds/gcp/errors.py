# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What Google Cloud answers instead of doing what it was asked, as errors with a remedy (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

import re
from typing import Any

from ..._machines.cloud import CloudError, NoCapacity, NotFound, QuotaExceeded, Refused, Throttled, Transient, Unauthorised

# Of responses and of operations, which write the same in two ways; here all are lower case without underscores.
# https://cloud.google.com/compute/docs/troubleshooting/troubleshooting-using-the-api
_THROTTLED = {"ratelimitexceeded", "userratelimitexceeded", "concurrentoperationsquotaexceeded", "operationquotaexceeded"}
_TRANSIENT = {
    "backenderror",
    "internalerror",
    "internalservererror",
    # What it hangs on is still being made or going away, or an equal change is under way.
    "resourcenotready",
    "resourceinusebyanotherresource",
    "resourceoperationrateexceeded",
    # Somebody changed the thing between our read and our write; the next try reads again.
    "conditionnotmet",
}
_CAPACITY = {
    "zoneresourcepoolexhausted",
    "zoneresourcepoolexhaustedwithdetails",
    "resourcepoolexhausted",
    "stockout",
    "vmmincountnotreached",
}
_QUOTA = {"quotaexceeded", "limitexceeded", "ipspaceexhausted", "ipspaceexhaustedwithdetails"}
_EXISTS = {"alreadyexists", "resourcealreadyexists", "duplicate"}


class AlreadyExists(Refused):
    """There is something of that name, which a call whose answer was lost may have made."""


def translate(operation: str, status: int, reason: str, message: str, retry_after: float = 0.0) -> CloudError:
    """Return what an error of a response or of an operation means.

    :param operation: such as ``instances.bulkInsert``.
    :param reason: Google's word for it, such as ``notFound`` or ``QUOTA_EXCEEDED``.
    """
    details: dict[str, Any] = {"gcp_reason": reason, "operation": operation}
    said = f"Google Cloud refused {operation}: {message or reason}"
    said = said if said.endswith(".") else f"{said}."
    kind, code, remedy = _kind(status, reason, message)
    return kind(code, said, remedy, f"{status} {reason}: {message}", details, retry_after=retry_after)


def _kind(status: int, reason: str, message: str) -> tuple[type[CloudError], str, str]:
    word = reason.replace("_", "").lower()
    if word in _THROTTLED or status == 429:
        return Throttled, "GCP_THROTTLED", "Run again later: other programs use up the project's rate of calls."
    if word in _CAPACITY or "does not have enough resources available" in message:
        zone = re.search(r"zones/([a-z0-9-]+)", message)
        where = f"Zone {zone.group(1)}" if zone else "The zone"
        return NoCapacity, "GCP_CAPACITY", f"{where} has no such machine now: use another machine size or more zones for the pool, or wait."
    if word in _QUOTA:
        return QuotaExceeded, "GCP_QUOTA", _quota_remedy(word, message)
    if word in _EXISTS or status == 409:
        return AlreadyExists, "GCP_EXISTS", "Remove or rename what has the name, or give the cluster another one."
    if word in _TRANSIENT or status >= 500 or status == 412:
        return Transient, "GCP_UNAVAILABLE", "Run again; when it lasts, look at https://status.cloud.google.com."
    if word == "notfound" or status == 404:
        return NotFound, "GCP_NOT_FOUND", "Run again; when it lasts, correct gcp.project or the name in the definition."
    if status in (401, 403):
        return Unauthorised, "GCP_UNAUTHORISED", _access_remedy(status, word, message)
    return Refused, "GCP_REFUSED", "Correct what Google Cloud names in the definition, then run again."


def _quota_remedy(word: str, message: str) -> str:
    if word.startswith("ipspace"):
        return "The subnetwork has no free address: use a larger gcp.subnet_cidr in a new cluster, or fewer machines."
    found = re.search(r"Quota '([^']+)' exceeded\.?\s+Limit: ([0-9.]+)(?: in region ([a-z0-9-]+))?", message)
    which = f"{found.group(1)}{f' in {found.group(3)}' if found.group(3) else ''} (now {float(found.group(2)):g})" if found else "it names"
    return (
        f"Ask for more of the quota {which} (console, IAM & Admin, Quotas & System Limits), free what is not needed, or ask for less; "
        "then run again: what was made is kept."
    )


def _access_remedy(status: int, word: str, message: str) -> str:
    if status == 401:
        return "Sign in again, or use another key: Google Cloud does not take these credentials."
    if word == "accessnotconfigured" or "has not been used in project" in message:
        return "Enable the Compute Engine API in gcp.project: gcloud services enable compute.googleapis.com."
    if "billing" in word or "billing" in message.lower():
        return "Link gcp.project to a billing account."
    what = re.search(r"Required '([a-zA-Z.]+)' permission", message)
    return f"Grant {what.group(1) if what else 'the role of docs/gcp.md'} to the identity that runs this; docs/gcp.md has the whole role."


def unreachable(operation: str, error: BaseException, again: bool = True) -> CloudError:
    """Return what an interrupted call means: nobody knows whether it was done.

    :param again: whether to repeat it.
    """
    return (Transient if again else CloudError)(
        "GCP_UNREACHABLE",
        f"Google Cloud did not answer {operation}: {' '.join(str(error).split())}.",
        "Check the network and the proxy of the machine that runs this, then run again.",
        error,
        {"operation": operation},
    )


def without_credentials(operation: str, error: BaseException) -> CloudError:
    """Return what it means that there is nothing to sign in with, or that nobody takes it."""
    return Unauthorised(
        "GCP_UNAUTHORISED",
        f"There are no usable credentials for {operation}: {' '.join(str(error).split())}.",
        "Set GOOGLE_APPLICATION_CREDENTIALS, sign in with 'gcloud auth application-default login', or give the machine that runs this a "
        "service account.",
        error,
        {"operation": operation},
    )
