# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles from real workers and a stand-in for Go: complete, shared between runs, resumed after a kill.

The stand-in answers the four Go commands that are used, writes what it is asked to build to a log, and fails or hangs on request.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import build, catalogue, images, manifest, modules
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.components import COMPONENTS
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.gomodule import strip_source
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.progress import Report
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.session import Session, Start
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._files import sha256_of

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
            for name, version in {**release.components, "kubernetes": release.kubernetes}.items():
                (self.modules / name / version).mkdir(parents=True, exist_ok=True)
                (self.modules / name / version / "go.mod").write_text(f"{name} {version}\n", encoding="utf-8")
                (self.modules / name / version / "go.sum").write_text("sums\n", encoding="utf-8")
        source = self.go / "source"
        (source / "Documentation").mkdir(parents=True)
        (source / "info.json").write_text(json.dumps({"Time": "2026-01-01T00:00:00Z"}), encoding="utf-8")
        (source / "Documentation/kube-flannel.yml").write_text(
            "  image: ghcr.io/flannel-io/flannel:v0.28.10\n  image: ghcr.io/flannel-io/flannel-cni-plugin:v1\n", encoding="utf-8"
        )
        (source / "go.mod").write_text("module github.com/flannel-io/flannel\n", encoding="utf-8")
        (source / "pkg/backend/tencentvpc").mkdir(parents=True)

    def release(self, version: str) -> None:
        """Let every kubeadm that is compiled from now on ask for the images of `version`."""
        known = catalogue.release(version)
        names = [f"kube-{name}:v{version}" for name in ("apiserver", "controller-manager", "scheduler", "proxy")]
        names += [f"coredns/coredns:v{known.components['coredns']}", "pause:3.10", f"etcd:{known.components['etcd']}-0"]
        (self.go / "kubeadm-list").write_text("".join(f"registry.k8s.io/{name}\n" for name in names), encoding="utf-8")

    def session(self, version: str = "1.36.3", directory: str | None = None, rebuild: bool = False) -> Session:
        request = build.Request.of(version, "modules", directory, str(self.modules), rebuild)
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
    last = len(COMPONENTS) + 1
    assert lines[1].startswith(f"bundle 1.36.3: 1/{last} containerd: ")
    assert lines[-1].startswith(f"bundle 1.36.3: {last}/{last} bundle: ready in ")
    assert bench.leftovers() == []
    assert bench.session().present() == made
    assert len(bench.builds()) == len(COMPONENTS), "nothing is compiled twice"


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
    assert len(bench.builds()) == len(COMPONENTS) + 1, "what was compiled before the kill is used"
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
    assert len(bench.builds()) == len(COMPONENTS)


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
    again = [name for name, _version in bench.builds()[len(COMPONENTS) :]]
    assert sorted(again) == ["coredns", "etcd", "kubernetes"]


def test_changed_pins_compile_that_component_again(bench):
    finish(bench.session())
    (bench.modules / "runc/1.3.6/go.sum").write_text("other sums\n", encoding="utf-8")
    assert bench.session().present() is None, "the bundle is not the one that would be made now"
    finish(bench.session())
    assert bench.builds()[len(COMPONENTS) :] == [("runc", "1.3.6")]
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
    assert any(f"2/{len(COMPONENTS) + 1} runc: fetching" in line for line in lines + result["progress"])
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
