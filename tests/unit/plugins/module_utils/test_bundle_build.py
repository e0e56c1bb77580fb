# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles from real workers and a stand-in for Go: complete, shared between runs, resumed after a kill.

The stand-in answers the four Go commands that are used, writes what it is asked to build to a log, and fails or hangs on request.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import sys
import tarfile
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import build, catalogue, images, manifest, modules
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.components import COMPONENTS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.contents import ImageSpec
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.gomodule import strip_source
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.image_archive import Entry, Image, write
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.progress import Report
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.provided import Provided, full_name
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.session import Session, Start
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._files import sha256_of
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.table import ADDONS

# Components of the default bundle.
COMPILED = len(catalogue.RELEASES[0].components) + 1
COLLECTIONS = next(path.parent for path in Path(build.__file__).absolute().parents if path.name == "ansible_collections")

FAKE_GO = """#!{python}
import json, os, pathlib, re, sys, time
here = pathlib.Path(__file__).parent.parent
arguments = sys.argv[1:]
if arguments[0] == "env":
    print("go9.9.9")
elif arguments[:2] == ["mod", "download"]:
    print(json.dumps({{"Dir": str(here / "source"), "Info": str(here / "source/info.json")}}))
elif arguments[0] == "build":
    pinned = pathlib.Path("go.mod").read_text().split()
    with open(here / "builds.log", "a") as log:
        log.write(json.dumps({{"component": pinned[0], "version": pinned[1], "pid": os.getpid(), "parent": os.getppid()}}) + "\\n")
    time.sleep(0.05)
    if (here / ("hang-" + pinned[0])).exists():
        time.sleep(60)
    if (here / ("fail-" + pinned[0])).exists():
        print("# example.test/broken\\n./main.go:3:1: syntax error: unexpected }}")
        sys.exit(1)
    target = pathlib.Path(arguments[arguments.index("-o") + 1])
    for package in arguments[arguments.index("-o") + 2:]:
        parts = package.split("/")
        name = parts[-2] if re.fullmatch("v[0-9]+", parts[-1]) else parts[-1]
        binary = target / name
        binary.write_text("#!/bin/sh\\n# " + " ".join(pinned) + " " + " ".join(arguments[:arguments.index("-o")]) + "\\ncat <<END\\n"
                          + (here / "kubeadm-list").read_text().replace("VERSION", pinned[1]) + "END\\n")
        binary.chmod(0o755)
"""

# A worker whose images take nothing from this machine's operating system.
WORKER = """
import sys
sys.path.insert(0, {collections!r})
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import images, modules, worker
images.system = lambda *commands: []
modules.ModulesSource.check = lambda self: None
modules.ModulesSource._compile_pause = lambda self, spec, target: target.write_text("pause")
worker.main()
"""


class Bench:
    """A cache, wrapper modules and a Go of their own."""

    def __init__(self, path: Path) -> None:
        self.path, self.cache, self.modules, self.go = path, path / "cache", path / "modules", path / "go"
        (self.go / "bin").mkdir(parents=True)
        (self.go / "bin/go").write_text(FAKE_GO.format(python=sys.executable), encoding="utf-8")
        (self.go / "bin/go").chmod(0o755)
        (self.path / "worker").write_text(f"#!{sys.executable}\n{WORKER.format(collections=str(COLLECTIONS))}", encoding="utf-8")
        (self.path / "worker").chmod(0o755)
        for release in catalogue.RELEASES:
            for name, version in {**release.components, **catalogue.ADDONS, "kubernetes": release.kubernetes}.items():
                (self.modules / name / version).mkdir(parents=True, exist_ok=True)
                (self.modules / name / version / "go.mod").write_text(f"{name} {version}\n", encoding="utf-8")
                (self.modules / name / version / "go.sum").write_text("sums\n", encoding="utf-8")
        source = self.go / "source"
        (source / "Documentation").mkdir(parents=True)
        (source / "info.json").write_text(json.dumps({"Time": "2026-01-01T00:00:00Z"}), encoding="utf-8")
        (source / "Documentation/kube-flannel.yml").write_text(
            "  image: ghcr.io/flannel-io/flannel:v0.28.10\n  image: ghcr.io/flannel-io/flannel-cni-plugin:v1\n", encoding="utf-8"
        )
        for name, addon in ADDONS.items():
            for number, (file, path) in enumerate(addon.manifests.items()):
                if not path:
                    image = f"quay.io/prometheus/{name}:v{catalogue.ADDONS[name]}"
                    self.written(name).write_text(f"  image: {image}\n", encoding="utf-8")
                    assert self.written(name).name == file
                    continue
                (source / path).parent.mkdir(parents=True, exist_ok=True)
                image = next(iter(addon.images), f"quay.io/metallb/controller:v{catalogue.ADDONS[name]}") if number == 0 else "busybox"
                (source / path).write_text(f"  image: {image}\n", encoding="utf-8")
        (source / "go.mod").write_text("module github.com/flannel-io/flannel\n", encoding="utf-8")
        (source / "pkg/backend/tencentvpc").mkdir(parents=True)

    def written(self, name: str) -> Path:
        """Return the manifest of an add-on whose makers publish none."""
        return self.modules / name / catalogue.ADDONS[name] / f"{name}.yaml"

    def release(self, version: str) -> None:
        """Let every kubeadm that is compiled from now on ask for the images of `version`."""
        known = catalogue.release(version)
        names = [f"kube-{name}:v{version}" for name in ("apiserver", "controller-manager", "scheduler", "proxy")]
        names += [f"coredns/coredns:v{known.components['coredns']}", "pause:3.10", f"etcd:{known.components['etcd']}-0"]
        (self.go / "kubeadm-list").write_text("".join(f"registry.k8s.io/{name}\n" for name in names), encoding="utf-8")

    def session(self, version: str = "1.36.3", directory: str | None = None, rebuild: bool = False, **more: Any) -> Session:
        request = build.Request.of(version, "modules", directory, str(self.modules), rebuild, **more)
        return Session(request, Start(str(self.path / "worker"), str(COLLECTIONS)))

    def builds(self) -> list[tuple[str, str]]:
        log = self.go / "builds.log"
        lines = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
        return [(entry["component"], entry["version"]) for entry in map(json.loads, lines)]

    def last_build(self) -> dict:
        return json.loads((self.go / "builds.log").read_text(encoding="utf-8").splitlines()[-1])

    def leftovers(self) -> list[str]:
        return sorted(str(path.relative_to(self.cache)) for path in self.cache.rglob("*.tmp*"))


@pytest.fixture
def bench(tmp_path, monkeypatch):
    made = Bench(tmp_path)
    made.release("1.36.3")
    monkeypatch.setenv("FLOTILLA_CACHE", str(made.cache))
    monkeypatch.setenv("PATH", f"{made.go / 'bin'}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(modules.ModulesSource, "check", lambda self: None)
    return made


def finish(running: Session, lines: list[str] | None = None, token: str | None = None) -> dict:
    for _slice in range(200):
        answer = running.advance(token, 0.3)
        if lines is not None:
            lines += answer["progress"]
        if answer["finished"]:
            return answer["manifest"]
        token = answer["progress_token"]
    raise AssertionError("the bundle does not get finished")


def wait_for(condition) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.02)


def test_a_bundle_is_made_once_and_then_found(bench):
    assert bench.session().present() is None
    lines: list[str] = []
    made = finish(bench.session(), lines)
    directory = bench.cache / "bundles/1.36.3"
    assert manifest.verify(directory) == []
    paths = {entry["path"]: entry for entry in made["files"]}
    assert {"bin/amd64/kubelet", "bin/amd64/etcdctl", "cni/amd64/bridge", "manifests/kube-flannel.yml"} <= set(paths)
    assert paths["bin/amd64/runc"]["mode"] == "0755" and os.access(directory / "bin/amd64/runc", os.X_OK)
    names = {image["name"]: image for image in made["images"]}
    assert "registry.k8s.io/etcd:3.6.8-0" in names and "ghcr.io/flannel-io/flannel:v0.28.10" in names
    assert made["pause_image"] == "registry.k8s.io/pause:3.10"
    assert sorted(bench.builds()) == sorted({**catalogue.release("1.36.3").components, "kubernetes": "1.36.3"}.items())
    last = COMPILED + 1
    assert lines[1].startswith(f"bundle 1.36.3: 1/{last} containerd: ")
    assert lines[-1].startswith(f"bundle 1.36.3: {last}/{last} bundle: ready in ")
    assert bench.leftovers() == []
    assert bench.session().present() == made
    assert len(bench.builds()) == COMPILED, "nothing is compiled twice"


def test_binaries_are_stamped_stripped_and_pinned(bench):
    finish(bench.session())
    text = (bench.cache / "bundles/1.36.3/bin/amd64/kubelet").read_text(encoding="utf-8")
    for flag in (
        "-mod=readonly",
        "-trimpath",
        "-s -w",
        "version.gitVersion=v1.36.3",
        "gitMinor=36",
        "buildDate=2026-01-01T00:00:00Z",
        "gitCommit=" + "0" * 40,
    ):
        assert flag in text, flag
    assert "gitCommit=" not in (bench.cache / "bundles/1.36.3/bin/amd64/runc").read_text(encoding="utf-8"), (
        "no commit is known, so none is claimed"
    )


def test_a_killed_build_leaves_no_half_bundle_and_is_resumed(bench):
    (bench.go / "hang-kubernetes").touch()
    first = bench.session()
    token = first.advance(None, 0.1)["progress_token"]
    wait_for(lambda: ("kubernetes", "1.36.3") in bench.builds())
    entry = bench.last_build()
    os.kill(entry["parent"], signal.SIGKILL)
    os.kill(entry["pid"], signal.SIGKILL)
    with pytest.raises(FlotillaError) as caught:
        finish(first, token=token)
    assert caught.value.code == "BUNDLE_WORKER_DIED"
    assert not (bench.cache / "bundles/1.36.3").exists()
    assert len(bench.leftovers()) == 1, "the kill came in the middle"
    (bench.go / "hang-kubernetes").unlink()
    finish(bench.session())
    assert manifest.verify(bench.cache / "bundles/1.36.3") == []
    assert bench.builds().count(("kubernetes", "1.36.3")) == 2
    assert len(bench.builds()) == COMPILED + 1, "what was compiled before the kill is used"
    assert bench.leftovers() == []


def test_a_stopped_playbook_is_attached_to_again(bench):
    (bench.go / "hang-etcd").touch()
    bench.session().advance(None, 0.1)  # and nobody asks again
    wait_for(lambda: ("etcd", "3.6.8") in bench.builds())
    second = bench.session()
    answer = second.advance(None, 0.1)
    assert not answer["finished"]
    assert any("containerd: compiled" in line for line in answer["progress"]), "it hears what went before"
    # The worker of the first run is killed: had the second one its own, it would go on.
    os.kill(bench.last_build()["parent"], signal.SIGKILL)
    os.kill(bench.last_build()["pid"], signal.SIGKILL)
    with pytest.raises(FlotillaError, match="ended without a result"):
        finish(second, token=answer["progress_token"])


def test_two_runs_at_once_share_one_worker(bench):
    answers: list[dict] = []
    threads = [threading.Thread(target=lambda: answers.append(finish(bench.session()))) for _run in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 4 and all(answer == answers[0] for answer in answers)
    assert len(bench.builds()) == COMPILED


def test_two_directories_at_once_compile_each_component_once(bench):
    directories = [str(bench.path / name) for name in ("one", "two")]
    threads = [threading.Thread(target=lambda place=place: finish(bench.session(directory=place))) for place in directories]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [manifest.verify(Path(place)) for place in directories] == [[], []]
    assert sorted(bench.builds()) == sorted(set(bench.builds()))
    one, two = ((Path(place) / "manifest.json").read_bytes() for place in directories)
    assert one == two, "the same inputs give the same bundle"


def test_another_minor_shares_what_is_the_same(bench):
    finish(bench.session())
    bench.release("1.35.4")
    finish(bench.session("1.35.4"))
    again = [name for name, _version in bench.builds()[COMPILED:]]
    assert sorted(again) == ["coredns", "etcd", "kubernetes"]


def test_changed_pins_compile_that_component_again(bench):
    finish(bench.session())
    (bench.modules / "runc/1.3.6/go.sum").write_text("other sums\n", encoding="utf-8")
    assert bench.session().present() is None, "the bundle is not the one that would be made now"
    finish(bench.session())
    assert bench.builds()[COMPILED:] == [("runc", "1.3.6")]
    assert bench.session().present()


def test_a_damaged_bundle_is_refused_and_made_again_on_request(bench):
    finish(bench.session())
    kubelet = bench.cache / "bundles/1.36.3/bin/amd64/kubelet"
    good = sha256_of(kubelet)
    with kubelet.open("r+b") as stream:  # in place, so that the cache's own copy suffers too where it is the same file
        stream.write(b"#?")
    with pytest.raises(FlotillaError) as caught:
        bench.session().present()
    assert caught.value.code == "BUNDLE_FILE_CORRUPT" and "bin/amd64/kubelet" in caught.value.message
    assert bench.session(rebuild=True).present() is None
    finish(bench.session(rebuild=True))
    assert sha256_of(kubelet) == good
    assert bench.session().present()


def test_a_compiler_error_is_shown_with_its_log(bench):
    (bench.go / "fail-runc").touch()
    lines: list[str] = []
    with pytest.raises(FlotillaError) as caught:
        finish(bench.session(), lines)
    result = caught.value.as_result()
    assert result["code"] == "BUNDLE_COMPILE_FAILED"
    assert result["msg"].startswith("runc 1.3.6 did not compile (exit status 1).") and result["msg"].endswith(f"{result['log']}.")
    assert "./main.go:3:1: syntax error: unexpected }" in result["cause"]
    assert any(f"2/{COMPILED + 1} runc: fetching" in line for line in lines + result["progress"])
    assert not (bench.cache / "bundles/1.36.3").exists() and bench.leftovers() == []


def test_somebody_elses_directory_is_not_replaced(bench):
    place = bench.path / "home"
    place.mkdir()
    (place / "thesis.tex").touch()
    with pytest.raises(FlotillaError) as caught:
        bench.session(directory=str(place)).advance(None, 0.1)
    assert caught.value.code == "BUNDLE_DIRECTORY_TAKEN" and str(place) in caught.value.message
    assert (place / "thesis.tex").exists()


def test_too_little_disk_is_seen_before_anything_starts(bench, monkeypatch):
    monkeypatch.setattr(build.shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 7, 3 << 30))
    with pytest.raises(FlotillaError, match="3.0 are free") as caught:
        bench.session().advance(None, 0.1)
    assert caught.value.code == "BUNDLE_DISK_SPACE"
    assert bench.builds() == []


def test_an_unknown_source_is_refused_by_name(bench):
    request = build.Request.of("1.36.3", "nonsense", None, str(bench.modules))
    with pytest.raises(FlotillaError, match="source nonsense is not in this release") as caught:
        Session(request, Start("none", "none")).advance(None, 0.1)
    assert caught.value.code == "BUNDLE_SOURCE_UNKNOWN"


def test_a_missing_wrapper_is_named(bench):
    finish(bench.session())
    (bench.modules / "etcd/3.6.8/go.sum").unlink()
    with pytest.raises(FlotillaError, match="etcd 3.6.8 can not be compiled") as caught:
        bench.session().present()
    assert caught.value.code == "BUNDLE_WRAPPER_MISSING"


def test_missing_packages_are_named(monkeypatch, tmp_path):
    source = build.Request.of("1.36.3", "modules", None, str(tmp_path)).open(tmp_path / "log", Report(lambda event: None, ""))
    monkeypatch.setattr(images, "has_command", lambda command: command != "nft")
    monkeypatch.setattr(modules.shutil, "which", lambda command: None)
    with pytest.raises(FlotillaError) as caught:
        source.check()
    assert caught.value.as_result()["packages"] == ["gcc", "libc6-dev", "libseccomp-dev", "nftables", "pkgconf"]


def kube_router(folder: Path) -> dict[str, Any]:
    """Return what asks for a bundle with kube-router, whose files the user gives."""
    text = "  - image: docker.io/cloudnativelabs/kube-router\n    image: docker.io/cloudnativelabs/kube-router\n"
    (folder / "kube-router.yaml").write_text(text, encoding="utf-8")
    write(Image("cloudnativelabs/kube-router:v2.10.0", ()), folder / "kube-router.tar")
    provided = Provided(str(folder / "kube-router.yaml"), (str(folder / "kube-router.tar"),))
    return {"network_plugin": "kube-router", "provided": provided}


def test_another_network_plugin_has_a_bundle_of_its_own_and_leaves_the_default_one_alone(bench):
    default = finish(bench.session())
    other = kube_router(bench.path)
    made = finish(bench.session(**other))
    place = bench.cache / "bundles/1.36.3-kube-router"
    assert made["network_plugin"] == "kube-router" and manifest.verify(place) == []
    names = {image["name"] for image in made["images"]}
    assert "docker.io/cloudnativelabs/kube-router:v2.10.0" in names and not any("flannel" in name for name in names)
    (text,) = (place / "manifests").glob("*")
    assert text.name == "kubeadm-kuberouter.yaml" and text.read_text(encoding="utf-8").count("kube-router:v2.10.0\n") == 2
    assert len(bench.builds()) == COMPILED, "what both need is compiled once"
    assert bench.session().present() == default and bench.session(**other).present() == made


def test_add_ons_are_added_to_a_bundle_and_stay_there_for_the_clusters_that_have_them(bench):
    plain = finish(bench.session())
    assert plain["addons"] == [] and not [image for image in plain["images"] if image["addons"]]
    assert bench.session(addons=("metallb",)).present() is None
    first = finish(bench.session(addons=("metallb",)))
    both = finish(bench.session(addons=("local-path",)))
    assert (first["addons"], both["addons"]) == (["metallb"], ["local-path", "metallb"]), "another cluster's are not lost"
    assert len(bench.builds()) == COMPILED + 2, "nothing else is compiled again"
    assert bench.session().present() == bench.session(addons=("metallb",)).present() == both, "one that has more is right for both"
    directory = bench.cache / "bundles/1.36.3"
    assert manifest.verify(directory) == []
    assert (directory / "addons/local-path/local-path-storage.yaml").read_text(encoding="utf-8").strip() == (
        f"image: docker.io/rancher/local-path-provisioner:v{catalogue.ADDONS['local-path']}"
    )
    of_addons = {image["path"]: image["addons"] for image in both["images"] if image["addons"]}
    assert of_addons == {
        "images/amd64/addons/local-path/local-path-provisioner.tar": ["local-path"],
        "images/amd64/addons/metallb/controller.tar": ["metallb"],
    }
    assert len([image for image in both["images"] if not image["addons"]]) == len(plain["images"])


def test_a_bundle_has_manifests_of_ours_and_is_made_again_when_they_change(bench):
    made = finish(bench.session(addons=("prometheus",)))
    directory = bench.cache / "bundles/1.36.3"
    image = f"quay.io/prometheus/prometheus:v{catalogue.ADDONS['prometheus']}"
    assert (directory / "addons/prometheus/prometheus.yaml").read_text(encoding="utf-8") == f"  image: {image}\n"
    assert {one["name"] for one in made["images"] if one["addons"]} == {image}
    compiled = bench.builds()
    bench.written("prometheus").write_text(f"  image: {image}  # anew\n", encoding="utf-8")
    assert bench.session(addons=("prometheus",)).present() is None
    finish(bench.session(addons=("prometheus",)))
    assert "anew" in (directory / "addons/prometheus/prometheus.yaml").read_text(encoding="utf-8")
    assert bench.builds() == compiled, "nothing is compiled again"


def test_a_bundle_that_was_made_elsewhere_has_to_have_the_add_ons(bench):
    made = finish(bench.session())
    directory = bench.cache / "bundles/1.36.3"
    manifest.check_wanted(directory, made, "1.36.3", ["amd64"])
    with pytest.raises(FlotillaError, match="lacks addons/metallb/metallb-native.yaml"):
        manifest.check_wanted(directory, made, "1.36.3", ["amd64"], wanted_addons=["metallb"])


def test_a_bundle_of_before_is_one_for_the_default_network_plugin(bench):
    made = finish(bench.session())
    place = bench.cache / "bundles/1.36.3/manifest.json"
    place.write_text(json.dumps({key: value for key, value in made.items() if key != "network_plugin"}), encoding="utf-8")
    assert bench.session().present()["key"] == made["key"]


def test_a_bundle_for_another_network_plugin_is_not_replaced(bench):
    place = str(bench.path / "mine")
    finish(bench.session(directory=place))
    other = bench.session(directory=place, **kube_router(bench.path))
    assert other.present() is None
    with pytest.raises(FlotillaError) as caught:
        other.advance(None, 0.1)
    assert caught.value.code == "BUNDLE_NETWORK_PLUGIN_OTHER"
    assert "for clusters with the network plugin flannel, wanted is one for kube-router" in caught.value.message
    assert bench.session(directory=place).present()


def archives(folder: Path, *names: str, architecture: str = "amd64") -> tuple[str, ...]:
    for number, name in enumerate(names):
        write(Image(name, (), architecture), folder / f"{number}.tar")
    return tuple(str(folder / f"{number}.tar") for number in range(len(names)))


def test_manifest_and_image_that_nobody_publishes_come_from_the_user(bench):
    given = bench.path / "ncp-ubuntu-policy.yaml"
    given.write_text("  - image: nsx-ncp\n    image: nsx-ncp\n", encoding="utf-8")
    provided = Provided(str(given), archives(bench.path, "registry.local/4.2.1/nsx-ncp-ubuntu:latest"))
    made = finish(bench.session(network_plugin="ncp", provided=provided))
    place = bench.cache / "bundles/1.36.3-ncp"
    name = "registry.local/4.2.1/nsx-ncp-ubuntu:latest"
    assert (place / "manifests/ncp.yaml").read_text(encoding="utf-8") == f"  - image: {name}\n    image: {name}\n"
    (image,) = (image for image in made["images"] if image["name"] == name)
    assert image["roles"] == ["control_plane", "worker"] and image["config_digest"].startswith("sha256:")
    with tarfile.open(place / image["path"]) as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))
        assert entry["RepoTags"] == [name] and {entry["Config"], *entry["Layers"]} <= set(archive.getnames())
    # Another file makes another bundle.
    given.write_text("  - image: nsx-ncp\n", encoding="utf-8")
    assert bench.session(network_plugin="ncp", provided=provided).present() is None


@pytest.mark.parametrize(
    ("plugin", "names", "code", "message"),
    [
        ("ncp", None, "BUNDLE_PLUGIN_NOT_PROVIDED", "Nobody publishes manifest and image of the network plugin ncp"),
        ("antrea", None, "BUNDLE_PLUGIN_NOT_COMPILED", "The network plugin antrea can not be compiled from Go modules"),
        (
            "antrea",
            ["antrea/antrea-agent-ubuntu:v2.6.3"],
            "BUNDLE_PLUGIN_IMAGE_MISSING",
            "has the image docker.io/antrea/antrea-controller-ubuntu:v2.6.3 of the network plugin antrea",
        ),
    ],
)
def test_what_can_not_be_made_is_said_before_anything_is_compiled(tmp_path, plugin, names, code, message):
    text = "  image: antrea/antrea-agent-ubuntu:latest\n  image: antrea/antrea-controller-ubuntu:latest\n"
    (tmp_path / "plugin.yml").write_text(text, encoding="utf-8")
    provided = Provided(str(tmp_path / "plugin.yml"), archives(tmp_path, *names)) if names else Provided()
    request = build.Request.of("1.36.3", "modules", None, str(tmp_path), network_plugin=plugin, provided=provided)
    with pytest.raises(FlotillaError) as caught:
        request.open(tmp_path / "log", Report(lambda event: None, "")).check()
    assert caught.value.code == code and message in caught.value.message
    assert "bundle.network_plugin" in caught.value.remedy


def test_files_of_the_user_that_can_not_be_used_are_named(tmp_path):
    with pytest.raises(FlotillaError, match="manifest.yml of bundle.network_plugin is not on this machine") as caught:
        Provided(str(tmp_path / "manifest.yml")).text()
    assert caught.value.code == "BUNDLE_PROVIDED_MISSING"
    (tmp_path / "image.tar").write_bytes(b"no archive")
    with pytest.raises(FlotillaError, match="image.tar of bundle.network_plugin can not be used") as caught:
        Provided(archives=(str(tmp_path / "image.tar"),)).images()
    assert caught.value.code == "BUNDLE_ARCHIVE_WRONG" and "docker save" in caught.value.remedy
    provided = Provided(archives=archives(tmp_path, "example.com/x:1", architecture="arm64"))
    with pytest.raises(FlotillaError, match="is for arm64, wanted is amd64") as caught:
        provided.put(ImageSpec("example.com/x:1", "amd64"), tmp_path / "out.tar")
    assert caught.value.code == "BUNDLE_ARCHITECTURE_MISSING"


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("antrea/antrea-agent-ubuntu:v2", "docker.io/antrea/antrea-agent-ubuntu:v2"),
        ("registry.local/4.2/nsx-ncp-ubuntu", "registry.local/4.2/nsx-ncp-ubuntu:latest"),
        ("localhost/x:1", "localhost/x:1"),
        ("host:5000/x", "host:5000/x:latest"),
    ],
)
def test_names_of_images_are_completed_as_containerd_does(name, full):
    assert full_name(name) == full


def test_an_archive_of_several_images_gives_each_its_own(tmp_path):
    parts = [tmp_path / "a.tar", tmp_path / "b.tar"]
    for number, part in enumerate(parts):
        write(Image(f"example.com/i{number}:1", (Entry(f"f{number}", data=bytes([number])),)), part)
    both, entries = tmp_path / "both.tar", []
    with tarfile.open(both, "w") as archive:
        for part in parts:
            with tarfile.open(part) as source:
                entries += json.load(source.extractfile("manifest.json"))
                for member in source:
                    if member.name != "manifest.json":
                        archive.addfile(member, source.extractfile(member))
        text = json.dumps(entries).encode()
        header = tarfile.TarInfo("manifest.json")
        header.size = len(text)
        archive.addfile(header, io.BytesIO(text))
    provided = Provided(archives=(str(both),))
    assert sorted(provided.images()) == ["example.com/i0:1", "example.com/i1:1"]
    provided.put(ImageSpec("example.com/i1:1", "amd64"), tmp_path / "one.tar")
    with tarfile.open(tmp_path / "one.tar") as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))
        assert entry == entries[1] and sorted(archive.getnames()) == sorted(["manifest.json", entry["Config"], *entry["Layers"]])


def test_a_package_that_is_left_out_takes_its_requirements_along(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    left_out = source / "pkg/backend/tencentvpc"
    left_out.mkdir(parents=True)
    (left_out / "vpc.go").write_text(
        'package tencentvpc\nimport (\n\tsdk "example.test/sdk/vpc"\n\t"example.test/shared"\n)\n', encoding="utf-8"
    )
    (source / "main.go").write_text(
        'package main\nimport (\n\t_ "github.com/flannel-io/flannel/pkg/backend/tencentvpc"\n'
        '\t_ "github.com/flannel-io/flannel/pkg/backend/udp"\n'
        '\t"example.test/shared"\n)\n',
        encoding="utf-8",
    )
    (source / "go.mod").write_text("require (\n\texample.test/sdk v1.0.0\n\texample.test/shared v1.0.0\n)\n", encoding="utf-8")
    strip_source(COMPONENTS["flannel"], source, target)
    assert not (target / "pkg/backend/tencentvpc").exists()
    main = (target / "main.go").read_text(encoding="utf-8")
    assert "tencentvpc" not in main and "backend/udp" in main
    assert (target / "go.mod").read_text(encoding="utf-8") == "require (\n\texample.test/shared v1.0.0\n)\n"
    assert (left_out / "vpc.go").exists(), "the source is the user's module cache"
