# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Client certificates of people, signed by the cluster (private to flotilla.kubernetes).

It runs on a control plane and sees a certificate signing request only: the private key stays where it was made.
Python 3.9, standard library only.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from pathlib import Path

from .._errors import FlotillaError
from .client import CA_FILE, ApiError, Client

ADMIN_KUBECONFIG = Path("/etc/kubernetes/admin.conf")
REQUESTS = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
SIGNER = "kubernetes.io/kube-apiserver-client"
SERVING_SIGNER = "kubernetes.io/kubelet-serving"
# https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
USAGES = {SIGNER: ["client auth"], SERVING_SIGNER: ["digital signature", "server auth"]}


def cluster_entry() -> dict[str, str]:
    """Return ``server`` and ``ca`` (PEM) of the cluster, as every kubeconfig of it has them.

    :raises FlotillaError: this node is no control plane.
    """
    try:
        found = re.search(r"^\s*server:\s*(\S+)\s*$", ADMIN_KUBECONFIG.read_text(encoding="utf-8"), re.MULTILINE)
        return {"server": found.group(1) if found else "", "ca": Path(CA_FILE).read_text(encoding="ascii")}
    except OSError as error:
        raise FlotillaError(
            "NO_CONTROL_PLANE", f"{error.filename} can not be read: {error.strerror}.", "Run this on a control plane.", error
        ) from error


def sign(client: Client, request: str, ttl: int, timeout: float = 30.0) -> str:
    """Return the certificate (PEM) of a person for a certificate signing request (PEM), valid for ``ttl`` seconds at most.

    :raises FlotillaError: the cluster refused the request, or did not sign it within ``timeout`` seconds.
    """
    return ask(client, request, SIGNER, approve=True, ttl=ttl, timeout=timeout)


def ask(client: Client, request: str, signer: str, approve: bool, ttl: int | None = None, timeout: float = 30.0) -> str:
    """Return the certificate (PEM) that a signer of the cluster makes for a certificate signing request (PEM).

    https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/

    :param approve: whether to approve the request; the cluster does it by itself for a kubelet that asks for its own next certificate.
    :param ttl: seconds for which it is good at most; None for as long as the signer gives.
    :raises FlotillaError: the cluster refused the request, or did not sign it within ``timeout`` seconds.
    """
    name = f"flotilla-{secrets.token_hex(8)}"
    body = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name, "labels": {"app.kubernetes.io/managed-by": "flotilla.kubernetes"}},
        "spec": {
            "request": base64.b64encode(request.encode()).decode(),
            "signerName": signer,
            **({"expirationSeconds": ttl} if ttl else {}),
            "usages": USAGES.get(signer, ["digital signature", "client auth"]),
        },
    }
    made = client.post(REQUESTS, body)
    try:
        if approve:
            made.setdefault("status", {})["conditions"] = [
                {"type": "Approved", "status": "True", "reason": "Flotilla", "message": "Asked for with the playbook kubeconfig."}
            ]
            client.request("PUT", f"{REQUESTS}/{name}/approval", made)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            status = client.get(f"{REQUESTS}/{name}").get("status", {})
            if status.get("certificate"):
                return base64.b64decode(status["certificate"]).decode("ascii")
            refused = next((item for item in status.get("conditions", []) if item["type"] in ("Denied", "Failed")), None)
            if refused:
                raise FlotillaError(
                    "CERTIFICATE_REFUSED",
                    f"The cluster did not sign the client certificate: {refused.get('message') or refused['type']}",
                    "Ask for another user, other groups or a longer time.",
                )
            time.sleep(0.1)
    finally:
        # A run that is killed before leaves it to the cluster, which removes signed requests after an hour. A kubelet may not delete any.
        try:
            client.request("DELETE", f"{REQUESTS}/{name}")
        except (ApiError, OSError):
            pass
    raise FlotillaError(
        "CERTIFICATE_NOT_SIGNED",
        f"The client certificate was not signed within {timeout:g} s.",
        "Read the log of kube-controller-manager: its signer does this.",
    )
