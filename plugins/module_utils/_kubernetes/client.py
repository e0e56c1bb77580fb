# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A small client of the Kubernetes API (private to flotilla.kubernetes).

It runs on a control-plane node, so that the controller needs no route to the API, with a client certificate that lives
minutes and carries its own name, so that the audit log says who acted. Python 3.9 and the standard library only.
"""

from __future__ import annotations

import base64
import binascii
import http.client
import json
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from .._command import memory_file, run
from .._errors import FlotillaError

CA_FILE = "/etc/kubernetes/pki/ca.crt"
# kubeadm's own group of administrators: https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/kubeadm-certs/
ADMIN_GROUP = "kubeadm:cluster-admins"
KUBEADM_API = "kubeadm.k8s.io/v1beta4"
API_PORT = 6443
PAGE_SIZE = 500
# Of one request, and seconds between two of them.
_TRIES, _LONGEST_PAUSE = 6, 5
# Who owns the fields that are applied.
FIELD_MANAGER = "flotilla"


@contextmanager
def short_lived_kubeconfig(address: str, user: str, port: int = API_PORT, validity: int = 900) -> Iterator[Path]:
    """Give the path of a kubeconfig for the API server at ``address`` that commands may read until it is removed (`memory_file`).

    :param validity: seconds.
    :raises FlotillaError: the node holds no certificate authority, so it is no control plane.
    """
    documents: list[dict[str, Any]] = [
        # An elliptic key is made at once; https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/.
        {**least_cluster_configuration(), "encryptionAlgorithm": "ECDSA-P256"},
        {"apiVersion": KUBEADM_API, "kind": "InitConfiguration", "localAPIEndpoint": {"advertiseAddress": address, "bindPort": port}},
    ]
    with memory_file(as_json_documents(documents)) as config:
        content = run(
            [
                "kubeadm",
                "kubeconfig",
                "user",
                f"--config={config}",
                f"--client-name={user}",
                f"--org={ADMIN_GROUP}",
                f"--validity-period={validity}s",
            ],
            code="KUBERNETES_CLIENT_CERTIFICATE",
            remedy="Run this on a control-plane node of the cluster.",
        )
    with memory_file(content) as path:
        yield path


@cache
def least_cluster_configuration() -> dict[str, Any]:
    """Return a ``ClusterConfiguration`` that names the version of this node's kubeadm; without one kubeadm would ask the internet."""
    version = run(["kubeadm", "version", "--output=short"], code="KUBEADM_MISSING").strip()
    return {"apiVersion": KUBEADM_API, "kind": "ClusterConfiguration", "kubernetesVersion": version}


def as_json_documents(documents: list[dict[str, Any]]) -> str:
    """Return ``documents`` as one YAML stream of JSON documents: nodes have no PyYAML, and kubeadm reads JSON."""
    return "\n---\n".join(json.dumps(document, indent=2, sort_keys=True) for document in documents) + "\n"


class ApiError(FlotillaError):
    """The API server answered with an error.

    `status` is the HTTP status, `reasons` are the causes that the answer names, `retry_after` the seconds that it asks to wait.
    """

    def __init__(self, status: int, method: str, path: str, text: str, retry_after: str | None = None) -> None:
        super().__init__("KUBERNETES_API_ERROR", f"{method} {path} was refused with {status}: {_status_message(text)}")
        self.status = status
        self.reasons = _status_reasons(text)
        self.retry_after = int(retry_after) if retry_after and retry_after.isdigit() else 0


class Client:
    """One kept HTTPS connection to one API server."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, timeout: float = 15.0, token: str = "") -> None:
        """Prepare a client; nothing is sent yet.

        :param timeout: seconds that one request may take.
        :param token: bearer token of who has no client certificate.
        """
        self.address = f"{host}:{port}"
        self._settings = (host, port, context, timeout, token)
        self._authorization = {"Authorization": f"Bearer {token}"} if token else {}
        self._connection = http.client.HTTPSConnection(host, port, context=context, timeout=timeout)

    @classmethod
    def short_lived(cls, address: str, user: str, port: int = API_PORT, timeout: float = 15.0) -> Client:
        """Return a client of this node's API server at ``address`` that is trusted for the next minutes.

        :param user: common name of the client certificate, e.g. ``flotilla:root``.
        :raises FlotillaError: the node holds no certificate authority, so it is no control plane.
        """
        with short_lived_kubeconfig(address, user, port) as path:
            return cls.of_kubeconfig(path, address, port, timeout)

    @classmethod
    def of_kubeconfig(cls, path: Path, address: str, port: int = API_PORT, timeout: float = 15.0) -> Client:
        """Return a client of this node's API server at ``address`` with the certificate in a file that `short_lived_kubeconfig` gave."""
        kubeconfig = path.read_text(encoding="utf-8")
        context = ssl.create_default_context(cafile=CA_FILE)
        pair = [embedded_in_kubeconfig(kubeconfig, f"client-{part}-data") for part in ("certificate", "key")]
        with memory_file(b"\n".join(pair)) as both:
            context.load_cert_chain(both)
        return cls(address, port, context, timeout)

    def another(self) -> Client:
        """Return a client of the same server with a connection of its own, for another thread."""
        return Client(*self._settings)

    def at(self, host: str, port: int = API_PORT) -> Client:
        """Return a client of another server of the same cluster, as the same user."""
        return Client(host, port, *self._settings[2:])

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> str:
        """Return the body of the answer.

        :raises ApiError: the server answered with 400 or above.
        :raises OSError: the server was not reached.
        """
        return self._exchange(method, path, body, content_type)[0]

    def _exchange(self, method: str, path: str, body: Any, content_type: str) -> tuple[str, list[str]]:
        """Return the body of the answer and the texts of its warnings; raises what `request` does.

        A server that is busy, or begins to serve a kind, asks to come again (429 with Retry-After), and is asked again as every client of
        Kubernetes does. Not so with POST, where that is the answer to an eviction.
        """
        for _number in range(_TRIES - 1):
            try:
                return self._send(method, path, body, content_type)
            except ApiError as error:
                if error.status != 429 or not error.retry_after or method == "POST":
                    raise
                time.sleep(min(error.retry_after, _LONGEST_PAUSE))
        return self._send(method, path, body, content_type)

    def _send(self, method: str, path: str, body: Any, content_type: str) -> tuple[str, list[str]]:
        headers = {"Accept": "application/json", "Content-Type": content_type, **self._authorization}
        try:
            self._connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self._connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise error if isinstance(error, OSError) else OSError(str(error)) from error
        if answer.status >= 400:
            raise ApiError(answer.status, method, path, text, answer.getheader("Retry-After"))
        return text, [warning_text(header) for header in answer.headers.get_all("Warning", ())]

    def disconnect(self) -> None:
        """Let the next request make a new connection, as after a restart of the server."""
        self._connection.close()

    def get(self, path: str) -> dict[str, Any]:
        """Return the object at ``path``."""
        return json.loads(self.request("GET", path))

    def find(self, path: str) -> dict[str, Any] | None:
        """Return the object at ``path``, None where there is none."""
        try:
            return self.get(path)
        except ApiError as error:
            if error.status == 404:
                return None
            raise

    def post(self, path: str, body: Any) -> dict[str, Any]:
        """Send ``body`` and return the object that the server answers with."""
        return json.loads(self.request("POST", path, body))

    def apply(self, path: str, content: dict[str, Any], manager: str = FIELD_MANAGER, dry_run: bool = False) -> list[str]:
        """Create or change the object at ``path`` so that it has ``content``; its name is the path's last part.

        Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/

        :param manager: who owns the fields.
        :param dry_run: whether the server only tries it, admission included.
        :return: what the server warns of.
        """
        return self._apply(path, content, manager, dry_run)[1]

    def tried(self, path: str, content: dict[str, Any], manager: str = FIELD_MANAGER) -> dict[str, Any]:
        """Return the object as `apply` would leave it; the server only tries it."""
        return json.loads(self._apply(path, content, manager, True)[0])

    def _apply(self, path: str, content: dict[str, Any], manager: str, dry_run: bool) -> tuple[str, list[str]]:
        metadata = {**content.get("metadata", {}), "name": unquote(path.rsplit("/", 1)[1])}
        query = f"fieldManager={manager}&force=true" + ("&dryRun=All" if dry_run else "")
        return self._exchange("PATCH", f"{path}?{query}", {**content, "metadata": metadata}, "application/apply-patch+yaml")

    def merge(self, path: str, body: dict[str, Any]) -> None:
        """Change the object at ``path`` where ``body`` says so; None takes a field away.

        Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#patch-and-apply (JSON Merge Patch)
        """
        self.request("PATCH", path, body, "application/merge-patch+json")

    def delete(self, path: str, seen: dict[str, Any] | None = None) -> bool:
        """Delete the object at ``path`` and tell whether it was there.

        :param seen: the object as it was read: one that has changed since, or another one of the name, stays, and the server answers 409.
        """
        body = None
        if seen is not None:
            body = {"preconditions": {key: seen["metadata"][key] for key in ("uid", "resourceVersion")}}
        try:
            self.request("DELETE", path, body)
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    def items(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the objects of a list, page by page.

        Source: https://kubernetes.io/docs/reference/using-api/api-concepts/#retrieving-large-results-sets-in-chunks
        """
        token = ""
        while True:
            joint = "&" if "?" in path else "?"
            page = self.get(f"{path}{joint}limit={PAGE_SIZE}" + (f"&continue={token}" if token else ""))
            yield from page.get("items", [])
            token = page.get("metadata", {}).get("continue", "")
            if not token:
                return


def embedded_in_kubeconfig(kubeconfig: str, field: str) -> bytes:
    """Return what the first ``field`` of a kubeconfig (``client-key-data`` ...) holds, or nothing."""
    found = re.search(rf"^\s*{field}:\s*(\S+)\s*$", kubeconfig, re.MULTILINE)
    try:
        return base64.b64decode(found.group(1), validate=True) if found else b""
    except binascii.Error:
        return b""


def warning_text(header: str) -> str:
    """Return the text of a header ``299 - "text"``: https://www.rfc-editor.org/rfc/rfc7234#section-5.5."""
    found = re.search(r'"((?:[^"\\]|\\.)*)"', header)
    return re.sub(r"\\(.)", r"\1", found.group(1)) if found else header


def _status_message(text: str) -> str:
    try:
        return json.loads(text).get("message") or text[:300]
    except (ValueError, AttributeError):
        return text[:300]


def _status_reasons(text: str) -> list[str]:
    try:
        found = json.loads(text)
        return [cause["message"] for cause in found.get("details", {}).get("causes", [])] or [found["message"]]
    except (ValueError, AttributeError, KeyError, TypeError):
        return [text[:300]]
