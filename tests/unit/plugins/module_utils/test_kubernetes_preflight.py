# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preflight reads on a node and how it judges; real clusters are in tests/integration/preflight."""

from __future__ import annotations

import base64
import gzip
import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.action import upgrade_preflight as action
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import kubelet_flags
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.preflight import apis, codes, judge, node
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).resolve().parents[4]
NOW = 1_800_000_000.0
WANTED = judge.Wanted("1.36.3", NOW, available=("1.36.3",), backup_store=True)
SOUND = {
    "node": "worker-1",
    "disks": [{"path": "/var/lib/containerd", "free": 8 * 1024**3}],
    "certificates": [{"path": "/etc/kubernetes/pki/ca.crt", "kind": "authority", "ends": NOW + 3000 * judge.DAY}],
    "kubelet_flags": {"kubeadm": {"pod-infra-container-image": "pause", "node-ip": "10.0.0.11"}, "/etc/default/kubelet": {}},
    "cgroup_v2": True,
    "containerd": {"problem": ""},
    "files_missing": [],
    "images_missing": [],
}


def found(findings) -> list[tuple[str, str]]:
    return sorted((one.code, one.object) for one in findings)


# The registry


def test_the_page_has_the_table_of_the_registry() -> None:
    page = (ROOT / "docs/upgrade_preflight.md").read_text(encoding="utf-8")
    assert codes.reference() in page, "tools/preflight-codes writes it"


def test_every_code_is_used_and_every_used_code_is_registered() -> None:
    folder = ROOT / "plugins/module_utils/_kubernetes"
    text = "".join(path.read_text(encoding="utf-8") for path in (folder / "preflight/judge.py", folder / "versions.py"))
    assert set(re.findall(r'"(UPGRADE_[A-Z0-9_]+)"', text)) == set(codes.CODES)


def test_every_code_has_a_case() -> None:
    files = [*(ROOT / "tests/integration/preflight").glob("test_*.py"), Path(__file__)]
    text = "".join(path.read_text(encoding="utf-8") for path in files)
    assert sorted(code for code in codes.CODES if f'"{code}"' not in text) == []


def test_what_a_stop_leaves_is_registered() -> None:
    assert set(codes.CODES) >= codes.LEFT_BY_A_STOP


@pytest.mark.parametrize("code", codes.CODES)
def test_every_code_says_what_to_do(code) -> None:
    one = codes.CODES[code]
    assert one.severity in codes.SEVERITIES and one.object
    assert all(re.fullmatch(r"[A-Z/a-z'].*[.]", text) and "|" not in text for text in (one.meaning, one.remedy))


# Acknowledgements


FINDINGS = [
    codes.found("UPGRADE_SINGLE_REPLICA", "deployment/shop/web", "One."),
    codes.found("UPGRADE_PDB_OVERLAP", "pod/shop/a", "Two."),
    codes.found("UPGRADE_PDB_OVERLAP", "pod/shop/b", "Two."),
]


@pytest.mark.parametrize(
    ("acknowledged", "blocking"),
    [
        ([], ["pod/shop/a", "pod/shop/b"]),
        (["UPGRADE_PDB_OVERLAP"], []),
        (["UPGRADE_PDB_OVERLAP:pod/shop/a"], ["pod/shop/b"]),
        (["UPGRADE_PDB_OVERLAP:pod/shop"], ["pod/shop/a", "pod/shop/b"]),
        (["UPGRADE_SINGLE_REPLICA"], ["pod/shop/a", "pod/shop/b"]),
    ],
)
def test_what_is_acknowledged_does_not_block(acknowledged, blocking) -> None:
    marked = codes.acknowledge(FINDINGS, acknowledged)
    assert [one.object for one in marked if one.blocks] == blocking == [one.object for one in marked][: len(blocking)], "blockers first"
    assert len(marked) == 3, "what is acknowledged is still told"


@pytest.mark.parametrize(
    ("code", "thing", "blocks"),
    [
        ("UPGRADE_API_SERVER_NOT_READY", "kube-apiserver/cp-1", False),
        ("UPGRADE_SYSTEM_POD_NOT_READY", "pod/kube-system/kube-scheduler-cp-1", False),
        ("UPGRADE_CONTROL_PLANE_NOT_READY", "node/cp-1", False),
        ("UPGRADE_CONTROL_PLANE_NOT_READY", "node/cp-2", True),
        ("UPGRADE_CONTROL_PLANE_NOT_READY", "node/cp-11", True),
        ("UPGRADE_ETCD_ALARM", "etcd/cp-1", True),
        ("UPGRADE_NODE_PRESSURE", "node/cp-1", True),
    ],
)
def test_what_a_stopped_upgrade_left_does_not_block_the_next_run(code, thing, blocks) -> None:
    finding = codes.found(code, thing, "One.")
    assert [one.blocks for one in codes.acknowledge([finding], [], ["cp-1"])] == [blocks]
    assert [one.blocks for one in codes.acknowledge([finding], [])] == [True]


def test_an_unknown_acknowledgement_is_refused() -> None:
    with pytest.raises(FlotillaError, match="Did you mean UPGRADE_PDB_OVERLAP") as caught:
        codes.acknowledge(FINDINGS, ["UPGRADE_PDB_OVERLAPS"])
    assert caught.value.code == "ACKNOWLEDGEMENT_UNKNOWN"


# A node


@pytest.mark.parametrize(
    ("change", "kubelet", "expected"),
    [
        ({}, None, []),
        ({"disks": [{"path": "/x", "free": 1024**2}]}, None, [("UPGRADE_DISK_SPACE", "node/worker-1:/x")]),
        ({"containerd": {"problem": "refused"}, "images_missing": ["a"]}, None, [("UPGRADE_CONTAINERD_DOWN", "node/worker-1")]),
        ({"images_missing": ["r/a:1"]}, None, [("UPGRADE_IMAGE_MISSING", "node/worker-1:r/a:1")]),
        ({"files_missing": ["/usr/local/bin/kubelet"]}, None, [("UPGRADE_BINARY_MISSING", "node/worker-1:/usr/local/bin/kubelet")]),
        ({"cgroup_v2": False}, None, [("UPGRADE_CGROUP_V1", "node/worker-1")]),
        ({"cgroup_v2": False}, {"failCgroupV1": True}, [("UPGRADE_CGROUP_V1", "node/worker-1")]),
        ({"cgroup_v2": False}, {"failCgroupV1": False}, []),
        (
            {"kubelet_flags": {"/etc/default/kubelet": {"pod-infra-container-image": "pause"}}},
            None,
            [("UPGRADE_FLAG_REMOVED", "kubelet/--pod-infra-container-image")],
        ),
        (
            {"kubelet_flags": {"kubeadm": {"feature-gates": "ComponentSLIs=true"}}},
            None,
            [("UPGRADE_FEATURE_GATE_REMOVED", "kubelet/ComponentSLIs")],
        ),
        (
            {},
            {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "featureGates": {"ExecProbeTimeout": False}},
            [("UPGRADE_FEATURE_GATE_LOCKED", "kubelet/ExecProbeTimeout")],
        ),
        (
            {},
            {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "evictionHard": {"memory.available": "1Gi"}},
            [],
        ),
    ],
)
def test_a_node(change, kubelet, expected) -> None:
    assert found(judge.node({**SOUND, **change}, kubelet, WANTED)) == expected


@pytest.mark.parametrize(
    ("kind", "days", "code"),
    [
        ("control_plane", -1, "UPGRADE_CERTIFICATE_EXPIRED"),
        ("authority", -1, "UPGRADE_CERTIFICATE_EXPIRED"),
        ("control_plane", 29, "UPGRADE_CERTIFICATE_EXPIRES"),
        ("kubelet", 29, "UPGRADE_CERTIFICATE_EXPIRES"),
        ("authority", 29, "UPGRADE_CA_EXPIRES"),
        ("authority", 31, None),
        ("kubelet", 31, None),
    ],
)
def test_certificates(kind, days, code) -> None:
    observed = {**SOUND, "certificates": [{"path": "/c", "kind": kind, "ends": NOW + days * judge.DAY}]}
    assert found(judge.node(observed, None, WANTED)) == ([(code, "node/worker-1:/c")] if code else [])
    assert not judge.node(observed, None, replace(WANTED, certificate_days=10)) or days < 10


def test_cgroup_v1_is_enough_for_older_kubelets() -> None:
    assert judge.node({**SOUND, "cgroup_v2": False}, None, replace(WANTED, version="1.34.4")) == []


def make_certificate(path: Path, days: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=x"]
    subprocess.run([*command, "-days", str(days), "-keyout", f"{path}.key", "-out", path], check=True, capture_output=True)


def test_what_is_read_on_a_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pki, kubelet = tmp_path / "etc/kubernetes/pki", tmp_path / "var/lib/kubelet"
    for name, days in (("ca.crt", 100), ("apiserver.crt", 10), ("etcd/ca.crt", 200), ("etcd/server.crt", 20)):
        make_certificate(pki / name, days)
    make_certificate(tmp_path / "admin.crt", 30)
    embedded = base64.b64encode((tmp_path / "admin.crt").read_bytes()).decode()
    (tmp_path / "etc/kubernetes/admin.conf").write_text(f"users:\n- user:\n    client-certificate-data: {embedded}\n")
    make_certificate(kubelet / "pki/kubelet-client-current.pem", 40)
    (kubelet / "kubeadm-flags.env").write_text('KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.11 --v 4 --read-only"\n')
    (tmp_path / "etc/default").mkdir()
    (tmp_path / "etc/default/kubelet").write_text("# KUBELET_EXTRA_ARGS=--no\nKUBELET_EXTRA_ARGS='--feature-gates=A=true,B=false'\n")
    (kubelet / "config.yaml").write_text("kind: KubeletConfiguration\n")
    monkeypatch.setattr(node, "run", lambda argv, **kw: "r/a:1\n" if argv[0] == "ctr" else real(argv, **kw))
    wanted = node.Wanted(
        ({"dest": str(tmp_path / "absent"), "sha256": "0", "mode": "0755"},), ("r/a:1", "r/b:1"), ("/var/lib/etcd", "/usr")
    )
    observed = node.observe("n", wanted, tmp_path)
    left = {
        Path(one["path"]).relative_to(tmp_path).as_posix(): (one["kind"], round((one["ends"] - now()) / judge.DAY))
        for one in observed["certificates"]
    }
    assert left == {
        "etc/kubernetes/pki/ca.crt": ("authority", 100),
        "etc/kubernetes/pki/apiserver.crt": ("control_plane", 10),
        "etc/kubernetes/pki/etcd/ca.crt": ("authority", 200),
        "etc/kubernetes/pki/etcd/server.crt": ("control_plane", 20),
        "etc/kubernetes/admin.conf": ("control_plane", 30),
        "var/lib/kubelet/pki/kubelet-client-current.pem": ("kubelet", 40),
    }
    assert observed["kubelet_flags"]["kubeadm"] == {"node-ip": "10.0.0.11", "v": "4", "read-only": "true"}
    assert observed["kubelet_flags"]["/etc/default/kubelet"] == {"feature-gates": "A=true,B=false"}
    assert observed["kubelet_configuration"] == "kind: KubeletConfiguration\n" and observed["cgroup_v2"] is False
    assert observed["images_missing"] == ["r/b:1"] and observed["files_missing"] == [str(tmp_path / "absent")]
    assert len(observed["disks"]) == 1 and observed["disks"][0]["free"] > 0, "one file system is told once"


def real(argv, **kw):
    from ansible_collections.flotilla.kubernetes.plugins.module_utils import _command

    return _command.run(argv, **kw)


def now() -> float:
    import time

    return time.time()


def test_a_flag_that_a_skipped_kubeadm_would_have_taken_out(tmp_path: Path) -> None:
    path = tmp_path / "kubeadm-flags.env"
    written = 'KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.1 --pod-infra-container-image=r/pause:3.10.1 --v=2"\n'
    path.write_text(written)
    path.chmod(0o644)
    assert kubelet_flags.drop_left_behind("1.34.9", path) == [] and path.read_text() == written, "a kubelet of 1.34 knows it"
    assert kubelet_flags.drop_left_behind("1.36.3", path) == ["pod-infra-container-image"]
    assert path.read_text() == 'KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.1 --v=2"\n' and path.stat().st_mode & 0o777 == 0o644
    assert kubelet_flags.drop_left_behind("1.36.3", path) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('A="--pod-infra-container-image=p"', 'A=""'),
        ('A="--x --pod-infra-container-image=p"', 'A="--x "'),
        ('A="--pod-infra-container-image p --x=1"', 'A="--x=1"'),
        ('A="--x=--pod-infra-container-image=p"', 'A="--x=--pod-infra-container-image=p"'),
    ],
)
def test_only_that_flag_goes(tmp_path: Path, before, after) -> None:
    path = tmp_path / "kubeadm-flags.env"
    path.write_text(before.replace("A=", "KUBELET_KUBEADM_ARGS="))
    kubelet_flags.drop_left_behind("1.36.3", path)
    assert path.read_text() == after.replace("A=", "KUBELET_KUBEADM_ARGS=")


# APIs


def test_what_an_api_server_was_asked_for() -> None:
    metrics = (
        "# HELP apiserver_requested_deprecated_apis [STABLE] Gauge\n"
        'apiserver_requested_deprecated_apis{group="",removed_release="",resource="endpoints",subresource="",version="v1"} 1\n'
        'apiserver_requested_deprecated_apis{group="a.b",removed_release="1.36",resource="cs",subresource="status",version="v1alpha1"} 1\n'
        'apiserver_requested_deprecated_apis{group="a.c",removed_release="1.36",resource="cs",subresource="",version="v1"} 0\n'
    )
    assert apis.requested(metrics) == ["a.b/v1alpha1/cs", "v1/endpoints"]


@pytest.mark.parametrize("compressed", [True, False])
def test_the_manifest_of_a_helm_release(compressed) -> None:
    content = json.dumps({"manifest": "kind: A\n"}).encode()
    assert apis.helm_manifest(base64.b64encode(gzip.compress(content) if compressed else content)) == "kind: A\n"


@pytest.mark.parametrize("record", [b"", b"!!", b"AAAA", base64.b64encode(b"\x1f\x8bbroken"), base64.b64encode(b"[1]")])
def test_the_record_of_a_release_that_can_not_be_read(record) -> None:
    assert apis.helm_manifest(record) == ""


def test_kinds_of_a_manifest() -> None:
    text = (
        '---\n# Source: a\napiVersion: "apps/v1"\nkind: Deployment\nspec:\n  kind: no\n'
        "--- # more\nkind: 'ConfigMap'\napiVersion: v1\ndata:\n  apiVersion: x/v1\n---\napiVersion: v1\n"
    )
    assert apis.kinds_of(text) == {("apps/v1", "Deployment"), ("v1", "ConfigMap")}


@given(st.text("abcdefghijklmnopqrstuvwxyz./0123456789", min_size=1, max_size=60), st.text("ABCdef", min_size=1, max_size=60), st.binary())
def test_the_type_of_a_stored_object(api_version, kind, rest) -> None:
    def field(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    inner = field(1, api_version.encode()) + field(2, kind.encode())
    if len(inner) < 128:
        assert apis.type_of(b"k8s\x00" + field(1, inner) + rest) == (api_version, kind)


@given(st.binary())
def test_whatever_is_stored_is_read_without_an_error(value) -> None:
    apis.type_of(value)
    apis.type_of(b"k8s\x00" + value)
    apis.type_of(b"{" + value)


def test_the_apis_that_go() -> None:
    assert judge.going("1.36.3") == [
        "certificates.k8s.io/v1alpha1/podcertificaterequests",
        "scheduling.k8s.io/v1alpha1/workloads",
        "storage.k8s.io/v1alpha1/volumeattributesclasses",
        "storagemigration.k8s.io/v1alpha1/storageversionmigrations",
    ]
    assert judge.going("1.34.4") == [] == judge.going("1.99.0")


# Judgement of a cluster, where no real one can be made to differ


def etcd(**change) -> dict:
    member = {"name": "cp-1", "learner": False, "healthy": True, "version": "3.6.5", "size": 1, "in_use": 1, "quota": 2 * 1024**3}
    return {"members": [{**member, **change}], "alarms": [], "problem": ""}


OBSERVED = {
    "api_servers": [{"node": "cp-1", "address": "10.0.0.11", "version": "1.34.4", "problem": ""}],
    "etcd": etcd(),
    **{name: [] for name in ("static_pods", "kube_proxies", "nodes", "system_pods", "daemon_sets", "requested", "stored", "written")},
    **{name: [] for name in ("helm", "api_services", "webhooks", "conversions", "budgets", "rotating", "unprotected", "single")},
}
DOCUMENTS = {"ClusterConfiguration": {}, "KubeletConfiguration": {}, "KubeProxyConfiguration": None}
ALONE = ("UPGRADE_CONTROL_PLANE_SINGLE", "cluster")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, []),
        ({"etcd": etcd(version="3.7.0")}, [("UPGRADE_SKEW_ETCD", "etcd/cp-1")]),
        ({"etcd": etcd(version="3.5.21")}, []),
        ({"etcd": etcd(version="3.4.30")}, [("UPGRADE_SKEW_ETCD", "etcd/cp-1")]),
        ({"etcd": etcd(size=1024**3, in_use=1024**2)}, [("UPGRADE_ETCD_FRAGMENTED", "etcd/cp-1")]),
        ({"etcd": etcd(size=1024**3, in_use=1024**3 - 1)}, []),
        ({"rotating": ["etcd"]}, [("UPGRADE_CA_ROTATION", "authority/etcd")]),
        ({"requested": ["carts.example.com/v1/carts", "v1/endpoints"]}, []),
        (
            {
                "daemon_sets": [
                    {"title": "calico-system/node", "images": ["quay.io/calico/node:v3.31.3"], "wanted": 1, "ready": 1, "stale": False}
                ]
            },
            [("UPGRADE_NETWORK_PLUGIN_UNTESTED", "daemonset/calico-system/node")],
        ),
        (
            {
                "daemon_sets": [
                    {"title": "calico-system/node", "images": ["quay.io/calico/node:v3.32.0"], "wanted": 1, "ready": 1, "stale": False}
                ]
            },
            [],
        ),
    ],
)
def test_a_cluster(change, expected) -> None:
    wanted = replace(WANTED, available=("1.35.4", "1.36.3"), etcd={"1.35.4": "3.6.6", "1.36.3": "3.6.8"})
    findings, path = judge.cluster({**OBSERVED, **change}, DOCUMENTS, wanted)
    assert found(findings) == sorted([ALONE, *expected])
    assert [hop.version for hop in path] == ["1.35.4", "1.36.3"]


PROXY_POD, PROXY_SET = "pod/kube-system/kube-proxy-abcde", "daemonset/kube-system/kube-proxy"
BROKEN = [("UPGRADE_DAEMON_SET_INCOMPLETE", PROXY_SET), ("UPGRADE_SYSTEM_POD_NOT_READY", PROXY_POD)]


@pytest.mark.parametrize(
    ("kubelet", "lacks", "ready", "expected"),
    [
        # A worker that was left out of an upgrade comes back: the images of the new kube-proxy never came to it.
        ("1.35.4", True, 1, [("UPGRADE_SYSTEM_POD_LACKS_IMAGE", PROXY_POD)]),
        ("1.35.4", False, 1, BROKEN),
        ("1.36.3", True, 1, BROKEN),
        # One more is missing than waits for its image.
        ("1.35.4", True, 0, [BROKEN[0], ("UPGRADE_SYSTEM_POD_LACKS_IMAGE", PROXY_POD)]),
    ],
)
def test_images_that_the_upgrade_brings_do_not_block_it(kubelet, lacks, ready, expected) -> None:
    node = {"control_plane": False, "runtime": "containerd://2.2.9", "ready": True, "why": "", "cordoned": False, "pressure": []}
    pod = {"title": "kube-system/kube-proxy-abcde", "node": "worker-1", "daemon_set": "kube-system/kube-proxy", "lacks_image": lacks}
    change = {
        "api_servers": [{**OBSERVED["api_servers"][0], "version": "1.36.3"}],
        "nodes": [{**node, "name": "worker-1", "kubelet": kubelet}],
        "system_pods": [pod],
        "daemon_sets": [{"title": "kube-system/kube-proxy", "images": [], "wanted": 2, "ready": ready, "stale": False}],
    }
    findings, _path = judge.cluster({**OBSERVED, **change}, DOCUMENTS, replace(WANTED, available=("1.36.3",)))
    assert found(findings) == sorted([ALONE, *expected])


def test_a_cluster_whose_api_does_not_answer() -> None:
    silent = {"api_servers": [{**OBSERVED["api_servers"][0], "version": ""}], "etcd": etcd(), "silent": "10.0.0.11:6443: refused"}
    findings, path = judge.cluster(silent, {}, WANTED)
    assert found(findings) == [("UPGRADE_API_SERVER_NOT_READY", "kube-apiserver"), ALONE] and path == []


def test_an_upgrade_that_stopped_half_way_goes_on() -> None:
    """Two of three control planes are on the first hop, with all their parts."""
    servers = [
        {**OBSERVED["api_servers"][0], "node": f"cp-{n}", "version": version} for n, version in enumerate(("1.35.4", "1.35.4", "1.34.4"), 1)
    ]
    names = ("kube-controller-manager", "kube-scheduler")
    pods = [
        {"component": name, "node": one["node"], "version": one["version"], "image": "", "arguments": {}}
        for one in servers
        for name in names
    ]
    nodes = [
        {"name": one["node"], "control_plane": True, "kubelet": one["version"], "runtime": "containerd://2.2.9", "ready": True, "why": "",
         "cordoned": False, "pressure": []} for one in servers
    ]  # fmt: skip
    wanted = replace(WANTED, available=("1.35.4", "1.36.3"))
    etcds = {**etcd(), "members": [{**etcd()["members"][0], "name": one["node"]} for one in servers]}
    findings, path = judge.cluster(
        {**OBSERVED, "api_servers": servers, "static_pods": pods, "nodes": nodes, "etcd": etcds}, DOCUMENTS, wanted
    )
    assert found(findings) == [] and [hop.version for hop in path] == ["1.35.4", "1.36.3"]


# What people may have written by hand is odd at times, and is for kubeadm to refuse.
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "value", "extraArgs", "featureGates", "x"]), inner)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(["apiServer", "scheduler", "featureGates", "kind", "apiVersion"]), ODD), ODD)
def test_odd_documents_are_judged_without_an_error(document, kubelet) -> None:
    documents = {"ClusterConfiguration": document, "KubeletConfiguration": kubelet if isinstance(kubelet, dict) else None}
    judge.cluster(OBSERVED, documents, replace(WANTED, available=("1.35.4", "1.36.3")))


# The module's result


PARAMETERS = {
    "scope": "node",
    "kubernetes_version": "v1.36.3",
    "nodes": None,
    "available_versions": None,
    "acknowledge": [],
    "interrupted": [],
    "backup_store": True,
    "unready_workers": 0,
    "certificate_days": 30,
    "etcd_size_percent": 80,
    "disk_free_mib": 2048,
    "fail": True,
}


def test_a_blocker_fails_the_task_and_says_all() -> None:
    observed = {**SOUND, "images_missing": ["r/a:1", "r/b:1"], "kubelet_configuration": ""}
    answer = action.judged(observed, PARAMETERS, NOW)
    assert answer["failed"] and answer["code"] == "UPGRADE_BLOCKED" and answer["msg"].count("UPGRADE_IMAGE_MISSING") == 2
    assert "failed" not in action.judged(observed, {**PARAMETERS, "fail": False}, NOW) and answer["blocked"]
    accepted = action.judged(observed, {**PARAMETERS, "acknowledge": ["UPGRADE_IMAGE_MISSING"]}, NOW)
    assert "failed" not in accepted and not accepted["blocked"] and len(accepted["findings"]) == 2
    assert set(accepted["findings"][0]) == {"code", "severity", "object", "message", "remedy", "acknowledged"}


@pytest.mark.parametrize("text", [None, "", "- 1\n", "a: [", "text"])
def test_a_document_that_can_not_be_read(text) -> None:
    assert action.document(text) is None
