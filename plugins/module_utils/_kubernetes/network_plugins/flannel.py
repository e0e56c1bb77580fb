# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""flannel with VXLAN (private to flotilla.kubernetes): https://github.com/flannel-io/flannel/blob/master/Documentation/configuration.md."""

from __future__ import annotations

import json
from typing import Any

from ..released import one, set_environment
from .model import UDP, NetworkPlugin, Settings, Traffic, api_environment


def render(objects: Any, settings: Settings) -> None:
    """Set the pods' network, the API's address and a shorter wait.

    With the API's stable address flannel does not need the Service ``kubernetes``, which works on a node only once kube-proxy has set it
    up. Both start at the same time, and a flannel that is first waits 30 seconds for nothing. kubelet asks every two seconds whether
    flannel is ready, not every ten, because a new node and each step of a rolling update wait for it.
    """
    data = one(objects, "ConfigMap")["data"]
    containers = one(objects, "DaemonSet")["spec"]["template"]["spec"]["containers"]
    data["net-conf.json"] = json.dumps({**json.loads(data["net-conf.json"]), "Network": settings.pod_cidr}, indent=2) + "\n"
    address = api_environment(settings.api_endpoint)
    for container in containers:
        if "readinessProbe" in container:
            container["readinessProbe"].update(initialDelaySeconds=1, periodSeconds=2)
        if address:
            set_environment(container, address)


FLANNEL = NetworkPlugin(
    name="flannel",
    manifest="kube-flannel.yml",
    module_path="Documentation/kube-flannel.yml",
    namespace="kube-flannel",
    daemon_set="kube-flannel-ds",
    render=render,
    traffic=(Traffic("overlay", UDP, 8472, 8472, "pods reach each other through VXLAN of flannel"),),
    network_policy=False,
    components=("flannel", "cni-flannel"),
    links=("cni0", "flannel.1"),
    folders=("/run/flannel",),
)
