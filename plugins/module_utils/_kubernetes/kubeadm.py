# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm init and join as steps that can be repeated (private to flotilla.kubernetes).

A step leaves a mark on the node before it begins and another when it is done, and holds a lock all the while, so a run
that finds the step of a killed run attaches to it, or undoes what it left half done. Python 3.9, standard library only.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import string
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from .._command import SEARCH_PATH, run
from .._errors import FlotillaError
from .client import CA_FILE, KUBEADM_API, ApiError, Client, as_json_documents, short_lived_kubeconfig

STATE_DIR = Path("/var/lib/flotilla")
LOG_DIR = Path("/var/log/flotilla")
# A tmpfs: what is written there for a moment never reaches a disk.
RUN_DIR = "/run"
CONFIG_PREFIX = "flotilla-kubeadm-"
KUBELET_KUBECONFIG = Path("/etc/kubernetes/kubelet.conf")
TOKEN_ALPHABET = string.ascii_lowercase + string.digits
BOOTSTRAP_GROUP = "system:bootstrappers:kubeadm:default-node-token"


def membership() -> str:
    """Return ``none``, ``unfinished`` (a step began and did not end) or ``member``."""
    if (STATE_DIR / "kubeadm.started").exists():
        return "unfinished"
    return "member" if KUBELET_KUBECONFIG.exists() else "none"


def kubelet_version() -> str:
    """Return the version of the installed kubelet, without a leading ``v``."""
    return run(["kubelet", "--version"], code="KUBELET_MISSING").split()[-1].lstrip("v")


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


def bring_up(step: str, documents: Sequence[dict[str, Any]], ignore_preflight_errors: Sequence[str], timeout: float) -> bool:
    """Make this node a member by ``kubeadm <step>`` and return whether anything had to be done.

    :param step: ``init`` or ``join``.
    :param timeout: seconds for kubeadm, and as long again for a step of a killed run that still works.
    :raises FlotillaError: kubeadm failed; the message has its last lines, the log on the node has all of them.
    """
    with _only_one(timeout) as lock:
        for left in Path(RUN_DIR).glob(f"{CONFIG_PREFIX}*"):
            # Of a run that was killed: it holds join secrets, and nobody else is at work while we hold the lock.
            shutil.rmtree(left, ignore_errors=True)
        state = membership()
        if state == "member":
            return False
        if state == "unfinished":
            _undo(timeout)
        _run_kubeadm(step, documents, ignore_preflight_errors, timeout, lock)
        return True


def _run_kubeadm(step: str, documents: Sequence[dict[str, Any]], ignore_preflight_errors: Sequence[str], timeout: float, lock: int) -> None:
    LOG_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    log = LOG_DIR / f"kubeadm-{step}.log"
    started = STATE_DIR / "kubeadm.started"
    with tempfile.TemporaryDirectory(dir=RUN_DIR, prefix=CONFIG_PREFIX) as folder:
        config = Path(folder) / "kubeadm.json"
        config.touch(mode=0o600)
        config.write_text(as_json_documents(list(documents)), encoding="utf-8")
        command = ["kubeadm", step, f"--config={config}"]
        if ignore_preflight_errors:
            command.append(f"--ignore-preflight-errors={','.join(ignore_preflight_errors)}")
        if step == "init":
            command.append("--skip-token-print")
        _write_mark(started, step)
        with open(log, "w", encoding="utf-8", opener=_private) as output:
            # The shell, not this process, takes the mark away: when a connection is lost, kubeadm goes on and its end is still recorded.
            done = subprocess.Popen(
                ["sh", "-c", 'mark=$1; shift; "$@" && rm -f "$mark"', "sh", str(started), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env={**os.environ, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"},
                pass_fds=(lock,),
            )
            try:
                code = done.wait(timeout)
            except subprocess.TimeoutExpired as error:
                os.killpg(done.pid, 15)
                raise FlotillaError(
                    "KUBEADM_TIMEOUT",
                    f"kubeadm {step} did not end within {timeout:g} s: {_tail(log)}",
                    f"Read {log} on the node, then run again.",
                    error,
                ) from error
    if code != 0:
        raise FlotillaError(
            "KUBEADM_FAILED",
            f"kubeadm {step} failed (exit code {code}): {_tail(log)}",
            f"Read {log} on the node, mend the cause and run again.",
        )


def _undo(timeout: float) -> None:
    """Take back a half-done init or join; kubeadm removes the node's etcd member, too."""
    run(["kubeadm", "reset", "--force"], timeout=timeout, code="KUBEADM_RESET_FAILED", remedy="Mend the cause and run again.")
    (STATE_DIR / "kubeadm.started").unlink(missing_ok=True)


@contextmanager
def _only_one(timeout: float) -> Iterator[int]:
    """Give the descriptor of the node's lock; a kubeadm that inherits it holds the lock until it ends."""
    STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(STATE_DIR / "kubeadm.lock", os.O_RDWR | os.O_CREAT, 0o600)
    deadline = time.monotonic() + timeout
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise FlotillaError(
                        "KUBEADM_BUSY",
                        f"Another kubeadm step still runs on this node after {timeout:g} s.",
                        "Wait for it or end it, then run again.",
                        error,
                    ) from error
                time.sleep(0.5)
        yield descriptor
    finally:
        os.close(descriptor)


def _write_mark(path: Path, step: str) -> None:
    path.write_text(json.dumps({"step": step, "pid": os.getpid()}), encoding="utf-8")


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _tail(log: Path, lines: int = 15) -> str:
    try:
        return "\n".join(log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-lines:])
    except OSError:
        return ""


def create_join_secret(address: str, user: str, ttl_seconds: int, control_plane: bool) -> dict[str, Any]:
    """Create what new nodes need to join and return ``token``, ``ca_cert_hashes`` and, for control planes, ``certificate_key``.

    The token is a Secret with an expiry that the cluster itself enforces:
    https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#bootstrap-token-secret-format
    """
    token_id, token_secret = _random(6), _random(16)
    expiration = (datetime.now(timezone.utc) + timedelta(seconds=ttl_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "stringData": {
            "description": "flotilla.kubernetes: nodes that join now",
            "token-id": token_id,
            "token-secret": token_secret,
            "expiration": expiration,
            "usage-bootstrap-authentication": "true",
            "usage-bootstrap-signing": "true",
            "auth-extra-groups": BOOTSTRAP_GROUP,
        },
    }
    client = Client.short_lived(address, user)
    client.request("POST", "/api/v1/namespaces/kube-system/secrets", secret)
    result: dict[str, Any] = {"token": f"{token_id}.{token_secret}", "token_id": token_id, "ca_cert_hashes": [ca_cert_hash()]}
    if control_plane:
        result["certificate_key"] = _upload_certificates(address, user)
    _wait_for_signature(client, token_id)
    return result


def delete_join_secret(address: str, user: str, token_id: str) -> bool:
    """Delete the token and the uploaded control-plane certificates; return whether any was there."""
    client = Client.short_lived(address, user)
    secrets_path = "/api/v1/namespaces/kube-system/secrets"
    # kubeadm lets the certificates expire with a token that it makes for nothing else; that one owns them.
    owners = [
        owner["name"]
        for secret in client.items(f"{secrets_path}?fieldSelector=metadata.name%3Dkubeadm-certs")
        for owner in secret["metadata"].get("ownerReferences", [])
    ]
    removed = False
    for name in (f"bootstrap-token-{token_id}", "kubeadm-certs", *owners):
        try:
            client.request("DELETE", f"{secrets_path}/{name}")
            removed = True
        except ApiError as error:
            if error.status != 404:
                raise
    return removed


def ca_cert_hash(ca_file: str = CA_FILE) -> str:
    """Return the SHA-256 of the certificate authority's public key, as kubeadm's discovery wants it.

    https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-join/#token-based-discovery-with-ca-pinning
    """
    pem = run(["openssl", "x509", "-in", ca_file, "-noout", "-pubkey"], code="CA_UNREADABLE")
    body = "".join(line for line in pem.splitlines() if not line.startswith("-"))
    return "sha256:" + hashlib.sha256(base64.b64decode(body)).hexdigest()


def _upload_certificates(address: str, user: str) -> str:
    """Store the control plane's certificates encrypted in the cluster (two hours, kubeadm's own limit); return the key."""
    key = secrets.token_hex(32)
    version = run(["kubeadm", "version", "--output=short"], code="KUBEADM_MISSING").strip()
    with short_lived_kubeconfig(address, user) as kubeconfig:
        config = kubeconfig.with_name("upload.json")
        config.touch(mode=0o600)
        documents: list[dict[str, Any]] = [
            {"apiVersion": KUBEADM_API, "kind": "ClusterConfiguration", "kubernetesVersion": version},
            {
                "apiVersion": KUBEADM_API,
                "kind": "InitConfiguration",
                "certificateKey": key,
                "localAPIEndpoint": {"advertiseAddress": address},
            },
        ]
        config.write_text(as_json_documents(documents), encoding="utf-8")
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
