# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`backup_store` in a definition: what comes out, and the exact text of what is wrong."""

from __future__ import annotations

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors

DEMO = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: demo
cloud: local
kubernetes_version: "1.36.3"
control_plane: {count: 1}
local: {network_cidr: 172.30.86.0/24}
"""
DIRECTORY = "backup_store: {directory: {path: /srv/backups}, recipient: ../backup.crt}\n"


@pytest.fixture
def read(tmp_path):
    (tmp_path / "backup.crt").write_text("a certificate", encoding="ascii")
    path = tmp_path / "clusters/demo.yml"
    path.parent.mkdir()

    def of(text, cluster_class=""):
        path.write_text(DEMO + text, encoding="utf-8")
        if cluster_class:
            (tmp_path / "cluster_classes").mkdir()
            head = "plugin: flotilla.kubernetes.cluster\nschema: 1\nkind: cluster_class\n"
            (tmp_path / "cluster_classes/production.yml").write_text(head + cluster_class, encoding="utf-8")
        return load.load_file(path)

    return of


def test_without_one_there_is_none(read):
    assert "backup_store" not in read("")


def test_what_was_left_out_has_its_default(read, tmp_path):
    assert read(DIRECTORY)["backup_store"] == {
        "directory": {"path": "/srv/backups"},
        "recipient": str(tmp_path / "backup.crt"),
        "retention": {"last": 7, "daily": 7, "weekly": 4, "monthly": 0},
        "max_age": None,
    }


def test_a_cluster_that_names_a_place_does_not_mean_that_of_its_class_as_well(read):
    inherited = "backup_store: {s3: {bucket: backups}, recipient: ../backup.crt}\n"
    assert list(read(f"class: production\n{DIRECTORY}", inherited)["backup_store"])[:1] == ["directory"]


def test_what_a_class_says_is_taken_whole(read, tmp_path):
    found = read("class: production\n", "backup_store: {s3: {bucket: backups}, recipient: ../backup.crt}\n")["backup_store"]
    assert found["s3"] == {"bucket": "backups", "prefix": "", "region": None, "endpoint_url": None, "storage_class": None}
    assert found["recipient"] == str(tmp_path / "backup.crt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "backup_store: {recipient: ../backup.crt}\n",
            "clusters/demo.yml:8: backup_store: says nowhere to keep backups; add one of directory, ssh, s3.",
        ),
        (
            "backup_store: {directory: {path: /srv}, s3: {bucket: backups}, recipient: ../backup.crt}\n",
            "clusters/demo.yml:8: backup_store: has directory and s3, but backups are kept in one place; remove the others.",
        ),
        (
            "backup_store: {directory: {path: /tmp/backups}, recipient: ../backup.crt}\n",
            "clusters/demo.yml:8: backup_store.directory.path: is where files do not last; choose a directory on a disk that outlives the "
            "controller.",
        ),
        (
            "backup_store: {directory: {path: /srv}, recipient: other.crt}\n",
            "clusters/demo.yml:8: backup_store.recipient: is other.crt, but there is no file clusters/other.crt.",
        ),
        (
            "backup_store: {directory: {path: /srv}}\n",
            "clusters/demo.yml:8: backup_store.recipient: is missing: file with the X.509 certificate (PEM; RSA or elliptic curve) that "
            "backups are encrypted to, relative to the file that names it. Its private key is needed to restore only: keep it elsewhere.",
        ),
        (
            "backup_store: {directory: {path: /srv}, recipient: ../backup.crt, retention: {last: 0}}\n",
            "clusters/demo.yml:8: backup_store.retention.last: is 0; must be 1 or more.",
        ),
        (
            "backup_store: {s3: {bucket: backups, endpoint_url: 'https://me:secret@objects'}, recipient: ../backup.crt}\n",
            "clusters/demo.yml:8: backup_store.s3.endpoint_url: is https://me:***@objects; must be a URL without user and password such as "
            "https://objects.example.com.",
        ),
    ],
)
def test_what_is_wrong_is_told(read, tmp_path, text, message):
    with pytest.raises(DefinitionErrors) as caught:
        read(text)
    lines = [line.replace(f"{tmp_path}/", "") for line in str(caught.value).splitlines()[1:]]
    assert lines == [message]
