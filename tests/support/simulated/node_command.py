# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""kubeadm of a simulated machine: a process of its own, as the real one, which outlives whoever started it.

node_command.py <path of kubeadm> <its version> upgrade apply v1.36.3 --yes ...
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from simulated.api import ETCD_VERSIONS  # noqa: E402
from simulated.cluster import COMPONENTS, Broken, Machine  # noqa: E402

SECONDS = 0.05  # that an API server is away


def upgrade(machine: Machine, version: str, command: str) -> None:
    """Do what ``kubeadm upgrade apply`` and ``kubeadm upgrade node`` do to a cluster.

    :raises Broken: it is made to fail.
    """
    cluster, name = machine.cluster, machine.name
    with cluster.act(name, f"kubeadm upgrade {command}", version):
        if machine.role == "control_plane":
            print(f'[upgrade/staticpods] Preparing for "kube-apiserver" upgrade to v{version}', flush=True)
            with cluster.change() as state:
                state["nodes"][name]["serving"] = False
            time.sleep(SECONDS)
            static = {**dict.fromkeys(COMPONENTS, version), "etcd": ETCD_VERSIONS[version.rpartition(".")[0]]}
            write_manifests(machine, static)
            with cluster.change() as state:
                state["nodes"][name].update(serving=True, static=static)
                if command == "apply":
                    state.update(recorded=version, proxy=version)
        print("[upgrade/kubelet-config] done", flush=True)


def write_manifests(machine: Machine, static: dict[str, str]) -> None:
    """Write the manifests of the static pods."""
    folder = machine.at("/etc/kubernetes/manifests")
    folder.mkdir(parents=True, exist_ok=True)
    for component, version in static.items():
        tag = f"{version}-0" if component == "etcd" else f"v{version}"
        text = f"spec:\n  containers:\n  - name: {component}\n    image: registry.k8s.io/{component}:{tag}\n"
        (folder / f"{component}.yaml").write_text(text, encoding="utf-8")


def main() -> None:
    """Be kubeadm."""
    program, version, *words = sys.argv[1:]
    machine = Machine(Path(program).parents[3])
    if words[:1] != ["upgrade"] or words[1] not in ("apply", "node"):
        sys.exit(f"kubeadm {' '.join(words)} is not simulated")
    if words[1] == "apply" and words[2] != f"v{version}":
        sys.exit(f"kubeadm {version} can not upgrade to {words[2]}")
    try:
        upgrade(machine, version, words[1])
    except Broken as broken:
        sys.exit(str(broken))


if __name__ == "__main__":
    main()
