# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates of one node: which there are, which are to be renewed, and which run unused (private to flotilla.kubernetes).

What kubeadm makes and renews: https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-certs/.
Python 3.9, standard library and openssl only.
"""

from __future__ import annotations

import base64
import hashlib
import re
import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._command import run
from .._errors import FlotillaError
from .._moments import stamp
from .client import embedded_in_kubeconfig

DAY = 86400.0
PKI = "/etc/kubernetes/pki"
KUBELET_PKI = "/var/lib/kubelet/pki"
KUBELET_CLIENT = f"{KUBELET_PKI}/kubelet-client-current.pem"
KUBELET_SERVER = f"{KUBELET_PKI}/kubelet-server-current.pem"
AUTHORITY, CONTROL_PLANE, KUBELET = "authority", "control_plane", "kubelet"
# Name of a certificate authority of kubeadm -> its files below PKI, without their ending.
AUTHORITY_FILES = {"kubernetes": "ca", "etcd": "etcd/ca", "front-proxy": "front-proxy-ca"}
AUTHORITIES = tuple(f"{file}.crt" for file in AUTHORITY_FILES.values())
# kubeadm's name of each certificate -> its file, and the authority that signs it.
LEAVES = {
    "apiserver": ("pki/apiserver.crt", "ca"),
    "apiserver-kubelet-client": ("pki/apiserver-kubelet-client.crt", "ca"),
    "apiserver-etcd-client": ("pki/apiserver-etcd-client.crt", "etcd/ca"),
    "front-proxy-client": ("pki/front-proxy-client.crt", "front-proxy-ca"),
    "etcd-server": ("pki/etcd/server.crt", "etcd/ca"),
    "etcd-peer": ("pki/etcd/peer.crt", "etcd/ca"),
    "etcd-healthcheck-client": ("pki/etcd/healthcheck-client.crt", "etcd/ca"),
    "admin.conf": ("admin.conf", "ca"),
    "super-admin.conf": ("super-admin.conf", "ca"),
    "controller-manager.conf": ("controller-manager.conf", "ca"),
    "scheduler.conf": ("scheduler.conf", "ca"),
}
# Static pod -> the certificates that it holds in memory once it runs, in the order in which they are restarted.
USERS = {
    "etcd": ("etcd-server", "etcd-peer"),
    "kube-apiserver": ("apiserver", "apiserver-kubelet-client", "apiserver-etcd-client", "front-proxy-client"),
    "kube-controller-manager": ("controller-manager.conf",),
    "kube-scheduler": ("scheduler.conf",),
    "kube-vip": ("admin.conf",),
}
# Static pod -> the authorities that it reads when it starts, and never again as a whole.
TRUSTS = {
    "etcd": ("etcd/ca.crt",),
    "kube-apiserver": AUTHORITIES,
    "kube-controller-manager": ("ca.crt", "front-proxy-ca.crt"),
}
# Certificate -> ports on which its static pod shows it.
PORTS = {"apiserver": (6443,), "etcd-server": (2379,), "etcd-peer": (2380,)}
EXPIRES_WITHIN = 90 * DAY
# kubeadm's own: https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/ (certificateValidityPeriod)
VALIDITY = 365 * DAY
# A kubelet that renews its certificate does so when 70 to 90 % of its time is over: one that is older has failed to.
KUBELET_LATEST = 0.1

BLOCK = re.compile(rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Certificate:
    """A certificate in a file; ``name`` is kubeadm's, empty for one that kubeadm does not renew; times are seconds since the epoch."""

    path: Path
    kind: str
    name: str
    serial: str
    begins: float
    ends: float

    @property
    def title(self) -> str:
        return self.name or str(self.path)


@dataclass(frozen=True)
class Condition:
    """When a certificate is to be renewed.

    :param expires_within: seconds.
    :param older_than: seconds; None for any age.
    """

    expires_within: float
    older_than: float | None = None

    def reason(self, found: Certificate, now: float) -> str:
        """Return why ``found`` is to be renewed, or nothing."""
        left = (found.ends - now) / DAY
        if left <= 0:
            return f"ended {-left:.0f} days ago"
        if found.ends - now < self.expires_within:
            return f"ends in {left:.0f} days"
        if self.older_than is not None and now - found.begins > self.older_than:
            return f"is {(now - found.begins) / DAY:.0f} days old"
        return ""


def default_condition(validity: float) -> float:
    """Return the ``expires_within`` of who says nothing: 90 days, or a third of what a new certificate gets where that is less.

    Otherwise new certificates of a cluster with a short ``certificateValidityPeriod`` would be due at once.
    """
    return min(EXPIRES_WITHIN, validity / 3)


def find(root: Path = Path("/")) -> Iterator[Certificate]:
    """Yield every certificate of Kubernetes on the machine; of an authority that is a bundle the one that ends first.

    :param root: of the machine's files.
    """
    kubernetes = root / "etc/kubernetes"
    names = {str(kubernetes / file): name for name, (file, _authority) in LEAVES.items()}
    pki = root / PKI.lstrip("/")
    for path in sorted([*pki.glob("*.crt"), *pki.glob("etcd/*.crt")]):
        kind = AUTHORITY if str(path.relative_to(pki)) in AUTHORITIES else CONTROL_PLANE
        yield from _read(path, kind, names.get(str(path), ""), path.read_bytes())
    for file in (file for file, _authority in LEAVES.values() if file.endswith(".conf")):
        path = kubernetes / file
        try:
            text = path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        yield from _read(path, CONTROL_PLANE, names[str(path)], embedded_in_kubeconfig(text, "client-certificate-data"))
    for path in (root / KUBELET_CLIENT.lstrip("/"), root / KUBELET_SERVER.lstrip("/")):
        if path.exists():
            yield from _read(path, KUBELET, "", path.read_bytes())


def _read(path: Path, kind: str, name: str, content: bytes) -> Iterator[Certificate]:
    blocks = BLOCK.findall(content)
    # A kubelet's file holds its own certificate first; what may follow is its authority's.
    found = [one for one in map(parse, blocks if kind == AUTHORITY else blocks[:1]) if one]
    if found:
        serial, begins, ends = min(found, key=lambda one: one[2])
        yield Certificate(path, kind, name, serial, begins, ends)


def parse(pem: bytes) -> tuple[str, float, float] | None:
    """Return serial number, begin and end of a certificate, or nothing; the standard library reads only those of connections."""
    try:
        command = ["openssl", "x509", "-noout", "-serial", "-startdate", "-enddate"]
        lines = run(command, stdin=pem.decode("ascii"), code="CERTIFICATE_UNREADABLE").splitlines()
        fields = dict(line.split("=", 1) for line in lines if "=" in line)
        return fields["serial"], *(float(ssl.cert_time_to_seconds(fields[name])) for name in ("notBefore", "notAfter"))
    except (FlotillaError, ValueError, KeyError):
        return None


def missing_keys(names: Iterable[str], root: Path = Path("/")) -> dict[str, list[str]]:
    """Return the keys of authorities that are not on this machine -> the certificates among ``names`` that they would have to sign."""
    missing: dict[str, list[str]] = {}
    for name in names:
        key = root / PKI.lstrip("/") / f"{LEAVES[name][1]}.key"
        if not key.exists():
            missing.setdefault(str(key), []).append(name)
    return missing


def served(host: str, port: int, timeout: float = 5.0) -> str:
    """Return the serial number of the certificate that a port shows, or nothing where none does."""
    found = shown_at(host, port, timeout)
    return found[0] if found else ""


def shown_at(host: str, port: int, timeout: float = 5.0) -> tuple[str, float, float] | None:
    """Return what `parse` returns of the certificate that a port shows, or nothing where none does.

    Who it is does not matter here: it is read, and nothing is sent to who shows it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        if port in PORTS["etcd-server"] + PORTS["etcd-peer"]:
            # Below TLS 1.3 etcd ends the handshake with who has none.
            context.load_cert_chain(f"{PKI}/etcd/healthcheck-client.crt", f"{PKI}/etcd/healthcheck-client.key")
        with socket.create_connection((host, port), timeout=timeout) as plain, context.wrap_socket(plain) as connection:
            shown = connection.getpeercert(binary_form=True)
    except OSError:
        return None
    return parse(ssl.DER_cert_to_PEM_cert(shown).encode()) if shown else None


def kubelet_rotates(configuration: str) -> bool:
    """Tell whether a kubelet with this configuration (YAML) renews its client certificate by itself.

    https://kubernetes.io/docs/tasks/tls/certificate-rotation/
    """
    return bool(re.search(r"^rotateCertificates: true$", configuration, re.MULTILINE))


def kubelet_reason(found: Certificate, condition: Condition, now: float, rotates: bool) -> str:
    """Return why the client certificate of a kubelet is to be renewed, or nothing."""
    if not rotates:
        return condition.reason(found, now)
    return Condition((found.ends - found.begins) * KUBELET_LATEST).reason(found, now)


def as_dict(found: Certificate, reason: str, now: float) -> dict[str, Any]:
    """Return what the modules return of a certificate."""
    return {
        "name": found.title,
        "path": str(found.path),
        "kind": found.kind,
        "serial": found.serial,
        "begins": stamp(found.begins),
        "ends": stamp(found.ends),
        "days_left": int((found.ends - now) // DAY),
        "due": bool(reason),
        "reason": reason,
    }


def trusted_by(component: str, certificates: Iterable[Certificate]) -> list[Certificate]:
    """Return the authorities among ``certificates`` that a static pod reads when it starts."""
    files = TRUSTS.get(component, ())
    return [one for one in certificates if one.kind == AUTHORITY and any(str(one.path).endswith(f"/pki/{file}") for file in files)]


def public_key_id(pem: str) -> str:
    """Return the SHA-256 of a public key (PEM), as kubeadm's discovery pins an authority by it.

    https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-join/#token-based-discovery-with-ca-pinning
    """
    body = re.search(r"-----BEGIN PUBLIC KEY-----(.*?)-----END PUBLIC KEY-----", pem, re.DOTALL)
    return "sha256:" + hashlib.sha256(base64.b64decode(body.group(1) if body else "")).hexdigest()


def unused(processes: Mapping[str, list[float]], certificates: list[Certificate], address: str, step: float) -> dict[str, str]:
    """Return the static pods that do not use what is in their files -> why.

    :param processes: start of each process (seconds since the epoch) by static pod; those that do not run are not there.
    :param address: of this machine; empty to leave out what its ports show.
    :param step: seconds by which a start may be wrong.
    """
    known = {one.name: one for one in certificates if one.name}
    found = {}
    for component, names in USERS.items():
        if component not in processes:
            continue
        for authority in trusted_by(component, certificates):
            if any(started <= authority.path.stat().st_mtime - step for started in processes[component]):
                found[component] = f"runs since before {authority.path.name} changed"
        for name in names:
            if name not in known:
                continue
            changed = known[name].path.stat().st_mtime
            if any(started <= changed - step for started in processes[component]):
                found[component] = f"runs since before {name} was renewed"
            elif address and any(served(address, port) not in ("", known[name].serial) for port in PORTS.get(name, ())):
                found[component] = f"shows another certificate than {name}"
    return found
