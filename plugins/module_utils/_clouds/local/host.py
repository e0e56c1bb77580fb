# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the local cloud needs of the host: disk, memory, kernel features, kernel settings (private to flotilla.kubernetes)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..._errors import FlotillaError
from .session import Session

GIB = 1024**3
MIB = 1024**2

# Estimates of what a machine takes after an ordinary install (images unpacked, etcd, logs), and of an image that is yet to be made.
DISK_IMAGE = 1 * GIB
DISK = {"control_plane": 2 * GIB + GIB // 2, "worker": 1 * GIB + GIB // 2}
DISK_RESERVE = 2 * GIB
MEMORY = {"control_plane": 700 * MIB, "worker": 300 * MIB}

# A kubelet and its containers take some hundred inotify instances, and the host's limit is shared by all machines.
MINIMUM_SETTINGS = {"fs.inotify.max_user_instances": 8192, "fs.inotify.max_user_watches": 524288}
FORWARDING = "net.ipv4.ip_forward"
# kubelet sets these where it runs, and a machine shares the host's kernel:
# https://github.com/kubernetes/kubernetes/blob/v1.36.3/staging/src/k8s.io/component-helpers/node/util/sysctl/sysctl.go
KUBELET_SETTINGS = {
    "vm.overcommit_memory": "1",
    "kernel.panic": "10",
    "kernel.panic_on_oops": "1",
    "kernel.keys.root_maxkeys": "1000000",
    "kernel.keys.root_maxbytes": "25000000",
}

# Module -> a path that exists when the kernel has the feature, built in or loaded.
KERNEL_FEATURES = {
    "br_netfilter": "/proc/sys/net/bridge/bridge-nf-call-iptables",
    "nf_conntrack": "/proc/sys/net/netfilter/nf_conntrack_max",
    "overlay": "/sys/module/overlay",
    "vxlan": "/sys/module/vxlan",
}


def read_setting(key: str, root: str = "/proc/sys") -> str:
    """Return the value of a sysctl."""
    return Path(root, key.replace(".", "/")).read_text().strip()


def low_settings() -> dict[str, str]:
    """Return the settings that are below their minimum, with the value that they need."""
    return {key: str(minimum) for key, minimum in MINIMUM_SETTINGS.items() if int(read_setting(key)) < minimum}


def current_settings() -> dict[str, str]:
    """Return the present values of every setting that the local cloud, podman's networking for it or kubelet changes."""
    wanted = (*MINIMUM_SETTINGS, FORWARDING, *KUBELET_SETTINGS)
    return {key: read_setting(key) for key in wanted if Path("/proc/sys", key.replace(".", "/")).exists()}


def settings_to_restore(originals: dict[str, str], current: dict[str, str], bridges: bool) -> dict[str, str]:
    """Return which settings go back to which value when the last network goes (pure).

    A value that somebody else has changed in the meantime is left alone. Forwarding stays while the host has a bridge,
    which may belong to other containers or to virtual machines that need it.
    """
    ours = {**{key: str(value) for key, value in MINIMUM_SETTINGS.items()}, FORWARDING: "1", **KUBELET_SETTINGS}
    restore = {}
    for key, original in originals.items():
        if current.get(key) == ours.get(key) and original != current[key] and not (key == FORWARDING and bridges):
            restore[key] = original
    return restore


def write_settings(session: Session, settings: dict[str, str]) -> None:
    """Set sysctls in the running kernel only: files under /etc/sysctl.d stay as they are."""
    if settings:
        session.run(
            ["sysctl", "--quiet", "--write", *(f"{key}={value}" for key, value in sorted(settings.items()))],
            code="LOCAL_KERNEL_SETTING",
            message=f"The kernel settings {', '.join(sorted(settings))} of this host can not be changed.",
            remedy="Run on a host (not in an unprivileged container) where root may change them.",
        )


def missing_features() -> list[str]:
    """Return the kernel modules whose features the kernel does not have at the moment."""
    filesystems = Path("/proc/filesystems").read_text().split()
    return [
        module
        for module, path in KERNEL_FEATURES.items()
        if not Path(path).exists() and not (module == "overlay" and "overlay" in filesystems)
    ]


def load_modules(session: Session, modules: list[str], dry_run: bool = False) -> None:
    """Load kernel modules, or with ``dry_run`` only see whether that would work; fail with the names of those that can not be had."""
    failed = {}
    for module in modules:
        options = ["--dry-run"] if dry_run else []
        done = session.run(["modprobe", *options, module], check=False)
        if done.returncode:
            failed[module] = done.stderr.strip()
    if failed:
        raise FlotillaError(
            "LOCAL_KERNEL_FEATURE",
            f"The kernel of this host lacks {', '.join(sorted(failed))}, and modprobe does not find it.",
            "Boot a kernel that has it; after a kernel update a reboot is usually what is missing.",
            cause="; ".join(failed.values()),
        )


def has_bridge(session: Session, except_for: str = "") -> bool:
    """Tell whether the host has a bridge interface other than ``except_for``."""
    text = session.run(["ip", "-json", "link", "show", "type", "bridge"], root=False).stdout
    links = json.loads(text) if text.strip() else []
    return any(link.get("ifname") not in (None, except_for) for link in links)


def require_disk(session: Session, roles: list[str], image_missing: bool) -> None:
    """Fail unless podman's storage has room for new machines of ``roles`` (and the image).

    :param roles: the role of each machine that is to be created.
    """
    needed = sum(DISK.get(role, 0) for role in roles) + (DISK_IMAGE if image_missing else 0)
    if not needed:
        return
    needed += DISK_RESERVE
    folder = session.podman("info", "--format", "{{.Store.GraphRoot}}").strip()
    available = int(session.run(["df", "--output=avail", "--block-size=1", folder]).stdout.split()[-1])
    if available < needed:
        raise FlotillaError(
            "LOCAL_DISK_SPACE",
            f"{folder} has {available / GIB:.1f} GiB free, and {len(roles)} new machines need about {needed / GIB:.1f} GiB.",
            "Free space there, lower the counts in the definition, or move podman's storage (graphroot in storage.conf).",
            details={"available_bytes": available, "needed_bytes": needed},
        )


def memory_warning(roles: list[str], meminfo: str | None = None) -> str:
    """Return a warning when the available memory is less than new machines of ``roles`` usually take, else an empty string."""
    needed = sum(MEMORY.get(role, 0) for role in roles)
    text = Path("/proc/meminfo").read_text() if meminfo is None else meminfo
    fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    if available >= needed:
        return ""
    return (
        f"{available // MIB} MiB of memory are available and {len(roles)} new machines usually take {needed // MIB} MiB: "
        "the cluster may be slow or fail to start. Lower the counts in the definition, for example with the cluster 'small'."
    )


def routes(session: Session) -> list[dict[str, Any]]:
    """Return the host's IPv4 routes of the main table, as ``ip -json route`` gives them."""
    text = session.run(["ip", "-json", "-4", "route"], root=False).stdout
    return json.loads(text) if text.strip() else []


def resolver_texts() -> list[str]:
    """Return the host's resolver files, systemd-resolved's own view second."""
    texts = []
    for path in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        try:
            texts.append(Path(path).read_text())
        except OSError:
            continue
    return texts
