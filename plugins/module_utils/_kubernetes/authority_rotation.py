# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node does for a new certificate authority, step by step (private to flotilla.kubernetes).

Each step brings the files of the node to where the step leads and restarts what runs since before they changed. It can be repeated, and
goes on after a kill. `authority_plan` says which steps there are. Python 3.9, standard library and openssl only.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from .._command import memory_file, run
from .._errors import FlotillaError
from .._files import scratch, write_atomically
from . import authorities, certificate_renewal, certificates
from .authorities import (
    AUTHORITY_VALIDITY,
    CROSS_FILE,
    KUBECONFIGS,
    KUBELET_CERTIFICATES,
    KUBERNETES,
    ROTATION,
    SIGNING_FILE,
    blocks,
    describe,
    ids_of,
    key_id,
    ordered,
)
from .certificates import AUTHORITY_FILES, DAY, KUBELET_SERVER, LEAVES, PKI, Condition
from .client import CA_FILE, KUBEADM_API, Client, embedded_in_kubeconfig
from .configuration import CLOCK_STEP, CONFIG_MAPS, MANIFESTS, RUN_DIR, processes, restart_kubelet, wait_for_kubelet
from .duration import parse_duration
from .gates import KUBELET_PORT

SERVER = "apiserver"
KUBERNETES_FOLDER = Path("/etc/kubernetes")
MANAGER = MANIFESTS / "kube-controller-manager.yaml"
# Makes itself a client certificate when it starts: roles/kubernetes_control_plane.
APPROVER = "flotilla-kubelet-approver"
APPROVER_CREDENTIAL = Path("/run/flotilla-kubelet-approver/client.pem")
# kubeadm's phase for each authority: https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-init-phase/
PHASES = {"kubernetes": "ca", "etcd": "etcd-ca", "front-proxy": "front-proxy-ca"}
# Of an authority, as kubeadm gives them; without the last two Python would not believe in it (VERIFY_X509_STRICT).
CROSS_EXTENSIONS = """
basicConstraints = critical,CA:TRUE
keyUsage = critical,digitalSignature,keyEncipherment,keyCertSign
subjectKeyIdentifier = {key}
authorityKeyIdentifier = keyid
"""


def look(address: str = "") -> dict[str, Any]:
    """Return what `authorities.look` returns of this node, with ``restarts`` of what does not use what is in its files.

    :param address: this control plane's own; empty on a worker.
    """
    restarts = dict(certificate_renewal.look(Condition(0), address).restarts)
    if address and _older(APPROVER_CREDENTIAL, Path(CA_FILE)):
        restarts[APPROVER] = "runs since before its authority changed"
    if _kubelet_shows_another():
        restarts["kubelet"] = "shows another certificate than is in its file"
    return {**authorities.look(), "restarts": restarts}


def make(names: Iterable[str], condition: Condition, address: str, user: str) -> list[str]:
    """Have kubeadm make new authorities on this control plane, beside those that sign.

    :return: the names of those that were made; one whose successor is there already is left alone.
    :raises FlotillaError: ``CERTIFICATES_ALWAYS_DUE``: a new one would be due at once; ``EXTERNAL_CA``: who would have to sign the new
        one for those who trust the old one is not here; ``CA_NOT_MADE``.
    """
    record = Client.short_lived(address, user).get(f"{CONFIG_MAPS}/kubeadm-config")["data"]["ClusterConfiguration"]
    found = re.search(r"^caCertificateValidityPeriod: (\S+)$", record, re.MULTILINE)
    validity = float(parse_duration(found.group(1), "caCertificateValidityPeriod")) if found else AUTHORITY_VALIDITY
    if condition.expires_within >= validity:
        raise FlotillaError(
            "CERTIFICATES_ALWAYS_DUE",
            f"The cluster makes authorities for {validity / DAY:g} days, so each would be due at once with expires_within of "
            f"{condition.expires_within / DAY:g} days.",
            "Ask for less, or raise caCertificateValidityPeriod in kubeadm's ClusterConfiguration first.",
        )
    made = []
    for name in names:
        file = AUTHORITY_FILES[name]
        if key_id(_coming(file, "key")) and _coming(file, "crt").exists():
            continue
        _refuse_without_key(name)
        with scratch(RUN_DIR, "flotilla-authority") as folder:
            configuration = folder / "kubeadm.yaml"
            local = {"apiVersion": KUBEADM_API, "kind": "InitConfiguration", "localAPIEndpoint": {"advertiseAddress": address}}
            moved = re.sub(r"^certificatesDir: .*$", f"certificatesDir: {folder}", record, flags=re.MULTILINE)
            configuration.write_text(f"{moved}\n---\n{json.dumps(local)}\n", encoding="utf-8")
            run(["kubeadm", "init", "phase", "certs", PHASES[name], f"--config={configuration}"], code="CA_NOT_MADE")
            certificate, key = ((folder / f"{file}.{end}").read_text(encoding="ascii") for end in ("crt", "key"))
        if name == KUBERNETES:
            _write(Path(CROSS_FILE), _cross(certificate, key))
        # The certificate comes last: with it the new authority is there.
        _write(_coming(file, "key"), key)
        _write(_coming(file, "crt"), certificate)
        made.append(name)
    return made


def _refuse_without_key(name: str) -> None:
    file = AUTHORITY_FILES[name]
    if key_id(Path(PKI, f"{file}.key")) not in ids_of(_text(Path(PKI, f"{file}.crt"))):
        raise FlotillaError(
            "EXTERNAL_CA",
            f"The key of the authority {name} is not on this control plane ({PKI}/{file}.key). So no new one was made.",
            "Put the key there for the time of the rotation, or rotate this authority where its key is.",
        )


def _cross(certificate: str, key: str) -> str:
    """Return the new authority of Kubernetes as the present one signs it, good as long as that is.

    Who trusts the present one only finds a way to what the new one signed: https://datatracker.ietf.org/doc/html/rfc4158#section-2.4
    """
    present_key = Path(PKI, "ca.key")
    present = next(pem for pem in blocks(_text(Path(CA_FILE))) if describe(pem)["id"] == key_id(present_key))
    days = max(1, int((describe(present)["ends"] - time.time()) // DAY))
    shown = run(["openssl", "x509", "-noout", "-ext", "subjectKeyIdentifier"], stdin=certificate, code="CA_UNREADABLE")
    extensions = CROSS_EXTENSIONS.format(key=shown.splitlines()[-1].strip())
    with memory_file(certificate) as new, memory_file(key) as new_key, memory_file(present) as signer, memory_file(extensions) as wanted:
        # Keeps the subject byte for byte, which is what chains are made by.
        request = run(["openssl", "x509", "-x509toreq", "-in", str(new), "-signkey", str(new_key)], code="CA_NOT_MADE")
        serial = f"0x4{secrets.token_hex(15)[1:]}"
        command = ["openssl", "x509", "-req", "-sha256", "-CA", str(signer), "-CAkey", str(present_key), "-set_serial", serial]
        return blocks(run([*command, "-days", str(days), "-extfile", str(wanted)], stdin=request, code="CA_NOT_MADE"))[0]


def share(successors: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return the new authorities that this control plane has, with their keys, for those that have them not.

    :param successors: name -> id of the new one.
    """
    shared = {}
    for name, new in successors.items():
        file = AUTHORITY_FILES[name]
        for place in (Path(ROTATION), Path(PKI)):
            if key_id(place / f"{file}.key") == new:
                certificate = next(pem for pem in blocks(_text(place / f"{file}.crt")) if describe(pem)["id"] == new)
                shared[name] = {"certificate": certificate, "key": _text(place / f"{file}.key")}
                if name == KUBERNETES:
                    shared[name]["cross"] = _text(Path(CROSS_FILE))
                break
    return shared


def receive(shared: Mapping[str, Mapping[str, str]]) -> bool:
    """Have new authorities on this control plane, beside those that sign; and a file with the one that signs; return whether anything
    was to do.

    :param shared: what `share` returned on another control plane.
    """
    changed = False
    for name, one in shared.items():
        file = AUTHORITY_FILES[name]
        new = describe(one["certificate"])["id"]
        if name == KUBERNETES:
            changed |= _ensure(Path(CROSS_FILE), one["cross"])
            changed |= _ensure(Path(SIGNING_FILE), _signing_certificate())
        if key_id(Path(PKI, f"{file}.key")) == new:
            continue
        changed |= _ensure(_coming(file, "key"), one["key"])
        changed |= _ensure(_coming(file, "crt"), one["certificate"])
    return changed


def trust(successors: Mapping[str, str], pem_of: Mapping[str, str], address: str, timeout: float) -> None:
    """Have this node trust the new authorities beside those that it trusts.

    :param successors: name -> id of the new one.
    :param pem_of: id -> certificate.
    :param address: this control plane's own; empty on a worker.
    :param timeout: seconds that one component may take to come back.
    """
    wanted = {}
    for name in _concerned(successors, address):
        path = Path(PKI, f"{AUTHORITY_FILES[name]}.crt")
        pems = blocks(_text(path))
        if successors[name] not in map(_id, pems):
            pems.append(pem_of[successors[name]])
        wanted[name] = _first(name, pems)
    _place(wanted, address, timeout)


def reissue(successors: Mapping[str, str], address: str, user: str, timeout: float) -> None:
    """Let the new authorities sign on this control plane, and have its certificates signed by them.

    :raises FlotillaError: ``CA_KEY_MISSING`` and what renewals raise.
    """
    wanted = {}
    for name, new in successors.items():
        file = AUTHORITY_FILES[name]
        path, key = Path(PKI, f"{file}.crt"), Path(PKI, f"{file}.key")
        pems = blocks(_text(path))
        if key_id(key) != new:
            if key_id(_coming(file, "key")) != new or new not in map(_id, pems):
                raise FlotillaError(
                    "CA_KEY_MISSING", f"The key of the new authority {name} is not on this control plane.", "Run the rotation again."
                )
            write_atomically(key, _text(_coming(file, "key")).encode(), 0o600)
        wanted[name] = _first(name, pems)
    with certificate_renewal.alone():
        _ensure_authorities(wanted)
        if KUBERNETES in wanted:
            _ensure(Path(SIGNING_FILE), _signing_certificate())
        signed = authorities.look()["signed_by"]
        wanted_by = {AUTHORITY_FILES[name]: new for name, new in successors.items()}
        old = [leaf for leaf, (_f, file) in LEAVES.items() if leaf in signed and signed[leaf] != wanted_by.get(file, signed[leaf])]
        if SERVER in old:
            _reissue_server(_chain(wanted[KUBERNETES]), address, user)
        certificate_renewal.sign_anew([leaf for leaf in old if leaf != SERVER], address, user)
        # kubeadm gives them the first authority only.
        if KUBERNETES in wanted:
            _ensure_kubeconfigs(wanted[KUBERNETES])
            path = Path(PKI, f"{SERVER}.crt")
            _ensure(path, "".join([blocks(_text(path))[0], *_chain(wanted[KUBERNETES])]), 0o644)
        certificate_renewal.restart_users(address, timeout)
    _restart_others(address, timeout)


def _chain(trusted: list[str]) -> list[str]:
    """Return what the API server shows beside its certificate, while somebody may trust the old authority only."""
    return blocks(_text(Path(CROSS_FILE))) if len(trusted) > 1 else []


def _reissue_server(chain: list[str], address: str, user: str) -> None:
    """Sign the API server's certificate anew, elsewhere.

    It takes what is in its files while it runs, as soon as certificate and key fit, and at no moment is it to show the new one alone.
    """
    with scratch(RUN_DIR, "flotilla-server") as folder:
        for name in ("ca.crt", "ca.key", f"{SERVER}.crt", f"{SERVER}.key"):
            shutil.copy(Path(PKI, name), folder / name)
        certificate_renewal.sign_anew([SERVER], address, user, folder)
        certificate, key = (_text(folder / f"{SERVER}.{end}") for end in ("crt", "key"))
    write_atomically(Path(PKI, f"{SERVER}.key"), key.encode(), 0o600)
    write_atomically(Path(PKI, f"{SERVER}.crt"), "".join([blocks(certificate)[0], *chain]).encode(), 0o644)


def reissue_kubelet(new: str, timeout: float) -> None:
    """Have the certificates of this node's kubelet signed by the authority with the id ``new``.

    :raises FlotillaError: ``CA_STILL_OLD``: the cluster signed with another one.
    """
    replace = {"kubelet-client": certificate_renewal.replace_kubelet_client, "kubelet-server": certificate_renewal.replace_kubelet_server}
    replaced = False
    # Its client certificate first: what shows whether it runs with both is the other one.
    for name in KUBELET_CERTIFICATES:
        if authorities.look()["signed_by"].get(name, new) == new:
            continue
        replace[name](timeout)
        replaced = True
        if authorities.look()["signed_by"].get(name) != new:
            raise FlotillaError(
                "CA_STILL_OLD",
                f"The cluster signed the {name} certificate of this node with another authority than the new one.",
                "Look which file the controller-manager that leads signs with (--cluster-signing-cert-file), and run again.",
            )
    if replaced or _kubelet_shows_another():
        restart_kubelet()
        wait_for_kubelet(timeout)


def drop(successors: Mapping[str, str], address: str, timeout: float) -> None:
    """Have this node trust the new authorities only.

    :raises FlotillaError: ``CA_STILL_NEEDED``: a certificate of this node is signed by another one.
    """
    found = authorities.look()
    for name in _concerned(successors, address):
        new = successors[name]
        leaves = [leaf for leaf, (_f, file) in LEAVES.items() if file == AUTHORITY_FILES[name]] if address else []
        if name == KUBERNETES:
            leaves += KUBELET_CERTIFICATES
        old = [leaf for leaf in leaves if found["signed_by"].get(leaf, new) != new]
        if old or (address and found["authorities"][name]["signs"] != new) or new not in found["authorities"][name]["trusted"]:
            raise FlotillaError(
                "CA_STILL_NEEDED",
                f"This node still needs the old authority {name}: {', '.join(old) or 'it signs here'}.",
                "Run the rotation again: it has them signed by the new one first.",
            )
    wanted = {
        name: [pem for pem in blocks(_text(Path(PKI, f"{AUTHORITY_FILES[name]}.crt"))) if _id(pem) == successors[name]]
        for name in _concerned(successors, address)
    }
    _place(wanted, address, timeout)


def tidy() -> None:
    """Remove the files of the rotation from this control plane."""
    shutil.rmtree(ROTATION, ignore_errors=True)


def _concerned(successors: Mapping[str, str], address: str) -> list[str]:
    """Return the authorities that this node has: a worker knows that of Kubernetes only."""
    return [name for name in successors if (address or name == KUBERNETES) and Path(PKI, f"{AUTHORITY_FILES[name]}.crt").exists()]


def _place(wanted: Mapping[str, list[str]], address: str, timeout: float) -> None:
    """Put authorities in place, with everything that names them, and have them used."""
    pems = wanted.get(KUBERNETES, [])
    # A controller-manager does not start when the file that it signs with has two certificates.
    if address and len(pems) > 1:
        _ensure(Path(SIGNING_FILE), _signing_certificate())
        _ensure_manager(SIGNING_FILE)
    _ensure_authorities(wanted)
    if pems:
        _ensure_kubeconfigs(pems)
    if address and len(pems) == 1:
        path = Path(PKI, f"{SERVER}.crt")
        _ensure(path, "".join(pem for pem in blocks(_text(path)) if _id(pem) != _id(pems[0])), 0o644)
        _ensure_manager(CA_FILE)
    if address:
        certificate_renewal.restart_users(address, timeout)
    _restart_others(address, timeout)


def _ensure_authorities(wanted: Mapping[str, list[str]]) -> None:
    # That of Kubernetes comes last: by its time the kubelet is judged.
    for name in sorted(wanted, key=lambda name: name == KUBERNETES):
        _ensure(Path(PKI, f"{AUTHORITY_FILES[name]}.crt"), "".join(wanted[name]), 0o644)


def _ensure_kubeconfigs(pems: list[str]) -> None:
    for name in KUBECONFIGS:
        text = _text(KUBERNETES_FOLDER / name)
        if text and ids_of(embedded_in_kubeconfig(text, "certificate-authority-data")) != list(map(_id, pems)):
            write_atomically(KUBERNETES_FOLDER / name, authorities.with_authorities(text, pems).encode(), 0o600)


def _ensure_manager(path: str) -> None:
    text = _text(MANAGER)
    _ensure(MANAGER, authorities.signing_with(text, path))


def _restart_others(address: str, timeout: float) -> None:
    if address and _older(APPROVER_CREDENTIAL, Path(CA_FILE)):
        remedy = f"Read 'journalctl -u {APPROVER}' on the machine."
        run(["systemctl", "restart", APPROVER], timeout=timeout, code="SERVICE_FAILED", remedy=remedy)
    changed = Path(CA_FILE).stat().st_mtime
    late = any(started <= changed - CLOCK_STEP for _process, _flags, started in processes("kubelet"))
    if late or _kubelet_shows_another():
        restart_kubelet()
        wait_for_kubelet(timeout)


def _signing_certificate() -> str:
    signs = key_id(Path(PKI, "ca.key"))
    return next(pem for pem in [*blocks(_text(Path(CA_FILE))), *blocks(_text(_coming("ca", "crt")))] if _id(pem) == signs)


def _first(name: str, pems: Iterable[str]) -> list[str]:
    """Return authorities with the one that signs here in the first place; on a worker, which has no key, the newest."""
    return ordered(pems, key_id(Path(PKI, f"{AUTHORITY_FILES[name]}.key")))


def _coming(file: str, end: str) -> Path:
    return Path(ROTATION, f"{file}.{end}")


def _id(pem: str) -> str:
    return str(describe(pem)["id"])


def _ensure(path: Path, content: str, mode: int = 0o600) -> bool:
    if _text(path) == content:
        return False
    write_atomically(path, content.encode(), mode)
    return True


def _write(path: Path, content: str) -> None:
    write_atomically(path, content.encode(), 0o600)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _older(path: Path, than: Path) -> bool:
    """Tell whether a file is there and was made before another one changed."""
    try:
        return path.stat().st_mtime <= than.stat().st_mtime - CLOCK_STEP
    except OSError:
        return False


def _kubelet_shows_another() -> bool:
    """Tell whether the port of this node's kubelet shows another certificate than is in its file."""
    found = next((one for one in certificates.find() if str(one.path) == KUBELET_SERVER), None)
    return found is not None and certificates.served("127.0.0.1", KUBELET_PORT) not in ("", found.serial)
