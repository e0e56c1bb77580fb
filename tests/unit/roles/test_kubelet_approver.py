# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the approver of kubelet serving certificates: its reader against `cryptography`, its decision, its rounds."""

from __future__ import annotations

import base64
import importlib.util
import ipaddress
import json
import ssl
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._haproxy import HEAD
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import machine
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given, settings
from hypothesis import strategies as st

SOURCE = Path(__file__).resolve().parents[3] / "roles/kubernetes_control_plane/files/kubelet_approver.py"
_spec = importlib.util.spec_from_file_location("kubelet_approver", SOURCE)
approver = importlib.util.module_from_spec(_spec)
sys.modules["kubelet_approver"] = approver
_spec.loader.exec_module(approver)

KEY = ec.generate_private_key(ec.SECP256R1())
NODES = {"worker-1": ["10.0.0.21", "fd00::21", "worker-1.example.com"], "worker-2": ["10.0.0.22"]}
Name = Any


def request(
    common_name: str = "system:node:worker-1",
    organizations: tuple[str, ...] = ("system:nodes",),
    names: tuple[Name, ...] = (x509.DNSName("worker-1"), x509.IPAddress(ipaddress.ip_address("10.0.0.21"))),
    change: Callable[[Any], Any] = lambda builder: builder,
    encoding: serialization.Encoding = serialization.Encoding.PEM,
) -> bytes:
    """A request as a kubelet makes it, or with one thing else."""
    subject = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, entry) for entry in organizations]
    subject.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject))
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return change(builder).sign(KEY, hashes.SHA256()).public_bytes(encoding)


def spec(pem: bytes | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "signerName": approver.SIGNER,
        "username": "system:node:worker-1",
        "groups": ["system:nodes", "system:authenticated"],
        "usages": ["digital signature", "server auth"],
        "request": base64.b64encode(request() if pem is None else pem).decode(),
        **changes,
    }


def ip(text: str) -> x509.IPAddress:
    return x509.IPAddress(ipaddress.ip_address(text))


def test_the_request_of_a_kubelet_passes() -> None:
    assert approver.check(spec(), NODES) == "worker-1"


@pytest.mark.parametrize(
    "names",
    [
        (ip("10.0.0.21"),),
        (x509.DNSName("worker-1"),),
        (x509.DNSName("worker-1.example.com"), ip("fd00::21"), ip("10.0.0.21")),
        (x509.DNSName("WORKER-1"),),
    ],
)
def test_every_recorded_name_and_address_passes(names: tuple[Name, ...]) -> None:
    assert approver.check(spec(request(names=names)), NODES) == "worker-1"


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (request(names=(x509.DNSName("worker-2"),)), "worker-2 is not recorded for worker-1"),
        (request(names=(ip("10.0.0.21"), ip("10.0.0.22"))), "10.0.0.22 is not recorded for worker-1"),
        (request(names=(ip("::ffff:10.0.0.21"),)), "is not recorded"),
        (request(names=(x509.DNSName("10.0.0.21"),)), "10.0.0.21 is not recorded"),
        (request(names=(x509.DNSName("*.example.com"),)), "is not recorded"),
        (request(names=(x509.DNSName("kubernetes.default.svc"), x509.DNSName("worker-1"))), "kubernetes.default.svc is not recorded"),
        (request(names=(x509.DNSName("worker-1"), x509.RFC822Name("a@example.com"))), "neither a DNS name nor an IP address"),
        (request(names=(x509.UniformResourceIdentifier("spiffe://a"),)), "neither a DNS name nor an IP address"),
        (request(names=()), "no name and no address"),
        (request(common_name="system:node:worker-2"), "its subject is not"),
        (request(common_name="system:admin"), "its subject is not"),
        (request(organizations=("system:masters",)), "its subject is not"),
        (request(organizations=("system:nodes", "system:masters")), "its subject is not"),
        (request(organizations=()), "its subject is not"),
        (
            request(change=lambda b: b.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), False)),
            "another structure",
        ),
        (
            request(names=(), change=lambda b: b.add_extension(x509.BasicConstraints(ca=True, path_length=None), True)),
            "more than subject alternative names",
        ),
        (
            request(change=lambda b: b.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"secret")),
            "more than one attribute",
        ),
        (
            request(names=(), change=lambda b: b.add_attribute(x509.oid.AttributeOID.CHALLENGE_PASSWORD, b"secret")),
            "an attribute that no kubelet's request has",
        ),
        (request() + request(), "something else than one request"),
        (b"-----BEGIN CERTIFICATE REQUEST-----\n!\n-----END CERTIFICATE REQUEST-----\n", "something else than one request"),
        (b"", "something else than one request"),
        (b"x" * 70000, "something else than one request"),
    ],
)
def test_what_a_kubelet_does_not_ask_for_is_refused(pem: bytes, why: str) -> None:
    with pytest.raises(approver.Refused, match=why.replace("*", "[*]")):
        approver.check(spec(pem), NODES)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"signerName": "kubernetes.io/kube-apiserver-client"}, "not for the signer"),
        ({"username": "system:serviceaccount:default:worker-1"}, "is no node"),
        ({"username": "worker-1"}, "is no node"),
        ({"groups": ["system:authenticated"]}, "is no node"),
        ({"username": "system:node:worker-3"}, "flotilla.kubernetes recorded"),
        ({"username": "system:node:"}, "flotilla.kubernetes recorded"),
        ({"usages": ["digital signature", "server auth", "client auth"]}, "usages"),
        ({"usages": ["digital signature"]}, "usages"),
        ({"usages": []}, "usages"),
        ({"request": "%%%"}, "not in base64"),
    ],
)
def test_who_asks_and_what_for_matters(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(approver.Refused, match=why):
        approver.check(spec(**changes), NODES)


LABEL = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
NAMES = st.lists(
    st.one_of(
        st.builds(lambda labels: x509.DNSName(".".join(labels)), st.lists(LABEL, min_size=1, max_size=4)),
        st.ip_addresses().map(x509.IPAddress),
    ),
    max_size=40,
)
SUBJECT = st.text(alphabet=st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=60)


@settings(deadline=None, max_examples=100)
@given(common_name=SUBJECT, organizations=st.lists(SUBJECT, max_size=3), names=NAMES)
def test_the_reader_understands_what_cryptography_writes(common_name: str, organizations: list[str], names: list[Name]) -> None:
    read = approver.parse(request(common_name, tuple(organizations), tuple(names)))
    assert read.common_names == [common_name]
    assert read.organizations == organizations
    assert read.dns_names == [name.value for name in names if isinstance(name, x509.DNSName)]
    assert read.addresses == [str(name.value) for name in names if isinstance(name, x509.IPAddress)]


def pem_of(der: bytes) -> bytes:
    return b"-----BEGIN CERTIFICATE REQUEST-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE REQUEST-----\n"


GOOD = request(encoding=serialization.Encoding.DER)


@settings(deadline=None, max_examples=1500)
@given(place=st.integers(0, len(GOOD) - 1), octets=st.binary(max_size=3), removed=st.integers(0, 3))
def test_whatever_the_reader_lets_pass_cryptography_reads_alike(place: int, octets: bytes, removed: int) -> None:
    changed = GOOD[:place] + octets + GOOD[place + removed :]
    try:
        read = approver.parse(pem_of(changed))
    except approver.Refused:
        return
    try:
        other = x509.load_der_x509_csr(changed)
    except ValueError:
        # A broken key or signature, which are the signer's business.
        return
    names: list[Name] = []
    if read.dns_names or read.addresses:
        names = list(other.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    assert read.dns_names == [name.value for name in names if isinstance(name, x509.DNSName)]
    assert read.addresses == [str(name.value) for name in names if isinstance(name, x509.IPAddress)]
    assert read.common_names == [entry.value for entry in other.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    assert read.organizations == [entry.value for entry in other.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else_happens(noise: bytes) -> None:
    with pytest.raises(approver.Refused):
        approver.parse(pem_of(noise))


@pytest.mark.parametrize(
    "der",
    [
        b"\x30\x80" + GOOD[4:] + b"\x00\x00",  # indefinite length
        b"\x30\x83\x00" + GOOD[2:],  # a longer form of the same length
        GOOD + b"\x00",
        GOOD + GOOD,
        GOOD[:-1],
    ],
)
def test_other_encodings_of_the_same_are_refused(der: bytes) -> None:
    assert approver.parse(pem_of(GOOD)).dns_names == ["worker-1"]
    with pytest.raises(approver.Refused):
        approver.parse(pem_of(der))


class Api:
    """The few calls that the approver makes, on objects in memory."""

    def __init__(self, items: list[dict[str, Any]], nodes: tuple[str, ...] = ("worker-1",)) -> None:
        self.items = {item["metadata"]["name"]: item for item in items}
        self.nodes = nodes
        self.calls: list[tuple[str, str]] = []
        self.events: list[dict[str, Any]] = []
        self.conflict = False

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json") -> Any:
        self.calls.append((method, path))
        if method == "POST" and path == "/api/v1/namespaces/default/events":
            self.events.append(body)
            return body
        if method == "PUT" and path.endswith("/approval"):
            if self.conflict:
                raise approver.ApiError(409, "conflict")
            self.items[path.split("/")[-2]] = body
            return body
        if path.startswith("/api/v1/nodes/"):
            if path.rsplit("/", 1)[1] not in self.nodes:
                raise approver.ApiError(404, "not found")
            return {}
        assert (method, path.split("?")[0]) == ("GET", approver.API_CSR), (method, path)
        return {"items": list(self.items.values()), "metadata": {"resourceVersion": "7"}}

    def watch(self, path: str) -> Any:
        self.calls.append(("WATCH", path))
        return iter(())


def csr(name: str = "csr-1", conditions: list[dict[str, str]] | None = None, **changes: Any) -> dict[str, Any]:
    item: dict[str, Any] = {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": "5"}, "spec": spec(**changes)}
    if conditions is not None:
        item["status"] = {"conditions": conditions}
    return item


@pytest.fixture
def record(tmp_path: Path) -> Path:
    path = tmp_path / "nodes.json"
    path.write_text(json.dumps({"api_server": "10.0.0.11:6443", "nodes": NODES}))
    return path


def conditions(api: Api, name: str = "csr-1") -> list[str]:
    return [entry["type"] for entry in api.items[name].get("status", {}).get("conditions", [])]


def test_a_round_approves_the_good_and_leaves_the_foreign(record: Path) -> None:
    foreign = csr("csr-2", request=base64.b64encode(request(names=(ip("10.0.0.22"),))).decode())
    api = Api([csr(), foreign])
    service = approver.Approver(api, record)
    service.round()
    service.round()
    assert conditions(api) == ["Approved"]
    assert api.items["csr-1"]["metadata"]["resourceVersion"] == "5"
    assert conditions(api, "csr-2") == []
    assert [event["involvedObject"]["name"] for event in api.events] == ["csr-2"]
    assert "10.0.0.22 is not recorded for worker-1" in api.events[0]["message"]


def test_what_was_decided_stays(record: Path) -> None:
    api = Api([csr(conditions=[{"type": "Denied", "status": "True"}])])
    approver.Approver(api, record).round()
    assert conditions(api) == ["Denied"]
    assert not [call for call in api.calls if call[0] == "PUT"]


def test_a_removed_node_gets_no_certificate(record: Path) -> None:
    api = Api([csr()], nodes=())
    approver.Approver(api, record).round()
    assert conditions(api) == []
    assert "no Node worker-1" in api.events[0]["message"]


def test_a_node_that_is_recorded_later_is_approved_later(record: Path) -> None:
    record.write_text(json.dumps({"nodes": {}}))
    api = Api([csr()])
    service = approver.Approver(api, record)
    service.round()
    assert conditions(api) == []
    record.write_text(json.dumps({"nodes": NODES}))
    service.round()
    assert conditions(api) == ["Approved"]


def test_another_approver_may_be_faster(record: Path) -> None:
    api = Api([csr()])
    api.conflict = True
    approver.Approver(api, record).round()
    assert api.events == []


def test_only_requests_for_the_one_signer_are_asked_for(record: Path) -> None:
    api = Api([])
    approver.Approver(api, record).round()
    assert all("fieldSelector=spec.signerName%3Dkubernetes.io%2Fkubelet-serving" in path for _method, path in api.calls)
    assert len(api.calls) == 2


def test_the_rights_are_the_least() -> None:
    (_path, role), (_other_path, binding) = approver.rights()
    assert not [rule for rule in role["rules"] if "*" in json.dumps(rule)]
    assert {verb for rule in role["rules"] for verb in rule["verbs"]} == {"get", "list", "watch", "update", "approve", "create"}
    (signers,) = [rule for rule in role["rules"] if rule["resources"] == ["signers"]]
    assert signers["resourceNames"] == ["kubernetes.io/kubelet-serving"]
    assert binding["subjects"] == [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": approver.USER}]


def test_a_cluster_with_another_authority_ends_the_service_and_another_error_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    errors = [ConnectionRefusedError("away"), ssl.SSLCertVerificationError("another authority")]

    class Rounds:
        def __init__(self, _api: object) -> None:
            pass

        def round(self) -> None:
            raise errors.pop(0)

    monkeypatch.setattr(approver, "Approver", Rounds)
    monkeypatch.setattr(approver, "Api", lambda *_arguments: None)
    monkeypatch.setattr(approver, "server_address", lambda: "10.0.0.11:6443")
    monkeypatch.setattr(approver.time, "sleep", lambda _seconds: None)
    approver.serve()
    assert errors == []


def test_the_service_is_known_as_ours_when_a_machine_leaves_its_cluster() -> None:
    unit = SOURCE.with_name("flotilla-kubelet-approver.service")
    assert unit.read_text(encoding="utf-8").startswith(HEAD)
    assert machine.OWN_SERVICES[unit.stem] == f"/etc/systemd/system/{unit.name}"
