# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where each project publishes the files of its releases, and their checksums (private to flotilla.kubernetes). Data.

Images are not here: their names say where they are.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from .._kubernetes.addons.table import ADDONS
from .catalogue import Release
from .components import COMPONENTS
from .contents import FileSpec

# The host of Kubernetes' own releases (https://www.downloadkubernetes.com), also asked whether there is internet at all.
KUBERNETES = "https://dl.k8s.io/release"


@dataclass(frozen=True)
class Official:
    """One published file. URLs hold ``{version}`` and ``{architecture}``.

    :param url: the file.
    :param checksums: the published checksums: the SHA-256 alone, or lines of SHA-256 and file name.
    :param sha256: version -> SHA-256, where the project publishes none; taken from the Go module of the version, which go.sum vouches for.
    :param members: command -> path inside the archive; without, the file is the command `command` itself.
    """

    url: str
    command: str = ""
    checksums: str = ""
    sha256: tuple[tuple[str, str], ...] = ()
    members: tuple[tuple[str, str], ...] = ()

    def commands(self) -> list[str]:
        """Return the commands that it holds."""
        return [name for name, _path in self.members] or [self.command]


@dataclass(frozen=True)
class Published:
    """An `Official` of one version and architecture."""

    url: str
    checksums_url: str
    sha256: str
    members: dict[str, str]


_GITHUB = "https://github.com"
_CONTAINERD = f"{_GITHUB}/containerd/containerd/releases/download/v{{version}}/containerd-static-{{version}}-linux-{{architecture}}.tar.gz"
_RUNC = f"{_GITHUB}/opencontainers/runc/releases/download/v{{version}}"
_CRICTL = f"{_GITHUB}/kubernetes-sigs/cri-tools/releases/download/v{{version}}/crictl-v{{version}}-linux-{{architecture}}.tar.gz"
_ETCD = f"{_GITHUB}/etcd-io/etcd/releases/download/v{{version}}"
_CNI = f"{_GITHUB}/containernetworking/plugins/releases/download/v{{version}}/cni-plugins-linux-{{architecture}}-v{{version}}.tgz"


def _addon(name: str, version: str, repository: str, digests: dict[str, str]) -> tuple[Official, ...]:
    """Return the manifests of an add-on, which are in its repository at the version's tag where its Go module has them, too."""
    base = f"https://raw.githubusercontent.com/{repository}/v{{version}}"
    return tuple(
        Official(f"{base}/{ADDONS[name].manifests[file]}", command=file, sha256=((version, digest),)) for file, digest in digests.items()
    )


def _kubernetes(command: str) -> Official:
    url = f"{KUBERNETES}/v{{version}}/bin/linux/{{architecture}}/{command}"
    return Official(url, command=command, checksums=f"{url}.sha256")


OFFICIAL: dict[str, tuple[Official, ...]] = {
    "kubernetes": (_kubernetes("kubeadm"), _kubernetes("kubelet"), _kubernetes("kubectl")),
    # Static, as its release notes advise for distributions with a glibc older than 2.35, such as RHEL 9.
    "containerd": (
        Official(
            _CONTAINERD,
            checksums=f"{_CONTAINERD}.sha256sum",
            members=tuple((name, f"bin/{name}") for name in ("containerd", "containerd-shim-runc-v2", "ctr")),
        ),
    ),
    "runc": (Official(f"{_RUNC}/runc.{{architecture}}", command="runc", checksums=f"{_RUNC}/runc.sha256sum"),),
    "crictl": (Official(_CRICTL, checksums=f"{_CRICTL}.sha256", members=(("crictl", "crictl"),)),),
    "etcd": (
        Official(
            f"{_ETCD}/etcd-v{{version}}-linux-{{architecture}}.tar.gz",
            checksums=f"{_ETCD}/SHA256SUMS",
            members=tuple((name, f"etcd-v{{version}}-linux-{{architecture}}/{name}") for name in ("etcdctl", "etcdutl")),
        ),
    ),
    "cni-plugins": (
        Official(_CNI, checksums=f"{_CNI}.sha256", members=tuple((name, name) for name in COMPONENTS["cni-plugins"].commands)),
    ),
    "flannel": (
        Official(
            "https://raw.githubusercontent.com/flannel-io/flannel/v{version}/Documentation/kube-flannel.yml",
            command="kube-flannel.yml",
            sha256=(("0.28.10", "944a3c1f925f117727a1b7272a323c80965da642498397ec7e6ea9bef0f9e6c5"),),
        ),
    ),
    "kube-router": (
        Official(
            "https://raw.githubusercontent.com/cloudnativelabs/kube-router/v{version}/daemonset/kubeadm-kuberouter.yaml",
            command="kubeadm-kuberouter.yaml",
            sha256=(("2.10.0", "847b9b7a47c31d8e10149f5b4d94c78ea214d1c1d70df1640744ae21b0b9121a"),),
        ),
    ),
    # From the repository at the version's tag.
    "antrea": (
        Official(
            "https://raw.githubusercontent.com/antrea-io/antrea/v{version}/build/yamls/antrea.yml",
            command="antrea.yml",
            sha256=(("2.6.3", "4389a15f125339185d74dc3cfb992217011364457142ab000527d84f87d01f01"),),
        ),
    ),
    "metrics-server": _addon(
        "metrics-server",
        "0.9.0",
        "kubernetes-sigs/metrics-server",
        {
            "apiservice.yaml": "03266df7891b56dfffebb855a031b524ed20c6736846417ccd491dd91c6c0ec3",
            "deployment.yaml": "18970227f17d0c6cb8e7a4a1cdde847117703afd3b0777badf8a006cfea252c2",
            "rbac.yaml": "510be174d47ae7d05ae6908ccb7ca7111008f18b5d1a920ebc6de6582c23b854",
            "service.yaml": "1ce19a57f4769906255c3410a38a01fb0f803e21976ce160f506a90638cbb5c7",
        },
    ),
    "local-path": _addon(
        "local-path",
        "0.0.30",
        "rancher/local-path-provisioner",
        {"local-path-storage.yaml": "fe682186b00400fe7e2b72bae16f63e47a56a6dcc677938c6642139ef670045e"},
    ),
    "metallb": _addon(
        "metallb",
        "0.15.2",
        "metallb/metallb",
        {"metallb-native.yaml": "a1b04c376fb39c93265f551fe23716a3ae6e09b790edb3bf257d3fc784c35a18"},
    ),
}


def published(release: Release, spec: FileSpec) -> Published:
    """Return where the file `spec` of a bundle comes from."""
    official = next(official for official in OFFICIAL[spec.component] if spec.name in official.commands())
    version = release.kubernetes if spec.component == "kubernetes" else release.components[spec.component]
    values = {"version": version, "architecture": spec.architecture}
    return Published(
        official.url.format(**values),
        official.checksums.format(**values),
        dict(official.sha256).get(version, ""),
        {name: path.format(**values) for name, path in official.members},
    )


def of_all(release: Release, specs: Iterable[FileSpec]) -> dict[str, Published]:
    """Return what has to be fetched for `specs`, by URL."""
    return {found.url: found for found in (published(release, spec) for spec in specs)}
