# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real etcd and kube-apiserver processes on loopback, from the images of a bundle: a control plane for tests without a machine."""

from __future__ import annotations

import base64
import contextlib
import io
import ipaddress
import json
import os
import random
import signal
import socket
import ssl
import subprocess
import tarfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import outside
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VERSION = "1.36.3"


def bundle(tmp_path: Path, version: str = VERSION) -> Path:
    """Return the bundle of a version, made first when it is not there."""
    folder = Path(os.environ.get("FLOTILLA_CACHE") or Path.home() / ".cache/flotilla") / "bundles" / version
    if not (folder / "manifest.json").exists():
        outside.write_definition(tmp_path, "test-bundle", kubernetes_version=version)
        made = outside.playbook("bundle_build", tmp_path)
        assert made.status == 0, made.output
    return folder


def program(folder: Path, image: str, into: Path) -> Path:
    """Take the program ``image`` out of the bundle's image of that name."""
    target = into / image
    if not target.exists():
        with tarfile.open(folder / f"images/amd64/{image}.tar") as archive:
            (layer,) = json.load(archive.extractfile("manifest.json"))[0]["Layers"]
            with tarfile.open(fileobj=io.BytesIO(archive.extractfile(layer).read())) as files:
                member = next(one for one in files.getmembers() if one.isfile() and one.name.rsplit("/", 1)[-1] == image)
                target.write_bytes(files.extractfile(member).read())
        target.chmod(0o755)
    return target


def free_port() -> int:
    """Return a port that nobody listens on, from below those that outgoing connections get: one of them could take it in the meantime."""
    while True:
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", random.randint(15000, 32000)))
            return int(listener.getsockname()[1])


class Authority:
    """A certificate authority with its files in a folder."""

    def __init__(self, folder: Path, name: str = "test-ca", days: int = 1) -> None:
        """:param days: until what it signs ends, itself included."""
        self._days = days
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self._key = folder, rsa.generate_private_key(65537, 2048)
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.file = folder / "ca.crt"
        builder = self._builder(self._name, self._key.public_key()).add_extension(x509.BasicConstraints(True, None), True)
        self.file.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def _builder(self, subject: x509.Name, public_key: Any) -> x509.CertificateBuilder:
        now = datetime.now(timezone.utc)
        made = x509.CertificateBuilder().subject_name(subject).issuer_name(self._name).public_key(public_key)
        return (
            made.serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(self._days))
        )

    def issue(self, file: str, common_name: str, *groups: str, hosts: tuple[str, ...] = ()) -> Path:
        """Write ``file``.crt and .key for a server on loopback and a client; return the path without the ending.

        :param hosts: further names and addresses of the server.
        """
        key = rsa.generate_private_key(65537, 2048)
        names = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
        names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in groups]
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        places = [_place(host) for host in dict.fromkeys(("localhost", "127.0.0.1", *hosts))]
        builder = self._builder(x509.Name(names), key.public_key()).add_extension(x509.ExtendedKeyUsage(usages), False)
        made = builder.add_extension(x509.SubjectAlternativeName(places), False).sign(self._key, hashes.SHA256())
        path = self.folder / file
        path.with_suffix(".crt").write_bytes(made.public_bytes(serialization.Encoding.PEM))
        secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        path.with_suffix(".key").write_bytes(secret)
        return path


def _place(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


class Processes:
    """Programs that a test started; all of them end with it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._running = folder, {}

    def start(self, name: str, *argv: Any) -> None:
        log = open(self.folder / f"{name}.log", "ab")  # noqa: SIM115
        self._running[name] = subprocess.Popen([str(word) for word in argv], stdout=log, stderr=log, stdin=subprocess.DEVNULL)

    def kill(self, name: str) -> None:
        process = self._running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        for name in list(self._running):
            self.kill(name)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")


@dataclass
class EtcdMembers:
    """etcd members on loopback by name; their ports are the only thing that tells them apart."""

    processes: Processes
    program: Path
    authority: Authority
    ports: dict[str, tuple[int, int]] = field(default_factory=dict)

    def endpoint(self, name: str) -> str:
        return f"127.0.0.1:{self.ports[name][0]}"

    def peer_url(self, name: str) -> str:
        return f"https://127.0.0.1:{self.ports[name][1]}"

    def reserve(self, *names: str) -> None:
        for name in names:
            self.ports[name] = (free_port(), free_port())

    def start(self, name: str, members: tuple[str, ...], state: str = "new", *flags: str) -> None:
        """Start one member with further ``flags``; ``members`` are all that the cluster has then."""
        pair = self.authority.folder / "healthcheck-client"
        if not pair.with_suffix(".crt").exists():
            self.authority.issue("healthcheck-client", "etcd")
        tls: list[str] = []
        for prefix in ("--", "--peer-"):
            tls += [f"{prefix}cert-file={pair}.crt", f"{prefix}key-file={pair}.key", f"{prefix}trusted-ca-file={self.authority.file}"]
            tls += [f"{prefix}client-cert-auth=true"]
        client, peer = f"https://{self.endpoint(name)}", self.peer_url(name)
        self.processes.start(
            name, self.program, f"--name={name}", f"--data-dir={self.processes.folder / name}", "--unsafe-no-fsync",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}", f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}", f"--initial-cluster-state={state}", "--heartbeat-interval=200",
            "--election-timeout=2000",
            f"--initial-cluster={','.join(f'{one}={self.peer_url(one)}' for one in members)}", *tls, *flags,
        )  # fmt: skip


@dataclass
class ApiServer:
    """A kube-apiserver on loopback, with an administrator's client certificate."""

    port: int
    authority: Authority
    processes: Processes

    def call(self, method: str, path: str, body: Any = None, token: str = "", anonymous: bool = False) -> tuple[int, dict[str, Any]]:
        """Return status and body of one request of the administrator, of a token's owner, or of nobody."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        if not token and not anonymous:
            context.load_cert_chain(f"{self.authority.folder / 'admin'}.crt", f"{self.authority.folder / 'admin'}.key")
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"https://127.0.0.1:{self.port}{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20, context=context) as answer:
                text = answer.read()
                status = answer.status
        except urllib.error.HTTPError as error:
            status, text = error.code, error.read()
        try:
            return status, json.loads(text)
        except ValueError:
            return status, {"text": text.decode(errors="replace")}

    def whoami(self, token: str) -> tuple[int, dict[str, Any]]:
        """Return status and, when it is 201, user name and groups of the token's owner."""
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        status, answer = self.call("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body, token)
        return status, answer["status"]["userInfo"] if status == 201 else {}


def start_api_server(
    folder: Path,
    programs: Path,
    authority: Authority,
    etcd: EtcdMembers,
    *flags: str,
    version: str = VERSION,
    name: str = "kube-apiserver",
) -> ApiServer:
    """Start a kube-apiserver with ``flags`` besides those that it can not do without, and wait until it is ready.

    :param programs: folder of programs of this version only.
    :param name: tells several of one cluster apart.
    """
    server = ApiServer(free_port(), authority, etcd.processes)
    pair, authority_pair = authority.issue(name, "kube-apiserver"), etcd.authority.folder / "healthcheck-client"
    authority.issue("admin", "admin", "system:masters")
    etcd.processes.start(
        name, program(bundle(folder, version), "kube-apiserver", programs), f"--secure-port={server.port}", "--bind-address=127.0.0.1",
        f"--etcd-servers={','.join('https://' + etcd.endpoint(name) for name in etcd.ports)}", f"--etcd-cafile={etcd.authority.file}",
        f"--etcd-certfile={authority_pair}.crt", f"--etcd-keyfile={authority_pair}.key", f"--tls-cert-file={pair}.crt",
        f"--tls-private-key-file={pair}.key", f"--client-ca-file={authority.file}", "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        f"--service-account-key-file={pair}.key", f"--service-account-signing-key-file={pair}.key", "--service-account-issuer=https://test",
        "--disable-admission-plugins=ServiceAccount", *flags,
    )  # fmt: skip
    wait_for(f"{name} is ready", lambda: _ready(server), 180, lambda: etcd.processes.log(name))
    return server


def start_controllers(server: ApiServer, programs: Path, *controllers: str) -> None:
    """Start kube-controller-manager with ``controllers`` (all of its own choice without) and kube-scheduler.

    Nothing here reports nodes as Ready but who made them, so the controller that doubts them is not among those to ask for.
    """
    folder = server.processes.folder
    admin = server.authority.folder / "admin"
    cluster = {"server": f"https://127.0.0.1:{server.port}", "certificate-authority": str(server.authority.file)}
    user = {"client-certificate": f"{admin}.crt", "client-key": f"{admin}.key"}
    kubeconfig = folder / "controllers.conf"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    kubeconfig.write_text(json.dumps(content))
    scheduler = folder / "scheduler.json"
    connection = {"kubeconfig": str(kubeconfig), "qps": 500, "burst": 1000}
    kind = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    # What found no place is tried again as soon as something changes, so that tests need not wait for it.
    settings = {"leaderElection": {"leaderElect": False}, "podInitialBackoffSeconds": 1, "podMaxBackoffSeconds": 1}
    scheduler.write_text(json.dumps({**kind, "clientConnection": connection, **settings}))
    server.processes.start(
        "kube-controller-manager", program(bundle(folder), "kube-controller-manager", programs), f"--kubeconfig={kubeconfig}",
        f"--controllers={','.join(controllers) or '*'}", "--leader-elect=false", "--secure-port=0", "--kube-api-qps=500",
        "--kube-api-burst=1000",
    )  # fmt: skip
    server.processes.start(
        "kube-scheduler", program(bundle(folder), "kube-scheduler", programs), f"--config={scheduler}", "--secure-port=0"
    )  # fmt: skip


def _ready(server: ApiServer) -> bool:
    try:
        return server.call("GET", "/readyz")[0] == 200
    except OSError:
        return False


def wait_for(what: str, condition: Any, timeout: float = 120, explain: Any = lambda: "") -> Any:
    """Return the first true answer of ``condition``; the limit in seconds only ends what hangs."""
    deadline = time.monotonic() + timeout
    while True:
        answer = condition()
        if answer:
            return answer
        assert time.monotonic() < deadline, f"{what}: not within {timeout:g} s\n{explain()[-3000:]}"
        time.sleep(0.2)


def encoded(data: bytes) -> str:
    """Return base64url without padding, as JSON Web Tokens have it."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
