# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a cluster protects by default, tried from outside; beside each refusal stands the same thing that is allowed."""

from __future__ import annotations

import base64
import json
import os
import uuid
from collections.abc import Iterator
from typing import Any

import outside
import pytest
import yaml
from conftest import Cluster, wait_for

PKI = "/etc/kubernetes/pki"
MARKER = "marker-of-this-test"
# component: port; every control plane has these, every node the kubelet's
CONTROL_PLANE_PORTS = {"kube-apiserver": 6443, "etcd": 2379, "kube-controller-manager": 10257, "kube-scheduler": 10259}
KUBELET = 10250

POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  containers:
    - {{name: c, image: registry.k8s.io/pause:3.10, securityContext: {{privileged: {privileged}}}}}
"""


def node_shell(machine: str, script: str, check: bool = True) -> str:
    return outside.host("podman", "exec", machine, "sh", "-c", script, check=check)


def control_planes(cluster: Cluster) -> list[str]:
    return outside.machines(cluster.name, "control-plane")


def stored(cluster: Cluster, path: str) -> bytes:
    """What etcd has under a key, byte for byte."""
    command = f"etcdctl --cacert={PKI}/etcd/ca.crt --cert={PKI}/etcd/healthcheck-client.crt --key={PKI}/etcd/healthcheck-client.key"
    answer = json.loads(node_shell(control_planes(cluster)[0], f"{command} --endpoints=https://127.0.0.1:2379 get {path} --write-out=json"))
    return base64.b64decode(answer["kvs"][0]["value"])


def test_etcd_has_ciphertext_where_a_secret_is(cluster: Cluster) -> None:
    for kind in ("secret generic", "configmap"):
        cluster.kubectl("create", *kind.split(), "stored", f"--from-literal=key={MARKER}")
    secret, plain = stored(cluster, "/registry/secrets/default/stored"), stored(cluster, "/registry/configmaps/default/stored")
    assert secret.startswith(b"k8s:enc:secretbox:v1:")
    assert MARKER.encode() not in secret
    assert MARKER.encode() in plain
    read = cluster.kubectl("get", "secret", "stored", "--output=jsonpath={.data.key}")
    assert base64.b64decode(read).decode() == MARKER


def test_every_control_plane_has_the_same_key_and_keeps_it_to_itself(cluster: Cluster) -> None:
    found = {node_shell(machine, "sha256sum /etc/kubernetes/flotilla/encryption.json; stat -c %a /etc/kubernetes/flotilla/encryption.json")
             for machine in control_planes(cluster)}  # fmt: skip
    assert len(found) == 1
    assert found.pop().splitlines()[1] == "600"


def test_files_are_for_root_alone(cluster: Cluster) -> None:
    for machine in control_planes(cluster):
        listed = node_shell(
            machine, "stat -c '%a %n' /var/lib/etcd /etc/kubernetes/*.conf /etc/kubernetes/manifests/*.yaml /etc/kubernetes/pki/*.key"
        )
        modes = dict(reversed(line.split(" ", 1)) for line in listed.splitlines())
        assert modes.pop("/var/lib/etcd") == "700"
        assert len(modes) >= 10
        assert set(modes.values()) == {"600"}, modes


def test_the_audit_log_says_who_and_what_but_no_secret(cluster: Cluster) -> None:
    name, content = f"audited-{uuid.uuid4().hex[:8]}", f"hidden-{uuid.uuid4().hex}"
    cluster.kubectl("create", "secret", "generic", name, f"--from-literal=key={content}")
    cluster.kubectl("get", "secret", name)

    def entries() -> list[dict[str, Any]]:
        lines = "".join(node_shell(m, f"grep -h {name} /var/log/kubernetes/audit/*.log", check=False) for m in control_planes(cluster))
        return [json.loads(line) for line in lines.splitlines()]

    wait_for("both calls in the log", lambda: {entry["verb"] for entry in entries()} >= {"create", "get"}, timeout=60)
    who = json.loads(cluster.kubectl("auth", "whoami", "--output=json"))["status"]["userInfo"]["username"]
    for entry in entries():
        assert (entry["user"]["username"], entry["level"]) == (who, "Metadata")
    texts = {machine: node_shell(machine, "cat /var/log/kubernetes/audit/*.log") for machine in control_planes(cluster)}
    # What this collection did, under its own name, at the API servers that it asked.
    assert any('"username":"flotilla"' in text for text in texts.values())
    for machine, text in texts.items():
        assert content not in text and base64.b64encode(content.encode()).decode() not in text
        # Nothing of what only makes noise.
        assert '"requestURI":"/readyz' not in text and '"resource":"leases"' not in text
        assert node_shell(machine, "stat -c %a /var/log/kubernetes/audit/audit.log").strip() == "600"


@pytest.mark.parametrize(
    ("namespace", "privileged", "allowed"), [("default", True, False), ("default", False, True), ("kube-system", True, True)]
)
def test_privileged_pods_are_for_system_namespaces(cluster: Cluster, namespace: str, privileged: bool, allowed: bool) -> None:
    pod = POD.format(name="tried", namespace=namespace, privileged=str(privileged).lower())
    answer = cluster.kubectl("create", "--dry-run=server", "--filename=-", stdin=pod, check=False)
    assert ("created" in answer) is allowed, answer


def handshake(machine: str, address: str, port: int, version: str) -> str:
    # Level 0, so that it is not this client that refuses an old version.
    command = f"openssl s_client -connect {address}:{port} {version} -cipher ALL:@SECLEVEL=0"
    return node_shell(machine, f"echo | timeout 20 {command} 2>&1", check=False)


def test_old_tls_is_refused(cluster: Cluster) -> None:
    for machine in outside.machines(cluster.name):
        own = node_shell(machine, "hostname -I").split()[0]
        ports = {"kubelet": KUBELET, **(CONTROL_PLANE_PORTS if machine in control_planes(cluster) else {})}
        for component, port in ports.items():
            address = "127.0.0.1" if port in (10257, 10259) else own
            assert "protocol version" in handshake(machine, address, port, "-tls1_1"), (machine, component)
            assert "Cipher is" in handshake(machine, address, port, "-tls1_2"), (machine, component)


def test_kubelets_want_to_know_who_asks(cluster: Cluster) -> None:
    ask = "python3 -c \"import ssl, urllib.request as r, urllib.error as e\ntry: print(r.urlopen('{url}', context=ssl._create_unverified_context(), timeout=10).status)\nexcept e.HTTPError as x: print(x.code)\nexcept e.URLError as x: print(x.reason)\""  # noqa: E501
    for machine in outside.machines(cluster.name):
        own = node_shell(machine, "hostname -I").split()[0]
        assert node_shell(machine, ask.format(url=f"https://{own}:10250/pods")).strip() == "401"
        assert "refused" in node_shell(machine, ask.format(url=f"http://{own}:10255/pods"))
        # The same port answers who is allowed: the API server.
        assert json.loads(cluster.kubectl("get", "--raw", f"/api/v1/nodes/{machine}/proxy/pods"))["kind"] == "PodList"


def test_kubelets_show_certificates_of_the_cluster(cluster: Cluster) -> None:
    ca = f"{PKI}/ca.crt"
    first = control_planes(cluster)[0]
    for machine in outside.machines(cluster.name):
        own = node_shell(machine, "hostname -I").split()[0]
        shown = node_shell(
            first, f"echo | openssl s_client -connect {own}:10250 -CAfile {ca} -verify_ip {own} -verify_return_error 2>&1", check=False
        )
        assert "Verify return code: 0 (ok)" in shown, shown
        other = node_shell(
            first, f"echo | openssl s_client -connect {own}:10250 -CAfile {ca} -verify_ip 192.0.2.1 -verify_return_error 2>&1", check=False
        )
        assert "IP address mismatch" in other
    flags = node_shell(first, "cat /etc/kubernetes/manifests/kube-apiserver.yaml")
    assert f"--kubelet-certificate-authority={ca}" in flags
    proxy = next(pod for pod in cluster.get("pods", "--namespace=kube-system", "--selector=k8s-app=kube-proxy"))
    assert cluster.kubectl("logs", "--namespace=kube-system", proxy["metadata"]["name"], "--tail=1")


# Runs on a worker, with the credential of its kubelet: what somebody can do who has taken one over.
ASK_FOR = """
import base64, http.client, json, re, ssl, subprocess, sys
node, name, alternatives = sys.argv[1:]
pair = "/var/lib/kubelet/pki/kubelet-client-current.pem"
request = subprocess.run(
    ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", "/dev/null",
     "-subj", f"/O=system:nodes/CN=system:node:{node}", "-addext", f"subjectAltName={alternatives}"],
    check=True, capture_output=True).stdout
body = {
    "apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": name},
    "spec": {"signerName": "kubernetes.io/kubelet-serving", "usages": ["digital signature", "server auth"],
             "request": base64.b64encode(request).decode()}}
context = ssl.create_default_context(cafile="/etc/kubernetes/pki/ca.crt")
context.load_cert_chain(pair)
server = re.search(r"server: https://(\\S+):(\\d+)", open("/etc/kubernetes/kubelet.conf").read())
connection = http.client.HTTPSConnection(server.group(1), int(server.group(2)), context=context)
path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
answer = connection.getresponse()
assert answer.status == 201, answer.read()
"""


def test_a_node_gets_no_certificate_for_another_name_or_address(cluster: Cluster) -> None:
    worker, other = outside.machines(cluster.name, "workers")[0], control_planes(cluster)[0]
    own, foreign = (node_shell(machine, "hostname -I").split()[0] for machine in (worker, other))
    wanted = {
        "name-of-another": f"DNS:{other}",
        "address-of-another": f"IP:{foreign}",
        "one-of-two": f"IP:{own},IP:{foreign}",
        "service": "DNS:kubernetes.default.svc",
        "own": f"DNS:{worker},IP:{own}",
    }
    suffix = uuid.uuid4().hex[:6]
    for name, alternatives in wanted.items():
        script = base64.b64encode(ASK_FOR.encode()).decode()
        node_shell(worker, f"echo {script} | base64 -d | python3 - {worker} {name}-{suffix} {alternatives}")

    def conditions(name: str) -> list[str]:
        item = json.loads(cluster.kubectl("get", "csr", f"{name}-{suffix}", "--output=json"))
        return [entry["type"] for entry in item["status"].get("conditions", [])]

    # The last one was made last, so the others were looked at, too.
    wait_for("the node's own request approved", lambda: conditions("own") == ["Approved"], timeout=60)
    reasons = {
        event["involvedObject"]["name"]: event["message"]
        for event in cluster.get("events", "--field-selector=reason=ServingCertificateNotApproved")
    }
    for name in set(wanted) - {"own"}:
        assert conditions(name) == [], name
        assert f"is not recorded for {worker}" in reasons[f"{name}-{suffix}"]


def test_the_approver_can_do_nothing_else(cluster: Cluster) -> None:
    def may(*question: str) -> bool:
        return cluster.kubectl("auth", "can-i", *question, "--as=flotilla:kubelet-approver", check=False).strip() == "yes"

    assert may("get", "nodes")
    for question in (
        ("get", "secrets", "--all-namespaces"),
        ("create", "pods"),
        ("update", "nodes"),
        ("create", "certificatesigningrequests"),
    ):
        assert not may(*question), question
    rules = json.loads(cluster.kubectl("get", "clusterrole", "flotilla:kubelet-approver", "--output=json"))["rules"]
    assert [rule["resourceNames"] for rule in rules if rule["verbs"] == ["approve"]] == [["kubernetes.io/kubelet-serving"]]
    for machine in control_planes(cluster):
        user = node_shell(machine, "ps -o user= -p $(systemctl show -P MainPID flotilla-kubelet-approver)").strip()
        assert user and user != "root"


def test_nobody_without_a_name_may_do_more_than_join_and_look_at_health(cluster: Cluster) -> None:
    granted = [
        f"{item['kind']}/{item['metadata']['name']}"
        for kind in ("clusterrolebindings", "rolebindings")
        for item in cluster.get(kind, "--all-namespaces")
        for subject in item.get("subjects", [])
        if subject["name"] in ("system:anonymous", "system:unauthenticated")
    ]
    assert sorted(granted) == ["ClusterRoleBinding/system:public-info-viewer", "RoleBinding/kubeadm:bootstrap-signer-clusterinfo"]


def serving_certificate(cluster: Cluster, machine: str) -> str:
    """Serial number of the certificate that a kubelet shows, and its end; nothing while it shows none."""
    own = node_shell(machine, "hostname -I").split()[0]
    look = f"echo | openssl s_client -connect {own}:10250 2>/dev/null | openssl x509 -noout -serial -enddate"
    return node_shell(control_planes(cluster)[0], look, check=False)


@pytest.fixture
def short_lived(cluster: Cluster) -> Iterator[str]:
    """Certificates that live for minutes, or as long as FLOTILLA_CERTIFICATE_LIFETIME says, until the test is over."""
    lifetime = os.environ.get("FLOTILLA_CERTIFICATE_LIFETIME", "10m")
    path = cluster.foundation / f"clusters/{cluster.name}.yml"
    before = path.read_text(encoding="utf-8")
    definition = yaml.safe_load(before)
    definition["control_plane"]["extra_args"] = {"kube-controller-manager": {"cluster-signing-duration": lifetime}}
    path.write_text(yaml.safe_dump(definition), encoding="utf-8")
    cluster.play("cluster_apply")
    yield lifetime
    path.write_text(before, encoding="utf-8")
    cluster.play("cluster_apply")


@pytest.mark.full
def test_certificates_are_renewed_without_a_playbook(cluster: Cluster, short_lived: str) -> None:
    worker = outside.machines(cluster.name, "workers")[0]
    long_lived = serving_certificate(cluster, worker)
    assert long_lived
    node_shell(worker, "rm /var/lib/kubelet/pki/kubelet-server-current.pem; systemctl restart kubelet")

    def shown() -> str:
        return serving_certificate(cluster, worker)

    first = wait_for("a certificate that does not live long", lambda: (now := shown()) and now != long_lived and now, timeout=120)
    amount, unit = int(short_lived[:-1]), short_lived[-1]
    second = wait_for("its successor", lambda: (now := shown()) and now != first and now, timeout=amount * {"m": 60, "h": 3600}[unit])
    assert second
    test_kubelets_show_certificates_of_the_cluster(cluster)
