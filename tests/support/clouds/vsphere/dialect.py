# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How a vCenter says things on the wire, for the proxy: SOAP, and REST for tags. Its reads are never older than its changes."""

from __future__ import annotations

import itertools
import json
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
    "Pbm",
)
_REST_READS = ("list-", "find", "filter", "session")
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


def _rest_operation(request: Request) -> str:
    """Return such as ``attach tag-association``."""
    path, _question, query = request.path.partition("?")
    thing = path.partition("/id:")[0].partition("/library-items/")[0].rpartition("/")[2]
    action = query.rpartition("action=")[2].partition("&")[0]
    return thing if thing == "session" else f"{action or request.method.lower()} {thing}"


def _rest_error(status: int, kind: str) -> Answer:
    body = {"type": f"com.vmware.vapi.std.errors.{kind}", "value": {"messages": []}}
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


class VsphereDialect:
    def __init__(self) -> None:
        self._number = itertools.count()
        self._lost = itertools.count()

    def call(self, request: Request) -> Call:
        if request.path.startswith("/rest/"):
            action = f"REST {_rest_operation(request)}"
            reads = request.method == "GET" or action.removeprefix("REST ").startswith(_REST_READS)
            return Call(action, not reads, f"{action} {next(self._number)}" if reads else "")
        found = re.search(rb"<(?:\w+:)?Body[^>]*>\s*<(?:\w+:)?(\w+)", request.body)
        action = found.group(1).decode() if found else f"{request.method} {request.path}"
        reads = action.startswith(_READS) or (not found and request.method == "GET")
        # What a vCenter has done, it shows: no read is ever answered as an earlier one was.
        return Call(action, not reads, f"{action} {next(self._number)}" if reads else "")

    def throttled(self, call: Call) -> Answer:
        rest = call.action.startswith("REST ")
        # A session ends now and then, too: nothing was done then, either.
        lost = next(self._lost) % 3 == 2
        if rest and lost and not call.action.startswith("REST session"):
            return _rest_error(401, "unauthenticated")
        if lost and not rest and call.action not in ("Login", "Logout", "RetrieveServiceContent", "PbmRetrieveServiceContent"):
            fields = '<object type="Folder">group-d1</object><privilegeId>System.View</privilegeId>'
            return fault("NotAuthenticated", "The session is not authenticated.", fields)
        return Answer(503, {"Content-Type": "text/plain"}, b"no healthy upstream")

    def broken(self, call: Call) -> Answer:
        if call.action.startswith("REST "):
            return _rest_error(500, "internal_server_error")
        return fault(
            "SystemError", "A general system error occurred: Connection reset by peer", "<reason>Connection reset by peer</reason>"
        )

    def created(self, call: Call, answer: Answer) -> set[str]:
        return set()

    def hide(self, call: Call, request: Request, answer: Answer, young: set[str]) -> Answer:
        return answer
