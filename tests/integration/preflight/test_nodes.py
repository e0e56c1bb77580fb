# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates that the real kubeadm made, for a time that is too short, and their twins that only live longer."""

from __future__ import annotations

import json
import subprocess
import time
from pathlib import Path

import control_plane
import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.preflight import judge, node
from upgrade_world import LIVE, TARGET


def make(root: Path, leaf_days: int, authority_days: int) -> None:
    """Let kubeadm make the certificates and kubeconfigs of a control plane below ``root``."""
    pki, config = root / "etc/kubernetes/pki", root / "kubeadm.json"
    documents = [
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "InitConfiguration",
            "nodeRegistration": {"name": "cp-1"},
            "localAPIEndpoint": {"advertiseAddress": "10.0.0.11"},
        },
        {
            "apiVersion": "kubeadm.k8s.io/v1beta4",
            "kind": "ClusterConfiguration",
            "kubernetesVersion": f"v{LIVE}",
            "certificatesDir": str(pki),
            "encryptionAlgorithm": "ECDSA-P256",
            "certificateValidityPeriod": f"{24 * leaf_days}h",
            "caCertificateValidityPeriod": f"{24 * authority_days}h",
        },
    ]
    config.write_text("\n---\n".join(json.dumps(document) for document in documents))
    program = control_plane.bundle(root, LIVE) / "bin/amd64/kubeadm"
    for phase in (["certs", "all"], ["kubeconfig", "admin", f"--kubeconfig-dir={root / 'etc/kubernetes'}"]):
        done = subprocess.run([program, "init", "phase", *phase, f"--config={config}"], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("leaf_days", "authority_days", "code", "files"),
    [
        (10, 3650, "UPGRADE_CERTIFICATE_EXPIRES", {"apiserver.crt", "etcd/server.crt", "front-proxy-client.crt", "../admin.conf"}),
        (365, 3650, "", set()),
        (9, 10, "UPGRADE_CA_EXPIRES", {"ca.crt", "etcd/ca.crt", "front-proxy-ca.crt"}),
    ],
    ids=["leaves", "sound", "authorities"],
)
def test_certificates(tmp_path: Path, leaf_days: int, authority_days: int, code: str, files: set[str]) -> None:
    make(tmp_path, leaf_days, authority_days)
    observed = node.observe("cp-1", node.Wanted(), tmp_path)
    observed.update(containerd={"problem": ""}, cgroup_v2=True)
    findings = judge.node(observed, None, judge.Wanted(TARGET, time.time()))
    found = {one.object for one in findings if one.code == code}
    assert {f"node/cp-1:{(tmp_path / 'etc/kubernetes/pki' / name).resolve()}" for name in files} <= found
    # Leaves of an authority that ends are found with it.
    assert {one.code for one in findings} == ({code, "UPGRADE_CERTIFICATE_EXPIRES"} if authority_days < 30 else {code} - {""})
