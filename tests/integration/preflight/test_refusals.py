# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preflight says a component of the target would not start with, the component itself refuses; it takes the sound twin."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import control_plane
import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import kubelet_flags
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.preflight import judge
from upgrade_world import LIVE, TARGET

# Component, flag, a value that the preflight finds, what the component says of it, and a value that both take.
SETTINGS = [
    ("kube-apiserver", "cloud-provider", "external", "unknown flag: --cloud-provider", None),
    ("kube-apiserver", "feature-gates", "ComponentSLIs=false", "unrecognized feature gate: ComponentSLIs", "AllAlpha=false"),
    ("kube-apiserver", "feature-gates", "DRAAdminAccess=false", "cannot set feature gate DRAAdminAccess", "DRAAdminAccess=true"),
    ("kube-apiserver", "enable-admission-plugins", "PodSecurityPolicy", "PodSecurityPolicy", "PodSecurity"),
    ("kube-controller-manager", "feature-gates", "PodIndexLabel=false", "unrecognized feature gate: PodIndexLabel", "AllAlpha=false"),
    ("kube-scheduler", "address", "0.0.0.0", "unknown flag: --address", None),
]


@pytest.fixture(scope="module")
def target_programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp(f"programs-{TARGET}")


def says(program: Path, *arguments: str) -> str:
    """Return what a component says that has nothing to connect to; it ends, whether or not it takes its arguments."""
    done = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    return done.stdout + done.stderr


def test_a_flag_that_an_older_kubeadm_gave_to_kubelets(tmp_path: Path) -> None:
    path, refusal = tmp_path / "kubeadm-flags.env", "unknown flag: --pod-infra-container-image"
    path.write_text('KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.1 --pod-infra-container-image=registry.k8s.io/pause:3.10.1"\n')

    def kubelet(version: str) -> str:
        flags = [f"--{name}={value}" for name, value in kubelet_flags.read_flags(path.read_text()).items()]
        return says(control_plane.bundle(tmp_path, version) / "bin/amd64/kubelet", "--config=/none", *flags)

    assert refusal not in kubelet(LIVE) and refusal in kubelet(TARGET)
    kubelet_flags.drop_left_behind(TARGET, path)
    assert refusal not in kubelet(TARGET) and "--node-ip=10.0.0.1" in path.read_text()


@pytest.mark.parametrize(("gate", "refused"), [("WaitForAllControlPlaneComponents", True), ("NodeLocalCRISocket", False)])
def test_a_feature_gate_of_kubeadm(tmp_path: Path, gate: str, refused: bool) -> None:
    document = {"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration", "kubernetesVersion": f"v{TARGET}"}
    config = tmp_path / "kubeadm.json"
    config.write_text(json.dumps({**document, "featureGates": {gate: True}}))
    program = control_plane.bundle(tmp_path, TARGET) / "bin/amd64/kubeadm"
    done = subprocess.run([program, "config", "validate", f"--config={config}"], capture_output=True, text=True, check=False)
    assert (done.returncode != 0 and f"{gate} is not a valid feature name" in done.stderr) is refused, done.stderr
    assert bool(judge.settings([], {"ClusterConfiguration": {"featureGates": {gate: True}}}, ["1.36"])) is refused


@pytest.mark.parametrize(("component", "flag", "refused", "why", "taken"), SETTINGS, ids=[f"{one[0]}-{one[2]}" for one in SETTINGS])
def test_what_is_found_is_refused(tmp_path: Path, target_programs: Path, component: str, flag: str, refused: str, why: str, taken) -> None:
    program = control_plane.program(control_plane.bundle(tmp_path, TARGET), component, target_programs)
    # Something that each component refuses by itself, so that it ends in any case: a file that is not there.
    ends = {"kube-apiserver": ["--etcd-servers=https://127.0.0.1:1", "--etcd-cafile=/none"]}.get(component, ["--kubeconfig=/none"])
    for value, bad in ((refused, True), (taken, False)):
        given = [f"--{flag}={value}"] if value else []
        assert (why in says(program, *ends, *given)) is bad
        arguments = [(component, flag, value, "here")] if value else []
        assert bool(judge.settings(arguments, {}, ["1.36"])) is bad
