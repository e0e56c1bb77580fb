#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_addons
short_description: Install, change and remove what runs beside Kubernetes
version_added: "0.1.0"
description:
  - Runs on a live control plane. The cluster has the add-ons in O(addons) afterwards, each as its objects say, and no other that this
    module installed before.
  - Objects are applied by server-side apply. Namespaces and definitions of kinds come first, then what runs, and objects of the add-on's
    own kinds when that is up. An add-on is up when its Deployments, DaemonSets, StatefulSets, Jobs and APIServices are.
  - Each add-on is an ApplySet of Kubernetes, whose parent is the ConfigMap C(flotilla-addon-<name>) in C(kube-system). An object that an
    add-on does not have any more is deleted, and so is all of an add-on that is not among O(addons). A namespace that was there before
    stays.
  - Objects that somebody else made are not touched, and an add-on that something of the users needs is not removed. Both are found before
    anything is changed.
  - The work is done in slices with a line of progress each. A run that was killed is simply repeated.
options:
  addons:
    description: All add-ons that the cluster is to have, in the order in which they are installed.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Its name, a DNS label.
        type: str
        required: true
      version:
        description: What is kept with the set, for people and M(flotilla.kubernetes.cluster_info).
        type: str
        required: true
      objects:
        description: Its objects.
        type: list
        elements: dict
        required: true
  adopt:
    description: Objects of others that become part of an add-on, as RV(differences[].object) writes them.
    type: list
    elements: str
    default: []
  give_up:
    description: Add-ons that are removed although something needs them.
    type: list
    elements: str
    default: []
  timeout:
    description: How long it may take until all are up or gone, like V(90s) or V(10m).
    type: str
    default: 10m
  progress_token:
    description: Where the last slice stopped; the action plugin of the same name gives it.
    type: str
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: One add-on of one object, and no other
  flotilla.kubernetes.cluster_addons:
    address: 10.0.0.11
    addons:
      - name: limits
        version: 1.0.0
        objects:
          - apiVersion: scheduling.k8s.io/v1
            kind: PriorityClass
            metadata: {name: shop}
            value: 1000
            description: Pods of the shop

- name: None at all
  flotilla.kubernetes.cluster_addons:
    address: 10.0.0.11
    addons: []
"""

RETURN = r"""
differences:
  description: The objects that were not as they should be.
  returned: success
  type: list
  elements: dict
  contains:
    addon: {description: The add-on that it is of., type: str, returned: always, sample: metrics-server}
    object: {description: "Kind, namespace and name.", type: str, returned: always, sample: Deployment/kube-system/metrics-server}
    action: {description: "C(create), C(change) or C(delete).", type: str, returned: always, sample: create}
  sample: [{addon: metrics-server, object: Deployment/kube-system/metrics-server, action: create}]
"""

import json
import time
from typing import Any

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.addon_step import Addons, Change, Wanted, as_diff
from ..module_utils._kubernetes.apply_set import checked
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.duration import parse_duration
from ..module_utils._kubernetes.own_api_server import ADDRESS, USER, reached

_SLICE = 10.0  # seconds


def run(client: Client, params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Return the module's result, or what to say after a slice of the work.

    :raises FlotillaError: ``ADDON_NOT_UP``, or what `Addons` raises.
    """
    timeout = parse_duration(params["timeout"], "timeout")
    wanted = [Wanted(one["name"], one["version"], checked(one["objects"], f"The add-on {one['name']}")) for one in params["addons"]]
    addons = Addons(client, wanted, params["adopt"], params["give_up"])
    if check_mode:
        return _result(_told(addons.look()))
    seen = json.loads(params["progress_token"]) if params["progress_token"] else {"since": time.time(), **_told([])}
    made, waits = addons.advance(time.monotonic() + _SLICE)
    for name, entries in _told(made).items():
        seen[name] += entries
    if not waits:
        return _result(seen)
    waited = time.time() - seen["since"]
    if waited >= timeout:
        raise FlotillaError(
            "ADDON_NOT_UP",
            f"After {params['timeout']} an add-on is not as it should be. {waits}.",
            "'kubectl describe' of this object and 'kubectl get events' in its namespace say why; then run again.",
            details={"changed": bool(seen["differences"]), "differences": seen["differences"]},
        )
    return {"finished": False, "progress": [f"add-ons, since {waited:.0f} s: {waits}"], "progress_token": json.dumps(seen)}


def _told(changes: list[Change]) -> dict[str, list[Any]]:
    return {"differences": [change.as_dict() for change in changes], "diff": as_diff(changes)}


def _result(told: dict[str, Any]) -> dict[str, Any]:
    return {"changed": bool(told["differences"]), "differences": told["differences"], "diff": told["diff"]}


def main() -> None:
    module = FencedModule(
        argument_spec={
            "addons": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "version": {"type": "str", "required": True},
                    "objects": {"type": "list", "elements": "dict", "required": True},
                },
            },
            "adopt": {"type": "list", "elements": "str", "default": []},
            "give_up": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "str", "default": "10m"},
            "progress_token": {"type": "str", "no_log": False},
            **ADDRESS,
            **USER,
        },
        supports_check_mode=True,
        # Manifests are large, and may hold more than they should: the log of the node is no place for them.
        no_log=True,
    )
    try:
        with reached("Read the log of its kube-apiserver, and run again: it goes on with what is left to do."):
            result = run(Client.short_lived(module.params["address"], module.params["user"]), module.params, module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
