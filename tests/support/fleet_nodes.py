# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A fleet of simulated clusters that playbooks reach by real SSH and in which the real modules run.

Simulated is what they read there: the API servers and etcds (`fleet_api`), kubeadm, and the files below /etc/kubernetes. All nodes are
this machine in a mount namespace, so nothing of it is changed; that needs root.
"""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import control_plane
import outside
import yaml

NEEDS = ("dropbear", "dropbearkey", "unshare", "openssl")
PORT = 2222
# Everything that a login finds in other places than this machine's, and then SSH.
SERVE = """
set -eu
nodes=$1
shift
mount --make-rprivate /
mount --bind "$nodes/etc" /etc
mount --bind "$nodes/bin" /usr/local/sbin
exec "$@"
"""
KUBEADM = """#!/bin/sh
case $1 in
version) echo v{version} ;;
kubeconfig) cat {kubeconfig} ;;
*) exit 1 ;;
esac
"""


def missing() -> str:
    """Return why there can be no simulated fleet here, or nothing."""
    if os.geteuid() != 0:
        return "mount namespaces need root"
    absent = [name for name in NEEDS if not shutil.which(name)]
    return f"{', '.join(absent)} not installed" if absent else ""


class Fleet:
    """Clusters ``c000``, ``c001`` ... in two foundations; use it as a context.

    :param folder: for their files; definitions are in ``lab`` and ``shop`` there.
    :param count: of clusters.
    :param planes: control planes of each.
    :param versions: of a cluster's number -> its version; others run 1.36.3.
    """

    def __init__(self, folder: Path, count: int, planes: int = 3, versions: dict[int, str] | None = None) -> None:
        self.folder, self._versions = folder, versions or {}
        self.names = [f"c{number:03}" for number in range(count)]
        self._planes = planes
        self._processes: list[subprocess.Popen[Any]] = []
        # On these no API server answers although the machine does.
        self.silent: set[tuple[str, int]] = set()
        # Nobody is there at all.
        self.gone: set[tuple[str, int]] = set()

    def __enter__(self) -> Fleet:
        try:
            self._begin()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _begin(self) -> None:
        folder = self.folder / "nodes"
        clusters = [self._cluster(number, name) for number, name in enumerate(self.names)]
        addresses = [address for cluster in clusters for address in cluster["control_planes"].values()]
        self._files(folder, addresses)
        for number, cluster in enumerate(clusters):
            self._define(number, cluster)
            addressed = enumerate(cluster["control_planes"].values())
            cluster["listening"] = [address for index, address in addressed if (cluster["name"], index) not in self.silent | self.gone]
        (folder / "clusters.json").write_text(json.dumps(clusters), encoding="utf-8")
        here = Path(__file__).resolve().parent
        self._start(sys.executable, str(here / "fleet_api.py"), str(folder / "pki"), str(folder / "clusters.json"))
        places = [
            f"{address}:{PORT}"
            for cluster in clusters
            for index, address in enumerate(cluster["control_planes"].values())
            if (cluster["name"], index) not in self.gone
        ]
        ssh = [sys.executable, str(here / "fleet_ssh.py"), str(folder / "host_key"), *places]
        self._start("unshare", "--mount", "sh", "-c", SERVE, "sh", str(folder), *ssh)

    def __exit__(self, *_error: object) -> None:
        for process in self._processes:
            process.terminate()
            process.wait(20)

    def _start(self, *argv: str) -> None:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self._processes.append(process)
        assert process.stdout and process.stdout.readline() == "ready\n", f"{argv} did not start"

    def _cluster(self, number: int, name: str) -> dict[str, Any]:
        place = f"127.77.{number // 16}.{number % 16 * 16}"
        head, last = place.rsplit(".", 1)
        planes = {f"{name}-control-plane-{index}": f"{head}.{int(last) + index + 1}" for index in range(self._planes)}
        workers = {f"{name}-workers-{index}": f"{head}.{int(last) + 8 + index}" for index in range(2)}
        return {"name": name, "version": self._versions.get(number, "1.36.3"), "control_planes": planes, "workers": workers}

    def _define(self, number: int, cluster: dict[str, Any]) -> None:
        machines: list[dict[str, Any]] = [
            {"node_name": node, "address": address, "role": "control_plane", "ssh_port": PORT}
            for node, address in cluster["control_planes"].items()
        ]
        machines += [{"node_name": node, "address": address, "pool": "workers"} for node, address in cluster["workers"].items()]
        definition = {
            "plugin": "flotilla.kubernetes.cluster",
            "schema": 1,
            "name": cluster["name"],
            "cloud": "existing",
            "kubernetes_version": "1.36.3",
            "control_plane": {"count": self._planes},
            "pools": [{"name": "workers", "count": 2}],
            "labels": {"stage": "canary" if number == 0 else "production"},
            "access": {"ssh_user": "root", "ssh_private_key_file": str(self.folder / "nodes/login")},
            "api_endpoint": {"provider": "external", "address": machines[0]["address"].rsplit(".", 1)[0] + f".{number % 16 * 16 + 15}"},
            "existing": {"host_keys": "accept_new", "machines": machines},
        }
        path = self.folder / ("lab" if number % 2 else "shop") / "clusters" / f"{cluster['name']}.yml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(definition, sort_keys=False), encoding="utf-8")

    def _files(self, folder: Path, addresses: Sequence[str]) -> None:
        pki = folder / "pki"
        authority = control_plane.Authority(pki, days=365)
        authority.issue("servers", "servers", hosts=(*addresses, "127.0.0.1"))
        admin = authority.issue("admin", "flotilla", "kubeadm:cluster-admins")
        outside.host("cp", "--archive", "/etc", str(folder / "etc"))
        # A home of its own for the login, too.
        users = folder / "etc/passwd"
        users.write_text(re.sub(r"^(root:(?:[^:]*:){4})[^:]*", rf"\g<1>{folder}/home", users.read_text(), flags=re.MULTILINE))
        (folder / "home/.ssh").mkdir(mode=0o700, parents=True)
        place = folder / "etc/kubernetes/pki"
        shutil.rmtree(folder / "etc/kubernetes", ignore_errors=True)
        (place / "etcd").mkdir(parents=True)
        for name in ("ca.crt", "etcd/ca.crt"):
            shutil.copy(authority.file, place / name)
        for ending in ("crt", "key"):
            shutil.copy(admin.with_suffix(f".{ending}"), place / f"etcd/healthcheck-client.{ending}")
        shutil.copy(pki / "servers.crt", place / "apiserver.crt")
        encoded = {
            part: base64.b64encode(admin.with_suffix(suffix).read_bytes()).decode()
            for part, suffix in (("certificate", ".crt"), ("key", ".key"))
        }
        kubeconfig = folder / "bin/kubeconfig"
        kubeconfig.parent.mkdir()
        kubeconfig.write_text("".join(f"    client-{part}-data: {value}\n" for part, value in encoded.items()), encoding="utf-8")
        kubeadm = folder / "bin/kubeadm"
        kubeadm.write_text(KUBEADM.format(version="1.36.3", kubeconfig="/usr/local/sbin/kubeconfig"), encoding="utf-8")
        kubeadm.chmod(0o755)
        outside.host("dropbearkey", "-t", "ed25519", "-f", str(folder / "host_key"))
        outside.host("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "login"))
        shutil.copy(folder / "login.pub", folder / "home/.ssh/authorized_keys")
