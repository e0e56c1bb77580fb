# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which certificates are due, which run unused, and what a killed renewal leaves; kubeadm is a function here, certificates are real."""

from __future__ import annotations

import base64
import datetime
import os
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.filter.certificate_table import certificate_table
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import certificate_renewal as renewal
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import certificates
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.certificates import DAY, Certificate, Condition
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

NOW = 1_800_000_000.0
STARTED = time.time() - 3600


def certificate(age: float, left: float, name: str = "apiserver") -> Certificate:
    """Return one that was made ``age`` days ago and has ``left`` days."""
    return Certificate(Path(f"/{name}"), certificates.CONTROL_PLANE, name, "1", NOW - age * DAY, NOW + left * DAY)


@pytest.mark.parametrize(
    ("condition", "age", "left", "reason"),
    [
        (Condition(90 * DAY), 1, 91, ""),
        (Condition(90 * DAY), 1, 89, "ends in 89 days"),
        (Condition(90 * DAY), 400, -35, "ended 35 days ago"),
        (Condition(0), 400, -35, "ended 35 days ago"),
        (Condition(0), 364, 1, ""),
        (Condition(90 * DAY, 30 * DAY), 31, 334, "is 31 days old"),
        (Condition(90 * DAY, 30 * DAY), 29, 336, ""),
        (Condition(90 * DAY, 0), 1, 364, "is 1 days old"),
    ],
)
def test_when_a_certificate_is_due(condition, age, left, reason) -> None:
    assert condition.reason(certificate(age, left), NOW) == reason


@pytest.mark.parametrize(
    ("rotates", "age", "left", "due"),
    [(True, 320, 45, False), (True, 335, 30, True), (False, 320, 45, True), (False, 200, 165, False), (True, 20, 10, False)],
)
def test_a_kubelet_that_renews_by_itself_is_left_alone_until_it_is_late(rotates, age, left, due) -> None:
    assert bool(certificates.kubelet_reason(certificate(age, left), Condition(90 * DAY), NOW, rotates)) is due


def test_new_certificates_are_never_due_at_once() -> None:
    assert renewal.condition(None, None, 365 * DAY) == Condition(90 * DAY)
    assert renewal.condition(None, "30d", 30 * DAY) == Condition(10 * DAY, 30 * DAY)
    assert renewal.condition("720h", None, 365 * DAY) == Condition(30 * DAY)
    with pytest.raises(FlotillaError) as caught:
        renewal.condition("30d", None, 30 * DAY)
    assert caught.value.code == "CERTIFICATES_ALWAYS_DUE"
    for wrong in ("30", "30d12h", "1w", "-1d", "d"):
        with pytest.raises(FlotillaError) as caught:
            renewal.condition(wrong, None, 365 * DAY)
        assert caught.value.code == "DURATION_INVALID"


class Machine:
    """The files of a control plane with real certificates, and processes that are numbers."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.serials = 1000
        self.started: dict[str, float] = {}
        self.restarted: list[str] = []
        self.kubelets = 0

    def pem(self, left: float, age: float = 300) -> bytes:
        now = datetime.datetime.now(datetime.timezone.utc)
        self.serials += 1
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "x")])
        made = x509.CertificateBuilder(subject, subject, self.key.public_key(), self.serials)
        made = made.not_valid_before(now - datetime.timedelta(days=age)).not_valid_after(now + datetime.timedelta(days=left))
        return made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def path(self, name: str) -> Path:
        return self.root / "etc/kubernetes" / certificates.LEAVES[name][0]

    def write(self, name: str, left: float, changed: float | None = None, age: float = 300) -> None:
        path, pem = self.path(name), self.pem(left, age)
        path.parent.mkdir(parents=True, exist_ok=True)
        embedded = f"    client-certificate-data: {base64.b64encode(pem).decode()}\n".encode()
        path.write_bytes(embedded if name.endswith(".conf") else pem)
        os.utime(path, (changed or STARTED - 60,) * 2)

    def processes(self, component: str) -> Iterator[tuple[int, set[str], float]]:
        if component in self.started:
            yield 42, set(), self.started[component]

    def kubeadm(self, names: list[str], _address: str, _user: str) -> None:
        for name in names:
            self.write(name, 365, time.time(), age=0)

    def restart(self, component: str, since: float, _address: str, _timeout: float) -> None:
        assert self.started[component] <= since
        self.started[component] = time.time()
        self.restarted.append(component)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    for key in ("ca.key", "etcd/ca.key", "front-proxy-ca.key"):
        path = tmp_path / "etc/kubernetes/pki" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    manifests = tmp_path / "etc/kubernetes/manifests"
    manifests.mkdir()
    for component in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler"):
        made.started[component] = STARTED
        (manifests / f"{component}.yaml").touch()
    for name in certificates.LEAVES:
        made.write(name, 200)
    find, missing = certificates.find, certificates.missing_keys
    monkeypatch.setattr(certificates, "find", lambda: find(tmp_path))
    monkeypatch.setattr(certificates, "missing_keys", lambda names: missing(names, tmp_path))
    monkeypatch.setattr(certificates, "served", lambda _host, _port: "")
    monkeypatch.setattr(renewal, "MANIFESTS", manifests)
    monkeypatch.setattr(renewal, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(renewal, "processes", made.processes)
    monkeypatch.setattr(renewal, "sign_anew", made.kubeadm)
    monkeypatch.setattr(renewal, "_wait_until_shown", lambda *_arguments: None)
    monkeypatch.setattr(renewal, "restart_component", made.restart)
    monkeypatch.setattr(renewal, "restart_kubelet", lambda: setattr(made, "kubelets", made.kubelets + 1))
    return made


WANTED = Condition(90 * DAY)


def renew(once: renewal.Look) -> None:
    renewal.renew(once, "10.0.0.11", "flotilla", 5)


def test_only_what_is_due_is_renewed_and_only_what_uses_it_restarts(machine: Machine) -> None:
    assert renewal.look(WANTED, "10.0.0.11").due == [] and renewal.restarts_after(renewal.look(WANTED, "10.0.0.11")) == []
    for name in ("apiserver-etcd-client", "scheduler.conf", "super-admin.conf"):
        machine.write(name, 20)
    seen = renewal.look(WANTED, "10.0.0.11")
    assert sorted(one.name for one in seen.due) == ["apiserver-etcd-client", "scheduler.conf", "super-admin.conf"]
    assert renewal.restarts_after(seen) == ["kube-apiserver", "kube-scheduler"]
    diff = renewal.shown(seen, None)
    assert "scheduler.conf: renewed\n" in diff["after"] and "ends in 20 days" in diff["before"]
    renew(seen)
    assert machine.restarted == ["kube-apiserver", "kube-scheduler"] and machine.kubelets == 1
    again = renewal.look(WANTED, "10.0.0.11")
    assert again.due == [] and again.restarts == {}


def test_a_renewal_that_was_killed_before_the_restart_is_finished(machine: Machine) -> None:
    """The file alone would say that all is well."""
    machine.kubeadm(["etcd-peer", "controller-manager.conf"], "", "")
    seen = renewal.look(WANTED, "10.0.0.11")
    assert seen.due == []
    assert seen.restarts == {
        "etcd": "runs since before etcd-peer was renewed",
        "kube-controller-manager": "runs since before controller-manager.conf was renewed",
    }
    renew(seen)
    assert machine.restarted == ["etcd", "kube-controller-manager"] and machine.kubelets == 0
    assert renewal.look(WANTED, "10.0.0.11").restarts == {}


def test_a_port_that_shows_another_certificate_is_told(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = {6443: "", 2379: "", 2380: ""}
    monkeypatch.setattr(certificates, "served", lambda _host, port: shown[port])
    assert renewal.look(WANTED, "10.0.0.11").restarts == {}
    shown[2380] = "ABCD"
    assert renewal.look(WANTED, "10.0.0.11").restarts == {"etcd": "shows another certificate than etcd-peer"}
    shown[2380] = certificates.parse(machine.path("etcd-peer").read_bytes())[0]
    assert renewal.look(WANTED, "10.0.0.11").restarts == {}


def test_an_external_authority_is_one_error_and_nothing_is_renewed(machine: Machine) -> None:
    machine.write("front-proxy-client", 20)
    machine.write("apiserver", 20)
    seen = renewal.look(WANTED, "10.0.0.11")
    renewal.refuse_without_keys(seen.due)
    (machine.root / "etc/kubernetes/pki/front-proxy-ca.key").unlink()
    with pytest.raises(FlotillaError) as caught:
        renewal.refuse_without_keys(seen.due)
    assert caught.value.code == "EXTERNAL_CA" and "front-proxy-ca.key for front-proxy-client" in str(caught.value)
    assert "apiserver" not in caught.value.message
    # What is not due needs nobody who signs.
    machine.write("front-proxy-client", 200)
    renewal.refuse_without_keys(renewal.look(WANTED, "10.0.0.11").due)


def test_another_step_of_kubeadm_is_not_disturbed(machine: Machine) -> None:
    machine.write("admin.conf", 20)
    held = renewal.try_lock(machine.root / "state/kubeadm.lock")
    with pytest.raises(FlotillaError) as caught:
        renew(renewal.look(WANTED, "10.0.0.11"))
    assert caught.value.code == "KUBEADM_BUSY" and machine.restarted == []
    os.close(held)
    renew(renewal.look(WANTED, "10.0.0.11"))
    assert renewal.look(WANTED, "10.0.0.11").due == []


def test_the_serial_number_is_that_of_the_port(tmp_path: Path) -> None:
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
    subprocess.run(
        [*command, "-set_serial", "0x0ABC", "-keyout", tmp_path / "key", "-out", tmp_path / "crt"], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def serve() -> None:
            with context.wrap_socket(plain, server_side=True) as server:
                server.accept()[0].close()

        port = plain.getsockname()[1]
        thread = threading.Thread(target=serve)
        thread.start()
        assert certificates.served("127.0.0.1", port) == certificates.parse((tmp_path / "crt").read_bytes())[0] == "0ABC"
        thread.join()
    assert certificates.served("127.0.0.1", port, timeout=1) == ""


def test_the_table_shows_what_ends_first_and_what_restarts(machine: Machine) -> None:
    machine.write("scheduler.conf", 20)
    machine.kubeadm(["etcd-peer"], "", "")
    seen = renewal.look(WANTED, "10.0.0.11")
    lines = certificate_table({"cp-1": {"certificates": seen.as_dicts(), "restarts": seen.restarts}})
    assert lines[1].split()[:2] == ["cp-1", "scheduler.conf"] and "yes: ends in 20 days" in lines[1]
    assert len(lines) == 1 + len(certificates.LEAVES) + 1 and lines[-1] == "cp-1: etcd runs since before etcd-peer was renewed"


def test_a_kubelet_gets_a_certificate_for_a_key_that_stays_on_its_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki = tmp_path / "pki"
    pki.mkdir()
    key, first = tmp_path / "key", pki / "kubelet-client-first.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "20"]
    subprocess.run([*command, "-subj", "/O=system:nodes/CN=system:node:n1", "-keyout", key, "-out", first], check=True, capture_output=True)
    current, kubeconfig = pki / "kubelet-client-current.pem", tmp_path / "kubelet.conf"
    current.symlink_to(first)
    kubeconfig.write_text("client-certificate: elsewhere\n")
    asked, restarts = [], []

    def sign(_client: object, request: str, signer: str, approve: bool, timeout: float) -> str:
        asked.append((x509.load_pem_x509_csr(request.encode()), signer, approve))
        return "-----BEGIN CERTIFICATE-----\nnew\n-----END CERTIFICATE-----\n"

    def found() -> list[Certificate]:
        serial, begins, ends = certificates.parse(first.read_bytes())
        return [Certificate(current, certificates.KUBELET, "", serial, begins, ends)]

    monkeypatch.setattr(renewal, "KUBELET_CLIENT", str(current))
    monkeypatch.setattr(renewal, "KUBELET_KUBECONFIG", kubeconfig)
    monkeypatch.setattr(certificates, "find", found)
    monkeypatch.setattr(renewal, "kubelet_client", lambda: None)
    monkeypatch.setattr(renewal, "ask", sign)
    monkeypatch.setattr(renewal, "restart_kubelet", lambda: restarts.append(1))
    monkeypatch.setattr(renewal, "wait_for_kubelet", lambda _timeout: None)
    due = renewal.Look(found(), {current: "ends in 20 days"})
    assert due.kubelet_due
    with pytest.raises(FlotillaError) as caught:
        renewal.renew_kubelet(due, 5)
    assert caught.value.code == "KUBELET_CREDENTIAL" and current.resolve() == first and restarts == []
    kubeconfig.write_text(f"client-certificate: {current}\n")
    renewal.renew_kubelet(due, 5)
    ((request, signer, approve),) = asked
    names = [(attribute.oid, attribute.value) for attribute in request.subject]
    assert names == [(x509.NameOID.ORGANIZATION_NAME, "system:nodes"), (x509.NameOID.COMMON_NAME, "system:node:n1")]
    assert (signer, approve, restarts) == ("kubernetes.io/kube-apiserver-client-kubelet", False, [1])
    stored = current.resolve()
    assert stored != first and stored.stat().st_mode & 0o777 == 0o600
    made = serialization.load_pem_private_key(stored.read_bytes().partition(b"-----END CERTIFICATE-----\n")[2], None)
    assert made.public_key() == request.public_key()
    # One that only has to use what is there asks for nothing.
    renewal.renew_kubelet(renewal.Look(found(), {}, {"kubelet": "runs since before its certificate was renewed"}), 5)
    assert len(asked) == 1 and len(restarts) == 2
