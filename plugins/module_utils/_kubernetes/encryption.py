# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The key with which API servers encrypt Secrets in etcd (private to flotilla.kubernetes).

Every control plane needs the same key, and kubeadm does not carry it. So it travels as kubeadm's certificates do: encrypted with the
certificate key, in a Secret that a joining node reads with its bootstrap token and that is deleted after the join. It is a Secret of
its own, because kubeadm refuses its own one when that has an entry which it can not decrypt. The controller never sees the key.

Python 3.9, standard library and openssl only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import ssl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .._command import memory_file, run
from .._errors import FlotillaError
from .._files import write_atomically
from .certificates import BLOCK, public_key_id
from .client import ApiError, Client, embedded_in_kubeconfig

ENCRYPTION_FILE = Path("/etc/kubernetes/flotilla/encryption.json")
SECRET = "flotilla-encryption"
SECRET_PATH = f"/api/v1/namespaces/kube-system/secrets/{SECRET}"
ENTRY = "encryption.json"
CONVERSION = "flotilla-encryption-conversion"
ANNOTATION = "flotilla.kubernetes/encryption"
PREPARED, WRITING = "prepared", "writing"
SERVICE_ACCOUNT_KEY = Path("/etc/kubernetes/pki/sa.key")
# The group of the bootstrap tokens that kubeadm and this collection make.
BOOTSTRAP_GROUP = "system:bootstrappers:kubeadm:default-node-token"
API_VERSION = "apiserver.config.k8s.io/v1"


def new_configuration() -> dict[str, Any]:
    """Return an ``EncryptionConfiguration`` with a new key.

    secretbox: authenticated, unlike aescbc, and safe with random nonces however much is written, unlike aesgcm, whose key must be
    changed every 200,000 writes: https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/#providers
    """
    key = {"name": f"key-{secrets.token_hex(4)}", "secret": base64.b64encode(secrets.token_bytes(32)).decode()}
    return {
        "apiVersion": API_VERSION,
        "kind": "EncryptionConfiguration",
        # identity comes last: it reads what was written before encryption was turned on, and nothing new is written with it.
        "resources": [{"resources": ["secrets"], "providers": [{"secretbox": {"keys": [key]}}, {"identity": {}}]}],
    }


def write_new(path: Path = ENCRYPTION_FILE) -> None:
    """Write a new key, for the first control plane of a new cluster: there is nothing yet that the old one could read."""
    _write(path, json.dumps(new_configuration(), indent=2))


def _write(path: Path, content: str) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_atomically(path, content.encode(), 0o600)


def attach(client: Client, certificate_key: str, token_secret: dict[str, Any], path: Path = ENCRYPTION_FILE) -> None:
    """Put this control plane's encryption configuration, if it has one, where nodes that join find it.

    :param token_secret: the Secret of the bootstrap token, which takes this one with it when it expires.
    """
    if not path.exists():
        return
    sealed = seal(path.read_text(encoding="utf-8"), certificate_key)
    owner = {"apiVersion": "v1", "kind": "Secret", "name": token_secret["metadata"]["name"], "uid": token_secret["metadata"]["uid"]}
    name = "flotilla:encryption"
    group = "rbac.authorization.k8s.io"
    rights = f"/apis/{group}/v1/namespaces/kube-system"
    rules = [{"apiGroups": [""], "resources": ["secrets"], "resourceNames": [SECRET], "verbs": ["get"]}]
    binding = {
        "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
        "subjects": [{"apiGroup": group, "kind": "Group", "name": BOOTSTRAP_GROUP}],
    }
    client.apply(f"{rights}/roles/{name}", {"apiVersion": f"{group}/v1", "kind": "Role", "rules": rules})
    client.apply(f"{rights}/rolebindings/{name}", {"apiVersion": f"{group}/v1", "kind": "RoleBinding", **binding})
    content = {"apiVersion": "v1", "kind": "Secret", "data": {ENTRY: base64.b64encode(sealed.encode()).decode()}}
    client.apply(SECRET_PATH, {**content, "metadata": {"ownerReferences": [owner]}})


def fetch(api_server: str, token: str, ca_cert_hashes: Sequence[str], certificate_key: str, path: Path = ENCRYPTION_FILE) -> bool:
    """Write the cluster's encryption configuration to this machine, if the cluster has one; return whether it has.

    :param api_server: ``host:port`` of a control plane.
    :raises FlotillaError: the API server is not the cluster's, or does not give the Secret.
    """
    host, port = api_server.rsplit(":", 1)
    try:
        context = ssl.create_default_context(cadata=_trusted_ca(host.strip("[]"), int(port), ca_cert_hashes))
        data = Client(host.strip("[]"), int(port), context, token=token).get(SECRET_PATH)["data"]
    except ApiError as error:
        # Without encryption there is no Secret; without the Role, made with the first one, nobody may look for it.
        if error.status in (403, 404):
            return False
        raise
    except OSError as error:
        raise FlotillaError(
            "API_UNREACHABLE",
            f"The API server {api_server} could not be reached: {error}",
            "Read the log of its kube-apiserver.",
            error,
        ) from error
    _write(path, unseal(base64.b64decode(data[ENTRY]).decode(), certificate_key))
    return True


def _trusted_ca(host: str, port: int, ca_cert_hashes: Sequence[str]) -> str:
    """Return the cluster's CA certificates, which anybody may read, once the hash of each one's key is one of ``ca_cert_hashes``.

    There are two of them while the authority is rotated.

    https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-join/#token-based-discovery-with-ca-pinning
    """
    # Nothing is believed of this answer but what the hash proves.
    unverified = ssl.create_default_context()
    unverified.check_hostname = False
    unverified.verify_mode = ssl.CERT_NONE
    answer = Client(host, port, unverified).get("/api/v1/namespaces/kube-public/configmaps/cluster-info")
    ca = embedded_in_kubeconfig(answer["data"]["kubeconfig"], "certificate-authority-data").decode("ascii", "replace")
    certificates = [block.decode("ascii") for block in BLOCK.findall(ca.encode())]
    # Each of them would be trusted, and so would whatever else openssl takes for a certificate.
    whole = ca.count("-----BEGIN") == len(certificates) > 0
    if not whole or any(public_key_hash(one) not in ca_cert_hashes for one in certificates):
        raise FlotillaError(
            "CA_NOT_TRUSTED",
            f"The API server {host}:{port} shows a certificate authority that is not the cluster's.",
            "Find out who answers at this address.",
        )
    return ca


def public_key_hash(certificate: str) -> str:
    """Return the SHA-256 of the public key of a certificate (PEM), as kubeadm's discovery wants it."""
    return public_key_id(run(["openssl", "x509", "-noout", "-pubkey"], stdin=certificate, code="CA_UNREADABLE"))


def seal(text: str, certificate_key: str) -> str:
    """Return ``text`` encrypted and authenticated (AES-256-CTR, then HMAC-SHA-256) with keys derived from ``certificate_key``."""
    ciphertext = _openssl(["-e"], text, certificate_key)
    return f"{ciphertext}.{_authentication(ciphertext, certificate_key)}"


def unseal(sealed: str, certificate_key: str) -> str:
    """Return what `seal` was given.

    :raises FlotillaError: it was sealed with another key, or changed.
    """
    ciphertext, _dot, tag = sealed.partition(".")
    if not hmac.compare_digest(_authentication(ciphertext, certificate_key), tag):
        raise FlotillaError(
            "ENCRYPTION_KEY_SEALED",
            "The encryption configuration in the Secret kube-system/flotilla-encryption does not open with this certificate key.",
            "Another run joins control planes at the same time: wait for its end and run again.",
        )
    return _openssl(["-d"], ciphertext, certificate_key)


class Conversion:
    """Turning encryption on in a cluster that runs without it, one control plane at a time, from what is seen at each step.

    No API server may write with a key that another one can not read yet. So first each gets the key and goes on writing as before, then
    each writes with it, then every Secret is written anew:
    https://kubernetes.io/docs/tasks/administer-cluster/encrypt-data/#configuring-a-key-management-for-high-availability

    While this goes on, the key is in the Secret `CONVERSION`, sealed with the service account key, which every control plane has and nobody
    else; each control plane says on its Node how far it is. When the Secret is gone, it is over. A run that is killed is resumed.
    """

    def __init__(self, client: Client, node: str, path: Path = ENCRYPTION_FILE, shared_secret: Path = SERVICE_ACCOUNT_KEY) -> None:
        """:param node: name of this control plane's Node."""
        self._client = client
        self._node = node
        self._path = path
        self._shared = hashlib.sha256(shared_secret.read_bytes()).hexdigest()

    def due(self) -> bool:
        """Whether something is left to do in a cluster whose API servers use the file."""
        return self._carried() is not None

    def prepare(self, in_use: bool) -> None:
        """Have the cluster's new key on this machine, to read with; before its API server is told to use the file.

        :param in_use: whether it uses it already. A file that is not used is of a cluster that this machine was in once.
        """
        if in_use and self._path.exists():
            return
        carried = self._carried()
        if carried is None:
            sealed = seal(json.dumps(new_configuration()), self._shared)
            data = {ENTRY: base64.b64encode(sealed.encode()).decode()}
            try:
                self._client.post(
                    "/api/v1/namespaces/kube-system/secrets",
                    {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": CONVERSION}, "data": data},
                )
            except ApiError as error:
                # Another control plane was faster; its key counts.
                if error.status != 409:
                    raise
            carried = self._carried()
        configuration = json.loads(carried or "{}")
        # Provider number one writes; the others only read.
        configuration["resources"][0]["providers"].reverse()
        _write(self._path, json.dumps(configuration, indent=2))

    def proceed(self, restart: Callable[[], None]) -> bool:
        """Go on as far as the other control planes allow, after this one's API server uses the file; return whether it is over.

        :param restart: restarts this control plane's API server and waits for it.
        """
        carried = self._carried()
        if carried is None:
            return True
        if not self._everywhere(PREPARED, WRITING):
            self._say(PREPARED)
            if not self._everywhere(PREPARED, WRITING):
                return False
        if json.dumps(json.loads(carried), indent=2) != self._path.read_text(encoding="utf-8"):
            _write(self._path, json.dumps(json.loads(carried), indent=2))
            restart()
        self._say(WRITING)
        if not self._everywhere(WRITING):
            return False
        self._write_all_anew()
        self._client.request("DELETE", f"/api/v1/namespaces/kube-system/secrets/{CONVERSION}")
        for node in self._control_planes():
            self._annotate(node["metadata"]["name"], None)
        return True

    def _carried(self) -> str | None:
        """Return the new configuration as the cluster carries it, or nothing when no conversion goes on."""
        found = self._client.find(f"/api/v1/namespaces/kube-system/secrets/{CONVERSION}")
        return unseal(base64.b64decode(found["data"][ENTRY]).decode(), self._shared) if found else None

    def _control_planes(self) -> list[dict[str, Any]]:
        return list(self._client.items("/api/v1/nodes?labelSelector=node-role.kubernetes.io%2Fcontrol-plane"))

    def _everywhere(self, *stages: str) -> bool:
        return all(node["metadata"].get("annotations", {}).get(ANNOTATION) in stages for node in self._control_planes())

    def _say(self, stage: str) -> None:
        own = next((node for node in self._control_planes() if node["metadata"]["name"] == self._node), None)
        if own and own["metadata"].get("annotations", {}).get(ANNOTATION) not in (stage, WRITING):
            self._annotate(self._node, stage)

    def _annotate(self, node: str, stage: str | None) -> None:
        self._client.merge(f"/api/v1/nodes/{node}", {"metadata": {"annotations": {ANNOTATION: stage}}})

    def _write_all_anew(self) -> None:
        """Write every Secret as it is: the API server stores it with the new key. Who changes one meanwhile writes it, too."""
        for secret in self._client.items("/api/v1/secrets"):
            metadata = secret["metadata"]
            path = f"/api/v1/namespaces/{metadata['namespace']}/secrets/{metadata['name']}"
            try:
                self._client.request("PUT", path, {"apiVersion": "v1", "kind": "Secret", **secret})
            except ApiError as error:
                if error.status not in (404, 409):
                    raise


def _derived(certificate_key: str, purpose: str) -> str:
    return hmac.new(certificate_key.encode(), purpose.encode(), hashlib.sha256).hexdigest()


def _authentication(ciphertext: str, certificate_key: str) -> str:
    return hmac.new(_derived(certificate_key, "authentication").encode(), ciphertext.encode(), hashlib.sha256).hexdigest()


def _openssl(direction: list[str], text: str, certificate_key: str) -> str:
    with memory_file(_derived(certificate_key, "encryption")) as secret:
        command = ["openssl", "enc", "-aes-256-ctr", "-pbkdf2", "-a", "-A", "-pass", f"file:{secret}", *direction]
        return run(command, stdin=text, code="OPENSSL_FAILED")
