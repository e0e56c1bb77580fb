# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The three places for backups keep one promise: a file is there as a whole or not at all. S3 is moto's server; the command ssh is a
stand-in that runs its command here, because what is tried are the commands; tests/e2e/test_backup.py has a real SSH server.
"""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import boto3
import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._backup import catalogue
from ansible_collections.flotilla.kubernetes.plugins.module_utils._backup.store import Stored
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from moto.server import ThreadedMotoServer

ROOT = Path(__file__).resolve().parents[3]
KINDS = ("directory", "ssh", "s3")
SSH = """#!/bin/sh
# Like OpenSSH's client: what follows the host's name is one text for the shell there.
while [ "$1" != -- ]; do shift; done
host=$2; shift 2
[ "$host" != nowhere ] || { echo "ssh: Could not resolve hostname nowhere" >&2; exit 255; }
exec sh -c "$*"
"""


@pytest.fixture(scope="module")
def endpoint():
    server = ThreadedMotoServer(port=0)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


@pytest.fixture
def place(tmp_path, monkeypatch, endpoint, request):
    """Return the section of a definition, by kind, for a place of this test's own."""
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(SSH, encoding="utf-8")
    (programs / "ssh").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    bucket = f"backups-{abs(hash(request.node.nodeid))}"
    boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1").create_bucket(Bucket=bucket)
    return {
        "directory": {"directory": {"path": str(tmp_path / "store")}},
        "ssh": {
            "ssh": {"host": "backup", "user": "me", "path": str(tmp_path / "far away" / "store"), "port": 22, "private_key_file": None}
        },
        "s3": {"s3": {"bucket": bucket, "prefix": "some/where", "region": None, "endpoint_url": endpoint, "storage_class": None}},
    }


@pytest.fixture(params=KINDS)
def store(request, place):
    return catalogue.open_store(place[request.param])


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "source"
    path.write_bytes(os.urandom(3 << 20) + b"end")
    return path


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_is_stored_comes_back(store, source, tmp_path):
    sent, received = [], []
    store.put(source, "demo/one.backup", sha256(source), sent.append)
    assert store.files("demo") == [Stored("demo/one.backup", source.stat().st_size)]
    store.get("demo/one.backup", tmp_path / "back", received.append)
    assert (tmp_path / "back").read_bytes() == source.read_bytes()
    assert (tmp_path / "back").stat().st_mode & 0o777 == 0o600
    assert sent[-1] == received[-1] == source.stat().st_size


def test_a_file_takes_the_place_of_the_one_before(store, source, tmp_path):
    store.put(source, "demo/one.backup", sha256(source), len_of)
    source.write_bytes(b"new")
    store.put(source, "demo/one.backup", sha256(source), len_of)
    assert store.read_many(["demo/one.backup"]) == {"demo/one.backup": b"new"}


def len_of(_done):
    """Nobody watches."""


def test_nothing_is_there_before_something_is_stored(store, tmp_path):
    assert store.files("demo") == []
    assert store.read_many([]) == {}
    assert store.read_many(["demo/none.json"]) == {}
    store.delete("demo/none.json")
    store.tidy("demo")
    with pytest.raises(FlotillaError) as caught:
        store.get("demo/none.backup", tmp_path / "back", len_of)
    assert caught.value.code == "BACKUP_NOT_FOUND"


def test_many_files_come_at_once_whatever_is_in_them(store, tmp_path):
    contents = {f"demo/{index}.json": content for index, content in enumerate([b"", b"\n", b"-\n-", b"5\nabc", bytes(range(256))])}
    for name, content in contents.items():
        (tmp_path / "small").write_bytes(content)
        store.put(tmp_path / "small", name, hashlib.sha256(content).hexdigest(), len_of)
    assert store.read_many([*contents, "demo/none.json"]) == contents
    assert [stored.name for stored in store.files("demo")] == sorted(contents)


def test_other_folders_are_nobodys_business(store, source):
    store.put(source, "demo-2/one.backup", sha256(source), len_of)
    assert store.files("demo") == []
    store.put(source, "demo/one.backup", sha256(source), len_of)
    store.delete("demo/one.backup")
    assert [stored.name for stored in store.files("demo-2")] == ["demo-2/one.backup"]


def test_what_changes_on_the_way_does_not_get_its_name(store, source):
    """The hash says of each place whether it gives back what was sent, so another hash is a place that does not."""
    with pytest.raises(FlotillaError) as caught:
        store.put(source, "demo/one.backup", "0" * 64, len_of)
    assert caught.value.code == "BACKUP_STORE_DAMAGES"
    assert store.files("demo") == []


@pytest.mark.parametrize("kind", ["directory", "ssh"])
def test_a_transfer_that_is_killed_leaves_nothing_with_a_name(kind, place, source, tmp_path):
    """And what it leaves goes after a day; S3 keeps the promise itself."""
    script = f"""
import sys, time
sys.path.insert(0, {str(ROOT / "collection")!r})
from pathlib import Path
from ansible_collections.flotilla.kubernetes.plugins.module_utils._backup import catalogue
def progress(done):
    print(done, flush=True)
    time.sleep(60)
catalogue.open_store({place[kind]!r}).put(Path({str(source)!r}), "demo/one.backup", {sha256(source)!r}, progress)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, start_new_session=True)
    process.stdout.readline()
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    store = catalogue.open_store(place[kind])
    folder = Path(place[kind][kind]["path"]) / "demo"
    assert store.files("demo") == []
    left = list(folder.iterdir())
    assert len(left) == 1, "the positive control: something was on its way"
    store.tidy("demo")
    assert list(folder.iterdir()) == left
    yesterday = time.time() - 25 * 3600
    os.utime(left[0], (yesterday, yesterday))
    store.tidy("demo")
    assert list(folder.iterdir()) == []


def test_a_connection_that_ends_early_gives_the_file_no_name(place, source, tmp_path):
    """To the host the end of a connection looks like the end of the file."""
    (tmp_path / "bin/ssh").write_text(SSH.replace("exec sh", "head -c 100000 | exec sh"), encoding="utf-8")
    with pytest.raises(FlotillaError) as caught:
        catalogue.open_store(place["ssh"]).put(source, "demo/one.backup", sha256(source), len_of)
    assert caught.value.code == "BACKUP_STORE_DAMAGES"
    assert not list(Path(place["ssh"]["ssh"]["path"]).rglob("*.backup*"))


def test_uploads_that_did_not_end_are_given_up_after_a_day(place, endpoint):
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1")
    bucket = place["s3"]["s3"]["bucket"]
    client.create_multipart_upload(Bucket=bucket, Key="some/where/demo/one.backup")
    store = catalogue.open_store(place["s3"])
    store.tidy("demo")
    # moto says of every upload that it began in 2010, which is more than a day ago.
    assert "Uploads" not in client.list_multipart_uploads(Bucket=bucket)


@pytest.mark.parametrize(
    ("kind", "change", "code"),
    [
        ("directory", {"path": "/proc/nowhere"}, "BACKUP_STORE_REFUSED"),
        ("ssh", {"host": "nowhere"}, "BACKUP_STORE_UNREACHABLE"),
        ("ssh", {"path": "/proc/nowhere"}, "BACKUP_STORE_REFUSED"),
        ("s3", {"bucket": "not-there"}, "BACKUP_STORE_REFUSED"),
        ("s3", {"endpoint_url": "http://127.0.0.1:9"}, "BACKUP_STORE_UNREACHABLE"),
    ],
)
def test_a_place_that_is_none_is_named(kind, change, code, place, source):
    place[kind][kind].update(change)
    store = catalogue.open_store(place[kind])
    with pytest.raises(FlotillaError) as caught:
        store.put(source, "demo/one.backup", sha256(source), len_of)
    assert (caught.value.code, store.title in caught.value.message.lower()) == (code, True), str(caught.value)


def test_backups_come_and_go_in_every_place(store, tmp_path):
    backups = catalogue.Backups(store, "demo")
    for day in (1, 2, 3):
        archive = tmp_path / "archive"
        archive.write_bytes(b"%d" % day * 1000)
        manifest = {"format": 1, "id": f"2026110{day}T000000Z-0{day}", "created": f"2026-11-0{day}T00:00:00Z", "occasion": "manual"}
        backups.add(archive, {**manifest, "verified": True, "size": archive.stat().st_size, "sha256": sha256(archive)})
        assert list(tmp_path.glob("archive*")) == [archive]
    assert [one.id[:8] for one in backups.found()] == ["20261103", "20261102", "20261101"]
    newest = backups.choose("latest")
    backups.fetch(newest, tmp_path / "back")
    assert (tmp_path / "back").read_bytes() == b"3" * 1000
    for gone in backups.surplus(catalogue.Retention(last=2, daily=0, weekly=0, monthly=0)):
        backups.remove(gone)
    # What a killed run left without a manifest goes, what another one may be about to finish does not.
    for moment in ("20261101T000000Z", time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())):
        store.put(archive, f"demo/{moment}-ff.backup", sha256(archive), len_of)
    backups.tidy()
    assert len([stored for stored in store.files("demo") if stored.name.endswith("-ff.backup")]) == 1
    assert [one.id[:8] for one in backups.found()] == ["20261103", "20261102"]
    store.delete(f"demo/{newest.id}.backup")
    assert [one.good for one in backups.found()] == [False, True]
    assert backups.choose("latest").id.startswith("20261102")
    with pytest.raises(FlotillaError) as caught:
        backups.choose(newest.id)
    assert caught.value.code == "BACKUP_NOT_GOOD"
