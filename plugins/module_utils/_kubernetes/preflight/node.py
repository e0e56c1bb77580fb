# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one node is, as far as an upgrade has to know it: read once, changed nowhere (private to flotilla.kubernetes).

What is wrong with it is for ``judge`` to say, on the controller. Python 3.9, standard library only.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._command import run
from ..._errors import FlotillaError
from ..._installed import InstalledFiles
from .. import certificates
from ..kubelet_flags import KUBEADM_FLAGS, read_flags

EXTRA_FLAGS = ("/etc/default/kubelet", "/etc/sysconfig/kubelet")
KUBELET_CONFIGURATION = "/var/lib/kubelet/config.yaml"
UNIFIED_HIERARCHY = "/sys/fs/cgroup/cgroup.controllers"


@dataclass(frozen=True)
class Wanted:
    """What a node must have for the upgrade.

    :param files: ``dest``, ``sha256`` and ``mode`` of files.
    :param images: names of images in containerd.
    :param disk_paths: folders whose file systems need room.
    """

    files: tuple[Mapping[str, str], ...] = ()
    images: tuple[str, ...] = ()
    disk_paths: tuple[str, ...] = ()


def observe(name: str, wanted: Wanted, root: Path = Path("/")) -> dict[str, Any]:
    """Return what there is on the node ``name``, as plain data.

    :param root: of the machine's files.
    """

    def at(path: str) -> Path:
        return root / path.lstrip("/")

    containerd = _containerd()
    return {
        "node": name,
        "disks": list(_disks(at(path) for path in wanted.disk_paths)),
        "certificates": [{"path": str(one.path), "kind": one.kind, "ends": one.ends} for one in certificates.find(root)],
        "kubelet_flags": {
            "kubeadm": read_flags(_text(at(str(KUBEADM_FLAGS)))),
            **{path: read_flags(_text(at(path))) for path in EXTRA_FLAGS},
        },
        "kubelet_configuration": _text(at(KUBELET_CONFIGURATION)),
        "cgroup_v2": at(UNIFIED_HIERARCHY).exists(),
        "containerd": containerd,
        "files_missing": InstalledFiles().missing([dict(entry) for entry in wanted.files]),
        "images_missing": sorted(set(wanted.images) - set(containerd["images"])),
    }


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _disks(paths: Iterable[Path]) -> Iterator[dict[str, Any]]:
    """Yield free bytes per file system, told by the first folder that is on it; what is not there yet would be made in its parent."""
    seen = set()
    for path in paths:
        place = next((one for one in (path, *path.parents) if one.exists()), path)
        device = place.stat().st_dev
        if device not in seen:
            seen.add(device)
            found = os.statvfs(place)
            yield {"path": str(path), "free": found.f_bavail * found.f_frsize, "inodes": found.f_favail if found.f_files else None}


def _containerd() -> dict[str, Any]:
    """Return the images of containerd's Kubernetes namespace, or why it does not answer."""
    try:
        return {"images": run(["ctr", "--namespace=k8s.io", "images", "list", "--quiet"], timeout=30).split(), "problem": ""}
    except FlotillaError as error:
        return {"images": [], "problem": error.message}
