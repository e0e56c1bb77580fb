# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Antrea with Geneve, beside kube-proxy (private to flotilla.kubernetes).

https://github.com/antrea-io/antrea/blob/main/docs/getting-started.md
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from ..released import one
from .model import TCP, UDP, NetworkPlugin, Settings, Traffic

_SERVER = re.compile(r'^kubeAPIServerOverride: ".*"$', re.MULTILINE)


def render(objects: Any, settings: Settings) -> None:
    """Set the API's address. Each agent takes its pods' addresses from the ``podCIDR`` of its Node, as the controller manager gives it."""
    data = one(objects, "ConfigMap", "antrea-config")["data"]
    workloads = [one(objects, "DaemonSet", "antrea-agent"), one(objects, "Deployment", "antrea-controller")]
    server = "{host}:{port}".format(**settings.api_endpoint) if settings.api_endpoint else ""
    for name in ("antrea-agent.conf", "antrea-controller.conf"):
        data[name], found = _SERVER.subn(lambda _match: f'kubeAPIServerOverride: "{server}"', data[name])
        if found != 1:
            raise ValueError(f"{name} has no kubeAPIServerOverride")
    # As Antrea's chart does: pods start anew when what they read at their start is another.
    checksum = hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()
    for workload in workloads:
        workload["spec"]["template"]["metadata"].setdefault("annotations", {})["checksum/config"] = checksum


ANTREA = NetworkPlugin(
    name="antrea",
    manifest="antrea.yml",
    namespace="kube-system",
    daemon_set="antrea-agent",
    render=render,
    # https://github.com/antrea-io/antrea/blob/main/docs/network-requirements.md
    traffic=(
        Traffic("overlay", UDP, 6081, 6081, "pods reach each other through Geneve of Antrea"),
        Traffic("antrea", TCP, 10349, 10351, "controller and agents of Antrea reach each other"),
        Traffic("antrea-members", UDP, 10351, 10351, "agents of Antrea know which of them live"),
    ),
    network_policy=True,
    components=("antrea",),
    compiled=False,
    images={
        f"antrea/antrea-{part}-ubuntu:latest": f"docker.io/antrea/antrea-{part}-ubuntu:v{{version}}" for part in ("agent", "controller")
    },
    # https://github.com/antrea-io/antrea/blob/main/README.md
    since="1.23",
    links=("antrea-gw0", "genev_sys_6081", "ovs-system"),
    folders=("/run/antrea", "/var/lib/antrea"),
)
