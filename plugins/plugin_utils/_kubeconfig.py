# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfigs of people on the controller (private to flotilla.kubernetes).

The private key is made here, where it is used, and never travels. ansible-core itself needs `cryptography`, so every controller has it.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import yaml

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.duration import format_duration, parse_duration
from ..module_utils._moments import stamp

try:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID
except ImportError:  # where somebody looks at the plugins only
    x509 = None

# The API's own least time for `expirationSeconds`: https://kubernetes.io/docs/reference/access-authn-authz/certificate-signing-requests/
MIN_TTL = 600
# A client certificate can not be revoked, so a lost one is trusted until its end.
MAX_TTL = 30 * 24 * 3600
MAX_NAME = 64  # X.509's upper bound for a common name and an organization
SUPERUSERS = "system:masters"


@dataclass(frozen=True)
class Wanted:
    """Whose kubeconfig, and for how long; ``ttl`` in seconds."""

    cluster: str
    user: str
    groups: tuple[str, ...]
    ttl: int

    @classmethod
    def of(cls, cluster: str, user: str, groups: Sequence[str], ttl: str, allow_system: bool) -> Wanted:
        """Return the request after checking it.

        :raises FlotillaError: a name or the time is not allowed.
        """
        if x509 is None:
            raise FlotillaError(
                "REQUIREMENT_MISSING",
                "Making a kubeconfig needs the Python library cryptography on the controller, which ansible-core needs itself.",
                "Install it: pip install cryptography.",
            )
        seconds = parse_duration(ttl, "kubeconfig_ttl")
        if not MIN_TTL <= seconds <= MAX_TTL:
            raise FlotillaError(
                "KUBECONFIG_TTL_OUT_OF_RANGE",
                f"kubeconfig_ttl is {ttl}.",
                f"Choose {format_duration(MIN_TTL)} to {format_duration(MAX_TTL)}: a certificate can not be revoked before its end.",
            )
        for what, name in (("kubeconfig_user", user), *(("kubeconfig_groups", group) for group in groups)):
            if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
                raise FlotillaError(
                    "KUBECONFIG_NAME_INVALID", f"{what} has {name!r}.", f"Give a name of 1 to {MAX_NAME} printable characters."
                )
            if name == SUPERUSERS:
                raise FlotillaError(
                    "KUBECONFIG_SUPERUSERS",
                    f"{what} has {name}, which stands above all authorization and which Kubernetes signs for nobody.",
                    "Use the group kubeadm:cluster-admins; for emergencies see break-glass in docs/access.md.",
                )
            if name.startswith("system:") and not allow_system:
                raise FlotillaError(
                    "KUBECONFIG_SYSTEM_NAME",
                    f"{what} has {name}; names that begin with system: are the cluster's own.",
                    "Choose another name, or set kubeconfig_allow_system=true if you mean to act as a part of the cluster.",
                )
        return cls(cluster, user, tuple(sorted(set(groups))), seconds)


@dataclass(frozen=True)
class Found:
    """What a kubeconfig on disk says, without its secrets."""

    user: str
    groups: tuple[str, ...]
    server: str
    ca: str
    until: datetime

    def as_diff(self) -> dict[str, Any]:
        return {"user": self.user, "groups": list(self.groups), "server": self.server, "valid_until": stamp(self.until.timestamp())}


def read(path: Path) -> Found | None:
    """Return what the file at ``path`` says; nothing when it is not there, is not ours to read or does not work."""
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        cluster, user = content["clusters"][0]["cluster"], content["users"][0]["user"]
        certificate = x509.load_pem_x509_certificate(base64.b64decode(user["client-certificate-data"]))
        key = serialization.load_pem_private_key(base64.b64decode(user["client-key-data"]), password=None)
        if key.public_key() != certificate.public_key():
            return None
        users, groups = (
            [str(item.value) for item in certificate.subject.get_attributes_for_oid(oid)]
            for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        )
        return Found(
            users[0],
            tuple(sorted(groups)),
            str(cluster["server"]),
            base64.b64decode(cluster["certificate-authority-data"]).decode("ascii"),
            certificate_end(certificate),
        )
    except (OSError, ValueError, TypeError, KeyError, IndexError, yaml.YAMLError):
        return None


def good_enough(found: Found | None, wanted: Wanted, server: str, ca: str, now: datetime) -> bool:
    """Tell whether the kubeconfig on disk can stay: the same identity and cluster, and at least a third of the time left, but not more
    than was asked for."""
    if found is None or (found.user, found.groups, found.server, found.ca.strip()) != (wanted.user, wanted.groups, server, ca.strip()):
        return False
    return wanted.ttl / 3 <= (found.until - now).total_seconds() <= wanted.ttl


def make_key() -> tuple[str, ec.EllipticCurvePrivateKey]:
    """Return a new private key, as PEM and as it is."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem.decode("ascii"), key


def signing_request(key: ec.EllipticCurvePrivateKey, wanted: Wanted) -> str:
    """Return the certificate signing request (PEM) of a user and its groups."""
    names = [x509.NameAttribute(NameOID.COMMON_NAME, wanted.user)]
    names += [x509.NameAttribute(NameOID.ORGANIZATION_NAME, group) for group in wanted.groups]
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(names)).sign(key, hashes.SHA256())
    return request.public_bytes(serialization.Encoding.PEM).decode("ascii")


def render(wanted: Wanted, server: str, ca: str, certificate: str, key: str) -> str:
    """Return the content of the file. Its first line says how long it is good, for people and for tools/kubectl."""
    until = certificate_end(x509.load_pem_x509_certificate(certificate.encode()))
    name = f"{wanted.user}@{wanted.cluster}"
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": wanted.cluster, "cluster": {"server": server, "certificate-authority-data": _encoded(ca)}}],
        "contexts": [{"name": name, "context": {"cluster": wanted.cluster, "user": name}}],
        "users": [{"name": name, "user": {"client-certificate-data": _encoded(certificate), "client-key-data": _encoded(key)}}],
    }
    head = f"# Valid until {stamp(until.timestamp())}; the playbooks flotilla.kubernetes.kubeconfig and cluster_apply renew it.\n"
    return head + yaml.safe_dump(content, sort_keys=False, width=1_000_000)


def certificate_end(certificate: x509.Certificate) -> datetime:
    """Return the end of a certificate's time, with its time zone."""
    try:
        return certificate.not_valid_after_utc
    except AttributeError:  # cryptography before 42
        return certificate.not_valid_after.replace(tzinfo=timezone.utc)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode("ascii")
