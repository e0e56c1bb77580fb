# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a node is and has (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

import json
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ._command import SEARCH_PATH, run
from ._os_families import find_family, os_release
from ._state import STATE_DIR, read_json

# https://kubernetes.io/docs/reference/labels-annotations-taints/#kubernetes-io-arch
ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# Bit of CAP_SYS_RESOURCE in the capability sets of /proc/<pid>/status, see capabilities(7).
CAP_SYS_RESOURCE = 24
# Called by kubelet, kube-proxy, the CNI plugins and kubeadm's preflight.
NEEDED_COMMANDS = ("conntrack", "ip", "iptables", "mount", "ethtool", "nsenter", "openssl", "tc", "diff")


def architecture() -> str:
    """Return the machine's architecture as Kubernetes names it."""
    return ARCHITECTURES.get(platform.machine(), platform.machine())


def describe(commands: Sequence[str] = ()) -> dict[str, Any]:
    """Return the facts of the module `node_info`.

    :param commands: further commands whose absence matters.
    """
    release = os_release()
    family = find_family(release)
    bounding = next(line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if line.startswith("CapBnd"))
    return {
        "cgroup_version": 2 if Path("/sys/fs/cgroup/cgroup.controllers").exists() else 1,
        "may_raise_resource_limits": bool(int(bounding.split()[1], 16) >> CAP_SYS_RESOURCE & 1),
        "architecture": architecture(),
        "os_id": release.get("ID", ""),
        "os_family": family.name if family else None,
        "packages": list(family.packages) if family else None,
        "site_settings": bool(read_json(STATE_DIR / "files-of-site.json")),
        "swap_bytes": sum(int(line.split()[3]) * 1024 for line in Path("/proc/swaps").read_text(encoding="utf-8").splitlines()[1:]),
        "missing_commands": [name for name in (*NEEDED_COMMANDS, *commands) if not shutil.which(name, path=SEARCH_PATH)],
        "interfaces": interfaces(),
    }


def interfaces() -> dict[str, str]:
    """Return the network interface of each IPv4 address; nothing on a machine that has no `ip` yet."""
    if not shutil.which("ip", path=SEARCH_PATH):
        return {}
    links = json.loads(run(["ip", "-json", "-family", "inet", "address", "show"]) or "[]")
    return {entry["local"]: link["ifname"] for link in links for entry in link.get("addr_info", []) if "local" in entry}
