# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bundle holds, whichever source it is made from (private to flotilla.kubernetes). Data and pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .._errors import FlotillaError
from .catalogue import Release
from .components import COMPONENTS

# Where the roles put them: `bin` -> /usr/local/bin, `cni` -> /opt/cni/bin.
_BINARIES = {
    "kubernetes": ("kubeadm", "kubelet", "kubectl"),
    "etcd": ("etcdctl", "etcdutl"),
    "containerd": ("containerd", "containerd-shim-runc-v2", "ctr"),
    "runc": ("runc",),
    "crictl": ("crictl",),
}
_CONTROL_PLANE_IMAGES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd", "kube-vip")
# Static pods that roles write themselves: neither kubeadm nor a manifest of the bundle names these images.
_OWN_IMAGES = {"kube-vip": "ghcr.io/kube-vip/kube-vip:v{version}"}


@dataclass(frozen=True)
class FileSpec:
    """One file: where it lies in the bundle and which component it comes from (`name` is its command there)."""

    path: str
    component: str
    kind: str
    mode: int = 0o755

    @property
    def name(self) -> str:
        """Return the file's own name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class ImageSpec:
    """One image, by the full name and tag that kubeadm and the manifests use."""

    name: str

    @property
    def repository(self) -> str:
        """Return the last part of the name, without the tag."""
        return self.name.rpartition(":")[0].rpartition("/")[2]

    @property
    def path(self) -> str:
        """Return where the image lies in the bundle."""
        return f"images/{self.repository}.tar"

    @property
    def roles(self) -> list[str]:
        """Return the kinds of nodes that need it."""
        return ["control_plane"] if self.repository in _CONTROL_PLANE_IMAGES else ["control_plane", "worker"]


def files() -> list[FileSpec]:
    """Return the files of every bundle."""
    found = [FileSpec(f"bin/{name}", component, "bin") for component, names in _BINARIES.items() for name in names]
    found += [
        FileSpec(f"cni/{name}", component, "cni") for component in ("cni-plugins", "cni-flannel") for name in COMPONENTS[component].commands
    ]
    found.append(FileSpec("manifests/kube-flannel.yml", "flannel", "manifest", 0o644))
    return found


def images(release: Release, kubeadm_list: Iterable[str], manifests: Iterable[str]) -> list[ImageSpec]:
    """Return the images of a bundle: what this kubeadm asks for, what the manifests of the bundle name, and what roles add themselves.

    :param kubeadm_list: the lines of ``kubeadm config images list`` of the very binary in the bundle.
    :param manifests: texts of Kubernetes manifests.
    :raises FlotillaError: ``BUNDLE_CATALOGUE_WRONG``: the catalogue's etcd or CoreDNS is not what this kubeadm asks for.
    """
    names = list(dict.fromkeys(kubeadm_list))
    tags = {ImageSpec(name).repository: name.rpartition(":")[2] for name in names}
    for component in ("etcd", "coredns"):
        # Tags are `3.6.8-0` (a packaging revision) and `v1.14.2`.
        wanted = tags.get(component, "none").lstrip("v").partition("-")[0]
        if wanted != release.components[component]:
            raise FlotillaError(
                "BUNDLE_CATALOGUE_WRONG",
                f"kubeadm {release.kubernetes} asks for {component} {wanted}, but the catalogue has {release.components[component]}.",
                "This is a defect of flotilla.kubernetes; please report it.",
            )
    for text in manifests:
        names += sorted(set(re.findall(r"^\s*(?:- )?image: [\"']?([^\s\"']+)", text, re.M)) - set(names))
    names += [name.format(version=release.components[component]) for component, name in _OWN_IMAGES.items()]
    return [ImageSpec(name) for name in names]
