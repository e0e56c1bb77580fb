# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of Azure's API (private to flotilla.kubernetes).

Everything else in this folder gets a `Session`. The SDK repeats nothing and waits for nothing: a long operation is begun, and what became
of it is read from the resources, of many at once. Bodies and answers are Azure's own documents, so no release of the SDK has another shape.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import threading
import time
from typing import Any, Callable
from urllib.parse import urlsplit

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, NotFound
from ..._machines.retry import Clock
from ..patience import Patient
from . import errors

_CLIENTS = {
    "compute": ("azure.mgmt.compute", "ComputeManagementClient"),
    "network": ("azure.mgmt.network", "NetworkManagementClient"),
    "resources": ("azure.mgmt.resource.resources", "ResourceManagementClient"),
}
# https://learn.microsoft.com/azure/azure-government/compare-azure-government-global-azure and the like of 21Vianet:
# name -> (Resource Manager, sign-in, audience)
_PUBLIC = ("https://management.azure.com", "https://login.microsoftonline.com", "https://management.azure.com/")
_CHINA = ("https://management.chinacloudapi.cn", "https://login.partner.microsoftonline.cn", "https://management.chinacloudapi.cn/")
_GOVERNMENT = ("https://management.usgovcloudapi.net", "https://login.microsoftonline.us", "https://management.usgovcloudapi.net/")
ENVIRONMENTS = {
    "AzureCloud": _PUBLIC,
    "AzurePublicCloud": _PUBLIC,
    "AzureChinaCloud": _CHINA,
    "AzureUSGovernment": _GOVERNMENT,
    "AzureUSGovernmentCloud": _GOVERNMENT,
}
_CONNECT_TIMEOUT, _CALL_TIMEOUT = 5, 60
_FIRST_ANSWER = 8.0
"""Seconds for which a session that never got an answer tries again: after that it is no passing fault but a wrong address."""
_POOL = 32
_SIGN_INS = 4


class Session(Patient):
    """Calls of one subscription, with the credentials of Azure's usual chain.

    :param environment: name of an Azure cloud or URL of its Resource Manager; empty for what the environment says.
    :param clock: what tells the time and waits.
    :param spread: returns a number between 0 and 1, the jitter of a pause.
    """

    def __init__(
        self,
        subscription: str,
        environment: str = "",
        clock: Clock = time,
        spread: Callable[[], float] = random.random,
    ) -> None:
        super().__init__(clock, spread)
        self.subscription = subscription
        self.calls: dict[str, int] = {}
        self._environment = environment or os.environ.get("AZURE_CLOUD_ENVIRONMENT") or "AzureCloud"
        self._endpoints: tuple[str, str, str] | None = None
        self._credential: _Credential | None = None
        self._answered = False
        self._begun: float | None = None
        self._clients: dict[str, Any] = {}
        self._making = threading.RLock()
        try:
            import azure.core.exceptions

            importlib.import_module("azure.identity")
        except ImportError as error:
            raise _sdk_missing(error) from error
        self._exceptions = azure.core.exceptions

    def call(  # type: ignore[override]
        self,
        service: str,
        operation: str,
        *names: str,
        body: Any = None,
        headers: dict[str, str] | None = None,
        finish: bool = False,
        **parameters: Any,
    ) -> dict[str, Any]:
        """Make one call, once, and return the answer; of a list all its pages, with everything under ``value``.

        :param operation: in the SDK's form, such as ``virtual_machines.begin_delete``. One that takes long is only begun.
        :param body: the document to send.
        :param finish: wait for what takes long: for questions, whose answer is nowhere else to be read.
        :raises CloudError: what came instead, as `errors` translates it.
        """
        name = f"{service}:{operation}"
        answers: list[Any] = []
        group, _dot, method = operation.partition(".")
        options: dict[str, Any] = {**parameters, "raw_response_hook": lambda response: answers.append(response.http_response)}
        if method.startswith("begin_"):
            options.update({"polling_interval": 1} if finish else {"polling": False})
        if headers:
            options["headers"] = headers
        arguments: tuple[Any, ...] = names if body is None else (*names, json.dumps(body).encode())
        known = self._exceptions
        try:
            if self._begun is None:
                self._begun = self.clock.monotonic()
            function = getattr(getattr(self._client(service), group), method)
            self.calls[name] = self.calls.get(name, 0) + 1
            done = function(*arguments, **options)
            if method.startswith("list"):
                for _item in done:
                    pass
            elif finish:
                done.result(_CALL_TIMEOUT)
            self._answered = True
        except known.ClientAuthenticationError as error:
            raise self._not_signed_in(name, error) from error
        except known.HttpResponseError as error:
            self._answered = True
            raise _refusal(name, error.response, error) from error
        except (known.ServiceRequestError, known.ServiceResponseError) as error:
            raise self._unreachable(name, error) from error
        except known.AzureError as error:
            raise errors.unreachable(name, error) from error
        except (TypeError, ValueError) as error:
            raise FlotillaError(
                "AZURE_SDK",
                f"Azure's SDK refused {name}: {' '.join(str(error).split())}.",
                "Correct the definition's section azure.",
                error,
            ) from error
        documents = [_document(answer) for answer in answers]
        if not method.startswith("list"):
            return dict(documents[-1] or {}) if documents else {}
        return {
            "value": [item for document in documents for item in (document if isinstance(document, list) else document.get("value") or ())]
        }

    def pages(self, service: str, operation: str, *names: str, once: bool = False, **parameters: Any) -> list[dict[str, Any]]:
        """Return what a read lists, all its pages.

        :param once: leave repeating to the caller.
        """
        make = self.call if once else self.repeat
        return list(make(service, operation, *names, **parameters)["value"])

    def find(self, service: str, operation: str, *names: str, **parameters: Any) -> dict[str, Any]:
        """Return one thing, or an empty document where there is none."""
        try:
            return self.repeat(service, operation, *names, **parameters)
        except NotFound:
            return {}

    def _not_signed_in(self, name: str, error: Any) -> CloudError:
        """Return what a refused sign-in means. Resource Manager says 401 too, to a token that it does not take."""
        response = getattr(error, "response", None)
        if response is not None and urlsplit(str(response.request.url)).netloc == urlsplit(self.endpoints[0]).netloc and _code(response)[0]:
            self._answered = True
            return _refusal(name, response, error)
        return errors.without_credentials(name, error, again=_is_out_of_order(error))

    def _unreachable(self, name: str, error: Exception) -> CloudError:
        """Return what a connection means that failed. One that is cut off shows at least that somebody is there."""
        cut_off = isinstance(error, self._exceptions.ServiceResponseError) or "reset" in str(error).lower()
        if self._answered or cut_off:
            return errors.unreachable(name, error)
        waited = self.clock.monotonic() - (self._begun or 0.0)
        wrong = "CERTIFICATE_VERIFY_FAILED" in str(error)
        return errors.unreachable(name, error, again=waited < _FIRST_ANSWER and not wrong)

    @property
    def endpoints(self) -> tuple[str, str, str]:
        """Where Resource Manager and sign-in are, and for whom a token is: of a cloud by its name, else as the URL itself says."""
        with self._making:
            if self._endpoints is None:
                known = ENVIRONMENTS.get(self._environment)
                if known is None and not self._environment.lower().startswith("https://"):
                    raise FlotillaError(
                        "AZURE_ENVIRONMENT",
                        f"'{self._environment}' is no Azure cloud.",
                        f"Set azure.cloud_environment, or AZURE_CLOUD_ENVIRONMENT, to {', '.join(ENVIRONMENTS)}, or to an https:// URL.",
                    )
                self._endpoints = known or self._discover(self._environment.rstrip("/"))
            return self._endpoints

    def _discover(self, url: str) -> tuple[str, str, str]:
        """Ask a Resource Manager where its sign-in is, as the Azure CLI does.

        https://learn.microsoft.com/azure-stack/user/azure-stack-version-profiles-azurecli2
        """
        from azure.core import PipelineClient
        from azure.core.pipeline.policies import ContentDecodePolicy, ProxyPolicy
        from azure.core.rest import HttpRequest

        with PipelineClient(url, policies=[ProxyPolicy(), ContentDecodePolicy()], transport=_transport()) as client:
            address = f"{url}/metadata/endpoints?api-version=2022-09-01"
            answer = client.send_request(HttpRequest("GET", address, headers={"Accept": "application/json"}))
            if answer.status_code >= 400:
                raise self._exceptions.HttpResponseError(response=answer)
            found = answer.json()
        one = found[0] if isinstance(found, list) else found
        login = one["authentication"]
        return str(one.get("resourceManager") or url).rstrip("/"), str(login["loginEndpoint"]).rstrip("/"), str(login["audiences"][0])

    def _client(self, service: str) -> Any:
        # Using a client is safe in threads, making one is not.
        with self._making:
            if service not in self._clients:
                manager, authority, audience = self.endpoints
                module, name = _CLIENTS[service]
                try:
                    factory = getattr(importlib.import_module(module), name)
                except ImportError as error:
                    raise _sdk_missing(error) from error
                if self._credential is None:
                    self._credential = _Credential(authority, self.clock, self)
                self._clients[service] = factory(
                    self._credential,
                    self.subscription,
                    base_url=manager,
                    credential_scopes=[f"{audience.rstrip('/')}/.default"],
                    retry_total=0,
                    transport=_transport(),
                    user_agent="flotilla.kubernetes",
                )
            return self._clients[service]


class _Credential:
    """Signs in by what the environment has, and again when the sign-in was out of order.

    Next to what azure-identity looks for, the names that AWX gives are taken: AZURE_TENANT and AZURE_SECRET.
    """

    def __init__(self, authority: str, clock: Clock, patience: Patient) -> None:
        self._authority = authority
        self._clock = clock
        self._patience = patience
        self._lock = threading.Lock()
        self._made: Any = None

    def get_token(self, *scopes: str, **options: Any) -> Any:
        """Return an access token, as the SDK asks for it."""
        from azure.core.exceptions import ClientAuthenticationError

        attempt = 0
        with self._lock:
            while True:
                try:
                    self._made = self._made or self._make()
                    return self._made.get_token(*scopes, **options)
                except ClientAuthenticationError as error:
                    # It remembers its failures, so the next try is another one's.
                    self._made = None
                    if attempt + 1 == _SIGN_INS or not _is_out_of_order(error):
                        raise
                    self._patience.pause(attempt, 1.0)
                attempt += 1

    def _make(self) -> Any:
        from azure.identity import ClientSecretCredential, DefaultAzureCredential

        given = os.environ.get
        # Sign-ins that are not Microsoft's are not in its directory of sign-ins.
        options: dict[str, Any] = {"authority": self._authority, "transport": _transport()}
        if self._authority not in {login for _manager, login, _audience in ENVIRONMENTS.values()}:
            options["disable_instance_discovery"] = True
        tenant, secret = given("AZURE_TENANT_ID") or given("AZURE_TENANT"), given("AZURE_CLIENT_SECRET") or given("AZURE_SECRET")
        client = given("AZURE_CLIENT_ID")
        if tenant and client and secret:
            return ClientSecretCredential(tenant, client, secret, **options)
        return DefaultAzureCredential(**options)


def _transport() -> Any:
    """Return what sends requests: from many threads at once, and not for ever."""
    import requests
    from azure.core.pipeline.transport import RequestsTransport

    session = requests.Session()
    session.mount("https://", requests.adapters.HTTPAdapter(pool_connections=4, pool_maxsize=_POOL))
    return RequestsTransport(
        session=session, session_owner=True, connection_timeout=_CONNECT_TIMEOUT, read_timeout=_CALL_TIMEOUT, use_env_settings=True
    )


def _is_out_of_order(error: Any) -> bool:
    """Tell whether a sign-in failed for reasons that are nobody's credentials."""
    from azure.identity import CredentialUnavailableError

    if isinstance(error, CredentialUnavailableError):
        return False
    response = getattr(error, "response", None)
    if response is not None:
        return bool(response.status_code == 429 or response.status_code >= 500)
    said = str(error)
    return "AADSTS" not in said and (
        "HTTP status: 5" in said or "HTTP status: 429" in said or "onnection" in said or "HTTPSConnectionPool" in said
    )


def _refusal(name: str, response: Any, error: Exception) -> CloudError:
    if response is None:
        return errors.unreachable(name, error)
    code, message = _code(response)
    pause = str(response.headers.get("Retry-After") or "")
    status = int(response.status_code)
    if status < 400:
        return errors.unreachable(name, error)
    return errors.translate(name, code, message or str(response.reason), status, float(pause) if pause.isdigit() else 0.0)


def _code(response: Any) -> tuple[str, str]:
    """Return code and message of an error's document; services differ in where they put them."""
    try:
        document = json.loads(response.text())
    except (ValueError, TypeError):
        return "", ""
    found = document.get("error") if isinstance(document, dict) and isinstance(document.get("error"), dict) else document
    if not isinstance(found, dict):
        return "", ""
    return str(found.get("code") or ""), str(found.get("message") or "")


def _document(response: Any) -> Any:
    text = response.text() if response.status_code != 204 else ""
    return json.loads(text) if text.strip() else {}


def _sdk_missing(error: ImportError) -> FlotillaError:
    return FlotillaError(
        "AZURE_SDK_MISSING",
        f"The Python that runs this lacks Azure's SDK: {error}.",
        "Install it there: python -m pip install azure-identity 'azure-mgmt-compute>=37' azure-mgmt-network azure-mgmt-resource",
        cause=error,
    )


def session_for(definition: dict[str, Any]) -> Session:
    """Return the session of a definition's subscription."""
    azure = definition.get("azure") or {}
    subscription = azure.get("subscription_id") or os.environ.get("AZURE_SUBSCRIPTION_ID") or ""
    if not subscription:
        raise FlotillaError(
            "AZURE_SUBSCRIPTION",
            f"Nothing says which subscription cluster '{definition['name']}' is in.",
            "Set azure.subscription_id, or AZURE_SUBSCRIPTION_ID.",
        )
    return Session(str(subscription), str(azure.get("cloud_environment") or ""))
