# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images made without a registry: what is in them, and that the same inputs give the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle.image_archive import Entry, Image, write


@pytest.fixture
def binary(tmp_path):
    path = tmp_path / "tool"
    path.write_bytes(b"\x7fELF" + bytes(5000))
    return path


def image(binary, **changes):
    entries = (
        Entry("usr/bin/tool", binary),
        Entry("/bin", link="usr/bin"),
        Entry("etc/passwd", data=b"root:x:0:0::/:\n", mode=0o644),
        Entry("tmp", mode=0o1777),
    )
    return Image(**{"name": "registry.test/tool:1", "entries": entries, "entrypoint": ("/usr/bin/tool",), "user": "65535", **changes})


def read(path):
    with tarfile.open(path) as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive}
    (index,) = json.loads(files["manifest.json"])
    return index, files


def test_is_a_docker_archive(tmp_path, binary):
    digest = write(image(binary), tmp_path / "image.tar")
    index, files = read(tmp_path / "image.tar")
    assert index["RepoTags"] == ["registry.test/tool:1"]
    config = files[index["Config"]]
    assert digest == "sha256:" + hashlib.sha256(config).hexdigest()
    assert index["Config"] == digest[7:] + ".json"
    config = json.loads(config)
    (layer,) = index["Layers"]
    assert config["rootfs"]["diff_ids"] == ["sha256:" + hashlib.sha256(files[layer]).hexdigest()]
    assert (config["architecture"], config["os"]) == ("amd64", "linux")
    assert config["config"]["Entrypoint"] == ["/usr/bin/tool"]
    assert config["config"]["User"] == "65535"
    with tarfile.open(fileobj=io.BytesIO(files[layer])) as archive:
        members = {member.name: member for member in archive}
        assert archive.extractfile("usr/bin/tool").read() == binary.read_bytes()
        assert archive.extractfile("etc/passwd").read() == b"root:x:0:0::/:\n"
    assert list(members) == sorted(members), "parents come before what is in them"
    assert {name for name, member in members.items() if member.isdir()} == {"etc", "tmp", "usr", "usr/bin"}
    assert members["bin"].linkname == "usr/bin"
    assert [members[name].mode for name in ("usr/bin/tool", "etc/passwd", "tmp")] == [0o755, 0o644, 0o1777]
    assert {(member.uid, member.gid, member.mtime) for member in members.values()} == {(0, 0, 0)}


def test_same_inputs_give_the_same_bytes(tmp_path, binary):
    write(image(binary), tmp_path / "one.tar")
    os.utime(binary, (1, 1))
    binary.chmod(0o600)
    other = image(binary)
    write(image(binary, entries=tuple(reversed(other.entries))), tmp_path / "two.tar")
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()


@pytest.mark.parametrize("change", [{"user": ""}, {"entrypoint": ()}, {"architecture": "arm64"}, {"entries": (Entry("a", data=b"1"),)}])
def test_each_input_changes_the_id(tmp_path, binary, change):
    assert write(image(binary), tmp_path / "one.tar") != write(image(binary, **change), tmp_path / "two.tar")


def test_two_files_for_one_path_are_refused(tmp_path):
    with pytest.raises(ValueError, match="two different entries for etc/x"):
        write(Image("a:1", (Entry("etc/x", data=b"1"), Entry("/etc/x", data=b"2"))), tmp_path / "image.tar")
