# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificates of a cluster of three and one grow old and are renewed while it serves: `make e2e-rotate`.

They grow old by being signed again by the cluster's own authorities, with the same keys, names and uses and with other dates.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import outside
import prober
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

NAME = "test-rotate"
CIDR = "172.30.238.0/24"
WORK = outside.ROOT / "build/e2e/rotate"
KUBERNETES = "/etc/kubernetes"
# File below /etc/kubernetes -> its authority, the static pod that holds it, and the ports that show it.
FILES = {
    "pki/apiserver.crt": ("ca", "kube-apiserver", (6443,)),
    "pki/apiserver-kubelet-client.crt": ("ca", "kube-apiserver", ()),
    "pki/apiserver-etcd-client.crt": ("etcd/ca", "kube-apiserver", ()),
    "pki/front-proxy-client.crt": ("front-proxy-ca", "kube-apiserver", ()),
    "pki/etcd/server.crt": ("etcd/ca", "etcd", (2379,)),
    "pki/etcd/peer.crt": ("etcd/ca", "etcd", (2380,)),
    "pki/etcd/healthcheck-client.crt": ("etcd/ca", "", ()),
    "admin.conf": ("ca", "", ()),
    "controller-manager.conf": ("ca", "kube-controller-manager", ()),
    "scheduler.conf": ("ca", "kube-scheduler", ()),
}
COMPONENTS = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
RATE = 10  # requests a second
QUOTA = 192  # MiB that etcd may take
AGE, LEFT = 340, 25  # days

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@dataclass(frozen=True)
class World:
    foundation: Path
    control_planes: list[str]
    worker: str

    def play(self, playbook: str, *options: str) -> outside.Run:
        return outside.playbook(playbook, self.foundation, *options)

    def certificate(self, machine: str, file: str) -> x509.Certificate:
        text = outside.shell(machine, f"cat {KUBERNETES}/{file}")
        found = re.search(r"client-certificate-data: (\S+)", text)
        return x509.load_pem_x509_certificate(base64.b64decode(found.group(1)) if found else text.encode())

    def serials(self, machine: str) -> dict[str, int]:
        return {file: self.certificate(machine, file).serial_number for file in FILES}

    def shown(self, machine: str, port: int) -> int:
        """Return the serial number of the certificate that a port shows to us."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        address = outside.address(machine)
        with socket.create_connection((address, port), timeout=10) as plain, context.wrap_socket(plain) as connection:
            return x509.load_der_x509_certificate(connection.getpeercert(binary_form=True)).serial_number

    def age(self, machine: str, file: str) -> None:
        """Let a certificate be as old as one that was made long ago."""
        present, authority = self.certificate(machine, file), FILES[file][0]
        key = serialization.load_pem_private_key(outside.shell(machine, f"cat {KUBERNETES}/pki/{authority}.key").encode(), None)
        signer = x509.load_pem_x509_certificate(outside.shell(machine, f"cat {KUBERNETES}/pki/{authority}.crt").encode())
        now = datetime.datetime.now(datetime.timezone.utc)
        made = x509.CertificateBuilder(signer.subject, present.subject, present.public_key(), x509.random_serial_number())
        made = made.not_valid_before(now - datetime.timedelta(days=AGE)).not_valid_after(now + datetime.timedelta(days=LEFT))
        for extension in present.extensions:
            made = made.add_extension(extension.value, extension.critical)
        pem = made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        if file.endswith(".conf"):
            text = outside.shell(machine, f"cat {KUBERNETES}/{file}")
            pem = re.sub(r"(client-certificate-data: )\S+", rf"\g<1>{base64.b64encode(pem).decode()}", text).encode()
        encoded = base64.b64encode(pem).decode()
        outside.shell(machine, f"echo {encoded} | base64 -d > {KUBERNETES}/{file}")

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        return outside.shell(self.control_planes[0], f"kubectl --kubeconfig={KUBERNETES}/admin.conf {' '.join(arguments)}", check=check)

    def etcdctl(self, command: str, check: bool = True) -> str:
        pki = f"{KUBERNETES}/pki/etcd"
        flags = f"--cacert={pki}/ca.crt --cert={pki}/healthcheck-client.crt --key={pki}/healthcheck-client.key"
        return outside.shell(self.control_planes[0], f'etcdctl() {{ command etcdctl {flags} "$@"; }}; {command}', check=check)

    def fill(self, mib: int) -> None:
        """Write to three keys in turn, until etcd refuses or has written so much."""
        one = "head -c 786432 /dev/urandom | base64 --wrap=0 | etcdctl put fill/$((i % 3)) >/dev/null"
        self.etcdctl(f"for i in $(seq {mib}); do\n{one} || exit 0\ndone")

    def sizes(self) -> list[int]:
        """Return what each member takes, in MiB."""
        listed = json.loads(self.etcdctl("etcdctl endpoint status --cluster --write-out=json"))
        return [one["Status"]["dbSize"] // 1024 // 1024 for one in listed]

    def settle(self) -> None:
        """Wait until the cluster is healthy for a while: without its API server a scheduler loses its lease and starts anew, too."""
        until, healthy = time.monotonic() + 300, 0
        while healthy < 3:
            run = self.play("cluster_status")
            healthy = 0 if run.status else healthy + 1
            assert healthy or time.monotonic() < until, run.output[-4000:]

    def restart(self, machine: str, *components: str) -> None:
        before = outside.static_pods(machine)
        outside.shell(machine, "kill " + " ".join(before[one].split()[0] for one in components))
        until = time.monotonic() + 180
        while any(outside.static_pods(machine).get(one, before[one]) == before[one] for one in components):
            assert time.monotonic() < until, f"{components} did not come back on {machine}"
            time.sleep(1)


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    outside.write_definition(WORK, NAME, control_plane={"count": 3}, local={"network_cidr": CIDR})
    # With FLOTILLA_KEEP the cluster of the run before is taken.
    if any(outside.left_of(NAME).values()) and not os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", WORK, "-e", f"flotilla_confirm={NAME}")
    flags = {"kubernetes_control_plane_extra_args": {"etcd": {"quota-backend-bytes": str(QUOTA * 1024 * 1024)}}}
    made = outside.playbook("cluster_apply", WORK, "-e", json.dumps(flags))
    assert made.status == 0, made.output[-6000:]
    yield World(WORK, outside.machines(NAME, "control-plane"), outside.machines(NAME, "workers")[0])
    if not os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", WORK, "-e", f"flotilla_confirm={NAME}")


@contextmanager
def requests(folder: Path) -> Iterator[list[str]]:
    """Ask the API through the load balancer all the while; the list has the errors afterwards."""
    kubeconfig, log = Path.home() / f".kube/flotilla/{NAME}.conf", folder / "requests.log"
    failed: list[str] = []
    with prober.asking(kubeconfig, log, RATE):
        yield failed
    results = prober.results(log)
    assert len(results) > RATE, "hardly anything was asked"
    failed += [result for result in results if result != "ok"]
    print(f"{len(results)} requests, {len(failed)} failed: {failed[:5]}")


def test_nothing_is_due_on_a_new_cluster(world: World) -> None:
    run = world.play("cluster_rotate_certificates")
    assert (run.status, run.changed) == (0, 0), run.output[-6000:]
    assert "DAYS LEFT" in run.output and "etcd-healthcheck-client" in run.output


def test_old_certificates_are_told_and_check_mode_touches_nothing(world: World) -> None:
    first, second, _third = world.control_planes
    for file in FILES:
        world.age(first, file)
    world.age(second, "scheduler.conf")
    world.restart(first, "kube-apiserver", "etcd")
    # The one control plane works with its old certificates, which is what makes the next tests say something.
    assert world.shown(first, 6443) == world.certificate(first, "pki/apiserver.crt").serial_number
    world.settle()
    before = {machine: (world.serials(machine), outside.static_pods(machine)) for machine in world.control_planes}
    run = world.play("cluster_rotate_certificates", "--check")
    assert run.status == 0 and run.changed > 0, run.output[-6000:]
    assert run.output.count(f"yes: ends in {LEFT} days") + run.output.count(f"yes: ends in {LEFT - 1} days") == len(FILES) + 1
    assert before == {machine: (world.serials(machine), outside.static_pods(machine)) for machine in world.control_planes}


def test_an_authority_that_is_elsewhere_is_one_error_before_anything_changes(world: World) -> None:
    first = world.control_planes[0]
    before = {machine: (world.serials(machine), outside.static_pods(machine)) for machine in world.control_planes}
    outside.shell(first, f"mv {KUBERNETES}/pki/ca.key /root/ca.key")
    try:
        run = world.play("cluster_rotate_certificates")
    finally:
        outside.shell(first, f"mv /root/ca.key {KUBERNETES}/pki/ca.key")
    assert run.status != 0 and run.changed == 0 and run.output.count("EXTERNAL_CA") >= 1, run.output[-6000:]
    assert before == {machine: (world.serials(machine), outside.static_pods(machine)) for machine in world.control_planes}


def test_what_is_due_is_renewed_and_shown_while_the_cluster_serves(world: World, tmp_path: Path) -> None:
    first, second, third = world.control_planes
    before = {machine: (world.serials(machine), outside.static_pods(machine)) for machine in world.control_planes}
    with requests(tmp_path) as failed:
        run = world.play("cluster_rotate_certificates")
    assert run.status == 0 and run.changed > 0, run.output[-8000:]
    assert failed == []
    serials, started = world.serials(first), outside.static_pods(first)
    for file, (_authority, _component, ports) in FILES.items():
        assert serials[file] != before[first][0][file], file
        assert all(world.shown(first, port) == serials[file] for port in ports)
    assert all(started[component] != before[first][1][component] for component in COMPONENTS)
    serials, started = world.serials(second), outside.static_pods(second)
    assert [file for file in FILES if serials[file] != before[second][0][file]] == ["scheduler.conf"]
    assert [component for component in COMPONENTS if started[component] != before[second][1][component]] == ["kube-scheduler"]
    assert (world.serials(third), outside.static_pods(third)) == before[third]
    again = world.play("cluster_rotate_certificates")
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]


def test_a_certificate_that_somebody_renewed_and_nobody_uses_is_put_to_use(world: World) -> None:
    machine = world.control_planes[1]
    before = outside.static_pods(machine)
    outside.shell(machine, "kubeadm certs renew controller-manager.conf")
    assert outside.static_pods(machine) == before
    run = world.play("cluster_rotate_certificates")
    assert run.status == 0 and run.changed > 0, run.output[-6000:]
    after = outside.static_pods(machine)
    assert [component for component in COMPONENTS if after[component] != before[component]] == ["kube-controller-manager"]
    again = world.play("cluster_rotate_certificates")
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]


def test_a_kubelet_that_does_not_renew_its_certificate_gets_a_new_one(world: World) -> None:
    def serial() -> str:
        return outside.shell(world.worker, "openssl x509 -noout -serial -in /var/lib/kubelet/pki/kubelet-client-current.pem")

    before = serial()
    outside.shell(
        world.worker,
        "sed -i 's/^rotateCertificates: true/rotateCertificates: false/' /var/lib/kubelet/config.yaml && systemctl restart kubelet",
    )
    # Everything that was not made just now is due: all three control planes go, one after another.
    run = world.play("cluster_rotate_certificates", "-e", "flotilla_older_than=1m")
    assert run.status == 0, run.output[-6000:]
    assert serial() != before
    # The kubelet works with the new one.
    nodes = json.loads(world.kubectl("get", "nodes", "--output=json"))["items"]
    conditions = [condition for node in nodes for condition in node["status"]["conditions"] if condition["type"] == "Ready"]
    assert [condition["status"] for condition in conditions] == ["True"] * 4


def test_the_space_that_etcd_does_not_use_is_given_back_while_the_cluster_serves(world: World, tmp_path: Path) -> None:
    least = ("-e", "flotilla_min_free_mib=50")
    run = world.play("cluster_defragment_etcd", *least)
    assert (run.status, run.changed) == (0, 0), run.output[-6000:]
    world.fill(100)
    # API servers do it every five minutes.
    revision = json.loads(world.etcdctl("etcdctl endpoint status --write-out=json"))[0]["Status"]["header"]["revision"]
    world.etcdctl(f"etcdctl compact {revision}")
    time.sleep(5)
    before = world.sizes()
    run = world.play("cluster_defragment_etcd", *least, "--check")
    assert run.status == 0 and run.changed > 0, run.output[-6000:]
    assert min(before) >= 100 and world.sizes() >= before
    with requests(tmp_path) as failed:
        run = world.play("cluster_defragment_etcd", *least)
    assert run.status == 0 and run.changed > 0, run.output[-8000:]
    assert failed == [] and max(world.sizes()) < 50
    again = world.play("cluster_defragment_etcd", *least)
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]


def test_an_etcd_that_refuses_writes_for_want_of_space_takes_them_again(world: World) -> None:
    def write() -> bool:
        return "created" in world.kubectl("create", "configmap", f"space-{time.monotonic_ns()}", check=False)

    assert write()
    world.fill(2 * QUOTA)
    assert "NOSPACE" in world.etcdctl("etcdctl alarm list") and not write()
    run = world.play("cluster_defragment_etcd")
    assert run.status == 0 and run.changed > 0, run.output[-8000:]
    assert world.etcdctl("etcdctl alarm list") == "" and write()
    again = world.play("cluster_defragment_etcd")
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]
