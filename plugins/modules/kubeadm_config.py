#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: kubeadm_config
short_description: Bring the settings of a running cluster to one machine
version_added: "0.1.0"
description:
  - On a control plane, compares what kubeadm recorded in the cluster (the ConfigMaps C(kubeadm-config), C(kubelet-config) and
    C(kube-proxy)), the static pods of this machine and its kubelet's configuration with O(config), and brings them in line.
  - On a worker, which is a machine without O(address), takes over the kubelet configuration that the cluster records.
  - Each component that changes is waited for, and a control plane is left alone while another one is not ready. Run it with
    C(throttle=1) when O(apply=true), with C(apply=false) before that on all machines at once to see whether anything is to do.
  - On a machine that is in no cluster yet, it writes O(files) and nothing else.
  - Refuses, before it does anything, what can not be changed in a running cluster (version, networks, endpoint).
options:
  address:
    description: This control plane's own address, on which its API server listens.
    type: str
  config:
    description: The kubeadm documents (C(InitConfiguration) of this machine, C(ClusterConfiguration), C(KubeletConfiguration),
      C(KubeProxyConfiguration)). Needed with O(address).
    type: list
    elements: dict
    default: []
  kubelet_configuration:
    description:
      - What kubelets are to have, as RV(kubelet_configuration) of a control plane said it. For workers, so that check mode knows what
        the cluster is going to record. Without it, what it records now.
    type: str
  peers:
    description: Addresses of the other control planes that are members.
    type: list
    elements: str
    default: []
  files:
    description:
      - Files that are written first, whatever O(apply) says. Not for secrets; their content shows in diffs.
      - One of an earlier run that is no longer among them goes; while a flag of the machine's API server still names it, it stays.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Absolute path on the machine.
        type: str
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0644"
      restarts:
        description: What reads the file only when it starts, C(kube-apiserver) or the name of O(service).
        type: str
  secret_files:
    description: Files like O(files) whose content is shown nowhere, neither in diffs nor in output.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Absolute path on the machine.
        type: str
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0600"
      restarts:
        description: What reads the file only when it starts, C(kube-apiserver) or the name of O(service).
        type: str
  service:
    description: A systemd service, usually one of O(files), that is enabled, and started without waiting for it.
    type: str
  keep:
    description:
      - Whether a machine that is a member stays as it is, whoever made it; then nothing is compared but what can not be changed in a
        running cluster. One that is in no cluster yet gets O(files).
    type: bool
    default: false
  apply:
    description: Whether to change settings, or only to say whether they differ.
    type: bool
    default: true
  wait:
    description: Seconds to wait for the API server of a machine that is a member.
    type: int
    default: 0
  timeout:
    description: Seconds that one component may take to come back with its new settings.
    type: int
    default: 300
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.user
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Bring the cluster's kubelet configuration to a worker
  flotilla.kubernetes.kubeadm_config:

- name: Change the settings of the control planes, one after another
  flotilla.kubernetes.kubeadm_config:
    address: 10.0.0.11
    peers: [10.0.0.12, 10.0.0.13]
    config: "{{ kubeadm_documents }}"
  throttle: 1
"""

RETURN = r"""
differs:
  description: What differs from the wanted settings, or did before they were applied.
  returned: always
  type: list
  elements: str
  sample: [ClusterConfiguration, kube-apiserver, kubelet]
membership:
  description: V(none), V(unfinished) (a step was interrupted) or V(member), as M(flotilla.kubernetes.kubeadm_info) says it.
  returned: with O(address)
  type: str
  sample: member
api_ready:
  description: Whether the machine's own API server answers C(/readyz) with 200.
  returned: with O(address)
  type: bool
  sample: true
restore:
  description: Whether a backup lies on the machine that M(flotilla.kubernetes.etcd_restore) laid out for kubeadm to begin with.
  returned: with O(address)
  type: bool
  sample: false
cluster:
  description: What the cluster was made with.
  returned: on a control plane whose API server answers
  type: dict
  contains:
    kubernetes_version: {description: Version of the control plane., type: str, returned: success, sample: 1.36.3}
    pod_cidrs: {description: Addresses of pods., type: str, returned: success, sample: 10.244.0.0/16}
    service_cidrs: {description: Addresses of Services., type: str, returned: success, sample: 10.96.0.0/12}
    api_endpoint: {description: The API's stable address., type: str, returned: success, sample: "10.0.0.3:6443"}
kubelet_configuration:
  description: What every kubelet of the cluster is to have.
  returned: on a control plane whose API server answers
  type: str
complete:
  description: Whether nothing is left to do here. Encryption at rest goes on once every control plane has come as far as this one.
  returned: always
  type: bool
  sample: true
written:
  description: Paths of O(files) that differed.
  returned: always
  type: list
  elements: str
  sample: [/etc/kubernetes/flotilla/audit-policy.json]
removed:
  description: Paths of files of an earlier run that are no longer among O(files).
  returned: always
  type: list
  elements: str
  sample: []
"""

from pathlib import Path
from typing import Any

from ..module_utils._config_files import Change, ConfigFile, ConfigFiles, results
from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.configuration import (
    API_SERVER,
    ControlPlane,
    apply_kubelet,
    ensure_service,
    kubelet_difference,
    named_by_api_server,
    recorded_kubelet_configuration,
    restart_due,
)
from ..module_utils._kubernetes.kubeadm import cluster_settings, refuse_other_settings
from ..module_utils._kubernetes.membership import step_at_work
from ..module_utils._kubernetes.own_api_server import USER, reached
from ..module_utils._kubernetes.presence import look
from ..module_utils._restart import Restart


def wanted_files(params: dict[str, Any]) -> ConfigFiles:
    """Return the files; those of an earlier run that are no longer among them go."""
    files = [
        ConfigFile(Path(entry["dest"]), entry["content"], int(entry["mode"], 8), secret=kind == "secret_files", tag=entry["restarts"] or "")
        for kind in ("files", "secret_files")
        for entry in params[kind]
    ]
    return ConfigFiles("control-plane", files)


def write(files: ConfigFiles, may_serve: bool) -> list[Change]:
    """Write what differs and return it.

    :param may_serve: whether there may be an API server that has read the files; where there is none, kubeadm is yet to start it.
    """
    found = files.changes()
    # An API server that starts anew with the flag, before its settings are changed, would end at once without the file.
    named = named_by_api_server([change.path for change in found if change.after is None])
    changes = [change for change in found if change.path not in named]
    # One that goes is named by no flag any more, so the API server has started anew without it.
    tags = {change.tag for change in changes if change.after is not None or change.tag != API_SERVER}
    for tag in sorted(tags - {""} - (set() if may_serve else {API_SERVER})):
        Restart(tag).owe()
    files.apply(changes, stay=named)
    return changes


def kept(found: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """Return the result for a member that stays as it is.

    :param found: what `look` returned.
    """
    if found["api_ready"]:
        client = Client.short_lived(params["address"], params["user"])
        found["cluster"] = cluster_settings(client)
        refuse_other_settings(found["cluster"], params["config"], kept=True)
        found["kubelet_configuration"] = recorded_kubelet_configuration(client)
    return {**(found if params["address"] else {}), **results([]), "changed": False, "differs": [], "complete": True}


def converge(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the module says and return its result."""
    change = params["apply"] and not check_mode
    found = look(params["address"], params["wait"], wait_for_steps=False)
    member = found["membership"] == "member"
    if params["keep"] and member:
        return kept(found, params)
    files = wanted_files(params) if params["files"] or params["secret_files"] else None
    control_plane = None
    if found["api_ready"]:
        control_plane = ControlPlane(params["config"], params["address"], params["peers"], params["user"], params["timeout"])
        found["cluster"] = cluster_settings(control_plane.client)
        refuse_other_settings(found["cluster"], params["config"])
    written = [] if not files else files.changes() if check_mode else write(files, member or step_at_work())
    started = bool(params["service"]) and ensure_service(params["service"], check_mode)
    result = results(written)
    diff = result["diff"]
    differs: list[str] = []
    complete = True
    # A control plane whose API server is away can not say what the cluster records; the health gates tell of it.
    if control_plane or (member and not params["address"]):
        if control_plane:
            records, pods = control_plane.differences()
            differs = [*records, *(pod.tag for pod in pods)]
            restart = Restart(API_SERVER)
            if restart_due(restart):
                differs += [API_SERVER] if API_SERVER not in differs else []
            elif not check_mode:
                restart.pay()
            if control_plane.encryption_due:
                differs.append("encryption")
            texts = [*((kind, *texts) for kind, texts in records.items()), *((pod.tag, pod.before or "", pod.after) for pod in pods)]
            diff += [{"before_header": name, "after_header": name, "before": before, "after": after} for name, before, after in texts]
            if change and differs:
                complete = control_plane.apply(records, pods)
                # What only the former flags named.
                for key, more in results(write(files, member) if files else []).items():
                    result[key] += more
            wanted = result["kubelet_configuration"] = control_plane.kubelet_configuration
        else:
            wanted = params["kubelet_configuration"] or recorded_kubelet_configuration()
        kubelet = kubelet_difference(wanted)
        if kubelet:
            differs.append("kubelet")
            diff.append(kubelet)
            if change:
                apply_kubelet(params["timeout"])
    changed = bool(written) or started or (bool(differs) and (params["apply"] or check_mode))
    return {**(found if params["address"] else {}), **result, "changed": changed, "differs": differs, "complete": complete}


def main() -> None:
    module = FencedModule(
        argument_spec={
            "address": {"type": "str"},
            "config": {"type": "list", "elements": "dict", "default": []},
            "kubelet_configuration": {"type": "str"},
            "peers": {"type": "list", "elements": "str", "default": []},
            "files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "dest": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0644"},
                    "restarts": {"type": "str"},
                },
            },
            "secret_files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "no_log": False,
                "options": {
                    "dest": {"type": "str", "required": True},
                    "content": {"type": "str", "required": True, "no_log": True},
                    "mode": {"type": "str", "default": "0600"},
                    "restarts": {"type": "str"},
                },
            },
            "service": {"type": "str"},
            "keep": {"type": "bool", "default": False},
            "apply": {"type": "bool", "default": True},
            "wait": {"type": "int", "default": 0},
            "timeout": {"type": "int", "default": 300},
            **USER,
        },
        required_by={"address": "config"},
        supports_check_mode=True,
    )
    try:
        with reached("Run again: it goes on where it was."):
            result = converge(module.params, module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
