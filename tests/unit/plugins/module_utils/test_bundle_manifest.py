# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bundle is what its manifest says, or the file that is not is named."""

from __future__ import annotations

import json

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._bundle import manifest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._files import sha256_of


@pytest.fixture
def bundle(tmp_path):
    entries = []
    for path, data in (("bin/kubelet", b"kubelet" * 99), ("bin/runc", b"runc"), ("images/pause.tar", b"pause" * 9)):
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(data)
        entries.append({"path": path, "sha256": sha256_of(tmp_path / path), "size": len(data), "architecture": "amd64"})
    manifest.write(tmp_path, {"schema": manifest.SCHEMA, "files": entries[:2], "images": entries[2:]})
    return tmp_path


def test_a_good_bundle_has_no_problem(bundle):
    assert manifest.verify(bundle) == []
    assert manifest.require(bundle)["files"][0]["path"] == "bin/kubelet"
    assert sorted(path.name for path in bundle.iterdir()) == ["bin", "images", "manifest.json"]


def test_every_bad_file_is_named(bundle):
    (bundle / "bin/runc").unlink()
    (bundle / "bin/kubelet").write_bytes(b"kubelet" * 98)  # truncated
    (bundle / "images/pause.tar").write_bytes(b"pausE" * 9)  # as long as before
    assert [(problem.path, problem.code) for problem in manifest.verify(bundle)] == [
        ("bin/kubelet", "BUNDLE_FILE_CORRUPT"),
        ("bin/runc", "BUNDLE_FILE_MISSING"),
        ("images/pause.tar", "BUNDLE_FILE_CORRUPT"),
    ]


def test_a_truncated_file_is_told_by_its_size(bundle):
    (bundle / "bin/kubelet").write_bytes(b"kubelet" * 98)
    assert str(manifest.verify(bundle)[0]) == "bin/kubelet has 686 bytes where the manifest says 693 bytes"


def test_the_error_says_what_was_expected_and_what_to_do(bundle):
    expected = sha256_of(bundle / "images/pause.tar")
    (bundle / "images/pause.tar").write_bytes(b"pausE" * 9)
    with pytest.raises(FlotillaError) as caught:
        manifest.require(bundle)
    result = caught.value.as_result()
    assert result["code"] == "BUNDLE_FILE_CORRUPT"
    assert f"images/pause.tar has SHA-256 {sha256_of(bundle / 'images/pause.tar')}" in result["msg"]
    assert expected in result["msg"] and str(bundle) in result["msg"]
    assert "bundle_rebuild=true" in result["remedy"]
    assert [problem["path"] for problem in result["problems"]] == ["images/pause.tar"]


def test_a_missing_file_has_its_own_code(bundle):
    (bundle / "bin/runc").unlink()
    (bundle / "bin/kubelet").unlink()
    with pytest.raises(FlotillaError, match="bin/kubelet is missing, and 1 more") as caught:
        manifest.require(bundle)
    assert caught.value.code == "BUNDLE_FILE_MISSING"


def test_no_manifest_is_no_bundle(bundle):
    (bundle / "manifest.json").unlink()
    assert manifest.read(bundle) is None
    with pytest.raises(FlotillaError) as caught:
        manifest.verify(bundle)
    assert caught.value.code == "BUNDLE_MISSING"


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.pop("schema"),
        lambda data: data.pop("images"),
        lambda data: data["files"][0].update(path="../../etc/shadow"),
        lambda data: data["files"][0].update(path="/etc/shadow"),
        lambda data: data["files"][0].update(sha256="abc"),
        lambda data: data["files"][0].pop("size"),
    ],
)
def test_a_manifest_that_can_not_be_trusted_is_refused(bundle, change):
    data = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    change(data)
    (bundle / "manifest.json").write_text(json.dumps(data), encoding="utf-8")
    with pytest.raises(FlotillaError) as caught:
        manifest.read(bundle)
    assert caught.value.code == "BUNDLE_MANIFEST_INVALID"


def test_a_cut_off_manifest_is_refused(bundle):
    text = (bundle / "manifest.json").read_text(encoding="utf-8")
    (bundle / "manifest.json").write_text(text[:-20], encoding="utf-8")
    with pytest.raises(FlotillaError) as caught:
        manifest.require(bundle)
    assert caught.value.code == "BUNDLE_MANIFEST_INVALID"


def test_a_manifest_of_another_release_has_its_own_code(bundle):
    data = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    (bundle / "manifest.json").write_text(json.dumps({**data, "schema": 1}), encoding="utf-8")
    with pytest.raises(FlotillaError, match="has schema 1, this release reads") as caught:
        manifest.read(bundle)
    assert caught.value.code == "BUNDLE_SCHEMA_OTHER"


def test_verify_names_each_bad_file(bundle):
    assert manifest.require_all(bundle)["schema"] == manifest.SCHEMA
    (bundle / "bin/runc").unlink()
    (bundle / "images/pause.tar").write_bytes(b"pausE" * 9)
    with pytest.raises(FlotillaError) as caught:
        manifest.require_all(bundle)
    assert caught.value.code == "BUNDLE_DAMAGED"
    assert "2 of 3 files" in caught.value.message
    assert "\n- bin/runc is missing" in caught.value.message and "\n- images/pause.tar has SHA-256" in caught.value.message
