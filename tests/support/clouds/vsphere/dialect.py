# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a vCenter says things on the wire, for the proxy: SOAP. Its reads are never older than its changes."""

from __future__ import annotations

import itertools
import re

from clouds.faults import Answer, Call, Request

_READS = (
    "Login",
    "Logout",
    "Retrieve",
    "ContinueRetrieve",
    "Query",
    "Find",
    "CurrentTime",
    "CreateContainerView",
    "DestroyView",
    "Fetch",
    "Has",
)
_XML = {"Content-Type": "text/xml; charset=utf-8"}
_FAULT = (
    '<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><soapenv:Fault>'
    "<faultcode>ServerFaultCode</faultcode><faultstring>{text}</faultstring><detail>"
    '<{kind}Fault xmlns="urn:vim25" xsi:type="{kind}">{fields}</{kind}Fault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>'
)


def fault(kind: str, text: str, fields: str = "") -> Answer:
    """Return a fault of a call."""
    return Answer(500, _XML, _FAULT.format(kind=kind, text=text, fields=fields).encode())


class VsphereDialect:
    def __init__(self) -> None:
        self._number = itertools.count()
        self._lost = itertools.count()

    def call(self, request: Request) -> Call:
        found = re.search(rb"<(?:\w+:)?Body[^>]*>\s*<(?:\w+:)?(\w+)", request.body)
        action = found.group(1).decode() if found else f"{request.method} {request.path}"
        reads = action.startswith(_READS) or (not found and request.method == "GET")
        # What a vCenter has done, it shows: no read is ever answered as an earlier one was.
        return Call(action, not reads, f"{action} {next(self._number)}" if reads else "")

    def throttled(self, call: Call) -> Answer:
        # A session ends now and then, too: nothing was done then, either.
        if next(self._lost) % 3 == 2 and call.action not in ("Login", "Logout", "RetrieveServiceContent"):
            fields = '<object type="Folder">group-d1</object><privilegeId>System.View</privilegeId>'
            return fault("NotAuthenticated", "The session is not authenticated.", fields)
        return Answer(503, {"Content-Type": "text/plain"}, b"no healthy upstream")

    def broken(self, call: Call) -> Answer:
        return fault(
            "SystemError", "A general system error occurred: Connection reset by peer", "<reason>Connection reset by peer</reason>"
        )

    def created(self, call: Call, answer: Answer) -> set[str]:
        return set()

    def hide(self, call: Call, request: Request, answer: Answer, young: set[str]) -> Answer:
        return answer
