# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubeadm made of this node and of the cluster, and what new nodes need to join (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

import base64
import re
import secrets
import string
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._command import memory_file, run
from .._errors import FlotillaError
from .._moments import stamp
from . import encryption
from .authorities import CROSS_FILE
from .certificates import BLOCK, PKI
from .client import (
    API_PORT,
    CA_FILE,
    KUBEADM_API,
    Client,
    as_json_documents,
    least_cluster_configuration,
    short_lived_kubeconfig,
)

TOKEN_ALPHABET = string.ascii_lowercase + string.digits
SECRETS = "/api/v1/namespaces/kube-system/secrets"
CERTIFICATES = "kubeadm-certs"
# Of our tokens, and of those that kubeadm makes for nothing else than to let the uploaded certificates expire:
# https://github.com/kubernetes/kubernetes/blob/v1.36.3/cmd/kubeadm/app/phases/copycerts/copycerts.go
TOKEN_DESCRIPTION = "flotilla.kubernetes: nodes that join now"
TOKEN_DESCRIPTIONS = (TOKEN_DESCRIPTION, "Proxy for managing TTL for the kubeadm-certs secret")


def cluster_settings(client: Client) -> dict[str, str]:
    """Return what the cluster was made with, as kubeadm recorded it."""
    recorded = client.get("/api/v1/namespaces/kube-system/configmaps/kubeadm-config")["data"]["ClusterConfiguration"]
    # kubeadm writes YAML, one plain value a line, and nodes have no YAML reader.
    fields = dict(re.findall(r"^ *(kubernetesVersion|podSubnet|serviceSubnet|controlPlaneEndpoint): *(\S+) *$", recorded, re.MULTILINE))
    return {
        "kubernetes_version": fields.get("kubernetesVersion", "").lstrip("v"),
        "pod_cidrs": fields.get("podSubnet", ""),
        "service_cidrs": fields.get("serviceSubnet", ""),
        "api_endpoint": fields.get("controlPlaneEndpoint", ""),
    }


def refuse_other_settings(recorded: dict[str, str], documents: Sequence[dict[str, Any]], kept: bool = False) -> None:
    """Refuse to change what can not be changed in a running cluster.

    :param recorded: what `cluster_settings` returned.
    :param documents: the wanted ones, with a ``ClusterConfiguration`` among them.
    :param kept: whether nothing is changed anyway: then what kubeadm was not told when the cluster was made is no difference.
    :raises FlotillaError: ``CLUSTER_SETTINGS_FIXED``, with each setting that differs.
    """
    cluster = next(document for document in documents if document["kind"] == "ClusterConfiguration")
    wanted = {
        "kubernetes_version": cluster["kubernetesVersion"].lstrip("v"),
        "pod_cidrs": cluster["networking"]["podSubnet"],
        "service_cidrs": cluster["networking"]["serviceSubnet"],
        "api_endpoint": cluster["controlPlaneEndpoint"],
    }
    if not re.search(r":\d+$", recorded["api_endpoint"]) and recorded["api_endpoint"]:
        # https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/: without a port it is that of the API servers.
        recorded = {**recorded, "api_endpoint": f"{recorded['api_endpoint']}:{API_PORT}"}
    differing = [
        f"{name} {recorded[name]}, not {value}"
        for name, value in wanted.items()
        if recorded[name] != value and (recorded[name] or not kept)
    ]
    if differing:
        raise FlotillaError(
            "CLUSTER_SETTINGS_FIXED",
            f"The cluster {cluster.get('clusterName', '')} was made with {'; '.join(differing)} as its definition says now.",
            "These can not be changed in a running cluster: set them back, or make a new cluster.",
        )


def create_join_secret(address: str, user: str, ttl_seconds: int, control_plane: bool) -> dict[str, Any]:
    """Create what new nodes need to join.

    :return: ``token``, ``token_id``, ``ca_cert_hashes``, ``signing_certificate``, ``chain``, ``api_endpoint`` and, for control planes,
        ``certificate_key``.

    The token is a Secret with an expiry that the cluster itself enforces:
    https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#bootstrap-token-secret-format
    """
    token_id, token_secret = _random(6), _random(16)
    expiration = stamp(time.time() + ttl_seconds)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "description": TOKEN_DESCRIPTION,
            "token-id": token_id,
            "token-secret": token_secret,
            "expiration": expiration,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": encryption.BOOTSTRAP_GROUP,
        },
    }
    with short_lived_kubeconfig(address, user) as kubeconfig:
        client = Client.of_kubeconfig(kubeconfig, address)
        created = client.post(SECRETS, secret)
        result: dict[str, Any] = {
            "token": f"{token_id}.{token_secret}",
            "token_id": token_id,
            **authorities_of_joins(),
            "api_endpoint": cluster_settings(client)["api_endpoint"],
        }
        if control_plane:
            result["certificate_key"] = _upload_certificates(address, kubeconfig)
            encryption.attach(client, result["certificate_key"], created)
    _wait_for_signature(client, token_id)
    return result


def join_secrets(client: Client) -> list[str]:
    """Return the names of the Secrets that runs of ours made for machines to join, sorted.

    Between runs there are some only when one was killed.
    """
    tokens = client.items(f"{SECRETS}?fieldSelector=type%3Dbootstrap.kubernetes.io/token")
    found = [
        secret["metadata"]["name"]
        for secret in tokens
        if base64.b64decode(secret["data"].get("description", "")).decode("utf-8", "replace") in TOKEN_DESCRIPTIONS
    ]
    for name in (CERTIFICATES, encryption.SECRET):
        found += [secret["metadata"]["name"] for secret in client.items(f"{SECRETS}?fieldSelector=metadata.name%3D{name}")]
    return sorted(found)


def delete_join_secret(address: str, user: str, token_id: str | None) -> bool:
    """Delete the token and the uploaded control-plane certificates; return whether any was there.

    :param token_id: of the token; without it all go that `join_secrets` finds.
    """
    client = Client.short_lived(address, user)
    if token_id is None:
        names = join_secrets(client)
    else:
        # kubeadm lets the certificates expire with a token that it makes for nothing else; that one owns them.
        owners = [
            owner["name"]
            for secret in client.items(f"{SECRETS}?fieldSelector=metadata.name%3D{CERTIFICATES}")
            for owner in secret["metadata"].get("ownerReferences", [])
        ]
        names = [f"bootstrap-token-{token_id}", CERTIFICATES, encryption.SECRET, *owners]
    removed = [client.delete(f"{SECRETS}/{name}") for name in names]
    return any(removed)


def authorities_of_joins(ca_file: str = CA_FILE) -> dict[str, Any]:
    """Return what a node that joins has to know of the cluster's certificate authority.

    :return: ``ca_cert_hashes``, the SHA-256 of its public key as kubeadm's discovery wants it; of both while it is rotated. And
        ``signing_certificate`` (PEM), the one of them whose key signs, and ``chain`` (PEM), what API servers show beside their
        certificates, while there are two.

    https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-join/#token-based-discovery-with-ca-pinning
    """
    trusted = [block.decode("ascii") for block in BLOCK.findall(Path(ca_file).read_bytes())]
    hashes = [encryption.public_key_hash(one) for one in trusted]
    if len(trusted) < 2:
        return {"ca_cert_hashes": hashes, "signing_certificate": "", "chain": ""}
    crossed = Path(ca_file).parent / Path(CROSS_FILE).relative_to(PKI)
    chain = crossed.read_text(encoding="ascii") if crossed.exists() else ""
    # It is of the new one; where the old one still signs, there is nothing to explain.
    return {
        "ca_cert_hashes": hashes,
        "signing_certificate": trusted[0],
        "chain": chain if chain and encryption.public_key_hash(chain) == hashes[0] else "",
    }


def _upload_certificates(address: str, kubeconfig: Path) -> str:
    """Store the control plane's certificates encrypted in the cluster (two hours, kubeadm's own limit); return the key."""
    key = secrets.token_hex(32)
    documents: list[dict[str, Any]] = [
        least_cluster_configuration(),
        {
            "apiVersion": KUBEADM_API,
            "kind": "InitConfiguration",
            "certificateKey": key,
            "localAPIEndpoint": {"advertiseAddress": address},
        },
    ]
    with memory_file(as_json_documents(documents)) as config:
        run(
            [
                "kubeadm",
                "init",
                "phase",
                "upload-certs",
                "--upload-certs",
                "--skip-certificate-key-print",
                f"--config={config}",
                f"--kubeconfig={kubeconfig}",
            ],
            code="CERTIFICATES_NOT_UPLOADED",
        )
    return key


def _wait_for_signature(client: Client, token_id: str, timeout: float = 60.0) -> None:
    """Wait until the cluster has signed `cluster-info` with the token: before, joining nodes refuse it."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        data = client.get("/api/v1/namespaces/kube-public/configmaps/cluster-info").get("data", {})
        if f"jws-kubeconfig-{token_id}" in data:
            return
        time.sleep(0.2)
    raise FlotillaError(
        "TOKEN_NOT_SIGNED",
        f"The bootstrap token {token_id} was not signed within {timeout:g} s.",
        "Look at the log of kube-controller-manager: its bootstrap signer does this.",
    )


def _random(length: int) -> str:
    return "".join(secrets.choice(TOKEN_ALPHABET) for _index in range(length))
