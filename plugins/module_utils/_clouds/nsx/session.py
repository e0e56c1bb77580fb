# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of NSX's Policy API (private to flotilla.kubernetes).

Everything else in this folder gets a `Session`. NSX is told what is wanted ("intent") and makes it later ("realization"): a call that was
accepted says nothing yet about what became of it, which is asked for apart.
"""

from __future__ import annotations

import os
import random
import re
import time
from typing import Any, Callable
from urllib.parse import quote, urlencode

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, NotFound, Unauthorised
from ..._machines.retry import Clock
from ..patience import Patient
from . import errors, layout
from .layout import Entry

_CONNECT_TIMEOUT, _CALL_TIMEOUT = 5, 60
_FIRST_ANSWER = 8.0
"""Seconds for which a session that never got an answer tries again: after that it is no passing fault but a wrong address."""
_PAGE = 1000
# The names are those of VMware's Terraform provider, so one environment serves both.
MANAGER, USER, PASSWORD = "NSXT_MANAGER_HOST", "NSXT_USERNAME", "NSXT_PASSWORD"
CERTIFICATE, KEY, AUTHORITY = "NSXT_CLIENT_AUTH_CERT_FILE", "NSXT_CLIENT_AUTH_KEY_FILE", "NSXT_CA_FILE"
REALIZATION_TIMEOUT = 300.0


class Session(Patient):
    """Calls of one manager, as a user with a password, or as a principal identity with its certificate.

    :param manager: ``host`` or ``host:port``.
    :param clock: what tells the time and waits.
    :param spread: returns a number between 0 and 1, the jitter of a pause.
    :ivar calls: how often each method was used.
    """

    def __init__(self, manager: str, clock: Clock = time, spread: Callable[[], float] = random.random, scheme: str = "https") -> None:
        super().__init__(clock, spread)
        try:
            import requests
        except ImportError as error:
            raise FlotillaError(
                "NSX_REQUESTS_MISSING", "Python's requests is not installed where Ansible runs.", "pip install requests", error
            ) from error
        self.calls: dict[str, int] = {}
        self._root = f"{scheme}://{manager}"
        self._exceptions = requests.exceptions
        self._http = requests.Session()
        self._http.headers["Accept"] = "application/json"
        self._certificate = _certificate()
        # Given with each request: else REQUESTS_CA_BUNDLE would take its place.
        self._authority: str | bool = os.environ.get(AUTHORITY) or True
        self._signed_in = False
        self._answered = False
        self._begun: float | None = None

    def call(self, method: str, path: str, body: Any = None, **query: str) -> Entry:  # type: ignore[override]
        """Make one call, once, and return the answer's document.

        :param path: below ``/policy/api/v1``, such as ``/infra/tier-1s/flotilla-payments``.
        :raises CloudError: what came instead, as `errors` translates it.
        """
        name = f"{method} {path}"
        address = f"/policy/api/v1{quote(path)}{f'?{urlencode(query)}' if query else ''}"
        if not self._certificate and not self._signed_in:
            self._sign_in()
        answer = self._send(name, method, address, json=body)
        if self._signed_in and _is_over(answer):
            # A session ends after a while without use, or with its manager.
            self._sign_in()
            answer = self._send(name, method, address, json=body)
        self.calls[method] = self.calls.get(method, 0) + 1
        if answer.status_code >= 400:
            raise errors.translate(name, answer.status_code, _document(answer), _pause(answer))
        return _document(answer)

    def _send(self, name: str, method: str, address: str, **content: Any) -> Any:
        if self._begun is None:
            self._begun = self.clock.monotonic()
        try:
            answer = self._http.request(
                method,
                f"{self._root}{address}",
                verify=self._authority,
                cert=self._certificate,
                timeout=(_CONNECT_TIMEOUT, _CALL_TIMEOUT),
                allow_redirects=False,
                **content,
            )
        except self._exceptions.RequestException as error:
            raise self._unreachable(name, error) from error
        self._answered = True
        return answer

    def _unreachable(self, name: str, error: Exception) -> CloudError:
        """Return what a connection means that failed. One that is cut off shows at least that somebody is there."""
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            return CloudError(
                "NSX_CERTIFICATE",
                f"The certificate of {self._root} is not trusted: {' '.join(str(error).split())}.",
                f"Set {AUTHORITY} to a file with the certificate of the authority that vouches for the manager.",
                error,
            )
        waited = self.clock.monotonic() - (self._begun or 0.0)
        cut_off = "reset" in str(error).lower() or "aborted" in str(error).lower()
        return errors.unreachable(name, error, again=self._answered or cut_off or waited < _FIRST_ANSWER)

    def _sign_in(self) -> None:
        """Begin a session: with each call's own sign-in a manager would ask its directory each time."""
        user, password = os.environ.get(USER), os.environ.get(PASSWORD)
        if not user or not password:
            raise Unauthorised(
                "NSX_UNAUTHORISED",
                "There is nothing to sign in to NSX with.",
                f"Set {USER} and {PASSWORD}, or {CERTIFICATE} and {KEY} for a principal identity.",
            )
        name = "POST /api/session/create"
        self._signed_in = False
        self._http.cookies.clear()
        self._http.headers.pop("X-XSRF-TOKEN", None)
        answer = self._send(name, "POST", "/api/session/create", data={"j_username": user, "j_password": password})
        if answer.status_code >= 400:
            status = 401 if answer.status_code == 403 else answer.status_code
            raise errors.translate(name, status, _document(answer), _pause(answer))
        token = answer.headers.get("X-XSRF-TOKEN")
        if token:
            self._http.headers["X-XSRF-TOKEN"] = token
        self._signed_in = True

    def find(self, path: str) -> Entry:
        """Return one thing, or an empty document where there is none or it is about to go."""
        try:
            found = self.repeat("GET", path)
        except NotFound:
            return {}
        return {} if found.get("marked_for_delete") else found

    def pages(self, path: str, **query: str) -> list[Entry]:
        """Return what a read lists, all its pages."""
        found: list[Entry] = []
        cursor = ""
        while True:
            more = {"cursor": cursor} if cursor else {}
            answer = self.repeat("GET", path, None, page_size=str(_PAGE), **query, **more)
            found += answer.get("results") or []
            cursor = str(answer.get("cursor") or "")
            if not cursor:
                return found

    def search(self, **terms: str) -> list[Entry]:
        """Return what has all the terms. The index lags behind changes, so what counts is to be read again by its path.

        :param terms: field, with ``__`` for a dot -> value.
        """
        query = " AND ".join(f"{field.replace('__', '.')}:{_escaped(value)}" for field, value in terms.items())
        return [found for found in self.pages("/search/query", query=query) if not found.get("marked_for_delete")]

    def remove(self, path: str) -> None:
        """Delete a thing and wait until it is gone; one that is gone is no error."""
        try:
            self.repeat("DELETE", path)
        except NotFound:
            return
        if not self.wait(lambda: not self._is_there(path), REALIZATION_TIMEOUT, pause=1):
            raise FlotillaError("NSX_SLOW", f"{path} is not gone after {REALIZATION_TIMEOUT:g} s.", "Run again: it goes on waiting.")

    def _is_there(self, path: str) -> bool:
        try:
            return bool(self.repeat("GET", path))
        except NotFound:
            return False

    def await_realized(self, paths: list[str], *, look_only: bool = False) -> None:
        """Return when what is wanted is made.

        :param look_only: whether to return at once where it is not made yet.
        :raises FlotillaError: ``NSX_NOT_REALIZED``: NSX could not make it, with its own words, or it takes too long.
        """
        left = list(paths)

        def done() -> bool:
            left[:] = [path for path in left if not self._is_realized(path)]
            return not left

        if look_only:
            done()
        elif not self.wait(done, REALIZATION_TIMEOUT, pause=2):
            raise FlotillaError(
                "NSX_NOT_REALIZED",
                f"NSX has not made {', '.join(left)} after {REALIZATION_TIMEOUT:g} s.",
                "Look at its status in NSX, and at the health of hosts and edge nodes; then run again: it goes on waiting.",
            )

    def _is_realized(self, path: str) -> bool:
        try:
            status = self.repeat("GET", "/infra/realized-state/status", None, intent_path=path)
        except NotFound:
            return False
        words = {str(status.get("publish_status")), str((status.get("consolidated_status") or {}).get("consolidated_status"))}
        if not words & {"REALIZED", "SUCCESS", "UNREALIZED", "IN_PROGRESS", "ERROR"}:
            # For some kinds only what they were made into has a state.
            words = {str(entity.get("state")) for entity in self.entities(path)}
        if "ERROR" in words:
            raise FlotillaError(
                "NSX_NOT_REALIZED",
                f"NSX could not make {path}: {self._reason(path)}",
                "Mend what it names in NSX or in the definition's section nsx, then run again.",
            )
        return bool(words & {"REALIZED", "SUCCESS"}) and not words & {"UNREALIZED", "IN_PROGRESS"}

    def _reason(self, path: str) -> str:
        """Return the manager's own words for why a thing is not made."""
        found = []
        for entity in self.entities(path):
            found += [str(alarm.get("message") or errors.message(alarm.get("error_details") or {})) for alarm in entity.get("alarms") or ()]
            found += [str(entity.get(key) or "") for key in ("runtime_error", "publish_status_error", "operational_status_error")]
        return "; ".join(" ".join(word.split()) for word in dict.fromkeys(found) if word.strip()) or "it gives no reason."

    def entities(self, path: str) -> list[Entry]:
        """Return what a thing was made into."""
        try:
            return list(self.repeat("GET", "/infra/realized-state/realized-entities", None, intent_path=path).get("results") or [])
        except NotFound:
            return []


def session_for(definition: dict[str, Any]) -> Session:
    """Return a session for the manager that a definition or the environment names."""
    manager = layout.section(definition).get("manager") or os.environ.get(MANAGER)
    if not manager:
        raise FlotillaError("NSX_MANAGER", "Nothing says where NSX is.", f"Set nsx.manager, or {MANAGER}, to the host of the NSX manager.")
    return Session(str(manager))


def _certificate() -> tuple[str, str] | None:
    certificate, key = os.environ.get(CERTIFICATE), os.environ.get(KEY)
    if bool(certificate) != bool(key):
        raise Unauthorised("NSX_UNAUTHORISED", f"Of {CERTIFICATE} and {KEY} only one is set.", "Set both, or none.")
    return (str(certificate), str(key)) if certificate and key else None


def _document(answer: Any) -> Entry:
    try:
        found = answer.json() if answer.content else {}
    except ValueError:
        found = {"error_message": " ".join(answer.text.split())[:300]}
    return found if isinstance(found, dict) else {}


def _is_over(answer: Any) -> bool:
    """Tell a session that has ended from a right that is missing, both of which may come as 403."""
    return answer.status_code == 401 or (answer.status_code == 403 and _document(answer).get("error_code") in (None, 98, 403))


def _pause(answer: Any) -> float:
    pause = str(answer.headers.get("Retry-After") or "")
    return float(pause) if re.fullmatch(r"\d+(\.\d+)?", pause) else 0.0


def _escaped(value: str) -> str:
    """Return a value for the search's query language, in which these characters mean something."""
    return re.sub(r'([-+=&|!(){}\[\]^"~*?:\\/ ])', r"\\\1", value)
