# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a bundle holds, whichever source it is made from (private to flotilla.kubernetes)."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .._errors import FlotillaError
from .._kubernetes.addons.table import ADDONS
from .._kubernetes.network_plugins import table
from .._kubernetes.network_plugins.model import NetworkPlugin
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
# Kinds of files that are no binaries: the network plugin's and those of add-ons.
MANIFESTS = ("manifest", "addon")
# Where a Kubernetes manifest names an image.
IMAGE_LINE = re.compile(r"^(?P<before>\s*(?:- )?image: [\"']?)(?P<name>[^\s\"']+)", re.MULTILINE)
_DEFAULT_PLUGIN = table.PLUGINS[table.DEFAULT]
# Static pods that roles write themselves: neither kubeadm nor a manifest of the bundle names these images.
_OWN_IMAGES = {"kube-vip": "ghcr.io/kube-vip/kube-vip:v{version}"}


@dataclass(frozen=True)
class FileSpec:
    """One file: where it lies in the bundle and which component it comes from (`name` is its command there).

    :param architecture: ``amd64`` or ``arm64``; None for what is the same on all.
    """

    path: str
    component: str
    kind: str
    architecture: str | None
    mode: int = 0o755

    @property
    def name(self) -> str:
        """Return the file's own name."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True)
class ImageSpec:
    """One image for one architecture, by the full name and tag that kubeadm and the manifests use.

    :param addons: the add-ons that need it, none for what every cluster has.
    """

    name: str
    architecture: str
    addons: tuple[str, ...] = ()

    @property
    def repository(self) -> str:
        """Return the last part of the name, without the tag."""
        return _repository(self.name)

    @property
    def path(self) -> str:
        """Return where the image lies in the bundle."""
        inside = f"addons/{self.addons[0]}/" if self.addons else ""
        return f"images/{self.architecture}/{inside}{self.repository}.tar"

    @property
    def roles(self) -> list[str]:
        """Return the kinds of nodes that need it."""
        return ["control_plane"] if self.repository in _CONTROL_PLANE_IMAGES else ["control_plane", "worker"]


def files(architectures: Iterable[str], plugin: NetworkPlugin = _DEFAULT_PLUGIN, addons: Iterable[str] = ()) -> list[FileSpec]:
    """Return the files of every bundle of these architectures for clusters with this network plugin and these add-ons."""
    found = []
    for architecture in architectures:
        found += [
            FileSpec(f"bin/{architecture}/{name}", component, "bin", architecture)
            for component, names in _BINARIES.items()
            for name in names
        ]
        found += [FileSpec(f"cni/{architecture}/{name}", "cni-plugins", "cni", architecture) for name in COMPONENTS["cni-plugins"].commands]
    # Nodes get the plugin `flannel` from the init container of this manifest, not from a file.
    found.append(FileSpec(f"manifests/{plugin.manifest}", (*plugin.components, plugin.name)[0], "manifest", None, 0o644))
    return found + addon_manifests(addons)


def addon_manifests(names: Iterable[str]) -> list[FileSpec]:
    """Return the manifests that a bundle has because of add-ons."""
    return [FileSpec(f"addons/{name}/{file}", name, "addon", None, 0o644) for name in names for file in ADDONS[name].manifests]


def is_written(spec: FileSpec) -> bool:
    """Return whether a file is a manifest of ours, which no project publishes."""
    return spec.kind == "addon" and not ADDONS[spec.component].manifests[spec.name]


def images(
    release: Release,
    architectures: Iterable[str],
    kubeadm_list: Iterable[str],
    manifests: Iterable[str],
    addons: Mapping[str, Iterable[str]] | None = None,
) -> list[ImageSpec]:
    """Return the images of a bundle: what this kubeadm asks for, what the manifests of the bundle name, and what roles add themselves.

    :param kubeadm_list: the lines of ``kubeadm config images list`` of this version's kubeadm.
    :param manifests: texts of Kubernetes manifests that every cluster has.
    :param addons: add-on -> texts of its manifests.
    :raises FlotillaError: ``BUNDLE_CATALOGUE_WRONG``: the catalogue's etcd or CoreDNS is not what this kubeadm asks for.
    """
    names = list(dict.fromkeys(kubeadm_list))
    tags = {_repository(name): name.rpartition(":")[2] for name in names}
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
        names += sorted(set(image_names(text)) - set(names))
    names += [name.format(version=release.components[component]) for component, name in _OWN_IMAGES.items()]
    needed: dict[str, list[str]] = {}
    for addon, texts in (addons or {}).items():
        for name in sorted({name for text in texts for name in image_names(text)} - set(names)):
            needed.setdefault(name, []).append(addon)
    specs = [*((name, ()) for name in names), *((name, tuple(by)) for name, by in needed.items())]
    return [ImageSpec(name, architecture, by) for architecture in architectures for name, by in specs]


def image_names(manifest: str) -> list[str]:
    """Return the images that a Kubernetes manifest names, in its order."""
    return [found["name"] for found in IMAGE_LINE.finditer(manifest)]


def kubeadm_images(kubeadm: Path, version: str) -> list[str]:
    """Return the images that a kubeadm of this machine's architecture asks for, which is all that it is run for.

    :raises FlotillaError: ``BUNDLE_KUBEADM_FAILED``.
    """
    command = [str(kubeadm), "config", "images", "list", "--kubernetes-version", f"v{version}"]
    try:
        listed = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise FlotillaError(
            "BUNDLE_KUBEADM_FAILED",
            f"kubeadm {version} could not be asked for its images on this machine.",
            "Bundles are made on Linux, amd64 or arm64.",
            getattr(error, "stderr", None) or error,
        ) from error
    return listed.stdout.split()


def _repository(name: str) -> str:
    return name.rpartition(":")[0].rpartition("/")[2]
