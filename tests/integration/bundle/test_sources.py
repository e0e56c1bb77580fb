# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles from `release` and `mirror`, against servers on this machine that are laid out like the real ones (tests/support/official.py).

What arrives is small; everything else is real: the worker process, TLS with a private authority, docker-registry, a proxy with a password.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import build, catalogue, download, release, toolchain
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.components import COMPONENTS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.gomodule import Compiler
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.progress import Report
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.registry import Registry
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.session import Session, Start
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.source import Credentials, Mirror, controller_architecture
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import official
import outside

ROOT = Path(__file__).resolve().parents[3]
COLLECTIONS = ROOT / "collection"
VERSION = "1.36.3"
VERSIONS = {**catalogue.release(VERSION).components, "kubernetes": VERSION}
IMAGES = [
    *(f"registry.k8s.io/kube-{name}:v{VERSION}" for name in ("apiserver", "controller-manager", "scheduler", "proxy")),
    f"registry.k8s.io/coredns/coredns:v{VERSIONS['coredns']}",
    "registry.k8s.io/pause:3.10.2",
    f"registry.k8s.io/etcd:{VERSIONS['etcd']}-0",
]
OTHER_IMAGES = [
    f"ghcr.io/flannel-io/flannel:v{VERSIONS['flannel']}",
    "ghcr.io/flannel-io/flannel-cni-plugin:v1.9.1-flannel3",
    f"ghcr.io/kube-vip/kube-vip:v{VERSIONS['kube-vip']}",
]
MANIFEST = "".join(f"        image: {name}\n" for name in OTHER_IMAGES[:2]).encode()
KUBELET = f"dl.k8s.io/release/v{VERSION}/bin/linux/amd64/kubelet"
CNI_ARCHIVE = (
    f"github.com/containernetworking/plugins/releases/download/v{VERSIONS['cni-plugins']}"
    f"/cni-plugins-linux-amd64-v{VERSIONS['cni-plugins']}.tgz"
)


def binary(architecture: str, name: str) -> bytes:
    """Return the content of a command; kubeadm of this machine's architecture can be run."""
    if name == "kubeadm" and architecture == "amd64":
        return f"#!/bin/sh\n[ \"$*\" = 'config images list --kubernetes-version v{VERSION}' ] && echo '{' '.join(IMAGES)}'\n".encode()
    seed = f"{architecture} {name} ".encode()
    return seed * (200_000 if name == "kubelet" else 500)


def image(place: Path, name: str, architecture: str) -> Path:
    """Write a docker-archive with one layer."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        content = f"{name} {architecture} ".encode() * 200
        header = tarfile.TarInfo("content")
        header.size = len(content)
        archive.addfile(header, io.BytesIO(content))
    digest = _sha256(layer.getvalue())
    config = json.dumps({"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]}})
    index = json.dumps([{"Config": "config.json", "RepoTags": [name], "Layers": ["layer.tar"]}])
    target = place / f"{architecture}-{_sha256(name.encode())[:12]}.tar"
    with tarfile.open(target, "w") as archive:
        for path, data in (("manifest.json", index.encode()), ("config.json", config.encode()), ("layer.tar", layer.getvalue())):
            header = tarfile.TarInfo(path)
            header.size = len(data)
            archive.addfile(header, io.BytesIO(data))
    return target


# The worker as it is, but for the pinned SHA-256 of flannel's manifest: here it is another one.
WORKER = """
import dataclasses, os, pathlib, sys
pathlib.Path("{place}/pid").write_text(str(os.getpid()))
sys.path.insert(0, "{collections}")
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import official, worker
(manifest,) = official.OFFICIAL["flannel"]
pinned = tuple((version, "{sha256}") for version, _real in manifest.sha256)
official.OFFICIAL["flannel"] = (dataclasses.replace(manifest, sha256=pinned),)
worker.main()
"""


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


class World:
    """The servers, and a controller with a cache of its own."""

    def __init__(self, place: Path) -> None:
        self.registry = official.Registry(place / "registry")
        files = official.flannel_manifest(VERSIONS["flannel"], MANIFEST)
        for architecture in ("amd64", "arm64"):
            found = official.release_files(VERSIONS, architecture, lambda name, of=architecture: binary(of, name))
            for path, content in found.items():
                # Lists of checksums are of all architectures.
                files[path] = files.get(path, b"") + content
        (place / "images").mkdir()
        for name in (*IMAGES, *OTHER_IMAGES):
            self.registry.push(name, {arch: image(place / "images", name, arch) for arch in ("amd64", "arm64")})
        self.server = official.Server(place / "tls", self.registry, files)
        self.proxy = official.Proxy(self.server.port)

    def close(self) -> None:
        self.proxy.close()
        self.server.close()
        self.registry.close()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    made = World(tmp_path_factory.mktemp("world"))
    yield made
    made.close()


class Controller:
    """One controller; `online` brings it to the internet through the proxy, `mirror` to the mirror only."""

    def __init__(self, world: World, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.world, self.place, self.cache, self._patch = world, place, place / "cache", monkeypatch
        monkeypatch.setenv("FLOTILLA_CACHE", str(self.cache))
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"):
            monkeypatch.delenv(name, raising=False)
            monkeypatch.delenv(name.lower(), raising=False)
        self._python = place / "python"
        self._python.write_text(f"#!{sys.executable}\n{WORKER.format(place=place, collections=COLLECTIONS, sha256=_sha256(MANIFEST))}")
        self._python.chmod(0o755)

    def online(self) -> None:
        self._patch.setenv("HTTPS_PROXY", self.world.proxy.url)
        self._patch.setenv("SSL_CERT_FILE", str(self.world.server.ca))

    def mirror(self, ca_file: bool = True) -> Mirror:
        place = f"localhost:{self.world.server.port}"
        return Mirror(f"https://{place}/files", f"{place}/kubernetes", str(self.world.server.ca) if ca_file else None)

    def session(self, source: str, **more: Any) -> Session:
        if source == "mirror":
            more = {"mirror": self.mirror(), "credentials": Credentials(official.USER, official.PASSWORD), **more}
        request = build.Request.of(VERSION, source, more.pop("directory", None), str(ROOT / "roles/bundle/files/modules"), **more)
        return Session(request, Start(str(self._python), str(COLLECTIONS)))

    def make(self, source: str, lines: list[str] | None = None, **more: Any) -> dict[str, Any]:
        return finish(self.session(source, **more), lines)

    def kill_worker(self) -> None:
        os.kill(int((self.place / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def controller(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Controller:
    world.server.reset()
    world.proxy.asked.clear()
    return Controller(world, tmp_path, monkeypatch)


def finish(session: Session, lines: list[str] | None = None, token: str | None = None) -> dict[str, Any]:
    for _slice in range(400):
        answer = session.advance(token, 0.5)
        if lines is not None:
            lines += answer["progress"]
        if answer["finished"]:
            return answer["manifest"]
        token = answer["progress_token"]
    raise AssertionError("the bundle does not get finished")


def content_requests(world: World) -> dict[str, int]:
    """Return how often each file, layer and configuration was given; checksums and tags may be asked for again."""
    return {
        path: count
        for path, count in world.server.counts.items()
        if "/blobs/" in path or not ("/manifests/" in path or path.endswith((".sha256", ".sha256sum", "SHA256SUMS")))
    }


def assert_bundle(directory: Path, found: dict[str, Any], architectures: tuple[str, ...] = ("amd64",)) -> None:
    """Judge a bundle from outside: each file by what was published, each image by skopeo's view of it."""
    assert found["architectures"] == list(architectures)
    for architecture in architectures:
        for name in (
            "kubelet",
            "kubectl",
            "kubeadm",
            "containerd",
            "containerd-shim-runc-v2",
            "ctr",
            "runc",
            "crictl",
            "etcdctl",
            "etcdutl",
        ):
            path = directory / "bin" / architecture / name
            assert path.read_bytes() == binary(architecture, name), path
            assert os.access(path, os.X_OK), path
        for name in official.CNI:
            assert (directory / "cni" / architecture / name).read_bytes() == binary(architecture, name)
        names = {entry["name"] for entry in found["images"] if entry["architecture"] == architecture}
        assert names == {*IMAGES, *OTHER_IMAGES}
    for entry in (*found["files"], *found["images"]):
        content = (directory / entry["path"]).read_bytes()
        assert (_sha256(content), len(content)) == (entry["sha256"], entry["size"]), entry["path"]
    for entry in found["images"]:
        command = ["skopeo", "inspect", "--config", "--raw", f"docker-archive:{directory / entry['path']}"]
        config = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        assert f"sha256:{_sha256(config)}" == entry["config_digest"]
        assert json.loads(config)["architecture"] == entry["architecture"]


def test_release_through_a_proxy_with_a_password_for_two_architectures(world: World, controller: Controller) -> None:
    controller.online()
    lines: list[str] = []
    found = controller.make("release", lines, architectures=("amd64", "arm64"))
    assert_bundle(controller.cache / "bundles" / VERSION, found, ("amd64", "arm64"))
    assert {host for host, count in world.proxy.asked.items() if count} == set(official.HOSTS), "everything went through the proxy"
    given = content_requests(world)
    assert given[KUBELET] == 1 and set(given.values()) == {1}, {path: count for path, count in given.items() if count > 1}
    assert not [pair for pair in world.server.authorized if pair[0] not in ("registry.k8s.io", "ghcr.io")], "tokens are for registries only"
    assert found["notes"]["digests"]["registry.k8s.io/pause:3.10.2 arm64"].startswith("sha256:")
    assert any("files: " in line for line in lines) and lines[-1].startswith(f"bundle {VERSION}: 4/4 bundle: ready in ")
    # There it stays; nobody is asked.
    world.server.reset()
    world.proxy.asked.clear()
    for source, architectures in (("release", ("arm64",)), ("auto", ("amd64",))):
        assert controller.session(source, architectures=architectures).present() == found
    assert not world.proxy.asked and not world.server.counts


def test_a_mirror_with_a_password_and_a_private_authority(world: World, controller: Controller) -> None:
    found = controller.make("mirror")
    assert_bundle(controller.cache / "bundles" / VERSION, found)
    assert not world.proxy.asked
    assert {host for host, _path in world.server.authorized} == {"localhost"}
    assert controller.session("mirror").present() == found
    # A second bundle takes everything from the cache of downloads.
    world.server.reset()
    again = controller.make("mirror", directory=str(controller.place / "second"))
    assert [entry["sha256"] for entry in again["files"]] == [entry["sha256"] for entry in found["files"]]
    assert content_requests(world) == {}


def test_no_secret_is_left_anywhere(world: World, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    controller.online()
    monkeypatch.setenv("NO_PROXY", "localhost")
    world.server.faults[KUBELET] = [503]
    lines: list[str] = []
    controller.make("mirror", lines)
    secrets = [official.PASSWORD, official.PROXY_PASSWORD, "Marker-Token", "Marker-Signature"]
    secrets += [base64.b64encode(f"{official.USER}:{official.PASSWORD}".encode()).decode()]
    text = "\n".join(lines)
    for secret in secrets:
        assert secret not in text
        assert not [path for path in controller.cache.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()], secret
    assert "once more in" in text, "the lines do tell of the fault"


@pytest.mark.parametrize(
    ("credentials", "said"),
    [(Credentials(official.USER, "Marker-Typo"), "refuses the given credentials"), (Credentials(), "asks for credentials")],
)
def test_wrong_credentials_are_named_and_not_shown(controller: Controller, credentials: Credentials, said: str) -> None:
    with pytest.raises(FlotillaError) as caught:
        controller.make("mirror", credentials=credentials)
    assert caught.value.code == "BUNDLE_CREDENTIALS_REFUSED"
    assert said in caught.value.message and "bundle_credentials" in caught.value.remedy
    assert "Marker-Typo" not in json.dumps(caught.value.as_result())
    assert not (controller.cache / "bundles").exists()


def test_a_wrong_password_of_the_proxy_is_named(world: World, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    controller.online()
    monkeypatch.setenv("HTTPS_PROXY", world.proxy.url.replace(official.PROXY_PASSWORD, "wrong-one"))
    with pytest.raises(FlotillaError) as caught:
        controller.make("release")
    assert caught.value.code == "BUNDLE_PROXY_REFUSED" and "wrong-one" not in json.dumps(caught.value.as_result())


def test_an_unknown_authority_is_refused(controller: Controller) -> None:
    with pytest.raises(FlotillaError) as caught:
        controller.make("mirror", mirror=controller.mirror(ca_file=False))
    assert caught.value.code == "BUNDLE_TLS_FAILED" and "bundle.mirror.ca_file" in caught.value.remedy


@pytest.mark.parametrize("path", [KUBELET, CNI_ARCHIVE], ids=["binary", "archive"])
def test_a_wrong_checksum_stops_and_leaves_nothing(world: World, controller: Controller, path: str) -> None:
    world.server.faults[path] = ["wrong"]
    with pytest.raises(FlotillaError) as caught:
        controller.make("mirror")
    assert caught.value.code == "BUNDLE_CHECKSUM_WRONG"
    assert path in caught.value.message and _sha256(world.server.files[path]) in caught.value.message
    assert not (controller.cache / "bundles" / VERSION).exists()
    kept = controller.cache / "downloads" / f"{_sha256(world.server.files[path])}.part"
    assert not kept.exists(), "nothing wrong is kept to go on with"
    controller.make("mirror")  # and the next run is not spoiled


def test_a_layer_that_is_not_its_digest_is_refused(world: World, controller: Controller) -> None:
    controller.make("mirror", directory=str(controller.place / "first"))
    blob = next(path for path in world.server.counts if "/blobs/" in path)
    world.server.reset()
    (controller.cache / "downloads" / blob.rpartition(":")[2]).unlink()
    world.server.faults[blob] = ["wrong"]
    with pytest.raises(FlotillaError) as caught:
        controller.make("mirror")
    assert caught.value.code == "BUNDLE_CHECKSUM_WRONG" and blob.rpartition(":")[2] in caught.value.message


def test_a_manifest_that_is_not_what_the_registry_promises_is_refused(world: World, controller: Controller) -> None:
    world.server.faults["registry.k8s.io/pause/manifests/3.10.2"] = ["wrong"]
    with pytest.raises(FlotillaError) as caught:
        controller.make("mirror")
    assert caught.value.code == "BUNDLE_REGISTRY_WRONG"


def test_a_transfer_that_is_cut_off_goes_on_where_it_stopped(world: World, controller: Controller) -> None:
    world.server.faults[KUBELET] = ["cut", "cut"]
    found = controller.make("mirror")
    assert_bundle(controller.cache / "bundles" / VERSION, found)
    assert world.server.counts[KUBELET] == 3
    assert world.server.bytes[KUBELET] == len(binary("amd64", "kubelet")), "no byte came twice"


def test_a_server_that_stumbles_is_asked_again(world: World, controller: Controller) -> None:
    world.server.faults[KUBELET] = [503, 500]
    world.server.faults[f"{KUBELET}.sha256"] = [502]
    world.server.faults["registry.k8s.io/pause/manifests/3.10.2"] = [429]
    controller.make("mirror")
    assert world.server.counts[KUBELET] == 1


def test_a_server_that_stays_broken_is_given_up(world: World, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_pause", lambda error, tried: 0.01)
    access = download.Access(world.server.ca, frozenset({f"https://localhost:{world.server.port}"}), official.USER, official.PASSWORD)
    client = download.Client(controller.cache, access, "")
    world.server.faults["some/file"] = [503] * 50
    with pytest.raises(FlotillaError, match=r"in 5 tries \(HTTP 503\)") as caught:
        client.fetch(f"https://localhost:{world.server.port}/files/some/file", "0" * 64)
    assert caught.value.code == "BUNDLE_DOWNLOAD_FAILED"
    assert len(world.server.faults["some/file"]) == 45


def test_one_missing_file_is_named(world: World, controller: Controller) -> None:
    world.server.faults[CNI_ARCHIVE] = [404]
    with pytest.raises(FlotillaError) as caught:
        controller.make("mirror")
    assert caught.value.code == "BUNDLE_NOT_FOUND"
    assert f"https://localhost:{world.server.port}/files/{CNI_ARCHIVE}" in caught.value.message and "docs/bundles.md" in caught.value.remedy


def test_a_killed_run_goes_on_and_fetches_nothing_twice(world: World, controller: Controller) -> None:
    world.server.faults[KUBELET] = ["slow"]
    first = controller.session("mirror")
    token = first.advance(None, 0.1)["progress_token"]
    until = time.monotonic() + 120
    while not world.server.bytes[KUBELET]:
        assert time.monotonic() < until
        time.sleep(0.05)
    time.sleep(1)
    controller.kill_worker()
    with pytest.raises(FlotillaError, match="ended without a result"):
        finish(first, token=token)
    world.server.hurry.set()
    assert not (controller.cache / "bundles" / VERSION).exists()
    before = content_requests(world)
    assert before, "the kill came in the middle"
    found = controller.make("mirror")
    assert_bundle(controller.cache / "bundles" / VERSION, found)
    after = content_requests(world)
    # What was on its way at the kill is asked for once more, from where it stopped; all else was fetched once.
    twice = {path for path, count in after.items() if count > 1}
    assert KUBELET in twice and len(twice) <= 4, twice
    assert world.server.bytes[KUBELET] <= len(binary("amd64", "kubelet")) + (1 << 18)


def test_tokens_that_expire_are_renewed(world: World, controller: Controller) -> None:
    access = download.Access(world.server.ca, frozenset({f"https://localhost:{world.server.port}"}), official.USER, official.PASSWORD)
    client = download.Client(controller.cache, access, "")
    registry = Registry(client, f"localhost:{world.server.port}/kubernetes")
    registry.pull(IMAGES[0], "amd64")
    world.server.forget_tokens()
    assert registry.pull(IMAGES[0], "arm64").architecture == "arm64"


def test_a_registry_that_takes_the_password_itself(world: World, controller: Controller) -> None:
    world.server.basic = True
    assert_bundle(controller.cache / "bundles" / VERSION, controller.make("mirror"))
    assert not [path for _host, path in world.server.authorized if path.startswith("/token")]


def test_a_full_disk_is_named(world: World, controller: Controller) -> None:
    access = download.Access(world.server.ca, frozenset({f"https://localhost:{world.server.port}"}), official.USER, official.PASSWORD)
    client = download.Client(controller.cache, access, "")
    url, sha256 = f"https://localhost:{world.server.port}/files/{KUBELET}", _sha256(world.server.files[KUBELET])
    part = controller.cache / "downloads" / f"{sha256}.part"
    part.parent.mkdir(parents=True)
    part.symlink_to("/dev/full")  # whatever is written to it: no space left on device
    with pytest.raises(FlotillaError) as caught:
        client.fetch(url, sha256)
    assert caught.value.code == "BUNDLE_DISK_SPACE" and str(controller.cache) in caught.value.message
    part.unlink()
    assert client.fetch(url, sha256).read_bytes() == world.server.files[KUBELET]


def test_modules_compile_for_another_architecture(tmp_path: Path) -> None:
    """One small component without C, by the real Go; a whole bundle takes iptables from the controller, so that is refused."""
    modules = ROOT / "roles/bundle/files/modules"
    report, log = Report(lambda event: None, ""), tmp_path / "log"
    machines = {}
    for architecture in ("amd64", "arm64"):
        compiler = Compiler(tmp_path, modules, architecture, lambda: toolchain.find("1.24.0", tmp_path), log, report)
        built, _compiled = compiler.build(COMPONENTS["cni-flannel"], VERSIONS["cni-flannel"])
        machines[architecture] = (built.directory / "flannel").read_bytes()[18]
    assert machines == {"amd64": 62, "arm64": 183}  # e_machine of elf(5)
    foreign = "arm64" if controller_architecture() == "amd64" else "amd64"
    request = build.Request.of(VERSION, "modules", str(tmp_path / "bundle"), str(modules), architectures=(foreign,))
    with pytest.raises(FlotillaError, match=f"bundle for {foreign} can not be compiled") as caught:
        request.open(log, report).check()
    assert caught.value.code == "BUNDLE_ARCHITECTURE_FOREIGN"


def test_auto_takes_what_can_be_reached_and_stays_with_it(world: World, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    controller.online()
    lines: list[str] = []
    found = controller.make("auto", lines)
    assert found["source"] == "release" and "official releases are in reach" in lines[0]
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    assert "refused" in release.reachable(VERSION)
    assert controller.session("auto").present() == found, "a bundle does not change because the internet is gone"
    assert controller.session("auto").plan()["source"] == "release"
    assert controller.session("auto", rebuild=True).plan()["source"] == "modules"
    assert controller.session("auto", rebuild=True, mirror=controller.mirror()).plan()["source"] == "mirror"


def test_a_bundle_made_elsewhere_is_checked_and_used_in_place(world: World, controller: Controller) -> None:
    place = str(controller.place / "carried")
    found = controller.make("mirror", directory=place)
    (controller.place / "pid").unlink()
    assert controller.session("directory", directory=place).present() == found
    cases = {"BUNDLE_ARCHITECTURE_MISSING": {"architectures": ("amd64", "arm64")}, "BUNDLE_NOT_MADE_HERE": {"rebuild": True}}
    for code, more in cases.items():
        with pytest.raises(FlotillaError) as caught:
            controller.session("directory", directory=place, **more).present()
        assert caught.value.code == code
    other = build.Request.of("1.35.4", "directory", place, "")
    with pytest.raises(FlotillaError, match="is of Kubernetes 1.36.3, wanted is 1.35.4") as caught:
        Session(other, Start("none", "none")).present()
    assert caught.value.code == "BUNDLE_VERSION_WRONG"
    with pytest.raises(FlotillaError, match="bundle.directory") as caught:
        controller.session("directory")
    assert caught.value.code == "BUNDLE_DIRECTORY_MISSING"
    kubelet = Path(place) / "bin/amd64/kubelet"
    kubelet.write_bytes(kubelet.read_bytes()[:-1])
    with pytest.raises(FlotillaError, match="bin/amd64/kubelet") as caught:
        controller.session("directory", directory=place).present()
    assert caught.value.code == "BUNDLE_FILE_CORRUPT"
    assert not (controller.place / "pid").exists(), "no worker was ever started"


def test_the_playbook_names_each_bad_file(world: World, controller: Controller, monkeypatch: pytest.MonkeyPatch) -> None:
    place = controller.place / "bundle"
    controller.make("mirror", directory=str(place))
    definition = controller.place / "foundation/clusters/test-bundle.yml"
    definition.parent.mkdir(parents=True)
    content = {"plugin": "flotilla.kubernetes.cluster", "schema": 1, "name": "test-bundle", "cloud": "local", "kubernetes_version": VERSION}
    content |= {"control_plane": {"count": 1}, "local": {"network_cidr": "172.30.248.0/24"}}
    content |= {"bundle": {"source": "directory", "directory": str(place)}}
    definition.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    good = outside.playbook("bundle_verify", definition, timeout=300)
    assert (good.status, good.changed) == (0, 0), good.output
    (place / "bin/amd64/ctr").unlink()
    pause = place / "images/amd64/pause.tar"
    pause.write_bytes(pause.read_bytes()[:-1] + b"x")
    bad = outside.playbook("bundle_verify", definition, timeout=300)
    assert bad.status != 0 and "Traceback" not in bad.output
    assert "- bin/amd64/ctr is missing" in bad.output and "- images/amd64/pause.tar has SHA-256" in bad.output
    assert "bin/amd64/runc" not in bad.output
