# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is inside the images of a bundle made from Go modules (private to flotilla.kubernetes).

Static Go binaries are alone in their images, as upstream has them. kube-proxy and flanneld run iptables, nft and conntrack: those
come with their libraries from the operating system of the controller (its package versions are noted in the manifest).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

from .._errors import FlotillaError
from .image_archive import Entry, Image

# Debian's package of each command that images take from the controller; also the list that the role installs.
OS_COMMANDS = {
    "xtables-nft-multi": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "kmod": "kmod",
    "busybox": "busybox-static",
}
_IPTABLES = tuple(f"{family}{action}" for family in ("iptables", "ip6tables") for action in ("", "-save", "-restore"))
_MERGED_USR = tuple(Entry(name, link=f"usr/{name}") for name in ("bin", "sbin", "lib", "lib64"))
_ACCOUNTS = (
    Entry(
        "etc/passwd", data=b"root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n", mode=0o644
    ),
    Entry("etc/group", data=b"root:x:0:\nnonroot:x:65532:\n", mode=0o644),
    Entry("etc/nsswitch.conf", data=b"hosts: files dns\n", mode=0o644),
    Entry("tmp", mode=0o1777),
)


def image(name: str, binary: Callable[[str], Path], architecture: str) -> Image:
    """Return the image `name` (with its tag), with binaries as `binary(command)` finds them.

    :raises FlotillaError: no recipe for the image, or a command of the operating system is missing.
    """
    repository = name.rpartition(":")[0].rpartition("/")[2]
    if repository not in _RECIPES:
        raise FlotillaError(
            "BUNDLE_IMAGE_UNKNOWN",
            f"The image {name} is wanted for the bundle, but nothing here can make an image named {repository}.",
            f"Known are {', '.join(sorted(_RECIPES))}; add a recipe for it.",
        )
    entries, entrypoint, user = _RECIPES[repository](repository, binary)
    return Image(name, (*_ACCOUNTS, *entries), architecture, entrypoint, user)


_Parts = tuple  # (entries, entrypoint, user)


def _control_plane(name: str, binary: Callable[[str], Path]) -> _Parts:
    return (Entry(f"usr/local/bin/{name}", binary(name)),), (), ""


def _etcd(_name: str, binary: Callable[[str], Path]) -> _Parts:
    return tuple(Entry(f"usr/local/bin/{name}", binary(name)) for name in ("etcd", "etcdctl", "etcdutl")), (), ""


def _alone(name: str, binary: Callable[[str], Path]) -> _Parts:
    return (Entry(name, binary(name)),), (f"/{name}",), ""


def _pause(_name: str, binary: Callable[[str], Path]) -> _Parts:
    return (Entry("pause", binary("pause")),), ("/pause",), "65535:65535"


def _kube_proxy(_name: str, binary: Callable[[str], Path]) -> _Parts:
    entries = [Entry("usr/local/bin/kube-proxy", binary("kube-proxy"))]
    return (*entries, *system("xtables-nft-multi", "nft", "conntrack", "kmod", "busybox")), (), ""


def _flannel(_name: str, binary: Callable[[str], Path]) -> _Parts:
    entries = [Entry(f"opt/bin/{name}", binary(name)) for name in ("flanneld", "install-conf")]
    return (*entries, *system("xtables-nft-multi", "nft", "ip", "kmod", "busybox")), ("/opt/bin/flanneld",), ""


def _local_path_provisioner(name: str, binary: Callable[[str], Path]) -> _Parts:
    return (Entry(f"usr/bin/{name}", binary(name)),), (f"/usr/bin/{name}",), ""


def _busybox(_name: str, _binary: Callable[[str], Path]) -> _Parts:
    # What makes and removes the folders of local-path.
    return (*system("busybox"), *(Entry(f"usr/bin/{name}", link="busybox") for name in ("mkdir", "rm"))), (), ""


def _prometheus(_name: str, binary: Callable[[str], Path]) -> _Parts:
    return (Entry("bin/prometheus", binary("prometheus")),), ("/bin/prometheus",), "65534:65534"


def _node_exporter(_name: str, binary: Callable[[str], Path]) -> _Parts:
    return (Entry("bin/node_exporter", binary("node_exporter")),), ("/bin/node_exporter",), "65534:65534"


def _flannel_cni_plugin(_name: str, binary: Callable[[str], Path]) -> _Parts:
    return (Entry("flannel", binary("flannel")), *system("busybox")), (), ""


_RECIPES: dict[str, Callable[[str, Callable[[str], Path]], _Parts]] = {
    "kube-apiserver": _control_plane,
    "kube-controller-manager": _control_plane,
    "kube-scheduler": _control_plane,
    "kube-proxy": _kube_proxy,
    "etcd": _etcd,
    "coredns": _alone,
    "kube-vip": _alone,
    "pause": _pause,
    "flannel": _flannel,
    "flannel-cni-plugin": _flannel_cni_plugin,
    "metrics-server": _alone,
    "local-path-provisioner": _local_path_provisioner,
    "busybox": _busybox,
    "controller": _alone,
    "speaker": _alone,
    "node-exporter": _node_exporter,
    "prometheus": _prometheus,
}


def system(*commands: str) -> list[Entry]:
    """Return commands of this operating system with their libraries, in a merged /usr."""
    sources: dict[str, Path] = {}
    entries = list(_MERGED_USR)
    for command in commands:
        path = find_command(command)
        if command == "busybox":
            # `sh`, and the `cp` of flannel's init container.
            entries += [Entry(f"usr/bin/{name}", link="busybox") for name in ("sh", "cp", "cat", "ls")]
        elif command == "kmod":
            entries.append(Entry("usr/sbin/modprobe", link="../bin/kmod"))
        elif command == "xtables-nft-multi":
            entries += [Entry(f"usr/sbin/{name}", link=command) for name in _IPTABLES]
            for plugin in _xtables_plugins(path):
                _add_with_libraries(plugin, sources)
        _add_with_libraries(path, sources)
    return entries + [Entry(path, source) for path, source in sources.items()]


def find_command(command: str) -> Path:
    """Return where the controller has a command that goes into images.

    :raises FlotillaError: ``BUNDLE_COMMAND_MISSING``.
    """
    found = _which(command)
    if not found:
        raise FlotillaError(
            "BUNDLE_COMMAND_MISSING",
            f"The command {command} is not on this machine, and images of the bundle need it.",
            f"Install the package {OS_COMMANDS[command]}.",
        )
    return Path(found)


def has_command(command: str) -> bool:
    """Return whether the controller has a command that goes into images."""
    return _which(command) is not None


def _which(command: str) -> str | None:
    return shutil.which(command, path=os.pathsep.join(("/usr/sbin", "/usr/bin", "/sbin", "/bin")))


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that images take from the controller, as far as dpkg knows them."""
    if not shutil.which("dpkg-query"):
        return {}
    command = ["dpkg-query", "-W", "-f", "${Package} ${Version}\n", *OS_COMMANDS.values()]
    found = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=False)
    return dict(line.split(" ", 1) for line in found.stdout.splitlines() if not line.endswith(" "))


def _xtables_plugins(command: Path) -> list[Path]:
    """Return the match and target extensions that iptables loads at run time."""
    found = sorted(path for pattern in ("lib/xtables", "lib/*/xtables", "lib64/xtables") for path in Path("/usr").glob(f"{pattern}/*.so"))
    if not found:
        raise FlotillaError("BUNDLE_COMMAND_MISSING", f"{command} has no extensions in /usr/lib*/xtables.", "Install the package iptables.")
    return found


def _add_with_libraries(path: Path, sources: dict[str, Path]) -> None:
    for wanted in (path, *_libraries(path)):
        # /lib and /usr/lib are one directory in the image as on the host, whichever way the loader names it.
        inside = wanted.parent.resolve() / wanted.name
        if not inside.is_relative_to("/usr"):
            inside = Path("/usr") / inside.relative_to("/")
        sources[str(inside)] = wanted.resolve()


def _libraries(path: Path) -> Iterable[Path]:
    """Return the shared libraries that the dynamic loader finds for a binary of this system; none for a static one."""
    result = subprocess.run(["ldd", str(path)], capture_output=True, text=True, env={"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, check=False)
    if result.returncode != 0:
        return []  # "not a dynamic executable"
    missing = re.findall(r"(\S+) => not found", result.stdout)
    if missing:
        raise FlotillaError(
            "BUNDLE_COMMAND_MISSING", f"{path} needs the library {missing[0]}, which is not on this machine.", "Reinstall its package."
        )
    return [Path(found) for found in re.findall(r"(?:=> |^\s+)(/\S+) \(", result.stdout, re.M)]
