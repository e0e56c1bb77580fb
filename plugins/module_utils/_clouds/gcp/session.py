# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of Compute Engine's API (private to flotilla.kubernetes).

Everything else in this folder gets a `Session`, and reads and writes things as the API's own reference describes them: mappings with names
such as ``ipCidrRange``. google-cloud-compute itself repeats nothing and waits for nothing: its own waiting ignores the endpoint that its
clients were given, and takes a thread for each operation.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Callable

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, NotFound, Transient
from ..._machines.retry import Clock
from ..patience import Patient
from . import errors

ROOT = "https://www.googleapis.com/compute/v1/"
SCOPE = "https://www.googleapis.com/auth/compute"
# gcloud's own variable: https://cloud.google.com/sdk/gcloud/reference/config/set (api_endpoint_overrides)
ENDPOINT = "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE"
_CALL_TIMEOUT, _WAIT_TIMEOUT, _FIRST_CALL_TIMEOUT = 60.0, 150.0, 20.0
_FIRST_ANSWER = 8.0
"""Seconds for which a session that never got an answer tries again: after that it is no passing fault but a wrong address."""
_OPERATION_TIMEOUT = 900.0
_PAGE = 500
# Methods that take something else than the thing that their service is about.
_BODIES = {
    "instances.bulk_insert": "BulkInsertInstanceResource",
    "instances.set_labels": "InstancesSetLabelsRequest",
    "instances.set_metadata": "Metadata",
    "instances.set_tags": "Tags",
    "instance_groups.add_instances": "InstanceGroupsAddInstancesRequest",
    "instance_groups.list_instances": "InstanceGroupsListInstancesRequest",
    "instance_groups.remove_instances": "InstanceGroupsRemoveInstancesRequest",
    "region_backend_services.get_health": "ResourceGroupReference",
}

Entry = dict[str, Any]


class Session(Patient):
    """Calls of one project, with the credentials of Google's usual chain.

    :param project: the project of the machines.
    :param clock: what tells the time and waits.
    :param spread: returns a number between 0 and 1, the jitter of a pause.
    :param credentials: stand in for those of the usual chain in tests.
    """

    def __init__(
        self,
        project: str,
        region: str,
        clock: Clock = time,
        spread: Callable[[], float] = random.random,
        credentials: Any = None,
    ) -> None:
        super().__init__(clock, spread)
        self.project = project
        self.region = region
        self.calls: dict[str, int] = {}
        self._credentials = credentials
        self._answered = False
        self._begun: float | None = None
        self._clients: dict[str, Any] = {}
        self._making = threading.Lock()
        try:
            import google.api_core.exceptions
            import google.auth
            import google.auth.exceptions
            import requests
            from google.cloud import compute_v1
            from google.protobuf import json_format
        except ImportError as error:
            raise FlotillaError(
                "GCP_SDK_MISSING",
                "The Python that runs this has no google-cloud-compute.",
                "Install it there: python -m pip install google-cloud-compute",
                cause=error,
            ) from error
        self._auth, self._sdk, self._json = google.auth, compute_v1, json_format
        self._refused = google.api_core.exceptions.GoogleAPICallError
        self._sign_in = google.auth.exceptions
        self._broken = requests.exceptions.RequestException

    def call(self, service: str, method: str, body: Entry | None = None, **parameters: Any) -> Entry:  # type: ignore[override]
        """Make one call, once, and return the answer.

        :param service: such as ``instances``; the project is the session's unless ``parameters`` name another one.
        :param method: in the SDK's form, such as ``bulk_insert``.
        :raises CloudError: what came instead, as `errors` translates it.
        """
        name = f"{service}.{method}"
        try:
            client = self._client(service)
            if self._begun is None:
                self._begun = self.clock.monotonic()
            request = {"project": self.project, **parameters, **self._body(name, service, body)}
            timeout = _WAIT_TIMEOUT if method == "wait" else _CALL_TIMEOUT if self._answered else _FIRST_CALL_TIMEOUT
            self.calls[name] = self.calls.get(name, 0) + 1
            # What changes something gives an operation, not somebody who waits for it.
            do = getattr(client, f"{method}_unary", None) or getattr(client, method)
            reply = do(request, retry=None, timeout=timeout)
            if hasattr(reply, "pages"):
                reply = next(iter(reply.pages))
            self._answered = True
            return dict(self._json.MessageToDict(type(reply).pb(reply)))
        except self._refused as error:
            self._answered = True
            raise self._refusal(name, error) from error
        except self._sign_in.TransportError as error:
            raise self._unreachable(name, error) from error
        except self._sign_in.GoogleAuthError as error:
            if getattr(error, "retryable", False):
                raise self._unreachable(name, error) from error
            raise errors.without_credentials(name, error) from error
        except self._broken as error:
            raise self._unreachable(name, error) from error

    def _body(self, name: str, service: str, body: Entry | None) -> Entry:
        """Return the part of a request that a body is, in the SDK's types."""
        if body is None:
            return {}
        kind = _BODIES.get(name) or _camel(service.removeprefix("region_"))[:-1]
        message = getattr(self._sdk, "Address" if kind == "Addresse" else kind)
        try:
            return {f"{_snake(message.__name__)}_resource": message.wrap(self._json.ParseDict(body, message.pb()()))}
        except self._json.ParseError as error:
            raise FlotillaError(
                "GCP_SDK",
                f"google-cloud-compute does not know what {name} is to be told: {error}.",
                "Upgrade google-cloud-compute where this runs.",
                cause=error,
            ) from error

    def _refusal(self, name: str, error: Any) -> CloudError:
        first = next((item for item in error.errors if isinstance(item, dict)), {})
        response = getattr(error, "response", None)
        pause = str(getattr(response, "headers", {}).get("retry-after", ""))
        status, reason = int(error.code or 0), str(first.get("reason") or "")
        return errors.translate(name, status, reason, str(first.get("message") or error.message), float(pause) if pause.isdigit() else 0.0)

    def _unreachable(self, name: str, error: Exception) -> CloudError:
        """Return what a connection means that failed."""
        waited = self.clock.monotonic() - (self._begun or 0.0)
        cut = "reset" in str(error).lower() or "aborted" in str(error).lower()
        return errors.unreachable(name, error, again=self._answered or cut or waited < _FIRST_ANSWER)

    def pages(self, service: str, method: str, *, once: bool = False, **parameters: Any) -> Iterator[Entry]:
        """Yield the items of all pages of a read, those of all zones and regions alike. A page may be empty and not the last.

        :param once: leave repeating to the caller.
        """
        make = self.call if once else self.repeat
        more: Entry = {}
        while True:
            answer = make(service, method, max_results=_PAGE, **parameters, **more)
            items = answer.get("items") or ()
            if isinstance(items, dict):
                for scope in items.values():
                    for value in scope.values():
                        yield from value if isinstance(value, list) else ()
            else:
                yield from items
            if not answer.get("nextPageToken"):
                return
            more = {"page_token": answer["nextPageToken"]}

    def get(self, service: str, method: str = "get", **parameters: Any) -> Entry | None:
        """Return one thing, or None where there is none."""
        try:
            return self.repeat(service, method, **parameters)
        except NotFound:
            return None

    def change(self, service: str, method: str, body: Entry | None = None, **parameters: Any) -> Entry:
        """Begin a change, and return its operation. However often it has to be said, it is done once.

        https://cloud.google.com/compute/docs/api/how-tos/api-requests-responses#idempotency
        """
        return self.repeat(service, method, body, request_id=str(uuid.uuid4()), **parameters)

    def finish(self, operations: Iterable[Entry], *, once: bool = False) -> None:
        """Wait until operations are done: Google itself waits, so that while one is waited for the others go on.

        :param once: leave repeating to the caller.
        :raises CloudError: why the first one that failed has failed.
        """
        failed: CloudError | None = None
        for operation in operations:
            try:
                failure(self.outcome(operation, once=once))
            except CloudError as error:
                failed = failed or error
        if failed:
            raise failed

    def outcome(self, operation: Entry, *, once: bool = False) -> Entry:
        """Return an operation as it is when it is done, also when it has failed."""
        make = self.call if once else self.repeat
        end = self.clock.monotonic() + _OPERATION_TIMEOUT
        service, place = operation_place(operation)
        while operation.get("status") != "DONE":
            if self.clock.monotonic() >= end:
                raise Transient(
                    "GCP_OPERATION_SLOW",
                    f"The operation {operation['name']} of Google Cloud is not done after {_OPERATION_TIMEOUT:g} s.",
                    "Run again: what it does is then looked at anew.",
                )
            begun = self.clock.monotonic()
            operation = make(service, "wait", operation=operation["name"], **place)
            if operation.get("status") != "DONE" and self.clock.monotonic() - begun < 1:
                # It may answer at once, so that this would ask all the time.
                self.clock.sleep(1)
        return operation

    def _client(self, service: str) -> Any:
        # Using a client is safe in threads, making one is not.
        with self._making:
            if service not in self._clients:
                if self._credentials is None:
                    self._credentials, _project = self._auth.default(scopes=[SCOPE])
                override = os.environ.get(ENDPOINT, "")
                options = {"api_endpoint": re.sub(r"/compute/v1/?$", "", override).rstrip("/")} if override else None
                factory = getattr(self._sdk, f"{_camel(service)}Client")
                self._clients[service] = factory(credentials=self._credentials, client_options=options)
            return self._clients[service]


def failure(operation: Entry) -> None:
    """Raise why an operation that is done has failed, or do nothing."""
    found = (operation.get("error") or {}).get("errors") or ()
    if found:
        status = int(operation.get("httpErrorStatusCode") or 400)
        raise errors.translate(
            str(operation.get("operationType") or "an operation"),
            status,
            str(found[0].get("code") or ""),
            str(found[0].get("message") or ""),
        )


def operation_place(operation: Entry) -> tuple[str, Entry]:
    """Return the service that knows an operation, and where it is, by its URL."""
    found = re.search(r"projects/([^/]+)/(?:(zones|regions)/([^/]+)|global)/operations/", str(operation.get("selfLink") or ""))
    if not found:
        raise FlotillaError("GCP_SDK", f"An operation has no place: {operation}.", "This is a defect: please report it.")
    scope = (found.group(2) or "global").removesuffix("s")
    place = {"project": found.group(1), **({scope: found.group(3)} if found.group(3) else {})}
    return f"{scope}_operations", place


def _camel(words: str) -> str:
    return "".join(word.capitalize() for word in words.split("_"))


def _snake(words: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", words).lower()


def session_for(definition: dict[str, Any]) -> Session:
    """Return the session of a definition's project."""
    section = definition.get("gcp") or {}
    for key, example in (("project", "payments-production"), ("region", "europe-west1")):
        if not section.get(key):
            raise FlotillaError(f"GCP_{key.upper()}", f"Cluster '{definition['name']}' has no gcp.{key}.", f"Set it, such as to {example}.")
    return Session(str(section["project"]), str(section["region"]))
