# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of a real etcd: what is in it, that it comes back, that nobody but the recipient can read it, and what a kill leaves."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
import time
from pathlib import Path

import control_plane
import pytest
import secret_search
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _command, _fence
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import (
    backup_archive,
    etcd,
    etcd_backup,
    etcd_objects,
    etcd_restore,
    staged_restore,
    work,
)
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.client import Client
from ansible_collections.flotilla.kubernetes.plugins.modules import etcd_changes

SECRET = "correct-horse-battery-staple"
OBJECTS = {
    "/registry/pods/default/one": "a pod",
    "/registry/pods/default/two": "a pod",
    "/registry/secrets/default/login": SECRET,
    "/registry/services/specs/default/kubernetes": "a Service",
    "/registry/services/endpoints/default/kubernetes": "Endpoints",
    "/registry/example.com/widgets/default/mine": "a custom resource",
    "/registry/apiextensions.k8s.io/customresourcedefinitions/widgets.example.com": "its definition",
}
COUNTS = {
    "customresourcedefinitions.apiextensions.k8s.io": 1,
    "endpoints": 1,
    "pods": 2,
    "secrets": 1,
    "services": 1,
    "widgets.example.com": 1,
}


class Machine:
    """A control plane as far as a backup looks at it: etcd with one member, and files."""

    def __init__(self, members: control_plane.EtcdMembers, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.members, self.root, self.state = members, folder / "root", folder / "state"
        members.reserve("m1")
        members.start("m1", ("m1",))
        pki = members.authority.folder
        self.client = self.connect()
        control_plane.wait_for("etcd", self.healthy, explain=lambda: members.processes.log("m1"))
        for name in staged_restore.AUTHORITIES:
            self.file(f"etc/kubernetes/pki/{name}", f"{name} {SECRET}-pki")
        self.file("etc/kubernetes/flotilla/encryption.json", f"{SECRET}-encryption")
        self.file("etc/kubernetes/manifests/etcd.yaml", "a static pod")
        self.file("var/lib/kubelet/config.yaml", "kubelet")
        self.file("var/lib/kubelet/kubeadm-flags.env", "flags")
        for key, value in OBJECTS.items():
            self.put(key, value)
        binaries = control_plane.bundle(folder) / "bin/amd64"
        monkeypatch.setattr(_command, "SEARCH_PATH", f"{binaries}:{_command.SEARCH_PATH}")
        login = [f"--cacert={members.authority.file}", f"--cert={pki}/healthcheck-client.crt", f"--key={pki}/healthcheck-client.key"]
        self.etcdctl = [str(binaries / "etcdctl"), f"--endpoints=https://{members.endpoint('m1')}", *login]
        monkeypatch.setattr(etcd_backup, "FOLDER", self.state / "etcd-backup")
        monkeypatch.setattr(_fence, "FENCE", self.state / "fence")
        monkeypatch.setattr(work, "STATE_DIR", self.state)
        monkeypatch.setattr(etcd_restore, "STATE_DIR", self.state)
        for module in (etcd_restore, staged_restore):
            monkeypatch.setattr(module, "STAGED", self.state / "restore")
        # A connection of its own each time: two processes can not share one.
        monkeypatch.setattr(etcd_backup, "_etcd", self.connect)
        monkeypatch.setattr(etcd_backup, "_etcdctl", lambda *words: _command.run([*self.etcdctl, *words], timeout=60))
        monkeypatch.setattr(etcd_backup, "_cluster", lambda _address: {"kubernetes_version": "1.36.3", "cluster_uid": "u"})
        monkeypatch.setattr(etcd_backup, "kubelet_version", lambda: "1.36.3")
        files = etcd_backup.files
        monkeypatch.setattr(etcd_backup, "files", lambda: files(self.root))
        self.key, self.certificate = folder / "recipient.key", folder / "recipient.crt"
        options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=backup"]
        subprocess.run(["openssl", "req", *options, "-keyout", self.key, "-out", self.certificate], check=True, capture_output=True)

    def connect(self) -> Client:
        authority = self.members.authority
        context = etcd.client_context(str(authority.file), str(authority.folder / "healthcheck-client"))
        return Client("127.0.0.1", self.members.ports["m1"][0], context)

    def healthy(self) -> bool:
        try:
            return self.client.get("/health")["health"] == "true"
        except (OSError, FlotillaError):
            return False

    def file(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")

    def put(self, key: str, value: str) -> None:
        body = {name: base64.b64encode(text.encode()).decode() for name, text in (("key", key), ("value", value))}
        self.client.request("POST", "/v3/kv/put", body)

    def delete(self, key: str) -> None:
        self.client.request("POST", "/v3/kv/deleterange", {"key": base64.b64encode(key.encode()).decode()})

    def request(self) -> etcd_backup.Request:
        return etcd_backup.Request("127.0.0.1", self.certificate.read_text(encoding="ascii"), str(self.state.parent))

    def take(self) -> dict:
        return etcd_backup.take(self.request(), lambda _line: None)

    def restore(self, taken: dict, **changes) -> dict:
        manifest = {**taken["manifest"], **changes}
        archive = Path(taken["archive"])
        key = backup_archive.open_envelope(backup_archive.header_of(archive), self.key.read_text(encoding="ascii"))
        sealed = backup_archive.Sealed(manifest["size"], manifest["sha256"], manifest["hmac_sha256"])
        asked = etcd_restore.Request(str(archive), key, sealed, manifest["revision"], "node-1", "10.0.0.11")
        return etcd_restore.stage(asked, lambda _line: None)

    def places(self, *folders: Path) -> list[tuple[str, bytes]]:
        return [(str(path), path.read_bytes()) for folder in folders for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def machine(etcd, tmp_path, monkeypatch):
    made = Machine(etcd, tmp_path, monkeypatch)
    yield made
    etcd_backup.release()


def test_a_backup_holds_everything_and_says_what(machine):
    taken = machine.take()
    manifest = taken["manifest"]
    assert manifest["objects"] == COUNTS
    assert (manifest["revision"], manifest["members"], manifest["verified"]) == (1 + len(OBJECTS), 1, True)
    assert manifest["recipient"]["subject"] == "CN = backup"
    assert manifest["contents"] == sorted(
        ["etcd/snapshot.db", *(str(path.relative_to(machine.root)) for path in machine.root.rglob("*") if path.is_file())]
    )
    assert machine.restore(taken) == {"revision": manifest["revision"]}
    for path in machine.root.rglob("*"):
        if path.is_file():
            assert (machine.state / "restore" / path.relative_to(machine.root)).read_bytes() == path.read_bytes()
    modes = {path.stat().st_mode & 0o777 for path in (machine.state / "restore").rglob("*") if path.is_file()}
    assert modes == {0o600} and (machine.state / "restore").stat().st_mode & 0o777 == 0o700
    assert staged_restore.staged() == {"name": "node-1", "address": "10.0.0.11", "revision": manifest["revision"]}


def test_what_was_written_comes_back_and_time_goes_on(machine, tmp_path, etcd):
    taken = machine.take()
    machine.restore(taken)
    target = tmp_path / "data"
    lines = staged_restore.script(staged_restore.staged()).splitlines()
    begin = next(index for index, line in enumerate(lines) if line.startswith("etcdutl"))
    command = "\n".join([lines[0], *lines[begin : begin + 3]]).replace("/var/lib/etcd/restored", str(target))
    subprocess.run(["sh", "-c", command], check=True, capture_output=True, env=_command.node_environment())
    status = json.loads(_command.run(["etcdutl", "snapshot", "status", str(target / "member/snap/db"), "--write-out=json"]))
    assert status["revision"] >= staged_restore.REVISIONS_AHEAD + taken["manifest"]["revision"]


def test_nobody_but_the_recipient_reads_it(machine, tmp_path):
    seen = secret_search.Search(
        {"in etcd": SECRET.encode(), "pki": f"{SECRET}-pki".encode(), "encryption": f"{SECRET}-encryption".encode()}
    )
    taken = machine.take()
    assert seen.find_all(machine.places(machine.state, Path(taken["archive"]).parent)) == []
    assert Path(taken["archive"]).stat().st_mode & 0o777 == 0o600
    machine.restore(taken)
    found = {finding.secret for finding in seen.find_all(machine.places(machine.state))}
    assert found == {"in etcd", "pki", "encryption"}, "the positive control: opened, they are all there"
    assert staged_restore.discard()
    assert seen.find_all(machine.places(machine.state)) == []


def test_a_person_opens_it_with_openssl_and_tar(machine, tmp_path):
    """The way in docs/backup.md, for the day on which there is nothing of us."""
    archive = machine.take()["archive"]
    (tmp_path / "opened").mkdir()
    by_hand = f"""
        set -eu
        head -n 1 {archive} | sed 's/.*"key": "\\([^"]*\\)".*/\\1/' | base64 -d >key.cms
        openssl cms -decrypt -inform DER -in key.cms -inkey {machine.key} -out data.key
        tail -n +2 {archive} | openssl enc -d -aes-256-ctr -pbkdf2 -md sha256 -iter 10000 -pass file:data.key | tar -xz
    """
    subprocess.run(["bash", "-o", "pipefail", "-c", by_hand], check=True, cwd=tmp_path / "opened")
    assert (tmp_path / "opened/etc/kubernetes/pki/ca.key").read_text(encoding="utf-8") == f"ca.key {SECRET}-pki"


def test_changes_since_a_backup_are_counted(machine):
    manifest = machine.take()["manifest"]
    assert etcd_objects.changes(machine.client, manifest["revision"], manifest["objects"]) == {}
    machine.put("/registry/pods/default/three", "new")
    machine.put("/registry/pods/default/one", "changed")
    machine.delete("/registry/secrets/default/login")
    machine.delete("/registry/example.com/widgets/default/mine")
    machine.put("/registry/example.com/widgets/default/mine", "made again")
    assert etcd_objects.changes(machine.client, manifest["revision"], manifest["objects"]) == {
        "pods": {"created": 1, "changed": 1, "deleted": 0},
        "secrets": {"created": 0, "changed": 0, "deleted": 1},
        "widgets.example.com": {"created": 1, "changed": 0, "deleted": 1},
    }
    asked = {"revision": manifest["revision"], "objects": manifest["objects"], "cluster_uid": "u"}
    assert etcd_changes.run(asked, machine.client, "u")["lines"] == [
        "5 writes since would be lost.",
        "  pods: 1 created, 1 changed",
        "  secrets: 1 deleted",
        "  widgets.example.com: 1 created, 1 deleted",
    ]
    assert etcd_changes.run(asked, machine.client, "other")["lines"] == [
        "Another cluster of this name runs here; all of it would be lost (13 writes)."
    ]
    assert etcd_objects.counts(machine.client, manifest["revision"]) == COUNTS
    assert etcd_objects.revision(machine.client) == manifest["revision"] + 5


def test_a_snapshot_that_is_not_whole_is_no_backup(machine, monkeypatch):
    def saved(*words: str) -> str:
        path = Path(words[-1])
        said = _command.run([*machine.etcdctl, *words])
        content = bytearray(path.read_bytes())
        # In the middle of a page that holds our keys; the positive control is every other test.
        place = content.index(SECRET.encode())
        content[place] ^= 0xFF
        path.write_bytes(content)
        return said

    monkeypatch.setattr(etcd_backup, "_etcdctl", saved)
    with pytest.raises(FlotillaError) as caught:
        machine.take()
    assert caught.value.code == "BACKUP_NOT_RESTORABLE"
    assert machine.places(machine.state / "etcd-backup") == []


def test_without_room_nothing_begins(machine, monkeypatch):
    monkeypatch.setattr(etcd_backup, "_ROOM", 1 << 60)
    with pytest.raises(FlotillaError) as caught:
        machine.take()
    assert caught.value.code == "BACKUP_NO_ROOM"


def test_an_archive_that_was_changed_is_not_laid_out(machine):
    taken = machine.take()
    for changes in ({"sha256": "0" * 64}, {"hmac_sha256": "0" * 64}, {"revision": 1}):
        with pytest.raises(FlotillaError) as caught:
            machine.restore(taken, **changes)
        assert caught.value.code == "BACKUP_DAMAGED"
        assert not staged_restore.staged() and machine.places(machine.state / "etcd-restore") == []
    machine.restore(taken)


def slices(machine) -> tuple[dict, list[str]]:
    """Do as the action plugin does; return the result and what was shown."""
    shown, token = [], None
    while True:
        answer = work.advance(etcd_backup.NAME, lambda tell: etcd_backup.take(machine.request(), tell), token, seconds=0.2)
        shown += answer.get("progress", [])
        if answer["finished"]:
            return answer, shown
        token = answer["progress_token"]


def test_the_work_goes_on_without_the_module(machine, monkeypatch):
    answer, _shown = slices(machine)
    assert answer["manifest"]["objects"] == COUNTS and Path(answer["archive"]).exists()


def test_a_killed_process_is_told_of_and_leaves_nothing(machine, monkeypatch):
    def stuck(*_words: str) -> str:
        (machine.state / "stuck").write_text(str(os.getpid()), encoding="ascii")
        time.sleep(600)
        return ""

    working = etcd_backup._etcdctl
    monkeypatch.setattr(etcd_backup, "_etcdctl", stuck)
    first = work.advance(etcd_backup.NAME, lambda tell: etcd_backup.take(machine.request(), tell), None, seconds=1)
    assert first["progress"] == ["saves a snapshot of etcd (0 MiB)"]
    # A second run waits for the first one.
    second = work.advance(etcd_backup.NAME, lambda tell: etcd_backup.take(machine.request(), tell), None, seconds=0.5)
    assert second["progress"] == ["waits for the one that an earlier run began"]
    os.kill(int((machine.state / "stuck").read_text(encoding="ascii")), signal.SIGKILL)
    with pytest.raises(FlotillaError) as caught:
        work.advance(etcd_backup.NAME, lambda tell: {}, first["progress_token"], seconds=5)
    assert caught.value.code == "WORK_KILLED"
    left = list((machine.state / "etcd-backup").glob("snapshot-*"))
    assert len(left) == 1, "the positive control: a killed process cleans nothing up"
    monkeypatch.setattr(etcd_backup, "_etcdctl", working)
    slices(machine)
    assert list((machine.state / "etcd-backup").glob("snapshot-*")) == []


def test_an_archive_that_nobody_came_for_goes(machine):
    first = Path(machine.take()["archive"])
    second = Path(machine.take()["archive"])
    assert not first.parent.exists() and second.exists()
    assert etcd_backup.release() and not second.parent.exists()
    assert not etcd_backup.release()
