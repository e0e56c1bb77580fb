# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A machine before it joins a cluster and after it left (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .._command import run
from .._errors import FlotillaError
from .._haproxy import HEAD
from .._node import interfaces
from .membership import KUBELET_KUBECONFIG, STATE_DIR, membership
from .network_plugins.table import PLUGINS

# In the order in which they say more: on a control plane the kubelet talks to its own API server, people do not.
KUBECONFIGS = (Path("/etc/kubernetes/admin.conf"), KUBELET_KUBECONFIG)
# Left by kubeadm reset: https://kubernetes.io/docs/reference/setup-tools/kubeadm/kubeadm-reset/
FOLDERS = (
    "/etc/kubernetes",
    "/var/lib/kubelet",
    "/var/lib/cni",
    *(folder for plugin in PLUGINS.values() for folder in plugin.folders),
    "/etc/cni/net.d",
    "/usr/local/lib/flotilla",
)
EMPTIED = ("/var/lib/etcd",)
LINKS = tuple(link for plugin in PLUGINS.values() for link in plugin.links)
OWN_SERVICES = {
    "keepalived": "/etc/keepalived/keepalived.conf",
    "haproxy": "/etc/haproxy/haproxy.cfg",
    "flotilla-kubelet-approver": "/etc/systemd/system/flotilla-kubelet-approver.service",
}
_LISTEN = "0A"  # state of a socket in /proc/net/tcp


def look(proc: Path = Path("/proc"), sys: Path = Path("/sys"), etc: Path = Path("/etc")) -> dict[str, Any]:
    """Return what tells the machine from others and what would be in the way of Kubernetes."""
    return {
        "machine_id": _text(etc / "machine-id"),
        "product_uuid": _text(sys / "class/dmi/id/product_uuid").lower(),
        "macs": sorted(_macs(sys / "class/net")),
        "addresses": sorted(interfaces()),
        "listening": listening(proc),
        "membership": membership(),
        "api_endpoint": api_endpoint(),
    }


def api_endpoint() -> str:
    """Return the API endpoint (``host:port``) of the cluster that the machine is in, or nothing."""
    for path in KUBECONFIGS:
        found = re.search(r"^\s*server: https://(\S+)$", _text(path), re.MULTILINE)
        if found:
            return found.group(1)
    return ""


def listening(proc: Path = Path("/proc")) -> dict[str, str]:
    """Return the TCP ports on which processes listen -> name of the process; empty where it can not be known."""
    inodes: dict[str, str] = {}
    for table in ("net/tcp", "net/tcp6"):
        for line in _text(proc / table).splitlines()[1:]:
            fields = line.split()
            if fields[3] == _LISTEN:
                inodes[fields[9]] = str(int(fields[1].rpartition(":")[2], 16))
    ports = dict.fromkeys(inodes.values(), "")
    for link in proc.glob("[0-9]*/fd/*"):
        with contextlib.suppress(OSError):
            inode = str(link.readlink())[len("socket:[") : -1]
            if inode in inodes:
                ports[inodes[inode]] = _text(link.parents[1] / "comm")
    return ports


def _macs(links: Path) -> Iterator[str]:
    """Yield the MAC addresses of interfaces that are hardware or stand for it; a container's veth counts, a bridge does not."""
    for link in links.glob("*"):
        mac = _text(link / "address")
        virtual = (link / "bridge").exists() or link.name.startswith(("cni", "flannel", "veth", "docker", "lo"))
        if mac.strip("0:") and not virtual:
            yield mac


def reset(endpoint: str, virtual_address: str, timeout: float, check_mode: bool) -> dict[str, Any]:
    """Take this machine out of its cluster for good, as one of many: the cluster as a whole goes, so its etcd is not asked.

    :param endpoint: API endpoint of the cluster that goes, ``host:port``.
    :param virtual_address: address that the control planes handed on, to be taken off this machine; empty where there is none. Never to be
        told from ``endpoint``: that of one control plane alone may be the machine's own address.
    :param timeout: seconds for kubeadm.
    :return: ``changed``, ``membership`` as found, and ``removed``.
    :raises FlotillaError: the machine is in another cluster, or kubeadm failed.
    """
    found, other = membership(), api_endpoint()
    if found == "member" and other != endpoint:
        raise FlotillaError(
            "MACHINE_IN_OTHER_CLUSTER",
            f"This machine is a member of the cluster at {other or 'an unknown address'}, not of the one at {endpoint}.",
            "It was left alone. Take it out of the definition.",
        )
    own = [name for name, path in OWN_SERVICES.items() if _text(Path(path)).startswith(HEAD)]
    left = [path for path in FOLDERS if Path(path).exists()] + [path for path in EMPTIED if _children(path)]
    steps = [path for pattern in ("kubeadm.*", "upgrade*") for path in STATE_DIR.glob(pattern)]
    left += [str(path) for path in steps] + [OWN_SERVICES[name] for name in own]
    if check_mode or (found == "none" and not left):
        return {"changed": bool(left) or found != "none", "membership": found, "removed": left}
    if shutil.which("kubeadm", path="/usr/local/bin:/usr/bin"):
        command = ["kubeadm", "reset", "--force", "--skip-phases=remove-etcd-member", "--cri-socket=unix:///run/containerd/containerd.sock"]
        run(command, timeout=timeout, code="KUBEADM_RESET_FAILED", remedy="Mend the cause and run again.")
    for service in ("kubelet", *own):
        if service in own or Path(f"/etc/systemd/system/{service}.service").exists():
            run(["systemctl", "disable", "--now", service], code="SERVICE_NOT_STOPPED")
    for path in left:
        _remove(Path(path))
    for link in LINKS:
        if Path("/sys/class/net", link).exists():
            run(["ip", "link", "delete", link])
    # kube-vip is killed without the time to take it back.
    if virtual_address in interfaces():
        run(["ip", "address", "delete", f"{virtual_address}/32", "dev", interfaces()[virtual_address]])
    return {"changed": True, "membership": found, "removed": left}


def _remove(path: Path) -> None:
    """Remove a file, or a folder with what is in it; of one that is a file system of its own only what is in it."""
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for child in _children(str(path)):
        if child.is_dir() and not child.is_symlink():
            shutil.rmtree(child, ignore_errors=True)
        else:
            child.unlink(missing_ok=True)
    if not path.is_mount() and str(path) not in EMPTIED:
        path.rmdir()


def _children(path: str) -> list[Path]:
    return list(Path(path).iterdir()) if Path(path).is_dir() else []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
