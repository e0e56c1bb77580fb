# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renew the certificates of one node, and have everything that uses them really do so (private to flotilla.kubernetes).

What is to be done is read from the files and from the live processes and ports each time, so a run that was killed anywhere is repeated:
a static pod that began before its certificate changed is restarted. Python 3.9, standard library and openssl only.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .._command import run
from .._errors import FlotillaError
from .._files import write_atomically
from .._locks import try_lock
from .._moments import stamp
from .._state import STATE_DIR
from . import certificates
from .certificates import KUBELET_CLIENT, KUBELET_SERVER, USERS, Certificate, Condition
from .client import CA_FILE, Client, short_lived_kubeconfig
from .client_certificate import SERVING_SIGNER, ask
from .configuration import (
    API_SERVER,
    CLOCK_STEP,
    CONFIG_MAPS,
    KUBELET_CONFIGURATION,
    KUBELET_KUBECONFIG,
    MANIFESTS,
    kubelet_client,
    processes,
    restart_component,
    restart_kubelet,
    wait_for_kubelet,
)
from .duration import parse_duration

KUBELET_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
SHOWN_WITHIN = 30.0  # seconds that a port may take to show a new certificate once its process is healthy


@dataclass(frozen=True)
class Look:
    """The certificates of a node at one moment; ``reasons`` says by path why one is to be renewed, ``restarts`` why a static pod is."""

    certificates: list[Certificate]
    reasons: dict[Path, str] = field(default_factory=dict)
    restarts: dict[str, str] = field(default_factory=dict)

    @property
    def due(self) -> list[Certificate]:
        """Those of kubeadm that are to be renewed."""
        return [one for one in self.certificates if one.name and self.reasons.get(one.path)]

    @property
    def kubelet_due(self) -> bool:
        """Whether the kubelet needs a new client certificate."""
        return any(str(path) == KUBELET_CLIENT and reason for path, reason in self.reasons.items())

    def as_dicts(self) -> list[dict[str, Any]]:
        now = time.time()
        return [certificates.as_dict(one, self.reasons.get(one.path, ""), now) for one in self.certificates]


def condition(expires_within: str | None, older_than: str | None, validity: float) -> Condition:
    """Return when a certificate is to be renewed.

    :param validity: seconds that a new one gets.
    :raises FlotillaError: ``DURATION_INVALID``; ``CERTIFICATES_ALWAYS_DUE`` when a new one would be due at once.
    """
    within = parse_duration(expires_within, "expires_within", days=True) if expires_within else certificates.default_condition(validity)
    if within >= validity:
        raise FlotillaError(
            "CERTIFICATES_ALWAYS_DUE",
            f"The cluster makes certificates for {validity / certificates.DAY:g} days, so each would be due at once with "
            f"expires_within={expires_within}.",
            "Ask for less, or raise certificateValidityPeriod in kubeadm's ClusterConfiguration first.",
        )
    return Condition(within, parse_duration(older_than, "older_than", days=True) if older_than else None)


def validity(address: str, user: str) -> float:
    """Return for how long (seconds) kubeadm makes certificates in this cluster; kubeadm's own default where the API can not say."""
    try:
        record = Client.short_lived(address, user, timeout=5).get(f"{CONFIG_MAPS}/kubeadm-config")["data"]["ClusterConfiguration"]
    except (OSError, FlotillaError):
        return certificates.VALIDITY
    found = re.search(r"^certificateValidityPeriod: (\S+)$", record, re.MULTILINE)
    return float(parse_duration(found.group(1), "certificateValidityPeriod")) if found else certificates.VALIDITY


def look(wanted: Condition, address: str = "") -> Look:
    """Return the certificates of this machine and what is to be done about them.

    :param address: this control plane's own; empty on a worker.
    """
    found, now = list(certificates.find()), time.time()
    reasons = {one.path: wanted.reason(one, now) for one in found if one.name}
    rotates = certificates.kubelet_rotates(_text(KUBELET_CONFIGURATION))
    reasons.update({one.path: certificates.kubelet_reason(one, wanted, now, rotates) for one in found if str(one.path) == KUBELET_CLIENT})
    running = {component: [started for _id, _flags, started in processes(component)] for component in USERS} if address else {}
    restarts = certificates.unused({name: starts for name, starts in running.items() if starts}, found, address, CLOCK_STEP)
    if not rotates and any(started <= _changed(KUBELET_CLIENT) - CLOCK_STEP for _id, _flags, started in processes("kubelet")):
        restarts["kubelet"] = "runs since before its certificate was renewed"
    if any(started <= _changed(CA_FILE) - CLOCK_STEP for _id, _flags, started in processes("kubelet")):
        restarts["kubelet"] = "runs since before its authority changed"
    return Look(found, reasons, restarts)


def restarts_after(found: Look) -> list[str]:
    """Return the static pods that have to start anew once what is due is renewed, or already have to."""
    due = {one.name for one in found.due}
    return [name for name, held in USERS.items() if name in found.restarts or (due & set(held) and (MANIFESTS / f"{name}.yaml").exists())]


def shown(before: Look, after: Look | None) -> dict[str, str]:
    """Return a diff of the certificates that are renewed and of what is restarted; ``after`` is None in check mode."""
    ends = {one.path: stamp(one.ends) for one in after.certificates} if after else {}
    first = [f"{one.title}: {stamp(one.ends)} ({before.reasons[one.path]})" for one in before.due]
    then = [f"{one.title}: {ends.get(one.path, 'renewed')}" for one in before.due]
    first += [f"{name}: {why}" for name, why in before.restarts.items()]
    then += [f"{name}: restarted" for name in restarts_after(before)]
    return {"before": "".join(f"{line}\n" for line in first), "after": "".join(f"{line}\n" for line in then)}


def refuse_without_keys(due: Sequence[Certificate]) -> None:
    """:raises FlotillaError: ``EXTERNAL_CA``: who has to sign is not on this machine."""
    missing = certificates.missing_keys(one.name for one in due)
    if missing:
        named = "; ".join(f"{key} for {', '.join(names)}" for key, names in sorted(missing.items()))
        raise FlotillaError(
            "EXTERNAL_CA",
            f"The key of the certificate authority is not on this control plane: {named}. So nothing was renewed.",
            "Have your certificate authority sign them ('kubeadm certs generate-csr'), put them in place, and run again: it restarts what "
            "uses them. Or put the key there for the time of the renewal.",
        )


def renew(found: Look, address: str, user: str, timeout: float) -> None:
    """Renew what is due, one certificate after another, and restart the static pods that use something else than what is in their files.

    :param found: what `look` returned.
    :param timeout: seconds that one static pod may take to come back.
    :raises FlotillaError: ``KUBEADM_BUSY``, ``CERTIFICATE_NOT_RENEWED``, ``COMPONENT_NOT_BACK`` or ``CERTIFICATE_NOT_SHOWN``.
    """
    with alone():
        if found.due:
            sign_anew([one.name for one in found.due], address, user)
        restart_users(address, timeout)


@contextmanager
def alone() -> Iterator[None]:
    """Be the only one who works with kubeadm on this node.

    :raises FlotillaError: ``KUBEADM_BUSY``.
    """
    STATE_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = try_lock(STATE_DIR / "kubeadm.lock")
    if lock is None:
        raise FlotillaError("KUBEADM_BUSY", "Another kubeadm step still runs on this node.", "Wait for it, then run again.")
    try:
        yield
    finally:
        os.close(lock)


def sign_anew(names: Sequence[str], address: str, user: str, folder: Path | None = None) -> None:
    """Have certificates of kubeadm (by its names) signed anew by the authorities on this machine.

    :param folder: with certificates and authorities, in place of kubeadm's own.
    :raises FlotillaError: ``CERTIFICATE_NOT_RENEWED``.
    """
    # kubeadm reads the cluster's settings, such as the validity, with it; where no API server answers it goes on with its defaults.
    with short_lived_kubeconfig(address, user) as kubeconfig:
        for name in names:
            run(
                ["kubeadm", "certs", "renew", name, f"--kubeconfig={kubeconfig}", *([f"--cert-dir={folder}"] if folder else [])],
                code="CERTIFICATE_NOT_RENEWED",
                remedy="Mend what kubeadm names and run again: it goes on with what is left.",
            )


def restart_users(address: str, timeout: float) -> None:
    """Restart the static pods of this control plane that use something else than what is in their files, one after another.

    :raises FlotillaError: ``COMPONENT_NOT_BACK`` or ``CERTIFICATE_NOT_SHOWN``.
    """
    for component in look(Condition(0), address).restarts:
        if not (MANIFESTS / f"{component}.yaml").exists():
            continue
        found = list(certificates.find())
        names = [one for one in found if one.name in USERS[component]]
        since = max(_changed(one.path) for one in [*names, *certificates.trusted_by(component, found)]) - CLOCK_STEP
        restart_component(component, since, address, timeout)
        for one in names:
            _wait_until_shown(component, one, address)
        if component == API_SERVER:
            # It asks the API server next to it only, in pauses that have grown meanwhile, and the gates wait for what it reports.
            restart_kubelet()


def _wait_until_shown(component: str, wanted: Certificate, address: str) -> None:
    deadline = time.monotonic() + SHOWN_WITHIN
    for port in certificates.PORTS.get(wanted.name, ()):
        while (shown := certificates.served(address, port)) != wanted.serial:
            if time.monotonic() > deadline:
                raise FlotillaError(
                    "CERTIFICATE_NOT_SHOWN",
                    f"{component} shows the certificate {shown or '(none)'} at {address}:{port}, not {wanted.serial}, which is in "
                    f"{wanted.path}.",
                    f"Look whether another process has the port, and at the log of {component} ('crictl logs' of its newest container).",
                )
            time.sleep(0.5)


def renew_kubelet(found: Look, timeout: float) -> None:
    """Have this node's kubelet use a new client certificate, which the cluster signs for who still has the old one.

    :param found: what `look` returned.

    The private key is made here and stays here. https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/

    :raises FlotillaError: ``KUBELET_CERTIFICATE_EXPIRED`` and what `client_certificate.ask` raises.
    """
    if found.kubelet_due:
        replace_kubelet_client(timeout)
    restart_kubelet()
    wait_for_kubelet(timeout)


def replace_kubelet_client(timeout: float) -> None:
    """Have the cluster sign a new client certificate for this node's kubelet, and put it in place.

    :raises FlotillaError: ``KUBELET_CREDENTIAL``, ``KUBELET_CERTIFICATE_EXPIRED`` and what `client_certificate.ask` raises.
    """
    current = Path(KUBELET_CLIENT)
    if KUBELET_CLIENT not in _text(KUBELET_KUBECONFIG):
        raise FlotillaError(
            "KUBELET_CREDENTIAL",
            f"{KUBELET_KUBECONFIG} does not name {current}, so the kubelet uses another certificate than the one that is to be renewed.",
            f"Let client-certificate and client-key there be {current}, as 'kubeadm init phase kubelet-finalize' does it, and run again.",
        )
    present = next((one for one in certificates.find() if one.path == current), None)
    if present is None or present.ends < time.time():
        raise FlotillaError(
            "KUBELET_CERTIFICATE_EXPIRED",
            f"The client certificate of this kubelet ({current}) is over, so the cluster does not know the node any more.",
            "Replace the machine (machine_replace), or see "
            "https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/troubleshooting-kubeadm/#kubelet-client-cert",
        )
    key = run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"], code="KEY_NOT_MADE")
    request = run(["openssl", "req", "-new", "-key", "/dev/stdin", "-subj", _subject(current)], stdin=key, code="KEY_NOT_MADE")
    certificate = ask(kubelet_client(), request, KUBELET_SIGNER, approve=False, timeout=timeout)
    _put(current, "kubelet-client", certificate, key)


def replace_kubelet_server(timeout: float) -> None:
    """Have the cluster sign a new serving certificate for this node's kubelet with the names and addresses of the present one.

    Who approves such requests looks at them: https://kubernetes.io/docs/reference/access-authn-authz/kubelet-tls-bootstrapping/

    :raises FlotillaError: what `client_certificate.ask` raises.
    """
    current = Path(KUBELET_SERVER)
    text = run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", str(current)], code="CERTIFICATE_UNREADABLE")
    names = ",".join(re.sub(r"^IP Address:", "IP:", one.strip()) for one in text.splitlines()[-1].split(","))
    key = run(["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout"], code="KEY_NOT_MADE")
    command = ["openssl", "req", "-new", "-key", "/dev/stdin", "-subj", _subject(current), "-addext", f"subjectAltName={names}"]
    request = run(command, stdin=key, code="KEY_NOT_MADE")
    _put(current, "kubelet-server", ask(kubelet_client(), request, SERVING_SIGNER, approve=False, timeout=timeout), key)


def _put(current: Path, name: str, certificate: str, key: str) -> None:
    """Let ``current`` lead to a new certificate and its key, as a kubelet itself does it."""
    stored = current.with_name(f"{name}-{time.strftime('%Y-%m-%d-%H-%M-%S', time.gmtime())}.pem")
    write_atomically(stored, f"{certificate.strip()}\n{key}".encode(), 0o600)
    link = current.with_name(f".flotilla-{secrets.token_hex(4)}")
    link.symlink_to(stored)
    link.replace(current)


def _subject(pem: Path) -> str:
    """Return the subject of a certificate as openssl takes it: that of a kubelet is ``/O=system:nodes/CN=system:node:<name>``."""
    text = run(["openssl", "x509", "-noout", "-subject", "-nameopt", "multiline", "-in", str(pem)], code="CERTIFICATE_UNREADABLE")
    name = re.search(r"^\s*commonName\s*=\s*(system:node:\S+)\s*$", text, re.MULTILINE)
    if not name:
        raise FlotillaError("KUBELET_CREDENTIAL", f"The certificate in {pem} is not that of a node.", f"Its subject is {text.strip()}.")
    return f"/O=system:nodes/CN={name.group(1)}"


def _changed(path: Path | str) -> float:
    try:
        return Path(path).stat().st_mtime
    except OSError:
        return 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
