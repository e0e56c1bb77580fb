# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kube-router for pods' routes and NetworkPolicy, beside kube-proxy (private to flotilla.kubernetes).

https://github.com/cloudnativelabs/kube-router/blob/v2.10.0/docs/kubeadm.md
"""

from __future__ import annotations

import json
from typing import Any

from ..released import all_containers, one, set_environment
from .model import TCP, UDP, NetworkPlugin, Settings, Traffic, api_environment

# https://github.com/cloudnativelabs/kube-router/blob/v2.10.0/docs/tunnels.md
_FOU_PORT = 5555
_ARGUMENTS = {"run-router": "true", "run-firewall": "true", "run-service-proxy": "false", "bgp-graceful-restart": "true"}


def render(objects: Any, settings: Settings) -> None:
    """Set what kube-router does, how packets go from node to node, and the API's address.

    Networks of clouds drop packets with addresses of pods, so all go through a tunnel in UDP (FoU), which Azure lets through, too.
    """
    daemon_set = one(objects, "DaemonSet", "kube-router")
    (container,) = daemon_set["spec"]["template"]["spec"]["containers"]
    tunnel = {"enable-overlay": "false"}
    if settings.overlay:
        tunnel = {"enable-overlay": "true", "overlay-type": "full", "overlay-encap": "fou", "overlay-encap-port": str(_FOU_PORT)}
    container["args"] = [f"--{name}={value}" for name, value in {**_ARGUMENTS, **tunnel}.items()]
    for each in all_containers(daemon_set):
        # The nodes have the image from the bundle.
        each["imagePullPolicy"] = "IfNotPresent"
        set_environment(each, api_environment(settings.api_endpoint))
    data = one(objects, "ConfigMap", "kube-router-cfg")["data"]
    configuration = json.loads(data["cni-conf.json"])
    types = [plugin["type"] for plugin in configuration["plugins"]]
    if "portmap" not in types:
        # For `hostPort` of pods, as flannel has it.
        configuration["plugins"].append({"type": "portmap", "capabilities": {"portMappings": True}, "snat": True})
    data["cni-conf.json"] = json.dumps(configuration, indent=2) + "\n"


KUBE_ROUTER = NetworkPlugin(
    name="kube-router",
    manifest="kubeadm-kuberouter.yaml",
    namespace="kube-system",
    daemon_set="kube-router",
    render=render,
    traffic=(
        Traffic("overlay", UDP, _FOU_PORT, _FOU_PORT, "pods reach each other through kube-router's tunnels (FoU)"),
        Traffic("bgp", TCP, 179, 179, "kube-router tells the routes to pods from node to node (BGP)"),
    ),
    network_policy=True,
    components=("kube-router",),
    # One of the modules that it requires is at no Go module proxy within reach.
    compiled=False,
    images={"docker.io/cloudnativelabs/kube-router": "docker.io/cloudnativelabs/kube-router:v{version}"},
    links=("kube-bridge", "kube-dummy-if"),
    folders=("/var/lib/kube-router",),
)
