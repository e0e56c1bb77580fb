# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""All certificate authorities of a cluster of three and one are replaced while it serves: `make e2e-rotate-ca`.

The run is killed once in each phase, and goes on. The tests follow each other.
"""

from __future__ import annotations

import base64
import datetime
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import killing
import outside
import prober
import pytest
from cryptography import x509

NAME = "test-rotate-ca"
CIDR = "172.30.247.0/24"
WORK = outside.ROOT / "build/e2e/rotate-ca"
KUBERNETES = "/etc/kubernetes"
FILES = {"kubernetes": "ca", "etcd": "etcd/ca", "front-proxy": "front-proxy-ca"}
STEP = "Do the step and restart what it concerns"
RATE = 5  # requests a second
KILLED_WITHIN = 900  # seconds

pytestmark = [pytest.mark.long, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def certificates(pem: str) -> list[x509.Certificate]:
    return x509.load_pem_x509_certificates(pem.encode())


@dataclass
class World:
    foundation: Path
    control_planes: list[str]
    workers: list[str]
    # A client certificate, its key and the authority of the time before, in files of the first control plane.
    before: str = "/root/before"

    @property
    def machines(self) -> list[str]:
        return [*self.control_planes, *self.workers]

    def play(self, playbook: str, *options: str) -> outside.Run:
        return outside.playbook(playbook, self.foundation, *options)

    def kubectl(self, *arguments: str, check: bool = True) -> str:
        return outside.shell(self.control_planes[0], f"kubectl --kubeconfig={KUBERNETES}/admin.conf {' '.join(arguments)}", check=check)

    def authorities(self, machine: str) -> dict[str, list[int]]:
        """Return the serial numbers of the authorities that a machine trusts."""
        names = FILES if machine in self.control_planes else ["kubernetes"]
        return {
            name: [one.serial_number for one in certificates(outside.shell(machine, f"cat {KUBERNETES}/pki/{FILES[name]}.crt"))]
            for name in names
        }

    def state(self) -> list[str]:
        """Return what a run could have changed: files, and processes of static pods."""
        return [f"{outside.digests(one, [KUBERNETES, '/var/lib/kubelet/pki'])}{outside.static_pods(one)}" for one in self.machines]

    def ask(self, certificate: str, authority: str) -> str:
        """Return how it goes when a client asks the API server of the first control plane: ``ok``, ``refused`` or ``not believed``."""
        address = outside.address(self.control_planes[0])
        flags = f"--kubeconfig=/dev/null --server=https://{address}:6443 --certificate-authority={authority}"
        flags += f" --client-certificate={certificate}.crt --client-key={certificate}.key"
        said = outside.shell(self.control_planes[0], f"kubectl {flags} get --raw=/api/v1/namespaces/kube-system 2>&1", check=False)
        # Who is known may not look, which is another matter.
        results = {
            "is forbidden: User": "ok",
            '"kind":"Namespace"': "ok",
            "Unauthorized": "refused",
            "must be logged in": "refused",
            "x509": "not believed",
        }
        return next((result for text, result in results.items() if text in said), said)

    def killed(self, marker: str, after: str, *options: str) -> str:
        """Kill a run some seconds after it shows ``after``, once it has shown ``marker``; return what it printed."""
        log = WORK / "killed.log"
        with log.open("w", encoding="utf-8") as output:
            process = outside.start("cluster_rotate_ca", self.foundation, *options, output=output)
        until = time.monotonic() + KILLED_WITHIN
        while after not in log.read_text(encoding="utf-8").partition(marker)[2]:
            assert process.poll() is None, f"it ended before it was killed: {log.read_text(encoding='utf-8')[-6000:]}"
            assert time.monotonic() < until, log.read_text(encoding="utf-8")[-6000:]
            time.sleep(0.2)
        time.sleep(4)
        killing.kill_run(process.pid, everything=True)
        process.wait()
        return log.read_text(encoding="utf-8")

    def errors_of_pods(self) -> list[str]:
        """Return what pods that run since before the rotation say about certificates."""
        selector = "-n kube-system logs --selector=k8s-app={} --tail=-1 --since=1h"
        logs = "".join(self.kubectl(selector.format(app), check=False) for app in ("kube-proxy", "kube-dns"))
        return [line for line in logs.splitlines() if "x509" in line]


@pytest.fixture(scope="module")
def world() -> Iterator[World]:
    outside.write_definition(WORK, NAME, control_plane={"count": 3}, local={"network_cidr": CIDR})
    # With FLOTILLA_KEEP the cluster of the run before is taken.
    if any(outside.left_of(NAME).values()) and not os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", WORK, "-e", f"flotilla_confirm={NAME}")
    made = outside.playbook("cluster_apply", WORK)
    assert made.status == 0, made.output[-6000:]
    yield World(WORK, outside.machines(NAME, "control-plane"), outside.machines(NAME, "workers"))
    if not os.environ.get("FLOTILLA_KEEP"):
        outside.playbook("cluster_delete", WORK, "-e", f"flotilla_confirm={NAME}")


@contextmanager
def requests(folder: Path) -> Iterator[None]:
    """Ask the API through the load balancer all the while; no request may fail."""
    kubeconfig, log = Path.home() / f".kube/flotilla/{NAME}.conf", folder / "requests.log"
    with prober.asking(kubeconfig, log, RATE):
        yield
    results = prober.results(log)
    failed = [result for result in results if result != "ok"]
    print(f"{len(results)} requests, {len(failed)} failed: {failed[:5]}")
    assert len(results) > RATE and failed == []


def test_nothing_is_due_on_a_new_cluster(world: World) -> None:
    run = world.play("cluster_rotate_ca")
    assert (run.status, run.changed) == (0, 0), run.output[-6000:]
    assert "nothing is to be done" in run.output


def older_than(world: World) -> str:
    """Return a condition that the authorities of the cluster meet, and no new one."""
    (authority,) = certificates(outside.shell(world.control_planes[0], f"cat {KUBERNETES}/pki/ca.crt"))
    age = datetime.datetime.now(datetime.timezone.utc) - authority.not_valid_before_utc
    return f"flotilla_older_than={int(age.total_seconds()) - 60}s"


def test_check_mode_shows_the_plan_and_touches_nothing(world: World) -> None:
    before = world.state()
    run = world.play("cluster_rotate_ca", "--check", "-e", older_than(world))
    assert run.status == 0 and run.changed > 0, run.output[-6000:]
    assert "make: make the new authority" in run.output and "kubernetes: is 0 days old" in run.output
    assert world.state() == before


def test_everything_is_signed_by_the_new_ones_while_who_trusts_the_old_ones_is_served(world: World, tmp_path: Path) -> None:
    first = world.control_planes[0]
    outside.shell(first, f"for end in crt key; do cp {KUBERNETES}/pki/apiserver-kubelet-client.$end {world.before}.$end; done")
    outside.shell(first, f"cp {KUBERNETES}/pki/ca.crt {world.before}-ca.crt")
    old = world.authorities(first)
    with requests(tmp_path):
        world.killed("Trust both on the control planes", STEP, "-e", older_than(world))
        world.killed("Have the certificates of the control planes signed by the new authorities", STEP)
        run = world.play("cluster_rotate_ca")
    # Nobody consented to a restart of pods.
    assert run.status != 0 and "CA_ROTATION_WORKLOADS" in run.output, run.output[-8000:]
    assert "kube-system/DaemonSet/kube-proxy" in run.output and "flotilla_restart_workloads" in run.output
    for machine in world.machines:
        for name, serials in world.authorities(machine).items():
            assert len(serials) == 2 and serials[1] == old[name][0], f"{machine} trusts {serials} for {name}"
    (new,) = {world.authorities(machine)["kubernetes"][0] for machine in world.machines}
    assert new != old["kubernetes"][0]
    # Who trusts the old authority only, and was signed by it, is served by the new one; so are pods that read only the old one.
    assert world.ask(world.before, "/root/before-ca.crt") == "ok"
    assert world.errors_of_pods() == []
    status = world.play("cluster_status")
    assert status.status == 0 and "cluster_rotate_ca does the rest" in status.output, status.output[-4000:]


def test_a_machine_joins_in_the_middle(world: World) -> None:
    outside.write_definition(WORK, NAME, control_plane={"count": 3}, pools=[{"name": "workers", "count": 2}], local={"network_cidr": CIDR})
    run = world.play("cluster_apply")
    assert run.status == 0, run.output[-8000:]
    world.workers = outside.machines(NAME, "workers")
    assert len(world.workers) == 2
    assert all(len(world.authorities(machine)["kubernetes"]) == 2 for machine in world.workers)
    again = world.play("cluster_apply")
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]


def test_the_old_ones_are_dropped_and_verify_nothing_any_more(world: World, tmp_path: Path) -> None:
    first = world.control_planes[0]
    old = {name: serials[1] for name, serials in world.authorities(first).items()}
    assert world.ask(world.before, "/root/before-ca.crt") == "ok"
    consent = ("-e", "flotilla_restart_workloads=true")
    # The kubeconfig was renewed when the last run stopped: it knows both, and is signed by the new one.
    with requests(tmp_path):
        world.killed("Restart what may be restarted", "kube-system/", *consent)
        world.killed("Drop the old authorities on the control planes", STEP, *consent)
        run = world.play("cluster_rotate_ca", *consent)
    assert run.status == 0, run.output[-8000:]
    for machine in world.machines:
        for name, serials in world.authorities(machine).items():
            assert len(serials) == 1 and serials[0] != old[name], f"{machine} trusts {serials} for {name}"
    (new,) = {tuple(world.authorities(machine)["kubernetes"]) for machine in world.machines}
    # The same client and the same authority that were good a moment ago.
    assert world.ask(world.before, f"{KUBERNETES}/pki/ca.crt") == "refused"
    assert world.ask(world.before, "/root/before-ca.crt") == "not believed"
    assert world.ask(f"{KUBERNETES}/pki/apiserver-kubelet-client", f"{KUBERNETES}/pki/ca.crt") == "ok"
    for namespace, name, entry in (
        ("kube-public", "cluster-info", "kubeconfig"),
        ("default", "kube-root-ca.crt", "ca.crt"),
        ("kube-system", "extension-apiserver-authentication", "client-ca-file"),
        ("kube-system", "extension-apiserver-authentication", "requestheader-client-ca-file"),
    ):
        text = json.loads(world.kubectl(f"-n {namespace} get configmap {name} --output=json"))["data"][entry]
        embedded = re.search(r"certificate-authority-data: (\S+)", text)
        serials = [one.serial_number for one in certificates(base64.b64decode(embedded.group(1)).decode() if embedded else text)]
        assert len(serials) == 1 and not set(serials) & set(old.values()), f"{name} names {serials}"
        assert "requestheader" in entry or serials == list(new)
    assert all("rotation" not in outside.shell(machine, f"ls {KUBERNETES}/pki") for machine in world.control_planes)
    assert "cluster-signing-cert-file" not in world.kubectl("-n kube-system get configmap kubeadm-config --output=yaml")


def test_the_cluster_works_with_the_new_ones_alone(world: World) -> None:
    # Their readiness says that they reached the API, with what they read when they started.
    world.kubectl("-n kube-system delete pod --selector=k8s-app=kube-dns --wait")
    world.kubectl("-n kube-system rollout status deployment/coredns --timeout=120s")
    # Through the API server to a kubelet, each with its new certificate.
    assert world.kubectl("-n kube-system logs --selector=k8s-app=kube-proxy --tail=1")
    assert world.errors_of_pods() == [] or "bad certificate" not in "".join(world.errors_of_pods())
    again = world.play("cluster_rotate_ca")
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]
    again = world.play("cluster_apply")
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]
    status = world.play("cluster_status")
    assert status.status == 0 and "cluster_rotate_ca" not in status.output
