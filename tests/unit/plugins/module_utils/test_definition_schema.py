# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema is valid, complete and what the reference says."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load, reference, schema
from jsonschema import Draft202012Validator

ROOT = Path(schema.__file__).absolute().parents[3]


@pytest.mark.parametrize("found", [schema.cluster_schema(), *map(schema.file_schema, ("cluster", "cluster_class", "network_profile"))])
def test_the_schema_is_valid_json_schema(found):
    Draft202012Validator.check_schema(found)


def objects(found, path=""):
    """Yield path and schema of every value."""
    yield path, found
    for name, part in found.get("properties", {}).items():
        yield from objects(part, f"{path}.{name}")
    if "items" in found:
        yield from objects(found["items"], f"{path}[]")


def test_every_key_is_described_and_no_mapping_takes_unknown_keys():
    for path, found in objects(schema.cluster_schema()):
        if not path.endswith("[]"):
            assert found["description"].endswith("."), path
        if found.get("type") == "object":
            assert "additionalProperties" in found, path


def test_every_pattern_is_explained_and_anchored():
    for path, found in objects(schema.cluster_schema()):
        if "pattern" in found:
            assert "x-allowed" in found, path
            assert found["pattern"].startswith("^(?:"), path
            assert found["pattern"].endswith("$"), path


def test_every_default_is_valid():
    for path, found in objects(schema.cluster_schema()):
        if "default" in found:
            assert list(Draft202012Validator(found).iter_errors(found["default"])) == [], path


def test_the_reference_is_up_to_date():
    text = (ROOT / "docs/cluster_definition.md").read_text(encoding="utf-8")
    assert text == reference.render(), "run tools/definition-reference"


def test_the_example_of_the_reference_is_valid():
    text = (ROOT / "docs/cluster_definition.md").read_text(encoding="utf-8")
    example = text.split("```yaml\n")[1].split("```")[0]
    assert load.Loader(read=lambda _path: example).load(Path("/x/clusters/demo.yml")).definition["name"] == "demo"


@pytest.mark.skipif(not (ROOT / "inventories").is_dir(), reason="the collection's archive holds no inventories")
def test_the_examples_of_the_repository_are_valid():
    fleet = {found["name"]: found for found in load.load_fleet([ROOT / "inventories"])}
    counts = {name: (found["control_plane"]["count"], sum(pool["count"] for pool in found["pools"])) for name, found in fleet.items()}
    assert counts["demo"] == (3, 2)
    assert counts["small"] == (1, 1)
