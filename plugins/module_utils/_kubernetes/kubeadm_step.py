# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm init and join, which make a machine a node, as one step of it (private to flotilla.kubernetes).

A step that began and did not end is undone first. Python 3.9, standard library only.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import staged_restore
from .authorities import PKI, ROTATION, SIGNING_FILE
from .client import as_json_documents
from .membership import membership
from .node_step import RUN_COMMAND, SLICE, NodeStep, advance

ETCD_DATA = Path("/var/lib/etcd")

_UNDO = """
stage=undo
vip=/etc/kubernetes/manifests/kube-vip.yaml
# It is not kubeadm's, but kubeadm takes it away, and without it nobody has the API's address.
if [ -e "$vip" ]; then cp -p "$vip" "$folder/"; fi
timeout --kill-after=10 "$limit" kubeadm reset --force || code=$?
if [ -e "$folder/kube-vip.yaml" ]; then cp -p "$folder/kube-vip.yaml" "$vip"; fi
"""
_RESTORE = """
if [ "$code" -eq 0 ]; then stage=restore; timeout --kill-after=10 "$limit" sh "$folder/restore.sh" || code=$?; fi
"""
_RESTORED = f"""
if [ "$code" -eq 0 ]; then mv {staged_restore.STAGED}/{staged_restore.NOTE} {staged_restore.RESTORED} && rm -rf {staged_restore.STAGED}; fi
"""
# It is there when kubeadm begins, from the backup.
_RESTORED_ETCD = "DirAvailable--var-lib-etcd"
# After what an earlier try left was undone, and before the controller-manager starts that reads it.
_SIGNING = f"""
if [ "$code" -eq 0 ]; then mkdir -p -m 0700 {ROTATION} && install -m 0600 "$folder/signing.crt" {SIGNING_FILE} || code=$?; fi
"""
# The API server takes it while it runs.
_CHAIN = f"""
if [ "$code" -eq 0 ]; then cat "$folder/chain.crt" >> {PKI}/apiserver.crt || code=$?; fi
"""
_RESTART_KUBELET = """
if [ "$code" -eq 0 ]; then systemctl restart kubelet || true; fi
"""


@dataclass(frozen=True)
class Step(NodeStep):
    """What makes this machine a node.

    :param name: ``init`` or ``join``.
    :param timeout: seconds that kubeadm may take; undoing an interrupted step may take as long again.
    :param prepare: called each time before kubeadm is started, while nobody else is at work.
    :param before_undo: called before a step that did not end is undone.
    :param restart_kubelet: whether to start the kubelet anew at the end. That of a control plane that joins runs long before the API server
        next to it, the only one that it asks, and would look for its pods in pauses that have grown to half a minute:
        https://pkg.go.dev/k8s.io/client-go/tools/cache#NewReflectorWithOptions.
    :param signing_certificate: of the authority (PEM) whose key signs, while two are trusted.
    :param chain: what its API server shows beside its certificate meanwhile (PEM).
    """

    name: str
    title: str
    documents: Sequence[dict[str, Any]]
    ignore_preflight_errors: Sequence[str]
    timeout: int
    prepare: Callable[[], object] | None = None
    before_undo: Callable[[], object] | None = None
    restart_kubelet: bool = False
    signing_certificate: str = ""
    chain: str = ""

    def state(self) -> str:
        return membership()

    def done(self, state: str) -> bool:
        return state == "member"

    def start(self, folder: Path) -> tuple[str, Sequence[str]]:
        if self.prepare:
            self.prepare()
        if ETCD_DATA.exists():
            # kubeadm makes it so, but leaves one that is there already, such as the root of a disk of its own.
            ETCD_DATA.chmod(0o700)
        undo = membership() == "unfinished"
        if undo and self.before_undo:
            self.before_undo()
        config = folder / "kubeadm.json"
        config.touch(mode=0o600)
        config.write_text(as_json_documents(list(self.documents)), encoding="utf-8")
        restore, restored = self._restore(folder)
        if self.signing_certificate:
            (folder / "signing.crt").write_text(self.signing_certificate, encoding="ascii")
        (folder / "chain.crt").write_text(self.chain, encoding="ascii")
        signing, chain = _SIGNING if self.signing_certificate else "", _CHAIN if self.chain else ""
        parts = [_UNDO if undo else "", signing, restore, RUN_COMMAND, restored, chain, _RESTART_KUBELET if self.restart_kubelet else ""]
        return "".join(parts), self.command(config)

    def _restore(self, folder: Path) -> tuple[str, str]:
        """Return what comes before and after kubeadm where a backup lies here for the first control plane to begin with."""
        staged = staged_restore.staged() if self.name == "init" else {}
        if not staged:
            if self.name == "init":
                staged_restore.RESTORED.unlink(missing_ok=True)
            return "", ""
        (folder / "restore.sh").write_text(staged_restore.script(staged), encoding="utf-8")
        return _RESTORE, _RESTORED

    def command(self, config: Path) -> list[str]:
        words = ["kubeadm", self.name, f"--config={config}"]
        ignored = [*self.ignore_preflight_errors]
        if self.name == "init" and staged_restore.staged():
            ignored.append(_RESTORED_ETCD)
        if ignored:
            words.append(f"--ignore-preflight-errors={','.join(ignored)}")
        if self.name == "init":
            words.append("--skip-token-print")
        return words

    def phase(self, known: Sequence[str]) -> str:
        return "joining etcd" if self.name == "join" and known[-1:] == ["etcd"] else super().phase(known)


def run(step: Step, token: str | None, check_mode: bool) -> dict[str, Any]:
    """Return the result of a module that does the step: a prediction, or that of one slice.

    :param token: ``progress_token`` of the slice before; None for the first one.
    :raises FlotillaError: see `advance`.
    """
    if check_mode:
        found = membership()
        result: dict[str, Any] = {"changed": found != "member", "membership": found}
    else:
        result = advance(step, token, SLICE)
        if "found" in result:
            result["membership"] = result.pop("found")
    if result.get("changed"):
        result["diff"] = {"before": {"membership": result["membership"]}, "after": {"membership": "member"}}
    return result
