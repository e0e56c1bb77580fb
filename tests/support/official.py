# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The internet that a bundle is fetched from, on this machine: official release files, registries, a mirror, and a proxy in front.

Written from what the projects publish, without a look at plugins/: one HTTPS server that answers for every host (certificates of a private
authority), Debian's docker-registry behind it, and an HTTP proxy with a password that brings every official host there.
"""

from __future__ import annotations

import base64
import collections
import hashlib
import http.client
import http.server
import io
import json
import os
import re
import select
import socket
import socketserver
import ssl
import subprocess
import tarfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

HOSTS = ("dl.k8s.io", "github.com", "objects.githubusercontent.com", "raw.githubusercontent.com", "registry.k8s.io", "ghcr.io")
USER, PASSWORD = "mirror-user", "Marker-Mirror-Passw0rd"
PROXY_USER, PROXY_PASSWORD = "proxy-user", "Marker-Proxy-Passw0rd"
CNI = (
    *("bandwidth", "bridge", "dhcp", "dummy", "firewall", "host-device", "host-local", "ipvlan", "loopback", "macvlan"),
    *("portmap", "ptp", "sbr", "static", "tap", "tuning", "vlan", "vrf"),
)


def release_files(versions: dict[str, str], architecture: str, binary: Callable[[str], bytes]) -> dict[str, bytes]:
    """Return what the projects publish for these versions, by host and path.

    :param binary: gives the content of a command.
    """
    kubernetes = f"dl.k8s.io/release/v{versions['kubernetes']}/bin/linux/{architecture}"
    found = {}
    for name in ("kubeadm", "kubelet", "kubectl"):
        found[f"{kubernetes}/{name}"] = binary(name)
        found[f"{kubernetes}/{name}.sha256"] = _sha256(binary(name)).encode()  # without a name and a newline
    github = "github.com"
    version = versions["containerd"]
    base, name = f"{github}/containerd/containerd/releases/download/v{version}", f"containerd-static-{version}-linux-{architecture}.tar.gz"
    names = ("containerd", "containerd-shim-runc-v2", "containerd-stress", "ctr")
    found[f"{base}/{name}"] = _tar({"bin/": None, **{f"bin/{command}": binary(command) for command in names}})
    found[f"{base}/{name}.sha256sum"] = f"{_sha256(found[f'{base}/{name}'])}  {name}\n".encode()
    base = f"{github}/opencontainers/runc/releases/download/v{versions['runc']}"
    found[f"{base}/runc.{architecture}"] = binary("runc")
    found[f"{base}/runc.sha256sum"] = f"{_sha256(b'other')}  runc.ppc64le\n{_sha256(binary('runc'))}  runc.{architecture}\n".encode()
    version = versions["crictl"]
    base = f"{github}/kubernetes-sigs/cri-tools/releases/download/v{version}"
    name = f"crictl-v{version}-linux-{architecture}.tar.gz"
    found[f"{base}/{name}"] = _tar({"crictl": binary("crictl")})
    found[f"{base}/{name}.sha256"] = f"{_sha256(found[f'{base}/{name}'])}\n".encode()
    version = versions["etcd"]
    base, folder = f"{github}/etcd-io/etcd/releases/download/v{version}", f"etcd-v{version}-linux-{architecture}"
    members = {f"{folder}/{name}": binary(name) for name in ("etcd", "etcdctl", "etcdutl")}
    found[f"{base}/{folder}.tar.gz"] = _tar({f"{folder}/README.md": b"etcd", **members})
    found[f"{base}/SHA256SUMS"] = (
        f"{_sha256(b'x')}  etcd-v{version}-darwin-amd64.zip\n{_sha256(found[f'{base}/{folder}.tar.gz'])}  {folder}.tar.gz\n".encode()
    )
    version = versions["cni-plugins"]
    base = f"{github}/containernetworking/plugins/releases/download/v{version}"
    name = f"cni-plugins-linux-{architecture}-v{version}.tgz"
    found[f"{base}/{name}"] = _tar({"./": None, "./LICENSE": b"Apache", **{f"./{command}": binary(command) for command in CNI}})
    found[f"{base}/{name}.sha256"] = f"{_sha256(found[f'{base}/{name}'])}  {name}\n".encode()
    return found


def flannel_manifest(version: str, content: bytes) -> dict[str, bytes]:
    """Return flannel's manifest where GitHub has the files of a tag."""
    return {f"raw.githubusercontent.com/flannel-io/flannel/v{version}/Documentation/kube-flannel.yml": content}


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _tar(members: dict[str, bytes | None]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w:gz", compresslevel=1) as archive:
        for path, content in members.items():
            header = tarfile.TarInfo(path)
            header.mode, header.uid, header.gid = 0o755, 1001, 127
            header.size = len(content or b"")
            header.type = tarfile.REGTYPE if content is not None else tarfile.DIRTYPE
            archive.addfile(header, io.BytesIO(content) if content is not None else None)
    return target.getvalue()


class Registry:
    """Debian's docker-registry on the loopback, filled with skopeo."""

    def __init__(self, place: Path) -> None:
        place.mkdir(parents=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        configuration = place / "config.yml"
        configuration.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: {place / 'data'}}}}}\nhttp: {{addr: '127.0.0.1:{self.port}'}}\n",
            encoding="utf-8",
        )
        self._process = subprocess.Popen(
            ["docker-registry", "serve", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL
        )
        until = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{self.port}/v2/", timeout=5).close()
                return
            except OSError:
                assert time.monotonic() < until, "docker-registry does not answer"
                time.sleep(0.2)

    def push(self, name: str, archives: dict[str, Path]) -> None:
        """Push an image with a variant per architecture, as multi-platform images are.

        :param archives: architecture -> docker-archive.
        """
        repository, _colon, tag = name.rpartition(":")
        entries = []
        for architecture, archive in archives.items():
            target = f"127.0.0.1:{self.port}/{repository}:{tag}-{architecture}"
            command = ["skopeo", "copy", "--quiet", "--insecure-policy", "--dest-tls-verify=false", "--dest-compress-level=1"]
            subprocess.run([*command, f"docker-archive:{archive}", f"docker://{target}"], check=True, stdout=subprocess.DEVNULL)
            kind = "application/vnd.docker.distribution.manifest.v2+json"
            request = urllib.request.Request(
                f"http://127.0.0.1:{self.port}/v2/{repository}/manifests/{tag}-{architecture}", headers={"Accept": kind}
            )
            with urllib.request.urlopen(request, timeout=30) as answer:
                body = answer.read()
            digest = f"sha256:{_sha256(body)}"
            platform = {"os": "linux", "architecture": architecture}
            entries.append({"mediaType": kind, "size": len(body), "digest": digest, "platform": platform})
        kind = "application/vnd.docker.distribution.manifest.list.v2+json"
        body = json.dumps({"schemaVersion": 2, "mediaType": kind, "manifests": entries}).encode()
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/v2/{repository}/manifests/{tag}", data=body, method="PUT", headers={"Content-Type": kind}
        )
        urllib.request.urlopen(request, timeout=30).close()

    def close(self) -> None:
        self._process.terminate()
        self._process.wait()


class Server:
    """The HTTPS server of all hosts.

    Official hosts answer everybody, `localhost` is the mirror: files below ``/files/<host>/<path>``, images below
    ``kubernetes/<registry>/<path>``, both for `USER` only. Registries give tokens. Release files of GitHub are behind a redirect.

    ``faults[path]`` is a list of what to do at the next requests of a path (without host for the mirror: as the server sees it):
    a status, ``"cut"`` (the connection ends in the middle), ``"wrong"`` (a changed byte) or ``"slow"`` (until `hurry` is set).
    With ``basic``, the registry of the mirror takes the password itself and gives no token. ``counts`` counts the answers with content by
    path, ``authorized`` keeps (host, path) that carried an Authorization header.
    """

    def __init__(self, place: Path, registry: Registry, files: dict[str, bytes]) -> None:
        self.files, self.registry = files, registry
        self.faults: dict[str, list[Any]] = collections.defaultdict(list)
        self.counts: collections.Counter[str] = collections.Counter()
        self.bytes: collections.Counter[str] = collections.Counter()
        self.authorized: set[tuple[str, str]] = set()
        self.hurry = threading.Event()
        self.basic = False
        self.ca = _certificates(place)
        self._tokens: set[str] = set()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(place / "server.pem", place / "server.key")
        self._server = _Threading(("127.0.0.1", 0), type("Handler", (_Handler,), {"world": self}))
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def reset(self) -> None:
        """Forget what was asked for, and every fault."""
        self.faults.clear()
        self.counts.clear()
        self.bytes.clear()
        self.authorized.clear()
        self.hurry.clear()
        self.basic = False

    def token(self) -> str:
        made = f"Marker-Token-{len(self._tokens)}-{os.urandom(8).hex()}"
        self._tokens.add(made)
        return made

    def known(self, token: str) -> bool:
        return token in self._tokens

    def forget_tokens(self) -> None:
        self._tokens.clear()

    def close(self) -> None:
        self.hurry.set()
        self._server.shutdown()
        self._server.server_close()


class _Threading(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # connections that a test cut


class _Handler(http.server.BaseHTTPRequestHandler):
    world: Server
    wbufsize = -1

    def log_message(self, format: str, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        host = self.headers.get("Host", "").partition(":")[0]
        path = self.path
        given = self.headers.get("Authorization", "")
        if given:
            self.world.authorized.add((host, path.partition("?")[0]))
        basic = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        private = host in ("localhost", "127.0.0.1")
        if path.startswith("/token?"):
            if private and given != basic:
                return self._say(401, b"{}")
            return self._say(200, json.dumps({"token": self.world.token()}).encode())
        if path.startswith("/v2/"):
            if not self.world.known(given.removeprefix("Bearer ")):
                if self.world.basic and given == basic:
                    return self._registry(host, path.removeprefix("/v2/kubernetes/"))
                self.send_response(401)
                if self.world.basic:
                    self.send_header("WWW-Authenticate", 'Basic realm="registry"')
                    self.send_header("Content-Length", "0")
                    return self.end_headers()
                realm = f"https://{self.headers.get('Host')}/token"
                scope = re.sub(r"^/v2/(.*)/(manifests|blobs)/.*", r"repository:\1:pull", path)
                self.send_header("WWW-Authenticate", f'Bearer realm="{realm}",service="registry",scope="{scope}"')
                self.send_header("Content-Length", "0")
                return self.end_headers()
            return self._registry(host, path.removeprefix("/v2/kubernetes/") if private else f"{host}/{path.removeprefix('/v2/')}")
        if private:
            if given != basic:
                return self._say(401, b"")
            key = path.removeprefix("/files/")
        else:
            key = f"{host}{path}"
        if host == "github.com" and f"{host}{path}" in self.world.files:
            self.send_response(302)
            self.send_header("Location", f"https://objects.githubusercontent.com{path}?X-Signature=Marker-Signature")
            self.send_header("Content-Length", "0")
            return self.end_headers()
        if host == "objects.githubusercontent.com":
            key = "github.com" + path.partition("?")[0]
        return self._give(key, self.world.files.get(key))

    def _registry(self, host: str, path: str) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.world.registry.port, timeout=60)
        connection.request("GET", f"/v2/{path}", headers={"Accept": self.headers.get("Accept", "*/*")})
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        headers = {name: answer.headers[name] for name in ("Content-Type", "Docker-Content-Digest") if answer.headers[name]}
        self._give(path, body if answer.status == 200 else None, headers)

    def _give(self, key: str, body: bytes | None, headers: dict[str, str] | None = None) -> None:
        faults = self.world.faults.get(key) or []
        fault = faults.pop(0) if faults else None
        if isinstance(fault, int):
            return self._say(fault, b"")
        if body is None:
            return self._say(404, b"")
        if fault == "wrong":
            body = body[:-1] + bytes([body[-1] ^ 1])
        begin = 0
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if match:
            begin = int(match[1])
            if begin >= len(body):
                return self._say(416, b"")
        rest = body[begin:]
        self.world.counts[key] += 1
        self.send_response(206 if match else 200)
        if match:
            self.send_header("Content-Range", f"bytes {begin}-{len(body) - 1}/{len(body)}")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(rest)))
        self.end_headers()
        if fault in ("cut", "slow"):
            half = rest[: len(rest) // 2]
            self.wfile.write(half)
            self.wfile.flush()
            self.world.bytes[key] += len(half)
            if fault == "slow":
                self.world.hurry.wait(60)
            self.close_connection = True
            self.connection.close()
            return None
        self.wfile.write(rest)
        self.world.bytes[key] += len(rest)
        return None

    def _say(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Proxy:
    """An HTTP proxy that asks for a password; it brings the official hosts to the server and knows no other."""

    def __init__(self, port: int) -> None:
        self.asked: collections.Counter[str] = collections.Counter()
        proxy = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                words = self.rfile.readline().decode("latin-1").split()
                given = ""
                while (line := self.rfile.readline().decode("latin-1").strip()) != "":
                    if line.lower().startswith("proxy-authorization:"):
                        given = line.partition(":")[2].strip()
                host = words[1].rpartition(":")[0] if len(words) > 1 else ""
                proxy.asked[host] += 1
                if given != "Basic " + base64.b64encode(f"{PROXY_USER}:{PROXY_PASSWORD}".encode()).decode():
                    self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                    return
                if words[0] != "CONNECT" or host not in HOSTS:
                    self.wfile.write(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                    return
                with socket.create_connection(("127.0.0.1", port)) as onward:
                    self.wfile.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    _join(self.connection, onward)

        self._server = type("Threading", (socketserver.ThreadingTCPServer,), {"daemon_threads": True, "request_queue_size": 128})(
            ("127.0.0.1", 0), Handler
        )
        self.url = f"http://{PROXY_USER}:{PROXY_PASSWORD}@127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _join(one: socket.socket, other: socket.socket) -> None:
    while True:
        ready, _write, _errors = select.select([one, other], [], [], 60)
        if not ready:
            return
        for source in ready:
            try:
                data = source.recv(1 << 16)
                (other if source is one else one).sendall(data)
            except OSError:
                return
            if not data:
                return


def _certificates(place: Path) -> Path:
    """Make an authority and a certificate for every host; return the authority's file."""
    place.mkdir(parents=True, exist_ok=True)

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=place, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    openssl("req", "-x509", *curve, "-days", "2", "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=Test bed authority")
    openssl("req", *curve, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=server")
    names = ",".join(["IP:127.0.0.1", "DNS:localhost", *(f"DNS:{host}" for host in HOSTS)])
    (place / "extensions").write_text(f"subjectAltName={names}\n", encoding="ascii")
    signing = ("-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", "extensions")
    openssl("x509", "-req", "-in", "server.csr", "-out", "server.pem", *signing)
    return place / "ca.pem"
