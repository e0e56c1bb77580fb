# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm upgrade on one node, as a step that outlives a lost connection and a killed run (private to flotilla.kubernetes).

What comes after it on the node, kubelet and the container runtime, are files like any others: the module `node_files` brings them.
Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._command import run
from .._errors import FlotillaError
from .._files import write_atomically
from .._state import STATE_DIR, read_json
from .client import Client, short_lived_kubeconfig
from .configuration import API_SERVER, MANIFESTS, restart_kubelet
from .gates import api_server_problem
from .kubeadm import cluster_settings
from .kubelet_flags import drop_left_behind
from .live_versions import remember_applied
from .membership import kubelet_version, membership
from .node_step import RUN_COMMAND, SLICE, NodeStep, advance, read_log
from .versions import Version, of_image

DONE = "upgraded.json"
"""File of the node that says to which version kubeadm has upgraded it, and by which command."""
STATIC_PODS = (API_SERVER, "kube-controller-manager", "kube-scheduler")
# kubeadm waits five minutes for each static pod; the certificate that it calls the API with must outlive them all.
VALIDITY_MARGIN = 300  # seconds
_STATIC_POD = re.compile(r'^\[upgrade/staticpods\] Preparing for "([a-z-]+)" upgrade', re.MULTILINE)

_REMEMBER = """
if [ "$code" -eq 0 ]; then mv "$folder/upgraded.json" "${mark%/*}/upgraded.json"; fi
"""


def static_pod_versions(manifests: Path = MANIFESTS) -> dict[str, str]:
    """Return the version of each static pod of the control plane, by component; nothing on a worker."""
    found = {}
    for component in (*STATIC_PODS, "etcd"):
        try:
            text = (manifests / f"{component}.yaml").read_text(encoding="utf-8")
        except OSError:
            continue
        image = re.search(r"^\s+image: (\S+)$", text, re.MULTILINE)
        found[component] = of_image(image.group(1)) if image else ""
    return found


@dataclass(frozen=True)
class Upgrade(NodeStep):
    """What kubeadm does for a new version on this node, before its kubelet is exchanged.

    :param version: wanted, without a leading ``v``.
    :param command: ``apply`` on one control plane of the cluster, ``node`` on every other node:
        https://kubernetes.io/docs/tasks/administer-cluster/kubeadm/kubeadm-upgrade/.
    :param api_server: address of an API server that is not changed meanwhile; empty on a worker, which asks with its kubelet's credential.
    :param timeout: seconds that kubeadm may take.
    """

    version: str
    command: str
    title: str
    api_server: str
    user: str
    ignore_preflight_errors: Sequence[str]
    timeout: int

    name = "upgrade"
    mark = "upgrade.started"

    def state(self) -> str:
        """Return ``upgraded`` or ``outdated``."""
        pods = static_pod_versions()
        if any(pods[name] != self.version for name in STATIC_PODS if name in pods):
            return "outdated"
        done = read_json(STATE_DIR / DONE)
        if done.get("version") == self.version and (self.command == "node" or done.get("command") == "apply"):
            return "upgraded"
        # A kubelet is exchanged only after kubeadm; and a node may have been made with this version.
        same = kubelet_version() == self.version and not (STATE_DIR / self.mark).exists()
        return "upgraded" if same else "outdated"

    def done(self, state: str) -> bool:
        return state == "upgraded"

    def meanwhile(self, notes: dict[str, Any]) -> None:
        """Start the kubelet anew when the API server next to it, the only one that it asks, is back.

        It would ask again in pauses that have grown to half a minute and more, and kubeadm waits for what it then reports. Pods run on:
        https://pkg.go.dev/k8s.io/client-go/tools/cache#NewReflectorWithOptions.
        """
        if not self.api_server:
            return
        away = bool(api_server_problem("127.0.0.1"))
        if notes.get("away") and not away:
            restart_kubelet()
        notes["away"] = away

    def phase(self, known: Sequence[str]) -> str:
        pods = _STATIC_POD.findall(read_log(self.log))
        return f"exchanging {pods[-1]}" if pods and known[-1:] in (["upgrade/staticpods"], ["upgrade/etcd"]) else super().phase(known)

    def start(self, folder: Path) -> tuple[str, Sequence[str]]:
        if membership() != "member":
            raise FlotillaError(
                "UPGRADE_NO_MEMBER",
                "This machine is no node of a cluster, or not yet.",
                "Run cluster_apply with the cluster's present version first: it makes an interrupted join again.",
            )
        found = run(["kubeadm", "version", "--output=short"], code="KUBEADM_MISSING").strip().lstrip("v")
        if Version.parse(found) != Version.parse(self.version):
            raise FlotillaError(
                "UPGRADE_WRONG_KUBEADM",
                f"kubeadm on this machine has the version {found}, not {self.version}.",
                "Install the bundle of that version first, as the role kubernetes_upgrade does.",
            )
        write_atomically(folder / DONE, json.dumps({"version": self.version, "command": self.command}).encode(), 0o600)
        words = ["kubeadm", "upgrade", self.command]
        if self.command == "apply":
            words += [f"v{self.version}", "--yes"]
        if self.api_server:
            kubeconfig = folder / "kubeconfig"
            with short_lived_kubeconfig(self.api_server, self.user, validity=self.timeout + VALIDITY_MARGIN) as path:
                self._refuse_before_apply(Client.of_kubeconfig(path, self.api_server))
                write_atomically(kubeconfig, path.read_bytes(), 0o600)
            words.append(f"--kubeconfig={kubeconfig}")
        if self.ignore_preflight_errors:
            words.append(f"--ignore-preflight-errors={','.join(self.ignore_preflight_errors)}")
        return RUN_COMMAND + _REMEMBER, words

    def _refuse_before_apply(self, client: Client) -> None:
        """Refuse ``node`` on a control plane before ``apply`` ran on another one: kubeadm would render the recorded, former version.

        :raises FlotillaError: ``UPGRADE_NOT_APPLIED``.
        """
        recorded = cluster_settings(client)["kubernetes_version"]
        if self.command == "node" and Version.parse(recorded) != Version.parse(self.version):
            raise FlotillaError(
                "UPGRADE_NOT_APPLIED",
                f"The cluster records Kubernetes {recorded}, so this control plane can not be upgraded to {self.version} yet.",
                "Upgrade one control plane with command=apply first, as cluster_upgrade does.",
            )


def upgrade(step: Upgrade, token: str | None, check_mode: bool) -> dict[str, Any]:
    """Return the result of the module: a prediction, or that of one slice.

    :param token: ``progress_token`` of the slice before; None for the first one.
    :raises FlotillaError: see `advance`.
    """
    before = {"kubelet": kubelet_version(), **static_pod_versions()}
    if check_mode:
        result: dict[str, Any] = {"changed": not step.done(step.state())}
    else:
        result = advance(step, token, SLICE)
        result.pop("found", None)
        if result["finished"] and drop_left_behind(step.version):
            result["changed"] = True
        if result["finished"] and step.command == "apply":
            remember_applied(Client.short_lived(step.api_server, step.user), step.version)
    if result.get("changed") and check_mode:
        after = {name: version if name in ("kubelet", "etcd") else step.version for name, version in before.items()}
        result["diff"] = {"before": before, "after": after}
    return {**result, "versions": before if check_mode else {"kubelet": kubelet_version(), **static_pod_versions()}}
