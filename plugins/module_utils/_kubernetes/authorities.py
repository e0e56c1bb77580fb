# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate authorities of a node: which it trusts, which of them signs, and who signed what (private to flotilla.kubernetes).

An authority is known by the SHA-256 of its public key, as in kubeadm's discovery. While one is rotated, its file holds the old and the
new certificate, and the one whose key is beside it comes first: kubeadm signs with the first. Python 3.9, standard library and openssl
only.
"""

from __future__ import annotations

import base64
import re
import ssl
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from .._command import memory_file, run
from .._errors import FlotillaError
from .._moments import stamp
from .certificates import (
    AUTHORITY_FILES,
    BLOCK,
    KUBELET_CLIENT,
    KUBELET_SERVER,
    LEAVES,
    PKI,
    public_key_id,
)
from .client import Client, embedded_in_kubeconfig

KUBERNETES, ETCD, FRONT_PROXY = AUTHORITY_FILES
# Here a control plane has the next authorities until they sign, and what else it needs while two are trusted. The container of the
# controller-manager has it, too.
ROTATION = f"{PKI}/rotation"
# The controller-manager signs with a file of one certificate only:
# https://kubernetes.io/docs/tasks/tls/manual-rotation-of-ca-certificates/
SIGNING_FILE = f"{ROTATION}/signing.crt"
# The new authority of Kubernetes, signed by the old one.
CROSS_FILE = f"{ROTATION}/cross.crt"
SIGNING_FLAG = "cluster-signing-cert-file"
CONTROLLER_MANAGER = "etc/kubernetes/manifests/kube-controller-manager.yaml"
KUBECONFIGS = ("admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf")
KUBELET_CERTIFICATES = {"kubelet-client": KUBELET_CLIENT, "kubelet-server": KUBELET_SERVER}
CLUSTER_INFO = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
# kubeadm's: https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/ (caCertificateValidityPeriod)
AUTHORITY_VALIDITY = 3650 * 86400.0

_KUBECONFIG_CA = re.compile(r"^(\s*certificate-authority-data:[ \t]*)\S+[ \t]*$", re.MULTILINE)
_SIGNING = re.compile(rf"^(\s*- --{SIGNING_FLAG}=).*$", re.MULTILINE)
_RECORDED = re.compile(rf"^  - name: {SIGNING_FLAG}\n    value: {re.escape(SIGNING_FILE)}\n", re.MULTILINE)


def blocks(pem: bytes | str) -> list[str]:
    """Return the certificates (PEM) in a text, as they come."""
    content = pem.encode("ascii", "ignore") if isinstance(pem, str) else pem
    return [f"{block.decode('ascii')}\n" for block in BLOCK.findall(content)]


@cache
def describe(pem: str) -> dict[str, Any]:
    """Return ``id``, ``begins`` and ``ends`` (seconds since the epoch) of one certificate, and whether it signed itself.

    :raises FlotillaError: ``CA_UNREADABLE``.
    """
    asked = ["openssl", "x509", "-noout", "-pubkey", "-startdate", "-enddate", "-subject", "-issuer"]
    text = run(asked, stdin=pem, code="CA_UNREADABLE", remedy="Look at the certificates of the authorities on the control planes.")
    fields = dict(line.split("=", 1) for line in text.splitlines() if re.match(r"(notBefore|notAfter|subject|issuer)=", line))
    return {
        "id": public_key_id(text),
        "begins": float(ssl.cert_time_to_seconds(fields["notBefore"])),
        "ends": float(ssl.cert_time_to_seconds(fields["notAfter"])),
        "own": fields["subject"] == fields["issuer"],
    }


def ids_of(pem: bytes | str) -> list[str]:
    """Return the ids of the authorities in a text (PEM), as they come."""
    return [str(describe(block)["id"]) for block in blocks(pem)]


def ordered(pems: Iterable[str], first: str) -> list[str]:
    """Return certificates of authorities, each once: that with the id ``first``, then the newer before the older."""
    unique = {describe(pem)["id"]: pem for pem in pems}
    return sorted(unique.values(), key=lambda pem: (describe(pem)["id"] != first, -describe(pem)["begins"], describe(pem)["id"]))


def key_id(path: Path) -> str:
    """Return the id of the authority whose private key is in a file, or nothing where there is none."""
    if not path.exists():
        return ""
    try:
        return public_key_id(run(["openssl", "pkey", "-pubout", "-in", str(path)], code="CA_UNREADABLE"))
    except FlotillaError:
        return ""


def signer(leaf: str, authorities: Mapping[str, str]) -> str:
    """Return the id of the authority that signed a certificate (PEM), or nothing where none of them did.

    :param authorities: id -> certificate (PEM).
    """
    for one, pem in authorities.items():
        with memory_file(pem) as trusted:
            try:
                # Whether it is over is another question, and so is what it is for.
                run(["openssl", "verify", "-no_check_time", "-partial_chain", "-trusted", str(trusted)], stdin=leaf, code="NOT_SIGNED")
            except FlotillaError:
                continue
            return one
    return ""


def look(root: Path = Path("/")) -> dict[str, Any]:
    """Return what this node has of the authorities; it is data for `authority_plan`.

    :return: ``authorities`` (by name: ``trusted`` ids as they come, ``signs`` the id whose key is there, ``next`` the id of one that is
        to come), ``certificates`` (by id: ``pem``, ``begins``, ``ends``, ``name``), ``signed_by`` (certificate -> id of its authority),
        ``kubeconfigs`` (file -> ids that it trusts), ``separate`` whether the controller-manager signs with a file of its own,
        ``chained`` the ids of the authorities that the API server shows beside its certificate, ``rotating`` whether files of a rotation
        are there.
    """
    pki = root / PKI.lstrip("/")
    rotation = root / ROTATION.lstrip("/")
    authorities: dict[str, dict[str, Any]] = {}
    known: dict[str, dict[str, Any]] = {}
    pems: dict[str, dict[str, str]] = {}
    for name, file in AUTHORITY_FILES.items():
        path = pki / f"{file}.crt"
        if not path.exists():
            continue
        trusted = blocks(path.read_bytes())
        coming = blocks((rotation / f"{file}.crt").read_bytes())[:1] if key_id(rotation / f"{file}.key") else []
        for pem in trusted + coming:
            fields = describe(pem)
            known[fields["id"]] = {**fields, "pem": pem, "name": name}
        pems[file] = {str(describe(pem)["id"]): pem for pem in trusted + coming}
        authorities[name] = {
            "trusted": [describe(pem)["id"] for pem in trusted],
            "signs": key_id(pki / f"{file}.key"),
            "next": describe(coming[0])["id"] if coming else "",
        }
    signed = {name: signer(leaf, pems.get(authority, {})) for name, (authority, leaf) in _leaves(root).items()}
    configured = {name: _text(root / "etc/kubernetes" / name) for name in KUBECONFIGS}
    manifest = _text(root / CONTROLLER_MANAGER)
    return {
        "authorities": authorities,
        "certificates": known,
        "signed_by": signed,
        "kubeconfigs": {
            name: ids_of(embedded_in_kubeconfig(text, "certificate-authority-data")) for name, text in configured.items() if text
        },
        "separate": f"--{SIGNING_FLAG}={SIGNING_FILE}" in manifest,
        "chained": [describe(pem)["id"] for pem in blocks(_text(pki / "apiserver.crt"))[1:]],
        "rotating": rotation.exists(),
    }


def _leaves(root: Path) -> dict[str, tuple[str, str]]:
    """Return kubeadm's name of each certificate -> the file of its authority and its PEM; and those of the kubelet, as far as they are
    signed by anybody but themselves."""
    found = {}
    for name, (file, authority) in LEAVES.items():
        text = _text(root / "etc/kubernetes" / file)
        first = blocks(embedded_in_kubeconfig(text, "client-certificate-data") if file.endswith(".conf") else text)[:1]
        if first:
            found[name] = (authority, first[0])
    for name, path in KUBELET_CERTIFICATES.items():
        first = blocks(_text(root / path.lstrip("/")))[:1]
        if first and not describe(first[0])["own"]:
            found[name] = (AUTHORITY_FILES[KUBERNETES], first[0])
    return found


def with_authorities(kubeconfig: str, pems: Iterable[str]) -> str:
    """Return a kubeconfig whose clusters trust these certificates."""
    encoded = base64.b64encode("".join(pems).encode()).decode()
    return _KUBECONFIG_CA.sub(lambda match: match.group(1) + encoded, kubeconfig)


def signing_with(manifest: str, path: str) -> str:
    """Return the manifest of a controller-manager that signs with the certificate in ``path``."""
    return _SIGNING.sub(lambda match: match.group(1) + path, manifest)


def recorded(configuration: str) -> bool:
    """Tell whether a ``ClusterConfiguration`` (YAML of kubeadm) lets controller-managers sign with a file of their own."""
    return bool(_RECORDED.search(configuration))


def record(configuration: str, separate: bool) -> str:
    """Return a ``ClusterConfiguration`` (YAML of kubeadm) that lets controller-managers sign with a file of their own, or no longer.

    Control planes that join are made of it.
    """
    plain = _RECORDED.sub("", configuration)
    if not separate:
        return re.sub(r"^controllerManager:\n  extraArgs:\n(?!  )", "controllerManager: {}\n", plain, flags=re.MULTILINE)
    argument = f"  - name: {SIGNING_FLAG}\n    value: {SIGNING_FILE}\n"
    if re.search(r"^controllerManager:\n(?:  .*\n)*?  extraArgs:\n", plain, re.MULTILINE):
        return re.sub(
            r"^(controllerManager:\n(?:  .*\n)*?  extraArgs:\n)", lambda found: found.group(1) + argument, plain, flags=re.MULTILINE
        )
    return re.sub(r"^controllerManager:(?: \{\})?\n", f"controllerManager:\n  extraArgs:\n{argument}", plain, flags=re.MULTILINE)


def as_recorded(documents: Iterable[dict[str, Any]], configuration: str) -> list[dict[str, Any]]:
    """Return kubeadm's documents as they are to be while the cluster's record (YAML) names a file of its own to sign with."""
    if not recorded(configuration):
        return list(documents)
    own = {"name": SIGNING_FLAG, "value": SIGNING_FILE}

    def changed(document: dict[str, Any]) -> dict[str, Any]:
        if document["kind"] != "ClusterConfiguration":
            return document
        manager = document.get("controllerManager") or {}
        return {**document, "controllerManager": {**manager, "extraArgs": [own, *(manager.get("extraArgs") or [])]}}

    return [changed(document) for document in documents]


def half_done(client: Client, root: Path = Path("/")) -> list[str]:
    """Return the names of the authorities that this control plane or the cluster trusts beside their successors.

    :param client: of this control plane's API server.
    """
    pki = root / PKI.lstrip("/")
    found = {name for name, file in AUTHORITY_FILES.items() if len(blocks(_text(pki / f"{file}.crt"))) > 1}
    if len(blocks(embedded_in_kubeconfig(published(client), "certificate-authority-data"))) > 1:
        found.add(KUBERNETES)
    for name, file in AUTHORITY_FILES.items():
        if (root / ROTATION.lstrip("/") / f"{file}.crt").exists():
            found.add(name)
    return [name for name in AUTHORITY_FILES if name in found]


def published(client: Client) -> str:
    """Return the kubeconfig by which nodes join (`cluster-info`); empty where whoever hardened the cluster deleted it."""
    found = client.find(CLUSTER_INFO)
    return str(found["data"]["kubeconfig"]) if found else ""


def period(moment: Mapping[str, Any]) -> str:
    """Return from when to when an authority is good, for people."""
    return f"{stamp(moment['begins'])} to {stamp(moment['ends'])}"


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
