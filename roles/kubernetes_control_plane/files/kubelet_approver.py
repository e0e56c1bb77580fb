# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Approve the requests of kubelets for serving certificates whose names and addresses are those of their own nodes.

Kubernetes signs such requests but approves none: only who made the machines knows their names and addresses
(https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/#certificate-rotation). That knowledge is the file
`RECORD`, which flotilla.kubernetes writes on every control plane. The addresses in a Node's status would not do: its kubelet writes them.

Whatever does not fit stays pending, with an Event that says why; nothing is ever denied, and requests for other signers are not looked at.

    kubelet_approver.py credential    as root: make the client certificate and the rights of the service
    kubelet_approver.py run           as the service's own user

One runs on every control plane and speaks to that one's API server; several may approve the same request. Python 3.9, standard library.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import http.client
import ipaddress
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

RECORD = Path("/etc/kubernetes/flotilla/nodes.json")
FOLDER = Path("/run/flotilla-kubelet-approver")
CA, CA_KEY = Path("/etc/kubernetes/pki/ca.crt"), Path("/etc/kubernetes/pki/ca.key")
USER = "flotilla:kubelet-approver"
SIGNER = "kubernetes.io/kubelet-serving"
CERTIFICATE_HOURS = 24
# Every start makes a new certificate, so it never comes near its end.
RUN_SECONDS = CERTIFICATE_HOURS * 3600 / 2
WATCH_SECONDS = 60
# A request can come a moment before its Node, or before the record that names it.
AGAIN_SECONDS = 5
API_CSR = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
API_RBAC = "/apis/rbac.authorization.k8s.io/v1"
# https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/#kubernetes-signers
USAGES = {"digital signature", "key encipherment", "server auth"}

RULES = [
    {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"], "verbs": ["get", "list", "watch"]},
    {"apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests/approval"], "verbs": ["update"]},
    {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": [SIGNER], "verbs": ["approve"]},
    {"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]},
    {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]},
]


# The request: PKCS #10 (RFC 2986) in DER (X.690), read strictly. Two readers that understand the same bytes differently are how a name
# slips through, so whatever a kubelet does not write is refused, not skipped.

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, OID, UTF8, PRINTABLE, SEQUENCE, SET = 0x01, 0x02, 0x03, 0x04, 0x06, 0x0C, 0x13, 0x30, 0x31
ATTRIBUTES, DNS_NAME, IP_ADDRESS = 0xA0, 0x82, 0x87
COMMON_NAME, ORGANIZATION = bytes.fromhex("550403"), bytes.fromhex("55040a")
EXTENSION_REQUEST, SUBJECT_ALT_NAME = bytes.fromhex("2a864886f70d01090e"), bytes.fromhex("551d11")
LARGEST_REQUEST = 65536
STRUCTURE = "the request has another structure than PKCS #10"


class Refused(Exception):
    """Why a request is not approved, for people."""


@dataclass
class Request:
    """What a certificate signing request asks for."""

    common_names: list[str] = field(default_factory=list)
    organizations: list[str] = field(default_factory=list)
    dns_names: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield tag and content of the DER elements that ``data`` is made of, to its last byte."""
    position = 0
    while position < len(data):
        if len(data) - position < 2:
            raise Refused("the request is cut off")
        tag, length = data[position], data[position + 1]
        position += 2
        if tag & 0x1F == 0x1F:
            raise Refused(STRUCTURE)
        if length & 0x80:
            octets = data[position : position + (length & 0x7F)]
            position += len(octets)
            count, length = length & 0x7F, int.from_bytes(octets, "big")
            # DER: the shortest form only, and no indefinite length.
            if len(octets) != count or not 1 <= count <= 3 or octets[0] == 0 or length < 0x80:
                raise Refused("the request is not in DER")
        content = data[position : position + length]
        if len(content) != length:
            raise Refused("the request is cut off")
        yield tag, content
        position += length


def members(content: bytes, *tags: int) -> list[bytes]:
    """Return the contents of the elements in ``content``, which must have exactly these tags."""
    found = list(elements(content))
    if [tag for tag, _inner in found] != list(tags):
        raise Refused(STRUCTURE)
    return [inner for _tag, inner in found]


def parse(pem: bytes) -> Request:
    """Return what a PEM request asks for.

    :raises Refused: it is no request, or holds anything that a kubelet's request does not.
    """
    match = re.fullmatch(
        rb"\s*-----BEGIN CERTIFICATE REQUEST-----\r?\n([A-Za-z0-9+/=\r\n]+)-----END CERTIFICATE REQUEST-----\s*", pem[: LARGEST_REQUEST + 1]
    )
    if not match or len(pem) > LARGEST_REQUEST:
        raise Refused("it holds something else than one request in PEM")
    try:
        der = base64.b64decode(b"".join(match.group(1).split()), validate=True)
    except binascii.Error:
        raise Refused("its PEM is broken") from None
    (outer,) = members(der, SEQUENCE)
    information, _algorithm, _signature = members(outer, SEQUENCE, SEQUENCE, BIT_STRING)
    version, subject, _key, attributes = members(information, INTEGER, SEQUENCE, SEQUENCE, ATTRIBUTES)
    if version != b"\x00":
        raise Refused(STRUCTURE)
    request = Request()
    _read_subject(subject, request)
    found = list(elements(attributes))
    if len(found) > 1 or any(tag != SEQUENCE for tag, _attribute in found):
        raise Refused("the request has more than one attribute")
    for _tag, attribute in found:
        kind, values = members(attribute, OID, SET)
        if kind != EXTENSION_REQUEST:
            raise Refused("the request has an attribute that no kubelet's request has")
        (extensions,) = members(values, SEQUENCE)
        (extension,) = members(extensions, SEQUENCE)
        _read_names(extension, request)
    return request


def _read_subject(subject: bytes, request: Request) -> None:
    for tag, relative in elements(subject):
        if tag != SET:
            raise Refused(STRUCTURE)
        (pair,) = members(relative, SEQUENCE)
        found = list(elements(pair))
        if len(found) != 2 or found[0][0] != OID or found[1][0] not in (UTF8, PRINTABLE):
            raise Refused("its subject has a field that no kubelet's request has")
        kind, value = found[0][1], _name(found[1][1])
        if kind == COMMON_NAME:
            request.common_names.append(value)
        elif kind == ORGANIZATION:
            request.organizations.append(value)
        else:
            raise Refused("its subject has more than a common name and an organization")


def _read_names(extension: bytes, request: Request) -> None:
    found = list(elements(extension))
    if len(found) == 3 and found[1] == (BOOLEAN, b"\xff"):  # critical
        del found[1]
    if [tag for tag, _content in found] != [OID, OCTET_STRING] or found[0][1] != SUBJECT_ALT_NAME:
        raise Refused("it asks for more than subject alternative names")
    (names,) = members(found[1][1], SEQUENCE)
    for tag, name in elements(names):
        if tag == DNS_NAME:
            request.dns_names.append(_name(name))
        elif tag == IP_ADDRESS and len(name) in (4, 16):
            request.addresses.append(str(ipaddress.ip_address(name)))
        else:
            raise Refused("it asks for a name that is neither a DNS name nor an IP address")


def _name(value: bytes) -> str:
    """Return a name of printable ASCII; nothing else is ever the name of a node."""
    if not value or any(not 0x21 <= octet <= 0x7E for octet in value):
        raise Refused("it holds a name that no node has")
    return value.decode("ascii")


# The decision


def check(spec: dict[str, Any], nodes: dict[str, list[str]]) -> str:
    """Return the name of the node whose request this is and may be approved.

    :param spec: of a ``CertificateSigningRequest``; the API server fills in username and groups and lets nobody change them.
    :param nodes: node name -> its addresses and DNS names besides its own name.
    :raises Refused: it may not.
    """
    if spec.get("signerName") != SIGNER:
        raise Refused(f"it is not for the signer {SIGNER}")
    user = spec.get("username", "")
    prefix, name = user[: len("system:node:")], user[len("system:node:") :]
    if prefix != "system:node:" or "system:nodes" not in spec.get("groups", []):
        raise Refused(f"{user} is no node")
    if name not in nodes:
        raise Refused(f"{name} is no node that flotilla.kubernetes recorded; the playbook cluster_apply records its nodes")
    usages = spec.get("usages", [])
    if not set(usages) <= USAGES or "server auth" not in usages:
        raise Refused(f"it asks for the usages {', '.join(sorted(usages))}")
    try:
        pem = base64.b64decode(spec.get("request", ""), validate=True)
    except (binascii.Error, ValueError):
        raise Refused("its request is not in base64") from None
    request = parse(pem)
    if request.common_names != [user] or request.organizations != ["system:nodes"]:
        raise Refused(f"its subject is not {user} of system:nodes")
    if not request.dns_names and not request.addresses:
        raise Refused("it asks for no name and no address")
    own = {name.lower(), *(entry.lower() for entry in nodes[name])}
    own_addresses = {_address(entry) for entry in own} - {None}
    foreign = [asked for asked in request.dns_names if asked.lower() not in own or _address(asked)]
    foreign += [asked for asked in request.addresses if _address(asked) not in own_addresses]
    if foreign:
        raise Refused(f"{', '.join(foreign)} is not recorded for {name}, which has {', '.join(sorted(own))}")
    return name


def _address(value: str) -> Any:
    """Return an address in the one form that can be compared, or nothing."""
    try:
        return ipaddress.ip_address(value)
    except ValueError:
        return None


# The API


class ApiError(Exception):
    """The API server refused; ``status`` is HTTP's."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status


class Api:
    """The API server of this control plane."""

    def __init__(self, server: str, ca: Path, pair: Path) -> None:
        self._server = split(server)
        self._context = ssl.create_default_context(cafile=str(ca))
        self._context.load_cert_chain(str(pair))
        self._kept = self._connection()

    def _connection(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(*self._server, context=self._context, timeout=WATCH_SECONDS + 30)

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        headers = {"Accept": "application/json", "Content-Type": content_type}
        try:
            self._kept.request(method, path, None if body is None else json.dumps(body), headers)
            answer = self._kept.getresponse()
            content = answer.read()
        except (OSError, http.client.HTTPException):
            self._kept.close()
            raise
        if answer.status >= 400:
            raise ApiError(answer.status, content[:300].decode("utf-8", "replace"))
        return json.loads(content)

    def watch(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield the events of a watch until the server ends it."""
        connection = self._connection()
        try:
            connection.request("GET", path, headers={"Accept": "application/json"})
            answer = connection.getresponse()
            if answer.status >= 400:
                raise ApiError(answer.status, answer.read(300).decode("utf-8", "replace"))
            for line in iter(answer.readline, b""):
                yield json.loads(line)
        finally:
            connection.close()


class Approver:
    """Approves what `check` lets pass, says once of each other request why it waits."""

    def __init__(self, api: Any, record: Path = RECORD) -> None:
        self._api = api
        self._record = record
        self._said: set[tuple[str, str]] = set()

    def round(self) -> None:
        """Look at every pending request, then at each that comes within `WATCH_SECONDS`."""
        selector = f"fieldSelector=spec.signerName%3D{SIGNER.replace('/', '%2F')}"
        listed = self._api.request("GET", f"{API_CSR}?{selector}")
        settled = [self.examine(item) for item in listed["items"]]
        seconds = WATCH_SECONDS if all(settled) else AGAIN_SECONDS
        since = listed["metadata"]["resourceVersion"]
        for event in self._api.watch(f"{API_CSR}?{selector}&watch=1&resourceVersion={since}&timeoutSeconds={seconds}"):
            # A watch that began too long ago ends with an error; the next list is the answer to that.
            if event["type"] == "ERROR":
                return
            if event["type"] != "DELETED" and not self.examine(event["object"]) and seconds != AGAIN_SECONDS:
                return

    def examine(self, item: dict[str, Any]) -> bool:
        """Approve one request if it may be; return whether it needs no second look soon."""
        name, uid = item["metadata"]["name"], item["metadata"]["uid"]
        if item.get("status", {}).get("conditions"):
            return True
        try:
            node = check(item["spec"], self._nodes())
            self._node_exists(node)
        except Refused as reason:
            if (uid, str(reason)) not in self._said:
                self._said.add((uid, str(reason)))
                log(f"{name} stays pending: {reason}")
                self._tell(item, str(reason))
            return False
        message = f"Names and addresses are those recorded for the node {node}."
        condition = {"type": "Approved", "status": "True", "reason": "FlotillaKubeletApprover", "message": message}
        approved = {**item, "status": {**item.get("status", {}), "conditions": [condition]}}
        try:
            # With the resourceVersion that was read: nobody decided otherwise in between.
            self._api.request("PUT", f"{API_CSR}/{name}/approval", approved)
            log(f"{name} approved for {node}")
        except ApiError as error:
            if error.status not in (404, 409):
                raise
        return True

    def _nodes(self) -> dict[str, list[str]]:
        return json.loads(self._record.read_text(encoding="utf-8"))["nodes"]

    def _node_exists(self, node: str) -> None:
        try:
            self._api.request("GET", f"/api/v1/nodes/{node}")
        except ApiError as error:
            if error.status != 404:
                raise
            raise Refused(f"the cluster has no Node {node}") from error

    def _tell(self, item: dict[str, Any], reason: str) -> None:
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        name = item["metadata"]["name"]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            # One name for one reason: several approvers say it once.
            "metadata": {"name": f"{name}.{hashlib.sha256(reason.encode()).hexdigest()[:16]}", "namespace": "default"},
            "involvedObject": {
                "apiVersion": "certificates.k8s.io/v1",
                "kind": "CertificateSigningRequest",
                "name": name,
                "uid": item["metadata"]["uid"],
            },
            "type": "Warning",
            "reason": "ServingCertificateNotApproved",
            "message": f"The request stays pending: {reason}."[:1000],
            "source": {"component": "flotilla-kubelet-approver"},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._api.request("POST", "/api/v1/namespaces/default/events", event)
        except ApiError as error:
            if error.status != 409:
                log(f"the Event about {name} was not written: {error}")


# The service


def split(server: str) -> tuple[str, int]:
    """Return host and port of ``host:port``."""
    host, port = server.rsplit(":", 1)
    return host.strip("[]"), int(port)


def server_address() -> str:
    return json.loads(RECORD.read_text(encoding="utf-8"))["api_server"]


def credential() -> None:
    """Make the service's rights and its client certificate. Runs as root, before the service, once this is a control plane."""
    os.environ["PATH"] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    while not (CA_KEY.exists() and _api_server_is_ready()):
        time.sleep(1)
    server, owner = server_address(), FOLDER.stat()
    _private_file(FOLDER / "ca.crt", CA.read_bytes(), owner)
    setup = FOLDER / "setup.pem"
    _private_file(setup, _client_pair(f"{USER}:setup", "15m", server, "kubeadm:cluster-admins"), CA_KEY.stat())
    try:
        api = Api(server, FOLDER / "ca.crt", setup)
        for path, content in rights():
            api.request("PATCH", f"{path}?fieldManager=flotilla&force=true", content, "application/apply-patch+yaml")
    finally:
        setup.unlink()
    _private_file(FOLDER / "client.pem", _client_pair(USER, f"{CERTIFICATE_HOURS}h", server), owner)


def rights() -> list[tuple[str, dict[str, Any]]]:
    """Return path and content of the ClusterRole and ClusterRoleBinding of the service."""
    group = {"apiGroup": "rbac.authorization.k8s.io"}
    role = {"kind": "ClusterRole", "rules": RULES}
    binding = {
        "kind": "ClusterRoleBinding",
        "roleRef": {**group, "kind": "ClusterRole", "name": USER},
        "subjects": [{**group, "kind": "User", "name": USER}],
    }
    return [
        (f"{API_RBAC}/{path}/{USER}", {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": USER}, **content})
        for path, content in (("clusterroles", role), ("clusterrolebindings", binding))
    ]


def _client_pair(user: str, validity: str, server: str, group: str = "") -> bytes:
    """Return a client certificate and its key (PEM), signed by the authority on this control plane."""
    host, port = split(server)
    version = subprocess.run(["kubeadm", "version", "--output=short"], check=True, capture_output=True, text=True).stdout.strip()
    api = "kubeadm.k8s.io/v1beta4"
    documents = [
        {"apiVersion": api, "kind": "ClusterConfiguration", "kubernetesVersion": version},
        {"apiVersion": api, "kind": "InitConfiguration", "localAPIEndpoint": {"advertiseAddress": host, "bindPort": port}},
    ]
    with tempfile.NamedTemporaryFile("w", dir="/run", prefix="flotilla-", suffix=".json") as config:
        config.write("\n---\n".join(json.dumps(document) for document in documents))
        config.flush()
        command = ["kubeadm", "kubeconfig", "user", f"--config={config.name}", f"--client-name={user}", f"--validity-period={validity}"]
        command += [f"--org={group}"] if group else []
        content = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    fields = dict(re.findall(r"^\s*(client-certificate-data|client-key-data):\s*(\S+)\s*$", content, re.MULTILINE))
    return b"\n".join(base64.b64decode(fields[name]) for name in ("client-certificate-data", "client-key-data"))


def _private_file(path: Path, content: bytes, owner: os.stat_result) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
        file.write(content)


def _api_server_is_ready() -> bool:
    try:
        context = ssl.create_default_context(cafile=str(CA))
        connection = http.client.HTTPSConnection(*split(server_address()), timeout=5, context=context)
        connection.request("GET", "/readyz")
        ready = connection.getresponse().status == 200
        connection.close()
    except (OSError, http.client.HTTPException, ValueError):
        return False
    return ready


def serve() -> None:
    """Approve until it is time for a new certificate."""
    end = time.monotonic() + RUN_SECONDS
    approver = Approver(Api(server_address(), FOLDER / "ca.crt", FOLDER / "client.pem"))
    log(f"{USER} looks at requests for {SIGNER}")
    while time.monotonic() < end:
        try:
            approver.round()
        except ssl.SSLCertVerificationError as error:
            # The cluster has another authority than when this began. systemd starts the service anew, with what is true now.
            log(f"{type(error).__name__}: {error}")
            return
        except (OSError, http.client.HTTPException, ApiError, ValueError) as error:
            # An API server restarts now and then; who watches the journal sees it if it does not come back.
            log(f"{type(error).__name__}: {error}")
            time.sleep(AGAIN_SECONDS)


def log(message: str) -> None:
    print(message, flush=True)


if __name__ == "__main__":
    {"credential": credential, "run": serve}[sys.argv[1]]()
