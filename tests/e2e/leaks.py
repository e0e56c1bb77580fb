# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a secret of a cluster could turn up, on the controller and on its machines."""

from __future__ import annotations

import base64
import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

import outside

NOBODY = 65534
# What is big and comes from packages and images.
NOT_SEARCHED = ("/dev", "/lib/modules", "/proc", "/sys", "/usr")
# Each is a file system of its own, which find does not enter by itself.
FILE_SYSTEMS = ("/", "/run", "/run/lock", "/tmp", "/var/lib/containerd", "/var/lib/etcd", "/var/lib/kubelet")
MOST = 50 * 1024 * 1024

# Inputs of people, as their vault would give them. Each has a character that encodings change, and is another one in every run: no source
# file, log or cache of another run holds it.
_RUN = token_hex(8)
PLANTED = {
    "kubernetes_node_proxy_credentials": {"username": "proxy-user", "password": f"planted/proxy+password&{_RUN}"},
    "containerd_registry_credentials": {"mirror.example.com": {"username": "mirror-user", "password": f"planted/registry+password&{_RUN}"}},
    "bundle_delivery_credentials": {"username": "delivery-user", "password": f"planted/delivery+password&{_RUN}"},
}
# A proxy and a mirror that nobody asks: everything is in the bundle.
SITE = {
    "proxy": {"http": "http://proxy.example.com:3128"},
    "registry_mirrors": [{"registry": "docker.io", "url": "https://mirror.example.com"}],
}


def planted() -> dict[str, bytes]:
    """Return the passwords among `PLANTED` by the name of their variable."""
    flat = {name: value.get("password") or next(iter(value.values()))["password"] for name, value in PLANTED.items()}
    return {name: password.encode() for name, password in flat.items()}


def keys_of(machine: str) -> dict[str, bytes]:
    """Return the private keys that a control plane has, by path, and the key that encrypts Secrets."""
    script = "find /etc/kubernetes/pki -name '*.key'; ls /etc/kubernetes/*.conf"
    found = {}
    for path in outside.host("podman", "exec", machine, "sh", "-c", script).split():
        text = outside.host("podman", "exec", machine, "cat", path)
        if path.endswith(".conf"):
            lines = [line.split()[-1] for line in text.splitlines() if "client-key-data:" in line]
            text = base64.b64decode(lines[0]).decode() if lines else ""
        if "PRIVATE KEY" in text:
            found[path] = text.encode()
    encryption = json.loads(outside.host("podman", "exec", machine, "cat", "/etc/kubernetes/flotilla/encryption.json"))
    for resource in encryption["resources"]:
        for provider in resource["providers"]:
            for kind, settings in provider.items():
                for key in (settings or {}).get("keys", []):
                    found[f"encryption key {kind} {key['name']}"] = key["secret"].encode()
    return found


def readable_by_others(machine: str) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file of a machine that an account without rights may read."""
    pruned = " -o ".join(f"-path {path}" for path in NOT_SEARCHED)
    found = f"find {' '.join(FILE_SYSTEMS)} -xdev \\( {pruned} \\) -prune -o -type f -readable -size -{MOST}c -print0 2>/dev/null"
    yield from _unpacked(machine, ["--user", str(NOBODY)], f"{found} | tar --create --null --files-from=- --ignore-failed-read 2>/dev/null")


def logs(machine: str) -> Iterator[tuple[str, bytes]]:
    """Yield name and content of every log of a machine, whoever may read it."""
    yield f"journal of {machine}", outside.host("podman", "exec", machine, "journalctl", "--no-pager", "--all", "--output=verbose").encode()
    yield from _unpacked(machine, [], "tar --create --exclude=/var/log/journal /var/log 2>/dev/null")


def readable_on_controller(folders: list[Path], since: Path) -> Iterator[tuple[str, bytes]]:
    """Yield path and content of every file below ``folders`` that is newer than ``since`` and that another account may read."""
    for folder in folders:
        # find's -newer would have to look at a file that nobody else may read.
        newer = ["-newermt", f"@{since.stat().st_mtime}"]
        for name in _as_nobody("find", str(folder), "-type", "f", "-readable", "-size", f"-{MOST}c", *newer).decode().splitlines():
            with suppress(FileNotFoundError):  # somebody else's, who is at work, too
                yield f"{name} on the controller", Path(name).read_bytes()


def _as_nobody(*argv: str) -> bytes:
    """Run a command with no rights at all, whoever runs the tests."""
    switch = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *argv]
    return subprocess.run([*outside.SUDO, *switch], stdin=subprocess.DEVNULL, capture_output=True, check=False, cwd="/").stdout


def _unpacked(machine: str, options: list[str], script: str) -> Iterator[tuple[str, bytes]]:
    command = [*outside.SUDO, "podman", "exec", *options, machine, "sh", "-c", script]
    packed = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        for entry in tar:
            if entry.isfile():
                yield f"{entry.name} on {machine}", tar.extractfile(entry).read()


def write_private(path: Path, text: str) -> Path:
    """Write a file that only its owner may read, as a vault's password file would be."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    os.chmod(path, 0o600)  # noqa: PTH101
    return path
