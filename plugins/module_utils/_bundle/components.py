# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How each component of a bundle is compiled from its Go module (private to flotilla.kubernetes).

Data only. The exact sources of one version are pinned by the wrapper module in
``roles/bundle/files/modules/<component>/<version>`` (``go.mod`` and ``go.sum``); `tools/new-module` writes it from this table.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field


@dataclass(frozen=True)
class Component:
    """One component: the module, the commands in it, and the flags that its own project builds it with.

    :param name: name in the catalogue and in the manifest's ``components``.
    :param module: path of the Go module that holds the source.
    :param commands: file name of a binary -> import path of its ``main`` package.
    :param requires: further modules at the same version that the commands are in.
    :param cgo: whether the commands need C; they are linked static then.
    :param tags: Go build tags.
    :param stamps: variable -> text, set at link time; ``{version}``, ``{major}``, ``{minor}``, ``{time}`` and
        ``{commit}`` are filled in. Go module proxies do not always tell the commit: the variable is left alone then (not with
        ``{commit_or_zeros}``).
    :param pinned_zero: siblings that the module's go.mod keeps at ``v0.0.0`` stand at ``v0.<minor>.<patch>`` (Kubernetes' staging).
    :param module_version: that of the Go module, from ``{version}``, ``{minor}`` (two digits) and ``{patch}``.
    :param leave_out: packages that register themselves when imported and that the binaries are made without, with all they need.
    :param disk_mib: what a first build takes on the disk with Go's own caches, in MiB.
    """

    name: str
    module: str
    commands: dict[str, str]
    requires: tuple[str, ...] = ()
    cgo: bool = False
    tags: tuple[str, ...] = ()
    stamps: dict[str, str] = field(default_factory=dict)
    pinned_zero: bool = False
    module_version: str = "{version}"
    leave_out: tuple[str, ...] = ()
    disk_mib: int = 500

    def recipe(self) -> dict[str, object]:
        """Return everything that decides the binaries, apart from the pinned sources, as JSON-ready data."""
        recipe = asdict(self)
        del recipe["disk_mib"], recipe["module_version"]
        return recipe

    def module_version_of(self, version: str) -> str:
        """Return the version of the Go module, without its ``v``, that a release is made from."""
        _major, minor, patch = version.split(".")
        return self.module_version.format(version=version, minor=f"{int(minor):02}", patch=patch)


def _kubernetes_stamps() -> dict[str, str]:
    # Both packages hold the same variables; kubectl reads the second (hack/lib/version.sh, kube::version::ldflags).
    values = {
        "gitVersion": "v{version}",
        "gitMajor": "{major}",
        "gitMinor": "{minor}",
        "gitTreeState": "clean",
        "gitCommit": "{commit_or_zeros}",
        "buildDate": "{time}",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return {f"{package}.{name}": value for package in packages for name, value in values.items()}


def _plugins(prefix: str, *paths: str) -> dict[str, str]:
    return {path.rsplit("/", 1)[1]: f"{prefix}/{path}" for path in paths}


_CNI = "github.com/containernetworking/plugins"

COMPONENTS: dict[str, Component] = {
    component.name: component
    for component in (
        Component(
            name="kubernetes",
            module="k8s.io/kubernetes",
            commands={
                name: f"k8s.io/kubernetes/cmd/{name}"
                for name in (
                    "kubeadm",
                    "kubelet",
                    "kubectl",
                    "kube-apiserver",
                    "kube-controller-manager",
                    "kube-scheduler",
                    "kube-proxy",
                )
            },
            stamps=_kubernetes_stamps(),
            pinned_zero=True,
            disk_mib=3600,
        ),
        Component(
            name="etcd",
            module="go.etcd.io/etcd/server/v3",
            commands={
                "etcd": "go.etcd.io/etcd/server/v3",
                "etcdctl": "go.etcd.io/etcd/etcdctl/v3",
                "etcdutl": "go.etcd.io/etcd/etcdutl/v3",
            },
            requires=("go.etcd.io/etcd/etcdctl/v3", "go.etcd.io/etcd/etcdutl/v3"),
            stamps={"go.etcd.io/etcd/api/v3/version.GitSHA": "{commit}"},
        ),
        Component(
            name="coredns",
            module="github.com/coredns/coredns",
            commands={"coredns": "github.com/coredns/coredns"},
            stamps={"github.com/coredns/coredns/coremain.GitCommit": "{commit}"},
        ),
        Component(
            name="containerd",
            module="github.com/containerd/containerd/v2",
            commands={name: f"github.com/containerd/containerd/v2/cmd/{name}" for name in ("containerd", "containerd-shim-runc-v2", "ctr")},
            # Snapshotters that need C libraries of the node; overlayfs is the one that kubelet nodes use.
            tags=("no_btrfs", "no_devmapper", "no_zfs"),
            stamps={
                "github.com/containerd/containerd/v2/version.Version": "v{version}",
                "github.com/containerd/containerd/v2/version.Revision": "{commit}",
            },
        ),
        Component(
            name="runc",
            module="github.com/opencontainers/runc",
            commands={"runc": "github.com/opencontainers/runc"},
            # nsenter is C; without seccomp the RuntimeDefault profile is refused.
            cgo=True,
            tags=("seccomp", "urfave_cli_no_docs", "netgo", "osusergo"),
            stamps={"main.gitCommit": "{commit}"},
        ),
        Component(
            name="cni-plugins",
            module=_CNI,
            commands=_plugins(
                f"{_CNI}/plugins",
                "main/bridge",
                "main/dummy",
                "main/host-device",
                "main/ipvlan",
                "main/loopback",
                "main/macvlan",
                "main/ptp",
                "main/tap",
                "main/vlan",
                "ipam/dhcp",
                "ipam/host-local",
                "ipam/static",
                "meta/bandwidth",
                "meta/firewall",
                "meta/portmap",
                "meta/sbr",
                "meta/tuning",
                "meta/vrf",
            ),
            stamps={f"{_CNI}/pkg/utils/buildversion.BuildVersion": "v{version}"},
        ),
        # The last release of the plugins that held `flannel`; its later home has no Go module releases.
        Component(
            name="cni-flannel",
            module=_CNI,
            commands=_plugins(f"{_CNI}/plugins", "meta/flannel"),
            stamps={f"{_CNI}/pkg/utils/buildversion.BuildVersion": "v{version}"},
        ),
        Component(
            name="flannel",
            module="github.com/flannel-io/flannel",
            commands={"flanneld": "github.com/flannel-io/flannel", "install-conf": "github.com/flannel-io/flannel/cmd/install_conf"},
            # The udp backend is C on amd64.
            cgo=True,
            tags=("netgo", "osusergo"),
            stamps={"github.com/flannel-io/flannel/pkg/version.Version": "v{version}"},
            # The backend of one public cloud brings that cloud's SDK, which Go module proxies do not all have.
            leave_out=("github.com/flannel-io/flannel/pkg/backend/tencentvpc",),
        ),
        Component(
            name="kube-vip",
            module="github.com/kube-vip/kube-vip",
            commands={"kube-vip": "github.com/kube-vip/kube-vip"},
            stamps={"main.Version": "v{version}", "main.Build": "{commit}"},
        ),
        Component(
            name="crictl",
            module="sigs.k8s.io/cri-tools",
            commands={"crictl": "sigs.k8s.io/cri-tools/cmd/crictl"},
            stamps={"sigs.k8s.io/cri-tools/pkg/version.Version": "{version}"},
        ),
        Component(
            name="metrics-server",
            module="sigs.k8s.io/metrics-server",
            commands={"metrics-server": "sigs.k8s.io/metrics-server/cmd/metrics-server"},
            stamps={"k8s.io/client-go/pkg/version.gitVersion": "v{version}", "k8s.io/client-go/pkg/version.buildDate": "{time}"},
        ),
        Component(
            name="local-path",
            module="github.com/rancher/local-path-provisioner",
            commands={"local-path-provisioner": "github.com/rancher/local-path-provisioner"},
            stamps={"main.VERSION": "v{version}"},
        ),
        Component(
            name="metallb",
            module="go.universe.tf/metallb",
            commands={name: f"go.universe.tf/metallb/{name}" for name in ("controller", "speaker")},
            stamps={"go.universe.tf/metallb/internal/version.gitCommit": "{commit}"},
        ),
        Component(
            name="node-exporter",
            module="github.com/prometheus/node_exporter",
            commands={"node_exporter": "github.com/prometheus/node_exporter"},
            tags=("netgo", "osusergo"),
            stamps={"github.com/prometheus/common/version.Version": "{version}"},
        ),
        Component(
            name="prometheus",
            module="github.com/prometheus/prometheus",
            commands={"prometheus": "github.com/prometheus/prometheus/cmd/prometheus"},
            # Its pages are made by npm; the programs that ask it need none.
            tags=("netgo", "remove_all_sd", "enable_kubernetes_sd"),
            stamps={"github.com/prometheus/common/version.Version": "{version}"},
            # https://github.com/prometheus/prometheus#remarks-on-module-versioning
            module_version="0.3{minor}.{patch}",
            disk_mib=1200,
        ),
    )
}
