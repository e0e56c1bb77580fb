#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: certificate_authority
short_description: Do one step of the rotation of certificate authorities on one node
version_added: "0.1.0"
description:
  - The filter P(flotilla.kubernetes.authority_plan#filter) says which steps are to be done where. Each brings the files of the node to
    where it leads and restarts what runs since before they changed, so one that was killed is simply repeated.
  - Run it on one control plane after another; the role C(kubernetes_certificates) takes each out of service first.
options:
  step:
    description:
      - V(make) has kubeadm make new authorities on a control plane, beside those that sign.
      - V(share) returns them with their keys, which are secrets, and V(receive) has them on another control plane.
      - V(trust) lets the node trust the new ones, too.
      - V(reissue) lets the new ones sign on a control plane, and signs its certificates anew.
      - V(kubelet) has the kubelet's certificates signed by the new one.
      - V(drop) lets the node trust the new ones only. It is refused while a certificate of the node needs the old ones.
      - V(tidy) removes the files of the rotation.
    type: str
    required: true
    choices: [make, share, receive, trust, reissue, kubelet, drop, tidy]
  names:
    description: For V(make), which authorities are to have a successor.
    type: list
    elements: str
    choices: [kubernetes, etcd, front-proxy]
    default: []
  successors:
    description: The new authority of each name, by the SHA-256 of its public key.
    type: dict
    default: {}
  certificates:
    description: The certificate (PEM) of each new authority, for V(trust).
    type: dict
    default: {}
  shared:
    description: For V(receive), what V(share) returned on another control plane. A secret.
    type: dict
    default: {}
  address:
    description: This control plane's own address, on which its API server listens. Leave it out on a worker.
    type: str
  expires_within:
    description: For V(make), what ends within this time is followed; a new one that would be due at once is refused.
    type: str
    default: 365d
  timeout:
    description: Seconds that one component may take to come back, or the cluster to sign.
    type: int
    default: 300
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - module: flotilla.kubernetes.certificate_authority_info
"""

EXAMPLES = r"""
- name: Make a successor of the cluster's authority
  flotilla.kubernetes.certificate_authority:
    step: make
    names: [kubernetes]
    address: 10.0.0.11

- name: Trust it beside the present one
  flotilla.kubernetes.certificate_authority:
    step: trust
    successors: {kubernetes: "sha256:91ab..."}
    certificates: {"sha256:91ab...": "{{ pem }}"}
"""

RETURN = r"""
made:
  description: The authorities that were made.
  returned: for O(step=make)
  type: list
  elements: str
  sample: [kubernetes]
shared:
  description: New authorities with their keys, secrets.
  returned: for O(step=share)
  type: dict
"""

import hashlib
from pathlib import Path
from typing import Any

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes import authority_rotation as rotation
from ..module_utils._kubernetes.authorities import KUBERNETES
from ..module_utils._kubernetes.certificate_renewal import condition
from ..module_utils._kubernetes.certificates import AUTHORITY_FILES
from ..module_utils._kubernetes.configuration import COMPONENTS, processes
from ..module_utils._kubernetes.own_api_server import USER

STATE = ("/etc/kubernetes", "/var/lib/kubelet/pki")


def state() -> str:
    """Return a digest of the files that a step may change and of the processes that it may restart."""
    digest = hashlib.sha256()
    for path in sorted(path for folder in STATE for path in Path(folder).rglob("*") if path.is_file()):
        digest.update(str(path).encode() + path.read_bytes())
    running = sorted(process for name in (*COMPONENTS, "kubelet") for process, _flags, _started in processes(name))
    digest.update(str(running).encode())
    return digest.hexdigest()


def act(params: dict[str, Any]) -> dict[str, Any]:
    """Do the step and return the module's result."""
    step, successors, address, timeout = params["step"], params["successors"], params["address"] or "", params["timeout"]
    if step == "make":
        made = rotation.make(params["names"], condition(params["expires_within"], None, float("inf")), address, params["user"])
        return {"changed": bool(made), "made": made}
    if step == "share":
        return {"changed": False, "shared": rotation.share(successors)}
    if step == "receive":
        return {"changed": rotation.receive(params["shared"])}
    before = state()
    if step == "trust":
        rotation.trust(successors, params["certificates"], address, timeout)
    elif step == "reissue":
        rotation.reissue(successors, address, params["user"], timeout)
    elif step == "kubelet":
        rotation.reissue_kubelet(successors[KUBERNETES], timeout)
    elif step == "drop":
        rotation.drop(successors, address, timeout)
    else:
        rotation.tidy()
    return {"changed": state() != before}


def main() -> None:
    module = FencedModule(
        argument_spec={
            "step": {
                "type": "str",
                "required": True,
                "choices": ["make", "share", "receive", "trust", "reissue", "kubelet", "drop", "tidy"],
            },
            "names": {"type": "list", "elements": "str", "choices": list(AUTHORITY_FILES), "default": []},
            "successors": {"type": "dict", "default": {}},
            "certificates": {"type": "dict", "default": {}},
            "shared": {"type": "dict", "default": {}, "no_log": True},
            "address": {"type": "str"},
            "expires_within": {"type": "str", "default": "365d"},
            "timeout": {"type": "int", "default": 300},
            **USER,
        },
        required_if=[("step", "make", ["address"]), ("step", "reissue", ["address"])],
        supports_check_mode=True,
    )
    try:
        result = {"changed": module.params["step"] != "share"} if module.check_mode else act(module.params)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        lost = FlotillaError("API_UNREACHABLE", f"The API server was not reached, or a file not read: {error}.", "Run again.", error)
        module.fail_json(**lost.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
