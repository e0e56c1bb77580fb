# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a vCenter answers instead of doing what it was asked, as errors with a remedy (private to flotilla.kubernetes). Pure.

Faults are known by the names of their types and of what these inherit from, as the vSphere Web Services API has them.
"""

from __future__ import annotations

import re
import ssl
from typing import Any

from ..._machines.cloud import CloudError, NoCapacity, NotFound, QuotaExceeded, Refused, Throttled, Transient, Unauthorised

_TRANSIENT = {
    "ConcurrentAccess",
    "FileLocked",
    "HostCommunication",
    "HostConnectFault",
    "ResourceInUse",
    "SystemError",
    "TaskInProgress",
    "Timedout",
}
_CAPACITY = {
    "InsufficientHostCapacityFault",
    "InsufficientResourcesFault",
    "NoActiveHostInCluster",
    "NoCompatibleHost",
    "NoHost",
}
_LICENCE = {"LicenseExpired", "LicenseKeyEntityMismatch", "NotEnoughLicenses"}


class SessionLost(Transient):
    """The session has ended: it was idle for too long, somebody ended it, or the vCenter has started anew."""


class AlreadyExists(Refused):
    """There is something of that name in the folder, which a call whose answer was lost may have made.

    :param thing: the fault's reference to it, or None.
    """

    thing: Any = None


def kinds(fault: Any) -> set[str]:
    """Return the names of a fault's type and of all that it inherits from."""
    return {kind.__name__.rpartition(".")[2] for kind in type(fault).__mro__}


def translate(operation: str, fault: Any, user: str = "", named: str = "") -> CloudError:
    """Return what a fault of a call or of a task means.

    :param operation: such as ``CloneVM_Task``.
    :param user: who was signed in.
    :param named: what to call the object that the fault is about.
    """
    found = kinds(fault)
    kind = type(fault).__name__.rpartition(".")[2]
    said = _words(fault)
    details = {"fault": kind, "operation": operation}

    def error(factory: type[CloudError], code: str, message: str, remedy: str) -> CloudError:
        return factory(f"VSPHERE_{code}", message, remedy, fault, details)

    if "NotAuthenticated" in found:
        return error(SessionLost, "SESSION", f"The session at the vCenter ended before {operation}.", "Run again.")
    if "InvalidLogin" in found or "NoPermission" in found:
        return _not_allowed(operation, fault, found, user, named, error)
    if "DuplicateName" in found:
        name = str(getattr(fault, "name", ""))
        made = error(AlreadyExists, "NAME_TAKEN", f"The folder has something else with the name {name}.", f"Rename or remove {name}.")
        if isinstance(made, AlreadyExists):
            made.thing = getattr(fault, "object", None)
        return made
    if "ManagedObjectNotFound" in found:
        return error(NotFound, "GONE", f"{named or 'What'} {operation} is about is not in the vCenter (any more).", "Run again.")
    if "NoDiskSpace" in found:
        store = str(getattr(fault, "datastore", ""))
        details["datastore"] = store
        return error(
            NoCapacity,
            "DATASTORE_FULL",
            f"The datastore {store or 'of the machine'} has no room for another machine{f': {named}' if named else ''}.",
            "Free space there, or name another datastore in the section vsphere.",
        )
    if found & _CAPACITY:
        return error(
            NoCapacity,
            "NO_CAPACITY",
            f"The cluster has no host with room for the machine ({kind}{said}).",
            "Look at DRS, admission control and the resource pool's limits; add hosts, or ask for smaller or fewer machines.",
        )
    if found & _LICENCE:
        return error(
            QuotaExceeded, "LICENCE", f"The licences do not allow {operation} ({kind}{said}).", "Look at them in the vSphere Client."
        )
    if found & _TRANSIENT:
        return error(
            Transient, "BUSY", f"{operation} was not done: {kind}{said}.", "Run again; if it stays so, see the task in the vSphere Client."
        )
    if "RequestCanceled" in found:
        return error(Refused, "CANCELLED", f"Somebody cancelled {operation} in the vSphere Client.", "Run again.")
    if "FileNotFound" in found:
        path = str(getattr(fault, "file", ""))
        return error(Refused, "FILE_GONE", f"The file {path} is not on its datastore.", "Look at the template's disks and snapshots.")
    if "InvalidArgument" in found:
        what = str(getattr(fault, "invalidProperty", "") or "something")
        return error(Refused, "REFUSED", f"The vCenter does not take {what} of {operation}{said}.", "Correct the section vsphere.")
    return error(Refused, "REFUSED", f"The vCenter refused {operation}: {kind}{said}.", "See the task in the vSphere Client.")


def _not_allowed(operation: str, fault: Any, found: set[str], user: str, named: str, error: Any) -> CloudError:
    if "PasswordExpired" in found:
        return error(Unauthorised, "PASSWORD_EXPIRED", f"The password of {user} has expired.", "Renew it, and give the new one.")
    if "InvalidLogin" in found:
        return not_let_in(user, fault, {"fault": type(fault).__name__.rpartition(".")[2], "operation": operation})
    privilege = str(getattr(fault, "privilegeId", "") or "a privilege")
    return error(
        Unauthorised,
        "NO_PERMISSION",
        f"{user or 'The account'} lacks the privilege {privilege} on {named or 'an object'}, which {operation} needs.",
        "Give it to the account's role there, and see that it propagates to children; docs/vsphere.md lists them all.",
    )


def not_let_in(user: str, cause: Any, details: dict[str, Any] | None = None) -> CloudError:
    """Return what it means that the vCenter knows no such user and password."""
    return Unauthorised(
        "VSPHERE_LOGIN",
        f"The vCenter does not let {user or 'nobody'} in.",
        "Correct VMWARE_USER and VMWARE_PASSWORD; the name has its domain, such as flotilla@vsphere.local.",
        cause,
        details or {},
    )


_REST_TRANSIENT = {"busy", "concurrent_change", "error", "internal_server_error", "resource_busy", "resource_inaccessible", "timed_out"}


def translate_rest(operation: str, status: int, document: dict[str, Any], user: str = "") -> CloudError:
    """Return what an answer of the REST API means that is no success.

    https://developer.broadcom.com/xapis/vsphere-automation-api/latest/: the standard errors, ``com.vmware.vapi.std.errors``.

    :param operation: such as ``attach tag-association``.
    """
    kind = str(document.get("error_type") or document.get("type") or "").rpartition(".")[2].lower()
    said = _rest_words(document)
    details = {"fault": kind or str(status), "operation": operation}
    if status == 401 or kind == "unauthenticated":
        return SessionLost("VSPHERE_SESSION", f"The session at the vCenter ended before {operation}.", "Run again.", None, details)
    if status == 403 or kind == "unauthorized":
        return Unauthorised(
            "VSPHERE_NO_PERMISSION",
            f"{user or 'The account'} may not do {operation}{said}.",
            "Give its role what docs/vsphere.md lists for tags, storage policies and content libraries.",
            None,
            details,
        )
    if status == 404 or kind == "not_found":
        return NotFound("VSPHERE_GONE", f"What {operation} is about is not in the vCenter (any more){said}.", "Run again.", None, details)
    if kind == "already_exists":
        return AlreadyExists("VSPHERE_NAME_TAKEN", f"{operation}: the name is taken{said}.", "Run again.", None, details)
    if status in (429, 502, 503, 504) or kind == "service_unavailable":
        return Throttled("VSPHERE_OVERLOADED", f"The vCenter has too much to do for {operation}{said}.", "Run again later.", None, details)
    if kind in _REST_TRANSIENT or (status >= 500 and not kind):
        return Transient("VSPHERE_BUSY", f"{operation} was not done: {kind or status}{said}.", "Run again.", None, details)
    return Refused(
        "VSPHERE_REFUSED", f"The vCenter refused {operation}: {kind or status}{said}.", "Correct the section vsphere.", None, details
    )


def _rest_words(document: dict[str, Any]) -> str:
    value = document.get("value")
    messages = document.get("messages") or (value.get("messages") if isinstance(value, dict) else None) or ()
    texts = [str(message.get("default_message") or "") for message in messages if isinstance(message, dict)]
    text = " ".join(" ".join(texts).split()).rstrip(".")
    return f": {text}" if text else ""


def _words(fault: Any) -> str:
    """Return what a fault says in words, after a colon; the simulator says only its type."""
    text = " ".join(str(getattr(fault, "msg", "") or "").split()).rstrip(".")
    return f": {text}" if text and not text.startswith("*types.") else ""


def unreachable(operation: str, server: str, error: BaseException, again: bool) -> CloudError:
    """Return what it means that no answer came, or none that is one.

    :param again: whether it may be a passing fault.
    """
    text = " ".join(str(error).split())
    if isinstance(error, ssl.SSLCertVerificationError):
        return Refused(
            "VSPHERE_CERTIFICATE",
            f"The certificate of {server} is not to be trusted: {text}.",
            "Name a file with the certificates of the vCenter's authority in SSL_CERT_FILE; they are at https://<vCenter>/certs/download.zip.",
            error,
        )
    status = re.match(r"(\d{3}) ", text)
    if status and status.group(1) in ("429", "503"):
        return Throttled("VSPHERE_OVERLOADED", f"{server} has too much to do for {operation}: {text}.", "Run again later.", error)
    return (Transient if again else CloudError)(
        "VSPHERE_UNREACHABLE",
        f"{server} did not answer {operation}: {text}.",
        "Check VMWARE_HOST or vsphere.server, and the network of the machine that runs this, then run again.",
        error,
        {"operation": operation},
    )
