# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The examples of modules, roles and pages are what the code takes."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.load import load_file

ROOT = Path(__file__).resolve().parents[2]
COLLECTION = "flotilla.kubernetes."
MODULES = sorted((ROOT / "plugins/modules").glob("*.py"))
ROLES = sorted(path.parent for path in (ROOT / "roles").glob("*/meta"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *(role / "README.md" for role in ROLES)]
PAGES += sorted((ROOT / "examples").rglob("README.md"))
TEMPLATE = re.compile(r"\{\{.*\}\}", re.S)
OF_A_TYPE = {"int": 1, "float": 1.0, "bool": True, "list": [], "dict": {}, "path": "/x", "raw": "x", "str": "x"}

pytestmark = pytest.mark.skipif(not (ROOT / "galaxy.yml").exists(), reason="an installed collection has no checkout around it")


def documentation(module: Path, name: str) -> Any:
    tree = ast.parse(module.read_text(encoding="utf-8"))
    texts = [node.value.value for node in tree.body if isinstance(node, ast.Assign) and node.targets[0].id == name]
    return yaml.safe_load(texts[0])


def options_of(module: Path) -> dict[str, Any]:
    documented = documentation(module, "DOCUMENTATION")
    options: dict[str, Any] = {}
    for fragment in documented.get("extends_documentation_fragment", []):
        name, _dot, part = fragment.removeprefix(COLLECTION).partition(".")
        if (ROOT / f"plugins/doc_fragments/{name}.py").exists():
            source = (ROOT / f"plugins/doc_fragments/{name}.py").read_text(encoding="utf-8")
            pattern = rf'{part.upper() or "DOCUMENTATION"} = r?"""(.*?)"""'
            options.update(yaml.safe_load(re.search(pattern, source, re.S).group(1))["options"])
    # What a module says itself counts, as for Ansible.
    return {**options, **documented.get("options", {})}


def specification(options: dict[str, Any]) -> dict[str, Any]:
    """Return the argument spec of documented options, as deep as they are documented."""
    spec = {}
    for name, option in options.items():
        spec[name] = {key: option[key] for key in ("type", "elements", "choices", "required", "aliases") if key in option}
        if "Set by the action plugin" in str(option.get("description")):
            spec[name].pop("required", None)
        if "suboptions" in option or "options" in option:
            spec[name]["options"] = specification(option.get("suboptions") or option["options"])
    return spec


def concrete(value: Any, option: dict[str, Any]) -> Any:
    """Return a value of an example with something of the right type where a template stands."""
    if isinstance(value, str) and TEMPLATE.search(value):
        return option["choices"][0] if option.get("choices") else OF_A_TYPE[option.get("type", "str")]
    inner = option.get("options")
    if isinstance(value, list):
        return [concrete(item, {"type": option.get("elements", "raw"), **({"options": inner} if inner else {})}) for item in value]
    if isinstance(value, dict) and inner:
        return {name: concrete(item, inner.get(name, {"type": "raw"})) for name, item in value.items()}
    return value


def tasks_in(node: Any) -> Iterator[dict[str, Any]]:
    """Yield each dictionary of an example: plays, blocks and tasks alike."""
    if isinstance(node, dict):
        yield node
        for value in node.values():
            yield from tasks_in(value)
    elif isinstance(node, list):
        for item in node:
            yield from tasks_in(item)


def complaints(spec: dict[str, Any], given: dict[str, Any]) -> list[str]:
    values = {name: concrete(value, spec.get(name, {"type": "raw"})) for name, value in given.items()}
    return ArgumentSpecValidator(spec).validate(values).error_messages


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_the_examples_of_a_module_are_arguments_that_it_takes(module: Path) -> None:
    spec, name = specification(options_of(module)), COLLECTION + module.stem
    calls = [task[name] for task in tasks_in(documentation(module, "EXAMPLES")) if name in task]
    assert calls, "no example"
    assert [complaints(spec, call or {}) for call in calls] == [[]] * len(calls)


def test_a_wrong_example_would_be_found() -> None:
    spec = specification({"size": {"type": "int", "required": True}, "state": {"type": "str", "choices": ["present"]}})
    assert complaints(spec, {"size": "{{ how_big }}", "state": "present"}) == []
    assert len(complaints(spec, {"state": "gone", "colour": "red"})) == 3


def arguments_of(role: Path) -> dict[str, Any]:
    entries = yaml.safe_load((role / "meta/argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    return {name: option for entry in entries.values() for name, option in entry.get("options", {}).items()}


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_variable_of_a_role_is_documented(role: Path) -> None:
    defaults = role / "defaults/main.yml"
    variables = set(yaml.safe_load(defaults.read_text(encoding="utf-8"))) if defaults.exists() else set()
    assert variables - set(arguments_of(role)) == set()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)


def plays(page: Path) -> list[dict[str, Any]]:
    parsed = [yaml.safe_load(block) for block in blocks(page, "ya?ml")]
    return [play for block in parsed if isinstance(block, list) for play in block if isinstance(play, dict) and "hosts" in play]


@pytest.mark.parametrize("role", ROLES, ids=lambda path: path.name)
def test_every_role_shows_a_play_with_variables_that_exist(role: Path) -> None:
    known = {name for other in ROLES for name in arguments_of(other)}
    used = [entry for play in plays(role / "README.md") for entry in tasks_in(play)]
    names = {entry.get("role") for entry in used} | {(entry.get("ansible.builtin.include_role") or {}).get("name") for entry in used}
    assert COLLECTION + role.name in names, "the README shows no play with the role"
    prefixes = tuple(f"{other.name}_" for other in ROLES)
    given = {name for entry in used for name in entry if isinstance(name, str) and name.startswith(prefixes)}
    assert given - known == set()


def test_the_plays_of_all_pages_are_plays(tmp_path: Path) -> None:
    found = [play for page in PAGES for play in plays(page)]
    imports = [
        entry
        for page in PAGES
        for block in map(yaml.safe_load, blocks(page, "ya?ml"))
        if isinstance(block, list)
        for entry in block
        if isinstance(entry, dict) and "ansible.builtin.import_playbook" in entry
    ]
    assert len(found) >= len(ROLES)
    (tmp_path / "plays.yml").write_text(yaml.safe_dump(found + imports, sort_keys=False), encoding="utf-8")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), "--syntax-check", "-i", "localhost,", str(tmp_path / "plays.yml")],
        env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collection")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_definitions_of_all_pages_are_definitions(tmp_path: Path) -> None:
    texts = [text for page in PAGES for text in blocks(page, "ya?ml") if re.search(r"^plugin: ", text, re.M) and "\nname: " in text]
    assert texts
    for number, text in enumerate(texts):
        file = tmp_path / f"{number}/clusters/example.yml"
        file.parent.mkdir(parents=True)
        file.write_text(text, encoding="utf-8")
        assert load_file(file)["name"] == yaml.safe_load(text)["name"]


def test_commands_of_all_pages_name_what_exists() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))
    playbooks = {path.stem for path in (ROOT / "playbooks").glob("*.yml")}
    for page in PAGES:
        for text in blocks(page, "sh"):
            assert set(re.findall(r"^make (?:-s )?([a-z0-9-]+)", text, re.M)) <= targets, page
            assert set(re.findall(r"ansible-playbook .*?flotilla\.kubernetes\.(\w+)", text)) <= playbooks, page
