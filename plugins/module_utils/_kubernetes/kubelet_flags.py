# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The flags that kubeadm gives to a node's kubelet (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from .._files import write_atomically
from .versions import Version

# https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/kubelet-integration/
KUBEADM_FLAGS = Path("/var/lib/kubelet/kubeadm-flags.env")
# Flag that an older kubeadm wrote -> the first version whose kubelet does not start with it. Only the kubeadm of that minor takes it out in
# an upgrade, and a worker may skip that minor: https://github.com/kubernetes/kubernetes/blob/v1.36.3/cmd/kubeadm/app/cmd/phases/upgrade/postupgrade.go
LEFT_BEHIND = {"pod-infra-container-image": Version(1, 35, 0)}


def read_flags(text: str) -> dict[str, str]:
    """Return the flags that a file of environment variables gives to kubelet."""
    flags = {}
    for value in re.findall(r"^\s*(?:export\s+)?KUBELET_\w+=(.*)$", text, re.MULTILINE):
        try:
            words = [word for part in shlex.split(value) for word in shlex.split(part)]
        except ValueError:
            continue
        for word, after in zip(words, [*words[1:], ""]):
            if word.startswith("--"):
                name, equals, given = word[2:].partition("=")
                flags[name] = given if equals else "true" if after.startswith("--") else after or "true"
    return flags


def drop_left_behind(version: str, path: Path = KUBEADM_FLAGS) -> list[str]:
    """Take out of kubeadm's file what the kubelet of ``version`` would not start with; return the names of these flags."""
    try:
        before = path.read_text(encoding="utf-8")
    except OSError:
        return []
    present = read_flags(before)
    gone = [name for name, since in LEFT_BEHIND.items() if name in present and Version.parse(version) >= since]
    after = before
    for name in gone:
        after = re.sub(rf"(?<=[\s\"'])--{name}[= ][^\s\"']*\s?", "", after)
    if after != before:
        write_atomically(path, after.encode(), path.stat().st_mode & 0o777)
    return gone
