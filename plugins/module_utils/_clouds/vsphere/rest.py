# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of a vCenter's REST API, which has what the SOAP one lacks: tags and content libraries (private to flotilla.kubernetes).

It has sessions of its own. They begin with the first call, so that a definition that needs neither makes no call here.
https://developer.broadcom.com/xapis/vsphere-automation-api/latest/
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import threading
from typing import Any
from urllib.parse import quote

from ..._machines.cloud import CloudError
from . import errors
from .errors import SessionLost

_ROOT = "/rest"
_SESSION = "/com/vmware/cis/session"
_KEY = "vmware-api-session-id"
_TIMEOUT = 120.0


class Rest:
    """Calls of one vCenter, one at a time over one connection.

    :param context: what a certificate is trusted by.
    :ivar calls: how often each operation was called; the dict may be somebody else's, who counts, too.
    """

    def __init__(self, server: str, port: int, user: str, password: str, context: ssl.SSLContext, calls: dict[str, int]) -> None:
        self.server = server
        self.user = user
        self.calls = calls
        self._where = (server, port)
        self._login = base64.b64encode(f"{user}:{password}".encode()).decode()
        self._context = context
        self._key = ""
        self._line: http.client.HTTPSConnection | None = None
        self._lock = threading.Lock()

    def call(self, method: str, path: str, body: Any = None, *, action: str = "", timeout: float = _TIMEOUT) -> Any:
        """Make one call, once, and return the answer's value. A session that has ended is begun anew before.

        :param path: such as ``/com/vmware/cis/tagging/tag``.
        :param action: the operation, where the path has several.
        :param timeout: seconds for the answer.
        :raises CloudError: what came instead, as `errors` translates it.
        """
        thing = path.partition("/id:")[0].partition("/library-items/")[0].rpartition("/")[2]
        operation = f"{action or method.lower()} {thing}"
        # What is under /com came first, and marks a query of its own by a tilde.
        query = f"?{'~' * path.startswith('/com/')}action={action}" if action else ""
        address = f"{_ROOT}{quote(path, safe='/:')}{query}"
        with self._lock:
            if not self._key:
                self._sign_in()
            try:
                return self._send(operation, method, address, body, timeout)
            except SessionLost:
                self._sign_in()
                return self._send(operation, method, address, body, timeout)

    def close(self) -> None:
        """End the session."""
        with self._lock:
            if self._key:
                try:
                    self._send("delete session", "DELETE", _ROOT + _SESSION, None, _TIMEOUT)
                except CloudError:
                    # It ends by itself, later.
                    pass
            self._key = ""
            self._hang_up()

    def _sign_in(self) -> None:
        self._key = ""
        try:
            self._key = str(self._send("create session", "POST", _ROOT + _SESSION, None, _TIMEOUT))
        except SessionLost as error:
            raise errors.not_let_in(self.user, error) from error  # pylint: disable=bad-exception-cause

    def _send(self, operation: str, method: str, address: str, body: Any, timeout: float) -> Any:
        self.calls[operation] = self.calls.get(operation, 0) + 1
        headers = {"Accept": "application/json", "Content-Type": "application/json"}
        headers.update({_KEY: self._key} if self._key else {"Authorization": f"Basic {self._login}"})
        if self._line is None:
            self._line = http.client.HTTPSConnection(*self._where, timeout=timeout, context=self._context)
        try:
            if self._line.sock is not None:
                self._line.sock.settimeout(timeout)
            self._line.request(method, address, json.dumps(body) if body is not None else None, headers)
            answer = self._line.getresponse()
            status, content = answer.status, answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._hang_up()
            # The SOAP API has answered before, so it is no wrong address.
            raise errors.unreachable(operation, self.server, error, again=True) from error
        document = _document(content)
        if status >= 400:
            raise errors.translate_rest(operation, status, document, self.user)
        return document.get("value")

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
        self._line = None


def _document(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content) if content else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
