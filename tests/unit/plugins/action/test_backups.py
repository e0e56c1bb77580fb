# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups between a machine and a store, as the controller sees it: the machine is a function, the store a folder."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pytest
from ansible_collections.flotilla.kubernetes.plugins.action import backup_info, etcd_backup, etcd_restore
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import backup_archive

MANIFEST = {"format": 1, "verified": True, "revision": 7, "members": 1, "objects": {"pods": 1}, "kubernetes_version": "1.36.3"}


class Site:
    """A controller with a recipient, a store, and a machine that answers."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.store = folder / "store"
        self.sent: list[dict] = []
        self.fails = ""
        options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=backup"]
        command = ["openssl", "req", *options, "-keyout", folder / "key", "-out", folder / "crt"]
        subprocess.run(command, check=True, capture_output=True)
        self.key = (folder / "key").read_text(encoding="ascii")
        monkeypatch.setenv("FLOTILLA_CACHE", str(folder / "cache"))
        monkeypatch.setattr(etcd_backup.ActionModule, "_make_tmp_path", lambda _self: str(folder / "tmp"), raising=False)
        for action in (etcd_backup, etcd_restore):
            monkeypatch.setattr(action.ActionModule, "_make_tmp_path", lambda _self: str(folder / "tmp"))
            monkeypatch.setattr(action.ActionModule, "_remove_tmp_path", lambda _self, _path: None)

    def arguments(self, **more) -> dict:
        section = {
            "directory": {"path": str(self.store)},
            "recipient": str(self.folder / "crt"),
            "retention": {"last": 2, "daily": 0, "weekly": 0},
        }
        return {"cluster": "demo", "store": section, **more}

    def machine(self, module_args: dict, **_more) -> dict:
        """Answer as the module on the machine does, in two slices."""
        self.sent.append(module_args)
        if module_args.get("stage") == "release":
            return {"changed": True}
        if self.fails:
            return {"failed": True, "msg": self.fails}
        if not module_args.get("progress_token") and not self.check_mode:
            return {"finished": False, "progress": ["saves a snapshot"], "progress_token": "1"}
        if "manifest" in module_args:
            return {"changed": True, "finished": True, "revision": 7}
        if self.check_mode:
            return {"changed": True, "manifest": {"snapshot_bytes": 1, "members": 1, "recipient": {}}}
        archive = self.folder / "archive"
        sealed = backup_archive.pack(
            [backup_archive.Content("etcd/snapshot.db", b"data")], (self.folder / "crt").read_text(encoding="ascii"), archive
        )
        facts = {"size": sealed.size, "sha256": sealed.sha256, "hmac_sha256": sealed.hmac_sha256}
        return {"changed": True, "finished": True, "archive": str(archive), "manifest": {**MANIFEST, **facts}}

    def run(self, module, check_mode: bool = False, **more) -> dict:
        self.check_mode = check_mode
        task = SimpleNamespace(args=self.arguments(**more), async_val=0, check_mode=check_mode, action="x", delegate_to="cp-1")
        task.args = {name: value for name, value in task.args.items() if value is not None}
        action = module.ActionModule.__new__(module.ActionModule)
        action._task = task
        action._connection = SimpleNamespace(fetch_file=shutil.copy, _shell=SimpleNamespace(join_path=lambda *parts: "/".join(parts)))
        action._execute_module = self.machine
        action._transfer_file = lambda local, remote: self.transferred.append(Path(local).read_bytes())
        self.transferred: list[bytes] = []
        for base in module.ActionModule.__mro__:
            if base.__name__ == "ActionBase":
                self.monkeypatch.setattr(base, "run", lambda _self, tmp=None, task_vars=None: {})
        result = action.run(task_vars={"inventory_hostname": "demo.cluster"})
        assert task.args == {name: value for name, value in self.arguments(**more).items() if value is not None}, "the task is as it was"
        return result

    def stored(self) -> list[str]:
        return sorted(path.suffix for path in (self.store / "demo").iterdir()) if (self.store / "demo").exists() else []


@pytest.fixture
def site(tmp_path, monkeypatch):
    return Site(tmp_path, monkeypatch)


def test_a_backup_comes_into_the_store_and_leaves_the_machine(site):
    result = site.run(etcd_backup, occasion="scheduled")
    assert (result["changed"], result["backup"]["occasion"], result["backup"]["node"], result["removed"]) == (True, "scheduled", "cp-1", [])
    assert site.stored() == [".backup", ".json"]
    assert site.sent[-1]["stage"] == "release"
    assert list((site.folder / "cache/backups").iterdir()) == []
    assert result["diff"] == {"before": "", "after": f"{result['backup']['id']}\n"}


def test_retention_lets_the_oldest_go(site):
    made = [site.run(etcd_backup) for _time in range(3)]
    assert len(made[-1]["removed"]) == 1
    assert len(site.stored()) == 4


def test_check_mode_asks_and_stores_nothing(site):
    result = site.run(etcd_backup, check_mode=True)
    assert (result["changed"], site.stored()) == (True, [])
    assert [sent.get("stage") for sent in site.sent] == [None]


def test_a_machine_that_fails_is_told_of_and_cleaned(site):
    site.fails = "no room"
    assert site.run(etcd_backup) == {"failed": True, "msg": "no room"}
    assert (site.stored(), site.sent[-1]["stage"]) == ([], "release")


def test_a_store_that_fails_is_told_of_and_the_machine_is_cleaned(site, monkeypatch):
    (site.store / "demo").mkdir(parents=True)
    archive = "ansible_collections.flotilla.kubernetes.plugins.module_utils._backup.directory.copy"

    def full(*_arguments):
        raise OSError(28, "No space left on device", "store")

    monkeypatch.setattr(archive, full)
    result = site.run(etcd_backup)
    assert (result["failed"], result["code"]) == (True, "BACKUP_STORE_REFUSED")
    assert (site.stored(), site.sent[-1]["stage"]) == ([], "release")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"recipient": "/not/there"}, None),
        ({"directory": {"path": "/proc/nowhere"}}, None),
        ({"s3": {"bucket": "b"}}, "BACKUP_STORE_UNKNOWN"),
    ],
)
def test_what_is_wrong_on_the_controller_is_told_before_the_machine_begins(site, change, code):
    section = {**site.arguments()["store"], **change}
    result = site.run(etcd_backup, store=section)
    assert result["failed"] and (code is None or result["code"] == code)
    assert [sent for sent in site.sent if sent.get("stage") != "release"] == [] or change.get("directory")


def test_backups_are_listed_and_chosen(site):
    first = site.run(etcd_backup, occasion="before-upgrade")["backup"]["id"]
    second = site.run(etcd_backup)["backup"]["id"]
    found = site.run(backup_info, backup="latest")
    assert {backup["id"] for backup in found["backups"]} == {first, second}
    assert found["age"] < 3600 and found["chosen"]["whole"]
    assert site.run(backup_info, backup="latest", occasion="before-upgrade")["chosen"]["id"] == first
    assert site.run(backup_info, backup="other")["code"] == "BACKUP_NOT_FOUND"


def test_the_private_key_stays_on_the_controller(site):
    made = site.run(etcd_backup)["backup"]
    site.sent.clear()
    result = site.run(etcd_restore, node_name="cp-1", address="10.0.0.11", private_key=site.key)
    assert (result["changed"], result["backup"]["id"], result["revision"]) == (True, made["id"], 7)
    said = json.dumps(site.sent)
    assert site.key.splitlines()[1] not in said and not any("private_key" in sent for sent in site.sent)
    assert len(site.sent[-1]["key"]) == 64, "the positive control: the key of this one backup does go there"
    assert len(site.transferred[0]) == made["size"]
    assert list((site.folder / "cache/backups").iterdir()) == []


def test_check_mode_of_a_restore_brings_nothing(site):
    made = site.run(etcd_backup)["backup"]
    result = site.run(etcd_restore, check_mode=True, node_name="cp-1", address="10.0.0.11", private_key=site.key)
    assert (result["changed"], result["backup"]["id"], site.transferred) == (True, made["id"], [])


@pytest.mark.parametrize(("key", "code"), [(None, "BACKUP_KEY_MISSING"), ("other", "BACKUP_KEY_WRONG")])
def test_without_the_right_key_nothing_goes_to_the_machine(site, key, code):
    site.run(etcd_backup)
    site.sent.clear()
    if key:
        key = subprocess.run(["openssl", "genpkey", "-algorithm", "RSA"], check=True, capture_output=True, text=True).stdout
    result = site.run(etcd_restore, node_name="cp-1", address="10.0.0.11", private_key=key)
    assert (result["failed"], result["code"], site.sent, site.transferred) == (True, code, [], [])
