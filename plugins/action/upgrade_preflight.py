# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller's side of the module upgrade_preflight: it judges what was read (private to flotilla.kubernetes).

The tables of the minors, the catalogue of releases and a reader of YAML are on the controller only.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import yaml
from ansible.plugins.action import ActionBase
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.preflight import codes, judge
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.versions import Version


class ActionModule(ActionBase):
    """Has the machine read, and judges here."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        result = super().run(tmp, task_vars)
        try:
            going = judge.going(str(Version.parse(str(self._task.args.get("kubernetes_version", "")))))
            answer = self._execute_module(module_args={**self._task.args, "going": going}, task_vars=task_vars)
            parameters, observed = answer.pop("parameters", None), answer.pop("observed", None)
            # The result of a module that failed is passed on as it is.
            result.update(answer if parameters is None else {"changed": False, **judged(observed, parameters, time.time())})
        except FlotillaError as error:
            result.update(failed=True, changed=False, **error.as_result())
        result.pop("invocation", None)
        return result


def judged(observed: Mapping[str, Any], parameters: Mapping[str, Any], now: float) -> dict[str, Any]:
    """Return the result of the module.

    :param parameters: of the module, as it understood them.
    :param now: seconds since the epoch.
    :raises FlotillaError: an acknowledgement names no finding.
    """
    wanted = wanted_of(parameters, now)
    if parameters["scope"] == "node":
        further: dict[str, Any] = {}
        found = judge.node(observed, document(observed["kubelet_configuration"]), wanted)
    else:
        documents = {kind: document(text) for kind, text in observed.get("records", {}).items()}
        found, path = judge.cluster(observed, documents, wanted)
        further = {"path": [hop.as_dict() for hop in path], "versions": running(observed)}
    findings = codes.acknowledge(found, parameters["acknowledge"], parameters["interrupted"])
    blocking = [finding for finding in findings if finding.blocks]
    result = {"findings": [finding.as_dict() for finding in findings], "blocked": bool(blocking), **further}
    if blocking and parameters["fail"]:
        lines = "\n".join(f"  {finding.code} {finding.object}: {finding.message} {finding.remedy}" for finding in blocking)
        result.update(failed=True, code="UPGRADE_BLOCKED", msg=f"The upgrade to Kubernetes {wanted.version} is blocked:\n{lines}")
    return result


def wanted_of(parameters: Mapping[str, Any], now: float) -> judge.Wanted:
    """Return what the upgrade is to come to, with what this release of the collection would install."""
    version = str(Version.parse(parameters["kubernetes_version"]))
    releases = {release.kubernetes: release.components for release in catalogue.RELEASES}
    same = ("unready_workers", "backup_store", "certificate_days", "etcd_size_percent", "disk_free_mib")
    available = parameters["available_versions"]
    return judge.Wanted(
        version,
        now,
        available=tuple(releases if available is None else available),
        etcd={known: components["etcd"] for known, components in releases.items()},
        flannel=releases.get(version, {}).get("flannel", ""),
        nodes=None if parameters["nodes"] is None else frozenset(parameters["nodes"]),
        **{name: parameters[name] for name in same},
    )


def document(text: str | None) -> dict[str, Any] | None:
    """Return the document in a text of YAML, or None where there is none that can be read."""
    try:
        found = yaml.safe_load(text or "")
    except yaml.YAMLError:
        return None
    return found if isinstance(found, dict) else None


def running(observed: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Return component -> node -> version."""
    found = {
        "kube-apiserver": {one["node"]: one["version"] for one in observed["api_servers"]},
        "kubelet": {one["name"]: one["kubelet"] for one in observed.get("nodes", ())},
        "kube-proxy": {one["node"]: one["version"] for one in observed.get("kube_proxies", ())},
        "etcd": {one["name"]: one["version"] for one in observed["etcd"]["members"]},
    }
    for pod in observed.get("static_pods", ()):
        found.setdefault(pod["component"], {}).setdefault(pod["node"], pod["version"])
    return found
