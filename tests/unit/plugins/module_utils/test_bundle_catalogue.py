# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The version catalogue, and what it says against the wrapper modules that are committed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import catalogue, contents, official
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.components import COMPONENTS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.table import ADDONS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.network_plugins.table import PLUGINS

MODULES = Path(catalogue.__file__).parents[3] / "roles/bundle/files/modules"


def test_has_three_minors_newest_first():
    minors = [release.minor for release in catalogue.RELEASES]
    assert minors == ["1.36", "1.35", "1.34"]
    assert catalogue.release("1.35.4").components["etcd"] == "3.6.6"


@pytest.mark.parametrize(
    ("wanted", "nearest"),
    [
        ("1.36.2", "1.36.3"),
        ("1.35.99", "1.35.4"),
        ("1.20.0", "1.34.4"),
        ("1.99.0", "1.36.3"),
        ("v1.35.4", "1.35.4"),
        ("1.36", "1.36.3"),
        ("latest", "1.36.3"),
    ],
)
def test_unknown_version_names_the_nearest(wanted, nearest):
    with pytest.raises(FlotillaError) as caught:
        catalogue.release(wanted)
    assert caught.value.code == "BUNDLE_VERSION_UNKNOWN"
    assert f"Kubernetes {wanted} is not in the catalogue" in caught.value.message
    assert "1.36.3, 1.35.4, 1.34.4" in caught.value.message
    assert nearest in caught.value.remedy


@pytest.mark.parametrize("release", catalogue.RELEASES, ids=lambda release: release.kubernetes)
def test_every_component_is_pinned(release):
    versions = {**release.components, **catalogue.ADDONS, "kubernetes": release.kubernetes}
    assert set(versions) == set(COMPONENTS)
    for name, version in versions.items():
        wrapper = MODULES / name / version
        pinned = (wrapper / "go.mod").read_text(encoding="utf-8")
        module = f"{COMPONENTS[name].module} v{COMPONENTS[name].module_version_of(version)}"
        assert re.search(rf"^(require )?\s*{re.escape(module)} ", pinned, re.M), name
        for package in COMPONENTS[name].commands.values():
            assert package in pinned, package
        # The hash of the source itself, without which -mod=readonly refuses to build.
        assert f"{module} h1:" in (wrapper / "go.sum").read_text(encoding="utf-8"), name


def test_no_pinned_source_is_unused():
    used = {(name, version) for release in catalogue.RELEASES for name, version in release.components.items()}
    used |= {("kubernetes", release.kubernetes) for release in catalogue.RELEASES} | set(catalogue.ADDONS.items())
    assert {(path.parent.name, path.name) for path in MODULES.glob("*/*")} == used


KUBEADM_LIST = [
    "registry.k8s.io/kube-apiserver:v1.36.3",
    "registry.k8s.io/kube-proxy:v1.36.3",
    "registry.k8s.io/coredns/coredns:v1.14.2",
    "registry.k8s.io/pause:3.10.2",
    "registry.k8s.io/etcd:3.6.8-0",
]


def test_images_are_kubeadms_the_manifests_and_our_own():
    text = "  - image: ghcr.io/flannel-io/flannel:v1\n    image: ghcr.io/flannel-io/flannel:v1\n    image: 'ghcr.io/x/y:1'\n"
    images = contents.images(catalogue.release("1.36.3"), ["amd64"], KUBEADM_LIST, [text])
    kube_vip = f"ghcr.io/kube-vip/kube-vip:v{catalogue.release('1.36.3').components['kube-vip']}"
    assert [image.name for image in images] == [*KUBEADM_LIST, "ghcr.io/flannel-io/flannel:v1", "ghcr.io/x/y:1", kube_vip]
    by_path = {image.path: image.roles for image in images}
    assert (
        by_path["images/amd64/kube-apiserver.tar"]
        == by_path["images/amd64/etcd.tar"]
        == by_path["images/amd64/kube-vip.tar"]
        == ["control_plane"]
    )
    assert by_path["images/amd64/coredns.tar"] == by_path["images/amd64/kube-proxy.tar"] == ["control_plane", "worker"]
    assert len(by_path) == len(images)


def test_images_of_add_ons_are_for_clusters_that_have_them():
    both, own = "image: docker.io/x/both:1\n", "image: docker.io/x/own:1\nimage: registry.k8s.io/pause:3.10.2\n"
    images = contents.images(catalogue.release("1.36.3"), ["amd64"], KUBEADM_LIST, [], {"one": [both, own], "two": [both]})
    of_addons = {image.name: (image.addons, image.path, image.roles) for image in images if image.addons}
    nodes = ["control_plane", "worker"]
    assert of_addons == {
        "docker.io/x/both:1": (("one", "two"), "images/amd64/addons/one/both.tar", nodes),
        "docker.io/x/own:1": (("one",), "images/amd64/addons/one/own.tar", nodes),
    }, "what every cluster has is no image of an add-on"


@pytest.mark.parametrize("name", ADDONS)
def test_every_manifest_of_an_add_on_is_published_and_pinned(name):
    known = catalogue.with_addons(catalogue.RELEASES[0], [name])
    specs = contents.addon_manifests([name])
    assert [spec.name for spec in specs] == list(ADDONS[name].manifests)
    for spec in specs:
        if contents.is_written(spec):
            text = (MODULES / name / catalogue.ADDONS[name] / spec.name).read_text(encoding="utf-8")
            assert {image.rpartition(":")[2] for image in contents.image_names(text)} == {f"v{catalogue.ADDONS[name]}"}
            continue
        found = official.published(known, spec)
        assert len(found.sha256) == 64 and f"/v{catalogue.ADDONS[name]}/" in found.url and "{" not in found.url


def test_the_catalogue_has_a_version_of_every_add_on():
    assert set(catalogue.ADDONS) == set(ADDONS)


@pytest.mark.parametrize("wrong", ["registry.k8s.io/etcd:3.6.9-0", "registry.k8s.io/other:1"])
def test_kubeadm_and_catalogue_must_agree(wrong):
    with pytest.raises(FlotillaError) as caught:
        contents.images(catalogue.release("1.36.3"), ["amd64"], [*KUBEADM_LIST[:-1], wrong], [])
    assert caught.value.code == "BUNDLE_CATALOGUE_WRONG"
    assert "etcd" in caught.value.message and "3.6.8" in caught.value.message


ROLES = MODULES.parents[2]
_IMAGE = re.compile(r"\b(?:registry\.k8s\.io|ghcr\.io|docker\.io|quay\.io)/[\w./-]+(?::[\w.{}$ -]+)?")


def _variables(role: str) -> dict:
    return yaml.safe_load((ROLES / role / "defaults/main.yml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("release", catalogue.RELEASES, ids=lambda release: release.kubernetes)
@pytest.mark.parametrize("architecture", ["amd64", "arm64"])
def test_bundles_hold_what_the_roles_install(release, architecture):
    """The roles choose files by name, and a name that no bundle has would be left out silently."""
    has = {(spec.kind, spec.name) for spec in contents.files([architecture])}
    wanted = set(_variables("containerd")["containerd_binaries"])
    for name in ("kubernetes_binaries_node_tools", "kubernetes_binaries_control_plane_tools"):
        wanted |= set(_variables("kubernetes_binaries")[name])
    assert len(wanted) >= 10
    assert {("bin", name) for name in wanted} <= has
    # For every command of it there is an official file, with a checksum that is published or pinned.
    for plugin in PLUGINS.values():
        specs = contents.files([architecture], plugin)
        assert [spec.name for spec in specs if spec.kind == "manifest"] == [plugin.manifest]
        for spec in specs:
            if spec.kind == "manifest" and plugin.provided:
                continue
            found = official.published(catalogue.with_network_plugin(release, plugin.name), spec)
            assert found.checksums_url or found.sha256, spec
            assert "{" not in found.url + found.checksums_url + "".join(found.members.values())


@pytest.mark.parametrize("release", catalogue.RELEASES, ids=lambda release: release.kubernetes)
def test_bundles_hold_the_images_that_roles_name(release):
    names = [name.replace("1.36.3", release.kubernetes) for name in KUBEADM_LIST]
    names = [re.sub(r"etcd:[\d.]+", f"etcd:{release.components['etcd']}", name) for name in names]
    names = [re.sub(r"coredns:v[\d.]+", f"coredns:v{release.components['coredns']}", name) for name in names]
    has = {image.name.rpartition(":")[0] for image in contents.images(release, ["amd64"], names, [])}
    has |= {f"registry.k8s.io/kube-{name}" for name in ("controller-manager", "scheduler")}  # kubeadm asks for these, too
    used = set()
    for folder in ("defaults", "vars", "templates", "tasks", "files"):
        for path in (path for path in ROLES.glob(f"*/{folder}/**/*") if path.is_file() and "modules" not in path.parts):
            used |= {found.partition(":")[0] for found in _IMAGE.findall(path.read_text(encoding="utf-8", errors="replace"))}
    assert {name for name in used if "." in name.partition("/")[0]} <= has | {"registry.k8s.io", "ghcr.io"}, used - has


@pytest.mark.parametrize("plugin", [plugin for plugin in PLUGINS.values() if not plugin.provided], ids=lambda plugin: plugin.name)
def test_the_pinned_manifest_is_of_the_version_of_the_catalogue(plugin):
    component = plugin.components[0]
    (manifest,) = official.OFFICIAL[component]
    releases = [catalogue.with_network_plugin(release, plugin.name) for release in catalogue.RELEASES]
    assert {version for version, _sha256 in manifest.sha256} == {release.components[component] for release in releases}


def test_a_bundle_has_the_components_of_its_network_plugin():
    default = catalogue.release("1.36.3")
    assert catalogue.with_network_plugin(default, "flannel") is default
    other = catalogue.with_network_plugin(default, "kube-router").components
    assert set(default.components) - set(other) == {"flannel", "cni-flannel"} and set(other) - set(default.components) == {"kube-router"}
