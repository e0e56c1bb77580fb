# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shape of the repository, on which every tool relies: the root is the collection, and collection/ makes it reachable by its name."""

from __future__ import annotations

import json
import re
import subprocess
import tarfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.skipif(not (ROOT / "galaxy.yml").exists(), reason="an installed collection has no checkout around it")


def load(name: str):
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def artifact(tmp_path_factory) -> set[str]:
    """Build the collection and return the names of the files in it."""
    folder = tmp_path_factory.mktemp("build")
    subprocess.run(
        ["ansible-galaxy", "collection", "build", "--force", "--output-path", str(folder)],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
    )
    (archive,) = folder.glob("flotilla-kubernetes-*.tar.gz")
    with tarfile.open(archive) as tar:
        listing = json.load(tar.extractfile("FILES.json"))
    return {entry["name"] for entry in listing["files"]}


def test_the_collection_is_reachable_by_its_full_name():
    link = ROOT / "collection" / "ansible_collections" / "flotilla" / "kubernetes"
    assert link.is_symlink()
    assert str(link.readlink()) == "../../.."
    assert link.resolve() == ROOT


@pytest.mark.parametrize("name", ["collection", "build"])
def test_tools_leave_the_link_and_the_output_alone(name):
    assert name in load("galaxy.yml")["build_ignore"]
    assert f"{name}/" in load(".ansible-lint")["exclude_paths"]


def test_the_artifact_holds_the_collection(artifact):
    assert {"README.md", "meta/runtime.yml", "plugins/callback/phases.py", "tests/config.yml", "examples/adoption/hosts.yml"} <= artifact


def test_the_artifact_holds_nothing_of_the_checkout(artifact):
    forbidden = re.compile(
        r"^(collection|inventories|tools|build|Makefile|pyproject\.toml|ansible\.cfg)(/|$)"
        r"|^\.[^/]"  # settings of tools; nothing hidden at the top belongs to a user
        r"|(^|/)(__pycache__|\.pytest_cache|\.ruff_cache|\.hypothesis|\.ansible)(/|$)"
        r"|\.(pyc|retry|tar\.gz|log)$"
        r"|^tests/output(/|$)"
    )
    assert sorted(name for name in artifact if forbidden.search(name)) == []


def test_every_module_is_in_the_action_group():
    modules = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if path.stem != "__init__")
    assert load("meta/runtime.yml")["action_groups"]["flotilla"] == modules


def test_what_takes_a_fence_is_in_the_action_group_that_sets_it():
    fragment = "- flotilla.kubernetes.fence\n"
    fenced = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py") if fragment in path.read_text(encoding="utf-8"))
    assert load("meta/runtime.yml")["action_groups"]["fenced"] == fenced != []


def test_the_execution_environment_has_the_requirements_of_the_controller():
    dependencies = load("meta/execution-environment.yml")["dependencies"]
    assert all((ROOT / name).is_file() for name in dependencies.values())

    def requirements(name):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        return [line for line in lines if line and not line.startswith("#")]

    assert requirements(dependencies["python"]) == requirements("requirements.txt")


def test_every_target_of_make_is_explained():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    explained = re.findall(r"^([a-z0-9-]+):.*## \S", text, re.M)
    assert explained and explained == re.findall(r"^([^#.\s][^:=?]*):(?!=)", text, re.M)
