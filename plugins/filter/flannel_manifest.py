# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: flannel_manifest
short_description: flannel's own manifest with a cluster's settings
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Puts the pods' network into flannel's configuration, and the API's stable address into its pods' environment.
  - With that address flannel does not need the Service C(kubernetes), which works on a node only once kube-proxy has set it up. Both
    start at the same time, and a flannel that is first waits 30 seconds for nothing.
  - Has kubelet ask every two seconds whether flannel is ready, not every ten, because a new node and each step of a rolling update wait
    for it.
options:
  _input:
    description: The manifest C(kube-flannel.yml) of a flannel release.
    type: str
    required: true
  pod_cidr:
    description: Address range of the pods.
    type: str
    required: true
  api_endpoint:
    description: C(host) and C(port) of the API's stable address. Without it flannel uses the Service.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: What is applied
  ansible.builtin.debug:
    msg: >-
      {{ lookup('ansible.builtin.file', 'kube-flannel.yml')
         | flotilla.kubernetes.flannel_manifest('10.244.0.0/16', {'host': '10.0.0.5', 'port': 6443}) }}
"""

RETURN = r"""
_value:
  description: The manifest, documents of YAML.
  type: str
"""

import json
from collections.abc import Callable
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError


def flannel_manifest(manifest: str, pod_cidr: str, api_endpoint: dict[str, Any] | None = None) -> str:
    """Return the manifest: https://github.com/flannel-io/flannel/blob/master/Documentation/configuration.md.

    :raises AnsibleFilterError: it is no manifest of flannel's.
    """
    try:
        objects = [entry for entry in yaml.safe_load_all(manifest) if entry]
        by_kind = {entry["kind"]: entry for entry in objects}
        data = by_kind["ConfigMap"]["data"]
        containers = by_kind["DaemonSet"]["spec"]["template"]["spec"]["containers"]
        data["net-conf.json"] = json.dumps({**json.loads(data["net-conf.json"]), "Network": pod_cidr}, indent=2) + "\n"
        # What kubelet sets for every container stands behind what the container itself says.
        address = {f"KUBERNETES_SERVICE_{name.upper()}": str(api_endpoint[name]) for name in ("host", "port")} if api_endpoint else {}
        for container in containers:
            if "readinessProbe" in container:
                container["readinessProbe"].update(initialDelaySeconds=1, periodSeconds=2)
            if address:
                kept = [entry for entry in container.get("env", []) if entry["name"] not in address]
                container["env"] = [{"name": name, "value": value} for name, value in address.items()] + kept
    except (yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise AnsibleFilterError(
            f"kube-flannel.yml of the bundle is no manifest of flannel ({error!r}). Build the bundle again with the playbook bundle_build."
        ) from error
    return yaml.safe_dump_all(objects, sort_keys=False)


class FilterModule:
    """The filter's plugin."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"flannel_manifest": flannel_manifest}
