# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the webhooks that API servers wait for are there (private to flotilla.kubernetes).

Each is connected to the way an API server does it, with the name and the authority that its configuration says, and is sent nothing.
Python 3.9, standard library only.
"""

from __future__ import annotations

import base64
import binascii
import socket
import ssl
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from ..client import Client
from ..snapshot import matches

ADMISSION = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
TIMEOUT = 5.0  # seconds to connect; API servers give a webhook ten for its whole answer
WORKERS = 16
# What `state` says of a webhook.
WORKS, NO_ENDPOINTS, UNREACHABLE, CERTIFICATE = "works", "no_endpoints", "unreachable", "certificate"


def admission_webhooks(client: Client) -> list[dict[str, Any]]:
    """Return the webhooks that fail closed, with the state of what answers them."""
    found = []
    for kind in ADMISSION:
        for configuration in client.items(f"/apis/admissionregistration.k8s.io/v1/{kind}"):
            for webhook in configuration.get("webhooks") or []:
                # Fail is the default: https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/
                if webhook.get("failurePolicy", "Fail") != "Ignore":
                    title = f"{kind[:-1]}/{configuration['metadata']['name']}/{webhook['name']}"
                    found.append((title, webhook))
    places = [places_of(client, webhook["clientConfig"]) for _title, webhook in found]
    with ThreadPoolExecutor(WORKERS) as pool:
        states = list(pool.map(_state, (webhook["clientConfig"] for _title, webhook in found), places))
    return [
        {"title": title, "state": state, "problem": problem, "alone_on": _alone_on(client, webhook, place)}
        for (title, webhook), place, (state, problem) in zip(found, places, states)
    ]


def conversion_webhooks(client: Client) -> list[dict[str, Any]]:
    """Return the CustomResourceDefinitions whose versions a webhook converts, with the state of what answers it."""
    found = []
    for definition in client.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"):
        conversion = definition["spec"].get("conversion") or {}
        if conversion.get("strategy") == "Webhook":
            configuration = conversion["webhook"]["clientConfig"]
            state, problem = _state(configuration, places_of(client, configuration))
            found.append({"title": f"customresourcedefinition/{definition['metadata']['name']}", "state": state, "problem": problem})
    return found


def places_of(client: Client, configuration: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return host, port, node and server name of each place that may answer a webhook."""
    if configuration.get("url"):
        url = urlsplit(configuration["url"])
        return [{"host": url.hostname, "port": url.port or 443, "node": "", "name": url.hostname}]
    service = configuration["service"]
    namespace, name, port = service["namespace"], service["name"], int(service.get("port") or 443)
    found = list(client.items(f"/api/v1/namespaces/{namespace}/services?fieldSelector=metadata.name%3D{name}"))
    if not found:
        return []
    entry = next((one for one in found[0]["spec"].get("ports") or [] if one["port"] == port), None)
    if found[0]["spec"].get("type") == "ExternalName":
        return [{"host": found[0]["spec"]["externalName"], "port": port, "node": "", "name": f"{name}.{namespace}.svc"}]
    path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices?labelSelector=kubernetes.io/service-name%3D{name}"
    return [
        {"host": address, "port": number["port"], "node": endpoint.get("nodeName") or "", "name": f"{name}.{namespace}.svc"}
        for piece in (client.items(path) if entry else ())
        for number in piece.get("ports") or []
        if number.get("port") and (number.get("name") or "") == (entry.get("name") or "")
        for endpoint in piece.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready", True) is not False
        for address in endpoint.get("addresses", [])
    ]


def _state(configuration: Mapping[str, Any], places: Iterable[Mapping[str, Any]]) -> tuple[str, str]:
    """Return the state of a webhook and what is wrong, if so. One place that answers is enough."""
    worst = (NO_ENDPOINTS, _without(configuration))
    for place in places:
        state = _connect(configuration, place)
        if state[0] == WORKS:
            return state
        if worst[0] != CERTIFICATE:
            worst = state
    return worst


def _without(configuration: Mapping[str, Any]) -> str:
    service = configuration.get("service") or {}
    return f"the Service {service.get('namespace')}/{service.get('name')} has no ready endpoint for port {service.get('port') or 443}"


def _connect(configuration: Mapping[str, Any], place: Mapping[str, Any]) -> tuple[str, str]:
    where = f"{place['host']}:{place['port']}"
    try:
        context = ssl.create_default_context(cadata=base64.b64decode(configuration.get("caBundle") or "").decode("ascii") or None)
    except (ssl.SSLError, ValueError, binascii.Error) as error:
        return CERTIFICATE, f"its caBundle can not be read: {error}"
    try:
        with socket.create_connection((str(place["host"]), int(place["port"])), timeout=TIMEOUT) as connection:
            context.wrap_socket(connection, server_hostname=str(place["name"])).close()
    except ssl.SSLCertVerificationError as error:
        return CERTIFICATE, f"{where} shows a bad certificate: {error.verify_message}"
    except OSError as error:
        return UNREACHABLE, f"{where} does not answer: {error}"
    return WORKS, ""


def _alone_on(client: Client, webhook: Mapping[str, Any], places: Iterable[Mapping[str, Any]]) -> str:
    """Return the one node on which all endpoints are of a webhook that is asked for its own pods, or nothing."""
    service = webhook["clientConfig"].get("service") or {}
    nodes = {str(place["node"]) for place in places}
    if len(nodes) != 1 or not service or not any(_asks_for_pods(rule) for rule in webhook.get("rules") or []):
        return ""
    # A selector over the pods' own labels, or an expression, may exclude them: then nothing is said.
    if webhook.get("objectSelector") or webhook.get("matchConditions"):
        return ""
    labels = client.get(f"/api/v1/namespaces/{service['namespace']}")["metadata"].get("labels", {})
    return nodes.pop() if matches(webhook.get("namespaceSelector") or {}, labels) else ""


def _asks_for_pods(rule: Mapping[str, Any]) -> bool:
    def has(field: str, *wanted: str) -> bool:
        return bool({"*", *wanted} & set(rule.get(field) or []))

    return has("operations", "CREATE") and has("apiGroups", "") and has("resources", "pods", "*/*") and has("apiVersions", "v1")
