# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller looks at the configuration before a machine is touched."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ansible.plugins.action import ActionBase
from ansible_collections.flotilla.kubernetes.plugins.action import kubeadm_config, kubeadm_init


@pytest.fixture(params=[kubeadm_config, kubeadm_init], ids=["kubeadm_config", "kubeadm_init"])
def run(monkeypatch, request):
    """Return a function that runs the action and gives its result and how often the module was run."""

    def run(config):
        ran = []
        made = object.__new__(request.param.ActionModule)
        made._task = SimpleNamespace(args={"config": config}, action="flotilla.kubernetes.x", async_val=0)
        made._connection = SimpleNamespace(_shell=SimpleNamespace(tmpdir=None))
        made._remove_tmp_path = lambda path: None
        made._execute_module = lambda **_arguments: ran.append(1) or {"changed": True, "finished": True, "warnings": ["of the module"]}
        monkeypatch.setattr(ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
        return made.run(None, {}), len(ran)

    return run


def cluster(version="v1.36.3", **parts):
    return {"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": "ClusterConfiguration", "kubernetesVersion": version, **parts}


def arguments(**given):
    return {"extraArgs": [{"name": name.replace("_", "-"), "value": value} for name, value in given.items()]}


def test_what_the_version_takes_goes_to_the_machine(run):
    result, ran = run([cluster(apiServer=arguments(profiling="false"))])
    assert ran == 1 and result["changed"] and result["warnings"] == ["of the module"]


def test_what_it_does_not_take_is_refused_before_the_machine_is_touched(run):
    kubelet = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "maxPod": 1}
    result, ran = run([cluster(apiServer=arguments(profilng="false")), kubelet])
    assert ran == 0 and result["failed"] and not result["changed"]
    assert result["code"] == "KUBEADM_CONFIGURATION_REFUSED"
    assert result["findings"] == [
        "ClusterConfiguration.apiServer.extraArgs: --profilng is no flag of kube-apiserver in Kubernetes 1.36; did you mean --profiling?",
        "KubeletConfiguration: maxPod is no field of KubeletConfiguration in Kubernetes 1.36; did you mean maxPods?",
    ]
    assert all(finding in result["msg"] for finding in result["findings"])


def test_what_is_deprecated_is_a_warning(run):
    result, ran = run([cluster(apiServer=arguments(apiserver_count="3"))])
    assert ran == 1 and len(result["warnings"]) == 2
    assert "--apiserver-count is deprecated" in result["warnings"][1]


def test_of_a_version_without_a_table_nothing_is_known(run):
    config = [cluster(apiServer=arguments(profilng="false"))]
    assert run(config)[1] == 0
    config[0]["kubernetesVersion"] = "v1.99.0"
    assert run(config)[1] == 1


@pytest.mark.parametrize("config", [None, "text", ["text"], [{}], [cluster(apiServer=None, controllerManager={"extraArgs": {"a": "b"}})]])
def test_what_has_another_shape_is_left_to_the_module(run, config):
    assert run(config)[1] == 1
