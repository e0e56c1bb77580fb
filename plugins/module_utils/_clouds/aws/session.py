# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Calls of AWS's API (private to flotilla.kubernetes).

Everything else in this folder gets a `Session`. boto3 itself repeats nothing: whether a call may be repeated depends on what it does,
and only the caller knows.
"""

from __future__ import annotations

import random
import threading
import time
from typing import Any, Callable

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError
from ..._machines.retry import Clock
from ..patience import Patient
from . import errors

_CONNECT_TIMEOUT, _CALL_TIMEOUT, _FIRST_CALL_TIMEOUT = 5, 60, 20
_FIRST_ANSWER = 8.0
"""Seconds for which a session that never got an answer tries again: after that it is no passing fault but a wrong address."""


class Session(Patient):
    """Calls of the services of one region, with the credentials of boto3's usual chain.

    :param clock: what tells the time and waits.
    :param spread: returns a number between 0 and 1, the jitter of a pause.
    :param connect: stands in for ``boto3.session.Session`` in tests.
    """

    def __init__(
        self,
        region: str,
        clock: Clock = time,
        spread: Callable[[], float] = random.random,
        connect: Callable[..., Any] | None = None,
    ) -> None:
        super().__init__(clock, spread)
        self.region = region
        self.calls: dict[str, int] = {}
        self._answered = False
        self._begun: float | None = None
        self._clients: dict[tuple[str, bool], Any] = {}
        self._making = threading.Lock()
        try:
            import boto3
            import botocore.exceptions
            import botocore.parsers
            from botocore.config import Config
        except ImportError as error:
            raise FlotillaError(
                "AWS_SDK_MISSING",
                "The Python that runs this has no boto3.",
                "Install it there: python -m pip install boto3",
                cause=error,
            ) from error
        self._exceptions = botocore.exceptions
        self._unreadable = botocore.parsers.ResponseParserError
        self._configs = {
            answered: Config(
                region_name=region,
                connect_timeout=_CONNECT_TIMEOUT,
                read_timeout=_CALL_TIMEOUT if answered else _FIRST_CALL_TIMEOUT,
                retries={"total_max_attempts": 1, "mode": "standard"},
                max_pool_connections=16,
                user_agent_extra="flotilla.kubernetes",
            )
            for answered in (False, True)
        }
        self._factory = (connect or boto3.session.Session)(region_name=region)

    def call(self, service: str, operation: str, **parameters: Any) -> dict[str, Any]:  # type: ignore[override]
        """Make one call, once, and return the answer.

        :param operation: in the SDK's form, such as ``run_instances``.
        :raises CloudError: what came instead, as `errors` translates it.
        """
        name = f"{service}:{''.join(part.capitalize() for part in operation.split('_'))}"
        known = self._exceptions
        try:
            client = self._client(service)
            if self._begun is None:
                self._begun = self.clock.monotonic()
            self.calls[name] = self.calls.get(name, 0) + 1
            reply = getattr(client, operation)(**parameters)
            self._answered = True
            return reply
        except known.ClientError as error:
            self._answered = True
            answer = error.response.get("Error") or {}
            meta = error.response.get("ResponseMetadata") or {}
            pause = str((meta.get("HTTPHeaders") or {}).get("retry-after") or "")
            raise errors.translate(
                name,
                str(answer.get("Code") or ""),
                str(answer.get("Message") or ""),
                int(meta.get("HTTPStatusCode") or 0),
                float(pause) if pause.isdigit() else 0.0,
            ) from error
        except (
            known.NoCredentialsError,
            known.PartialCredentialsError,
            known.CredentialRetrievalError,
            known.TokenRetrievalError,
        ) as error:
            raise errors.without_credentials(name, error) from error
        except (known.HTTPClientError, known.ConnectionError, known.IncompleteReadError, self._unreadable) as error:
            raise self._unreachable(name, error) from error
        except known.BotoCoreError as error:
            raise FlotillaError(
                "AWS_SDK", f"boto3 refused {name}: {' '.join(str(error).split())}.", "Correct the definition's section aws.", cause=error
            ) from error

    def _unreachable(self, name: str, error: Exception) -> CloudError:
        """Return what a connection means that failed. One that is cut off shows at least that somebody is there."""
        if self._answered or isinstance(error, self._exceptions.ConnectionClosedError):
            return errors.unreachable(name, error)
        regions = self._regions()
        if self.region not in regions and isinstance(error, self._exceptions.EndpointConnectionError):
            return errors.unknown_region(name, self.region, regions, error)
        waited = self.clock.monotonic() - (self._begun or 0.0)
        return errors.unreachable(name, error, again=waited < _FIRST_ANSWER)

    def _regions(self) -> list[str]:
        """Return the regions that this release of boto3 knows; newer ones work without."""
        return sorted(
            {
                region
                for partition in self._factory.get_available_partitions()
                for region in self._factory.get_available_regions("ec2", partition)
            }
        )

    def pages(self, service: str, operation: str, key: str, *, once: bool = False, **parameters: Any) -> list[Any]:
        """Return the items under ``key`` of all pages of a read.

        :param once: leave repeating to the caller.
        """
        token_in, token_out = ("Marker", "NextMarker") if service == "elbv2" else ("NextToken", "NextToken")
        make = self.call if once else self.repeat
        items: list[Any] = []
        more: dict[str, Any] = {}
        while True:
            answer = make(service, operation, **parameters, **more)
            items += answer.get(key) or []
            if not answer.get(token_out):
                return items
            more = {token_in: answer[token_out]}

    def _client(self, service: str) -> Any:
        """Return a service's client: one that soon gives up until there was an answer, then one that has patience."""
        answered = self._answered
        # Using a client is safe in threads, making one is not.
        with self._making:
            if (service, answered) not in self._clients:
                self._clients[service, answered] = self._factory.client(service, config=self._configs[answered])
            return self._clients[service, answered]


def session_for(definition: dict[str, Any]) -> Session:
    """Return the session of a definition's region."""
    region = (definition.get("aws") or {}).get("region")
    if not region:
        raise FlotillaError("AWS_REGION", f"Cluster '{definition['name']}' has no aws.region.", "Set it, for example to eu-west-1.")
    return Session(str(region))
