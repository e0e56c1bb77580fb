# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which authorities a node has, and what a step of a rotation makes of its files. Certificates and openssl are real."""

from __future__ import annotations

import base64
import datetime
import re
import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import (
    authorities,
    authority_cluster,
    authority_rotation,
    certificate_renewal,
    certificates,
    kubeadm,
)
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.authorities import CROSS_FILE, PKI, ROTATION, SIGNING_FILE
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.certificates import AUTHORITY_FILES, LEAVES
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

RECORD = """apiServer:
  extraArgs:
  - name: profiling
    value: "false"
apiVersion: kubeadm.k8s.io/v1beta4
certificatesDir: /etc/kubernetes/pki
{manager}dns: {{}}
kind: ClusterConfiguration
"""
NO_ARGUMENTS = "controllerManager: {}\n"
ARGUMENTS = 'controllerManager:\n  extraArgs:\n  - name: profiling\n    value: "false"\n'
VOLUMES = "controllerManager:\n  extraVolumes:\n  - hostPath: /x\n    name: x\n"
MANIFEST = f"    - --cluster-name=demo\n    - --cluster-signing-cert-file={PKI}/ca.crt\n    - --root-ca-file={PKI}/ca.crt\n"


class Authority:
    """A certificate authority as kubeadm makes it: the same subject for each."""

    def __init__(self, age: float = 0) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.age = age
        self.pem = self._made(self.key.public_key(), self.name, True)

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kubernetes")])

    def _made(self, public: Any, subject: x509.Name, authority: bool) -> str:
        now = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=self.age)
        made = x509.CertificateBuilder(self.name, subject, public, x509.random_serial_number())
        made = made.not_valid_before(now).not_valid_after(now + datetime.timedelta(days=3650))
        made = made.add_extension(x509.BasicConstraints(authority, None), True)
        own = x509.SubjectKeyIdentifier.from_public_key(self.key.public_key())
        usage = x509.KeyUsage(True, False, True, False, False, authority, False, False, False)
        made = made.add_extension(usage, True)
        if authority:
            made = made.add_extension(own, False)
        else:
            made = made.add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own), False)
            made = made.add_extension(x509.SubjectAlternativeName([x509.DNSName("kubernetes")]), False)
        return made.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()

    def leaf(self) -> tuple[str, str]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kube-apiserver")])
        return self._made(key.public_key(), subject, False), _private(key)

    @property
    def private(self) -> str:
        return _private(self.key)

    @property
    def id(self) -> str:
        return authorities.describe(self.pem)["id"]


def _private(key: ec.EllipticCurvePrivateKey) -> str:
    form = serialization.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


class Node:
    """The files of a control plane; static pods and the kubelet are what was restarted."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.old = {name: Authority(age=3600) for name in AUTHORITY_FILES}
        self.new = {name: Authority() for name in AUTHORITY_FILES}
        self.restarted: list[str] = []
        for name, file in AUTHORITY_FILES.items():
            self.write(f"{PKI}/{file}.crt", self.old[name].pem)
            self.write(f"{PKI}/{file}.key", self.old[name].private)
        self.sign(LEAVES, self.old)
        self.write("/etc/kubernetes/kubelet.conf", self.kubeconfig(self.old["kubernetes"].pem, ""))
        self.write("/etc/kubernetes/manifests/kube-controller-manager.yaml", MANIFEST)

    def path(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    def write(self, path: str, content: str) -> None:
        self.path(path).parent.mkdir(parents=True, exist_ok=True)
        self.path(path).write_text(content)

    def read(self, path: str) -> str:
        return self.path(path).read_text()

    @staticmethod
    def kubeconfig(ca: str, certificate: str) -> str:
        encoded = [base64.b64encode(one.encode()).decode() for one in (ca, certificate)]
        return f"clusters:\n- cluster:\n    certificate-authority-data: {encoded[0]}\nusers:\n    client-certificate-data: {encoded[1]}\n"

    def sign(self, names: Any, by: dict[str, Authority]) -> None:
        """What kubeadm does: kubeconfigs get the first authority only."""
        files = {file: name for name, file in AUTHORITY_FILES.items()}
        for name in names:
            path, authority = LEAVES[name]
            pem, key = by[files[authority]].leaf()
            if path.endswith("apiserver.crt"):
                self.write(f"{PKI}/apiserver.key", key)
            self.write(f"/etc/kubernetes/{path}", self.kubeconfig(by["kubernetes"].pem, pem) if path.endswith(".conf") else pem)

    def sign_anew(self, names: list[str], _address: str, _user: str, folder: Path | None = None) -> None:
        if folder is None:
            self.sign(names, self.new)
            return
        assert authorities.key_id(folder / "ca.key") == self.new["kubernetes"].id == authorities.ids_of((folder / "ca.crt").read_text())[0]
        certificate, key = self.new["kubernetes"].leaf()
        (folder / "apiserver.crt").write_text(certificate)
        (folder / "apiserver.key").write_text(key)

    def successors(self) -> dict[str, str]:
        return {name: one.id for name, one in self.new.items()}

    def give(self) -> None:
        """What the module receives from the control plane that made the new authorities."""
        shared = {name: {"certificate": one.pem, "key": one.private, "cross": one.pem} for name, one in self.new.items()}
        assert authority_rotation.receive(shared) and not authority_rotation.receive(shared)

    def trust(self) -> None:
        pems = {one.id: one.pem for one in self.new.values()}
        authority_rotation.trust(self.successors(), pems, "10.0.0.11", 5)


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Node:
    made = Node(tmp_path)
    look = authorities.look
    monkeypatch.setattr(authorities, "look", lambda: look(tmp_path))
    for module in (authority_rotation, authority_cluster):
        monkeypatch.setattr(module, "CA_FILE", str(made.path(f"{PKI}/ca.crt")))
    for name, path in {"PKI": PKI, "ROTATION": ROTATION, "SIGNING_FILE": SIGNING_FILE, "CROSS_FILE": CROSS_FILE}.items():
        monkeypatch.setattr(authority_rotation, name, str(made.path(path)))
    monkeypatch.setattr(authority_rotation, "RUN_DIR", tmp_path)
    monkeypatch.setattr(authority_rotation, "MANAGER", made.path("/etc/kubernetes/manifests/kube-controller-manager.yaml"))
    monkeypatch.setattr(authority_rotation, "KUBERNETES_FOLDER", made.path("/etc/kubernetes"))
    monkeypatch.setattr(authority_rotation, "_restart_others", lambda *_arguments: made.restarted.append("kubelet"))
    monkeypatch.setattr(certificate_renewal, "restart_users", lambda *_arguments: made.restarted.append("static pods"))
    monkeypatch.setattr(certificate_renewal, "STATE_DIR", tmp_path / "state")
    monkeypatch.setattr(certificate_renewal, "sign_anew", made.sign_anew)
    return made


def flag(node: Node) -> str:
    manifest = node.read("/etc/kubernetes/manifests/kube-controller-manager.yaml")
    return re.search(r"--cluster-signing-cert-file=(\S+)", manifest).group(1).removeprefix(str(node.root))


def test_a_node_is_seen_as_it_is(node: Node) -> None:
    found = authorities.look()
    assert {name: one["trusted"] for name, one in found["authorities"].items()} == {name: [one.id] for name, one in node.old.items()}
    assert all(one["signs"] == node.old[name].id and one["next"] == "" for name, one in found["authorities"].items())
    owners = {file: node.old[name].id for name, file in AUTHORITY_FILES.items()}
    assert found["signed_by"] == {leaf: owners[file] for leaf, (_path, file) in LEAVES.items()}
    assert (found["separate"], found["chained"], found["rotating"]) == (False, [], False)
    assert set(found["kubeconfigs"]) == {"admin.conf", "super-admin.conf", "controller-manager.conf", "scheduler.conf", "kubelet.conf"}
    # A certificate of somebody else's is nobody's here.
    node.write(f"{PKI}/apiserver.crt", Authority().leaf()[0])
    assert authorities.look()["signed_by"]["apiserver"] == ""


def test_the_files_of_a_control_plane_go_through_a_whole_rotation(node: Node) -> None:
    old, new = node.old["kubernetes"], node.new["kubernetes"]
    node.give()
    assert node.path(f"{ROTATION}/ca.key").stat().st_mode & 0o777 == 0o600
    assert authorities.look()["authorities"]["etcd"]["next"] == node.new["etcd"].id
    assert node.read(SIGNING_FILE) == old.pem
    node.trust()
    found = authorities.look()
    assert all(one["trusted"] == [node.old[name].id, node.new[name].id] for name, one in found["authorities"].items())
    assert all(trusted == [old.id, new.id] for trusted in found["kubeconfigs"].values())
    assert flag(node) == SIGNING_FILE and len(authorities.blocks(node.read(SIGNING_FILE))) == 1
    before = {path: path.stat().st_mtime_ns for path in node.root.rglob("*") if path.is_file()}
    node.trust()
    assert before == {path: path.stat().st_mtime_ns for path in node.root.rglob("*") if path.is_file()}
    with pytest.raises(FlotillaError) as caught:
        authority_rotation.drop(node.successors(), "10.0.0.11", 5)
    assert caught.value.code == "CA_STILL_NEEDED" and "apiserver" in caught.value.message
    authority_rotation.reissue(node.successors(), "10.0.0.11", "flotilla", 5)
    found = authorities.look()
    assert all(one["signs"] == node.new[name].id == one["trusted"][0] for name, one in found["authorities"].items())
    assert set(found["signed_by"].values()) == set(node.successors().values())
    assert all(trusted == [new.id, old.id] for trusted in found["kubeconfigs"].values())
    assert node.read(SIGNING_FILE) == new.pem and node.read(f"{PKI}/ca.key") == new.private
    assert len(authorities.blocks(node.read(f"{PKI}/apiserver.crt"))) == 2
    ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(node.path(f"{PKI}/apiserver.crt"), node.path(f"{PKI}/apiserver.key"))
    # What a shared key is worth once it signs.
    assert authority_rotation.share(node.successors())["kubernetes"]["key"] == new.private
    authority_rotation.drop(node.successors(), "10.0.0.11", 5)
    found = authorities.look()
    assert all(one["trusted"] == [node.new[name].id] for name, one in found["authorities"].items())
    assert all(trusted == [new.id] for trusted in found["kubeconfigs"].values())
    assert found["chained"] == [] and not found["separate"] and flag(node) == f"{PKI}/ca.crt"
    authority_rotation.tidy()
    assert not authorities.look()["rotating"] and "BEGIN" in node.read(f"{PKI}/ca.key")
    assert node.restarted.count("static pods") == 4 and node.restarted.count("kubelet") == 4


def test_a_switch_that_was_killed_between_key_and_certificate_is_mended(node: Node) -> None:
    node.give()
    node.trust()
    node.write(f"{PKI}/ca.key", node.new["kubernetes"].private)
    assert authorities.look()["authorities"]["kubernetes"]["trusted"][0] == node.old["kubernetes"].id
    node.trust()
    assert authorities.look()["authorities"]["kubernetes"]["trusted"] == [node.new["kubernetes"].id, node.old["kubernetes"].id]


def test_a_control_plane_without_the_new_key_is_one_error(node: Node) -> None:
    with pytest.raises(FlotillaError) as caught:
        authority_rotation.reissue(node.successors(), "10.0.0.11", "flotilla", 5)
    assert caught.value.code == "CA_KEY_MISSING" and authorities.look()["authorities"]["kubernetes"]["signs"] == node.old["kubernetes"].id


@pytest.fixture
def crossed(node: Node) -> str:
    return authority_rotation._cross(node.new["kubernetes"].pem, node.new["kubernetes"].private)


def handshake(tmp_path: Path, chain: str, key: str, trusted: str) -> str:
    """Return why a client does not believe a server, or nothing; strict, as Python 3.13 is."""
    (tmp_path / "chain").write_text(chain + key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "chain")
    client = ssl.create_default_context(cadata=trusted)
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    with socket.create_server(("127.0.0.1", 0)) as plain:

        def serve() -> None:
            connection, _address = plain.accept()
            try:
                context.wrap_socket(connection, server_side=True).close()
            except OSError:
                connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            with socket.create_connection(plain.getsockname(), timeout=5) as connection:
                client.wrap_socket(connection, server_hostname="kubernetes").close()
        except ssl.SSLCertVerificationError as error:
            return str(error)
        finally:
            thread.join()
    return ""


def test_who_trusts_only_the_old_one_believes_a_server_of_the_new_one(node: Node, crossed: str, tmp_path: Path) -> None:
    old, new = node.old["kubernetes"], node.new["kubernetes"]
    leaf, key = new.leaf()
    assert handshake(tmp_path, leaf, key, old.pem) != ""
    assert handshake(tmp_path, leaf + crossed, key, old.pem) == ""
    assert handshake(tmp_path, leaf + crossed, key, new.pem) == ""
    assert handshake(tmp_path, leaf + crossed, key, old.pem + new.pem) == ""
    assert handshake(tmp_path, leaf + crossed, key, Authority().pem) != ""
    made, present = x509.load_pem_x509_certificate(crossed.encode()), x509.load_pem_x509_certificate(new.pem.encode())
    # Go makes chains by these bytes.
    assert made.subject.public_bytes() == present.subject.public_bytes() and made.public_key() == present.public_key()
    assert authorities.describe(crossed)["ends"] <= authorities.describe(old.pem)["ends"]


@pytest.mark.parametrize("manager", [NO_ARGUMENTS, ARGUMENTS, VOLUMES, VOLUMES.replace("extraV", "extraEnvs: []\n  extraV")])
def test_the_record_of_the_cluster_says_with_what_control_planes_that_join_sign(manager: str) -> None:
    plain = RECORD.format(manager=manager)
    assert not authorities.recorded(plain) and authorities.record(plain, False) == plain
    wanted = authorities.record(plain, True)
    assert authorities.recorded(wanted) and authorities.record(wanted, True) == wanted
    assert wanted.count("cluster-signing-cert-file") == 1
    assert wanted.index("controllerManager:") < wanted.index("cluster-signing-cert-file") < wanted.index("dns:")
    back = authorities.record(wanted, False)
    assert back == plain or manager in (VOLUMES, VOLUMES.replace("extraV", "extraEnvs: []\n  extraV")) and not authorities.recorded(back)


def test_settings_that_are_applied_meanwhile_keep_it() -> None:
    documents = [{"kind": "InitConfiguration"}, {"kind": "ClusterConfiguration", "controllerManager": {"extraArgs": [{"name": "a"}]}}]
    plain = RECORD.format(manager=ARGUMENTS)
    assert authorities.as_recorded(documents, plain) == documents
    _init, cluster = authorities.as_recorded(documents, authorities.record(plain, True))
    assert [one["name"] for one in cluster["controllerManager"]["extraArgs"]] == ["cluster-signing-cert-file", "a"]
    assert documents[1]["controllerManager"]["extraArgs"] == [{"name": "a"}]


def test_nodes_that_join_meanwhile_know_both(node: Node) -> None:
    file = str(node.path(f"{PKI}/ca.crt"))
    assert kubeadm.authorities_of_joins(file) == {"ca_cert_hashes": [node.old["kubernetes"].id], "signing_certificate": "", "chain": ""}
    node.give()
    node.trust()
    found = kubeadm.authorities_of_joins(file)
    assert found["ca_cert_hashes"] == [node.old["kubernetes"].id, node.new["kubernetes"].id]
    assert found["signing_certificate"].strip() == node.old["kubernetes"].pem.strip() and found["chain"] == ""
    # The old one made it for the new one, so it is of use as soon as that signs.
    node.write(f"{PKI}/ca.key", node.new["kubernetes"].private)
    node.trust()
    assert kubeadm.authorities_of_joins(file)["chain"] == node.new["kubernetes"].pem


SINCE = 1_800_000_000.0


def pod(started: float | None, *containers: float | None, volumes: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    def stamp(moment: float) -> str:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))

    states = [{"state": {"running": {"startedAt": stamp(one)}} if one else {"waiting": {}}} for one in containers]
    status = {"containerStatuses": states, **({"startTime": stamp(started)} if started else {})}
    return {"spec": {"volumes": volumes or []}, "status": status}


@pytest.mark.parametrize(
    ("found", "known"),
    [
        (pod(SINCE - 1, SINCE - 1), False),
        (pod(SINCE, SINCE), False),
        (pod(SINCE + 1, SINCE + 1), True),
        (pod(None), True),
        (pod(SINCE - 9, SINCE + 60), False),
        (pod(SINCE - 9, SINCE + 200, SINCE - 1), False),
        (pod(SINCE - 9, SINCE + 200, None), False),
        (pod(SINCE - 9, SINCE + 200, SINCE + 200), True),
        (pod(SINCE - 9), False),
    ],
)
def test_who_began_after_the_new_one_was_given_knows_it(found: dict[str, Any], known: bool) -> None:
    assert authority_cluster.knows(found, SINCE) is known


def test_who_reads_the_authority_of_the_cluster() -> None:
    token = {"projected": {"sources": [{"serviceAccountToken": {}}, {"configMap": {"name": "kube-root-ca.crt"}}]}}
    assert authority_cluster.reads_authority(pod(SINCE, volumes=[{"emptyDir": {}}, token]))
    assert authority_cluster.reads_authority(pod(SINCE, volumes=[{"configMap": {"name": "kube-root-ca.crt"}}]))
    assert not authority_cluster.reads_authority(pod(SINCE, volumes=[{"configMap": {"name": "other"}}]))
    assert not authority_cluster.reads_authority(pod(SINCE))


@pytest.mark.parametrize(
    ("kind", "spec", "status", "problem"),
    [
        ("Deployment", {"replicas": 2}, {"updatedReplicas": 1, "replicas": 3, "availableReplicas": 2}, "1 of 2 pods are new"),
        ("Deployment", {"replicas": 2}, {"updatedReplicas": 2, "replicas": 3, "availableReplicas": 3}, "1 old pods are still there"),
        ("Deployment", {"replicas": 2}, {"updatedReplicas": 2, "replicas": 2, "availableReplicas": 1}, "1 of 2 pods are available"),
        ("Deployment", {"replicas": 2}, {"updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}, ""),
        ("StatefulSet", {"replicas": 0}, {}, ""),
        ("DaemonSet", {}, {"desiredNumberScheduled": 3, "updatedNumberScheduled": 2, "numberAvailable": 3}, "2 of 3 pods are new"),
        ("DaemonSet", {}, {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberAvailable": 3}, ""),
    ],
)
def test_when_a_restart_is_over(kind: str, spec: dict[str, Any], status: dict[str, Any], problem: str) -> None:
    found = {"kind": kind, "metadata": {"generation": 2}, "spec": spec, "status": {**status, "observedGeneration": 2}}
    assert authority_cluster.unfinished(found) == problem
    assert authority_cluster.unfinished({**found, "metadata": {"generation": 3}}) == "its controller has not looked at it yet"


class Api:
    """What a cluster answers; merges are remembered."""

    def __init__(self, **objects: dict[str, Any]) -> None:
        self.objects = objects
        self.merged: list[tuple[str, dict[str, Any]]] = []

    def get(self, path: str) -> dict[str, Any]:
        return self.objects[path.rsplit("/", 1)[1].replace("-", "_")]

    find = get

    def merge(self, path: str, body: dict[str, Any]) -> None:
        self.merged.append((path.rsplit("/", 1)[1], body))


def test_a_run_that_was_killed_does_not_restart_pods_twice() -> None:
    template: dict[str, Any] = {"metadata": {"annotations": {}}}
    done = {"updatedReplicas": 1, "replicas": 1, "availableReplicas": 1}
    api = Api(cart={"kind": "Deployment", "metadata": {}, "spec": {"replicas": 1, "template": template}, "status": done})
    assert authority_cluster.restart(api, "shop/Deployment/cart", SINCE, 1)
    template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "2020-01-01T00:00:00+02:00"
    assert authority_cluster.restart(api, "shop/Deployment/cart", SINCE, 1)
    template["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = "2027-01-15T09:00:00+01:00"
    assert not authority_cluster.restart(api, "shop/Deployment/cart", SINCE - 3600, 1)
    assert len(api.merged) == 2
    api.objects["cart"]["status"] = {}
    with pytest.raises(FlotillaError) as caught:
        authority_cluster.restart(api, "shop/Deployment/cart", SINCE - 3600, 0)
    assert caught.value.code == "WORKLOAD_NOT_RESTARTED" and len(api.merged) == 2


def test_extension_servers_are_told_of_the_new_ones_only_and_of_nothing_twice(node: Node) -> None:
    old, new = node.old, node.new
    data = {
        "client-ca-file": old["kubernetes"].pem + new["kubernetes"].pem,
        "requestheader-client-ca-file": new["front-proxy"].pem,
        "requestheader-allowed-names": '["front-proxy-client"]',
    }
    api = Api(extension_apiserver_authentication={"data": data})
    assert authority_cluster.withdraw(api, node.successors())
    assert api.merged == [("extension-apiserver-authentication", {"data": {"client-ca-file": new["kubernetes"].pem}})]
    data["client-ca-file"] = new["kubernetes"].pem
    assert not authority_cluster.withdraw(api, node.successors())
    # Nobody is left without any.
    data["client-ca-file"] = old["kubernetes"].pem
    assert not authority_cluster.withdraw(api, node.successors())


def test_a_static_pod_that_began_before_its_authority_changed_restarts(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(certificates, "served", lambda _host, _port: "")
    found = [one for one in certificates.find(node.root) if not one.name]
    began = {name: [time.time() + 60] for name in ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")}
    assert certificates.unused(began, found, "", 2.0) == {}
    began["kube-apiserver"] = began["kube-scheduler"] = [time.time() - 60]
    assert list(certificates.unused(began, found, "", 2.0)) == ["kube-apiserver"]
