# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema is valid, complete and what the reference says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import load, published, reference, schema
from jsonschema import Draft7Validator, Draft202012Validator

ROOT = Path(schema.__file__).absolute().parents[3]


@pytest.mark.parametrize(
    "found", [schema.cluster_schema(), *map(schema.file_schema, ("cluster", "cluster_class", "network_profile", "policy_profile"))]
)
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


@pytest.mark.parametrize(("page", "render"), [("cluster_definition.md", reference.render), ("fleet_file.md", reference.render_fleet)])
def test_the_reference_is_up_to_date(page, render):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert text == render(), "run tools/definition-reference"


@pytest.mark.parametrize("kind", published.KINDS)
def test_the_published_schema_is_up_to_date(kind):
    text = (ROOT / "docs/schema" / published.file_name(kind)).read_text(encoding="utf-8")
    assert text == published.render(kind), "run tools/definition-reference"


@pytest.mark.parametrize("kind", published.KINDS)
def test_editors_find_a_title_and_a_text_at_every_key(kind):
    found = json.loads(published.render(kind))
    Draft7Validator.check_schema(found)
    assert not [key for part in everything(found) for key in part if key.startswith("x-")]
    for path, part in objects(found):
        assert part["title"], path
        assert part.get("description") or path.endswith("[]"), path


def everything(part):
    """Yield every mapping of a schema."""
    if isinstance(part, dict):
        yield part
        for child in part.values():
            yield from everything(child)


@pytest.mark.skipif(not (ROOT / "inventories").is_dir(), reason="the collection's archive holds no inventories")
def test_other_programs_take_the_examples_by_the_published_schema():
    validator = Draft7Validator(published.published("cluster"))
    examples = sorted((ROOT / "inventories").glob("*/clusters/*.yml"))
    assert examples
    for path in examples:
        assert [error.message for error in validator.iter_errors(yaml.safe_load(path.read_text(encoding="utf-8")))] == [], path


@pytest.mark.parametrize(
    ("kind", "text", "keys"),
    [
        ("cluster", "control_plane: {count: 2}", ["control_plane", "count"]),
        ("cluster", "control_plane: {cuont: 3}", ["control_plane"]),
        ("cluster", "aws: {region: EU}", ["aws", "region"]),
        ("cluster", "kind: cluster_class", ["kind"]),
        ("cluster", "name: a_b", ["name"]),
        ("cluster_class", "name: demo", []),
        ("network_profile", "pools: []", []),
        ("network_profile", "network: {pod_cidrs: x}", ["network", "pod_cidrs"]),
    ],
)
def test_other_programs_find_mistakes_by_the_published_schema(kind, text, keys):
    found = {"plugin": schema.PLUGIN, "schema": 1, **({"name": "demo"} if kind == "cluster" else {"kind": kind})}
    validator = Draft7Validator(published.published(kind))
    assert validator.is_valid(found)
    (error,) = validator.iter_errors({**found, **yaml.safe_load(text)})
    assert list(error.absolute_path) == keys


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
    tenants = {name: (found["nsx"]["tier0"], found["api_endpoint"]["provider"]) for name, found in fleet.items() if "nsx" in found}
    assert tenants == {"web": ("tenant-a", "cloud"), "books": ("/infra/tier-0s/tenant-b", "cloud")}
