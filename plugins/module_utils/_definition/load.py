# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files -> merged, validated definitions (private to flotilla.kubernetes).

`read_text` and `find_files` are all that touches the file system.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import defaults, fleet_rules, rules, validate
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.derive import derive
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import (
    DefinitionErrors,
    Problem,
    nearest,
    path_text,
    short,
)
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.hosts import group_name, groups_of, zones_of
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.merge import merge
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema import PLUGIN, cluster_schema, file_schema
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.tree import Node, parse, parse_all, plain
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.addons.table import OWN

MAX_BYTES = 1024 * 1024
SUFFIXES = (".yml", ".yaml")
FOLDERS = {
    "clusters": "cluster",
    "cluster_classes": "cluster_class",
    "network_profiles": "network_profile",
    "policy_profiles": "policy_profile",
}
# Where a definition names what it inherits.
_REFERENCES = {"cluster_class": "class", "network_profile": "network.profile", "policy_profile": "policies.profile"}
# What Ansible itself leaves out of a folder (ansible/inventory/manager.py)
_IGNORED = re.compile(r"^\.|^(host_vars|group_vars|vars_plugins)$|~$")
# By text, not by YAML: a definition with a syntax error is still a definition
_PLUGIN_LINE = re.compile(rf"""^(['"]?)plugin\1[ \t]*:[ \t]*(['"]?){re.escape(PLUGIN)}\2[ \t]*(\#.*)?$""", re.MULTILINE)

Reader = Callable[[Path], str]


@dataclass(frozen=True)
class Loaded:
    """A valid definition or fleet file, and the tree that it came from."""

    definition: dict[str, Any]
    root: Node


def shown(path: Path) -> str:
    """Return a path for messages: relative to the working directory when it lies below it."""
    try:
        return str(path.relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def read_text(path: Path) -> str:
    """Return the text of a definition file.

    :raises DefinitionErrors: if it can not be read as UTF-8 text of at most 1 MiB.
    """
    try:
        with path.open("rb") as stream:
            content = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DefinitionErrors([Problem(shown(path), 0, "", f"can not be read: {error.strerror or error}.")]) from error
    if len(content) > MAX_BYTES:
        raise DefinitionErrors([Problem(shown(path), 0, "", "is larger than 1 MiB, which no cluster definition is.")])
    if content.startswith(b"$ANSIBLE_VAULT"):
        message = "is encrypted by ansible-vault; definitions hold no secrets and are read as plain text."
        raise DefinitionErrors([Problem(shown(path), 1, "", message)])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DefinitionErrors([Problem(shown(path), line, "", "is not UTF-8 text.")]) from error


def is_definition(text: str) -> bool:
    """Return whether a text has the line that makes it a source of the inventory plugin."""
    return bool(_PLUGIN_LINE.search(text))


def foundation_folder(path: Path) -> Path:
    """Return the foundation of a definition file: the folder above `clusters/`, or the file's own folder."""
    return path.parent.parent if path.parent.name in FOLDERS else path.parent


def foundation_name(path: Path) -> str:
    """Return the foundation's id: the folder's name in the characters that every cloud takes in a label."""
    return re.sub(r"[^a-z0-9_-]+", "-", foundation_folder(path).name.lower()).strip("-_")[:63] or "default"


def find_files(sources: Iterable[str | os.PathLike[str]]) -> tuple[list[Path], list[Problem]]:
    """Return every definition file in inventory sources, each once, and what stands in a definitions' folder but is none.

    :param sources: files and folders as given to ``ansible-playbook -i``; host lists (``a,b``) and missing paths are skipped.
    """
    files: dict[str, Path] = {}
    problems: list[Problem] = []
    for source in sources:
        if "," in str(source):
            continue
        path = Path(os.path.abspath(Path(source).expanduser()))  # noqa: PTH100 - resolve() would follow links, and a link's name counts
        if path.is_dir():
            for folder, names, found in os.walk(path):
                names[:] = sorted(name for name in names if not _IGNORED.search(name))
                for name in sorted(found):
                    if not _IGNORED.search(name):
                        _take(Path(folder) / name, files, problems)
        elif path.is_file():
            _take(path, files, problems)
    return list(files.values()), problems


def _take(path: Path, files: dict[str, Path], problems: list[Problem]) -> None:
    if path.suffix not in SUFFIXES or str(path.resolve()) in files:
        return
    expected = path.parent.name in FOLDERS
    try:
        text = read_text(path)
    except DefinitionErrors as error:
        if expected:  # elsewhere the file is somebody else's
            problems.extend(error.problems)
        return
    if is_definition(text):
        files[str(path.resolve())] = path
    elif expected:
        message = f'is in {path.parent.name}/ but is no definition: its first line must be "plugin: {PLUGIN}".'
        problems.append(Problem(shown(path), 1, "plugin", message))


class Loader:
    """Loads definitions; files that several clusters inherit are read once."""

    def __init__(self, read: Reader = read_text) -> None:
        self._read = read
        self._inherited: dict[Path, tuple[Node | None, list[Problem]]] = {}
        self.fleets: list[Loaded] = []
        """The fleet files among those that were loaded."""

    def load(self, path: Path) -> Loaded | None:
        """Return the definition in a file, or None if the file is a class, a profile or a fleet, which is checked as well.

        :raises DefinitionErrors: with every problem of the file and of what it inherits.
        """
        own, broken = parse_all(self._read(path), shown(path))
        kind = _kind(own)
        problems, invalid = validate.check(own, kind)
        problems.extend(broken)
        if kind == "fleet":
            data = defaults.fill(_without(plain(own), invalid), file_schema(kind))
            problems.extend(fleet_rules.check(own, data))
            self.fleets.append(Loaded({**data, "file": str(path), "foundation": foundation_name(path)}, own))
        if kind != "cluster":
            if problems:
                raise DefinitionErrors(_once(problems, broken))
            return None
        merged, complete = self._inherit(own, foundation_folder(path), problems)
        merged = derive(merged)
        found, invalid = validate.check(merged, "complete")
        if complete:
            # Everything else was found in the files; there the paths are those that the user sees.
            problems.extend(problem for problem in found if problem.message.startswith("is missing") and problem.path not in _KEYS_OF_FILES)
        data = defaults.fill(_without(plain(merged), invalid), cluster_schema())
        problems.extend(rules.check(merged, data, invalid))
        problems.extend(_find_files(data, merged))
        if problems:
            raise DefinitionErrors(_once(problems, broken))
        return Loaded(_finish(data, merged, path), merged)

    def _inherit(self, own: Node, foundation: Path, problems: list[Problem]) -> tuple[Node, bool]:
        """Return the tree with class and profile under it, and whether all of them could be read."""
        merged, complete = own, True
        class_node = own.get("class")
        if class_node is not None:
            base = self._named(class_node, [foundation / "cluster_classes"], "cluster_class", problems)
            complete = base is not None
            if base is not None:
                merged = merge(base, own)
        # Rights are the same in all foundations of a house: their profiles may lie in the folder above.
        above = [folder / "policy_profiles" for folder in (foundation, foundation.parent)]
        profiles = (("network", "network_profile", [foundation / "network_profiles"]), ("policies", "policy_profile", above))
        for section, kind, folders in profiles:
            profile_node = merged.get(section, "profile")
            if profile_node is not None:
                base = self._named(profile_node, folders, kind, problems)
                complete = complete and base is not None
                if base is not None:
                    merged = merge(base, merged)
        return merged, complete

    def _named(self, reference: Node, folders: list[Path], kind: str, problems: list[Problem]) -> Node | None:
        """Return the class or profile that a node names."""
        name = reference.value
        if not isinstance(name, str) or not re.fullmatch(r"[a-z0-9-]+", name):
            return None  # the schema says so already
        places = [folder / f"{name}{suffix}" for folder in folders for suffix in SUFFIXES]
        path = next((place for place in places if place.is_file()), None)
        if path is None:
            there = sorted({found.stem for folder in folders if folder.is_dir() for found in folder.glob("*") if found.suffix in SUFFIXES})
            guess = nearest(name, there)
            hint = f' Did you mean "{guess}"?' if guess else (f" There are: {', '.join(there)}." if there else "")
            message = f"is {name}, but there is no file {' or '.join(f'{shown(folder)}/{name}.yml' for folder in folders)}.{hint}"
            problems.append(Problem(reference.file, reference.line, _REFERENCES[kind], message, name, ", ".join(there), guess))
            return None
        if path not in self._inherited:
            self._inherited[path] = self._read_inherited(path, kind)
        node, found_problems = self._inherited[path]
        problems.extend(found_problems)
        return node

    def _read_inherited(self, path: Path, kind: str) -> tuple[Node | None, list[Problem]]:
        try:
            node = parse(self._read(path), shown(path))
        except DefinitionErrors as error:
            return None, list(error.problems)
        problems, _invalid = validate.check(node, kind)
        keep = {key: child for key, child in node.value.items() if key not in ("plugin", "schema", "kind", "name", "class")}
        return Node(keep, node.file, node.line), problems


_KEYS_OF_FILES = ("plugin", "schema", "name")


def _once(problems: list[Problem], broken: list[Problem]) -> list[Problem]:
    """Leave out what another problem says: that a key is missing which is only misspelt, or what follows from YAML that can not be used."""
    here = {(problem.file, problem.path) for problem in broken}
    problems = [
        problem
        for problem in problems
        if problem in broken
        or not (
            (problem.file, problem.path) in here
            or (problem.message.startswith("is missing") and (problem.file, problem.path.rpartition(".")[0]) in here)
        )
    ]
    unknown = [problem for problem in problems if problem.message.startswith("unknown key") and problem.suggestion]
    meant = {problem.path[: -len(problem.value)] + problem.suggestion for problem in unknown}
    return [problem for problem in problems if not (problem.message.startswith("is missing") and problem.path in meant)]


def _kind(root: Node) -> str:
    node = root.get("kind")
    return node.value if node is not None and node.value in (*_REFERENCES, "fleet") else "cluster"


def _without(data: Any, invalid: list[tuple[str | int, ...]]) -> Any:
    """Return the data without its invalid values; an invalid item of a list becomes None, so that the others keep their index."""
    for path in invalid:
        if not path:
            return {}
        holder = data
        for part in path[:-1]:
            try:
                holder = holder[part]
            except (KeyError, IndexError, TypeError):
                holder = None  # something above was taken out already, or the key is missing
                break
        if isinstance(holder, dict):
            holder.pop(path[-1], None)
        elif isinstance(holder, list):
            holder[path[-1]] = None
    return data


def _finish(data: dict[str, Any], root: Node, path: Path) -> dict[str, Any]:
    """Return what playbooks see as `flotilla_cluster`: without the keys of the file format, with the computed ones."""
    order = [key for key in cluster_schema()["properties"] if key in data and key not in ("plugin", "kind")]
    definition: dict[str, Any] = {}
    for key in order:
        definition[key] = data[key]
        if key == "name":
            definition["foundation"] = foundation_name(path)
            definition["file"] = str(path)
    return definition


def _find_files(data: dict[str, Any], root: Node) -> list[Problem]:
    """Make the path of each file absolute, and return which are not there: who needs them is made long before that would be seen."""
    problems = []
    for holder, key, place in _files(data):
        if holder[key] is None:
            continue  # the schema refused it
        node = root.nearest(place)
        folder = Path(os.path.abspath(node.file)).parent  # noqa: PTH100
        # Not Path.expanduser, which raises for somebody who does not exist; nor Path.is_file, for what no file's name can be.
        holder[key] = os.path.normpath(folder / os.path.expanduser(holder[key]))  # noqa: PTH111
        if place[0] != "network" and not os.path.isfile(holder[key]):  # noqa: PTH113
            found = "".join(character if character.isprintable() else "?" for character in shown(Path(holder[key])))
            message = f"is {short(node.text)}, but there is no file {found}."
            problems.append(Problem(node.file, node.line, path_text(place), message, short(node.text)))
    return problems


def _files(definition: dict[str, Any]) -> Iterator[tuple[Any, str | int, tuple[str | int, ...]]]:
    """Yield holder, key and place of each path that is relative to the file that names it."""
    for section, key in (("network", "manifests"), ("site", "ca_files")):
        files = definition[section][key]
        yield from ((files, index, (section, key, index)) for index in range(len(files)))
    for index, mirror in enumerate(definition["site"]["registry_mirrors"]):
        if mirror is not None and "ca_file" in mirror:
            yield mirror, "ca_file", ("site", "registry_mirrors", index, "ca_file")
    provided = definition["bundle"].get("network_plugin", {})
    if "manifest" in provided:
        yield provided, "manifest", ("bundle", "network_plugin", "manifest")
    archives = provided.get("image_archives", [])
    yield from ((archives, index, ("bundle", "network_plugin", "image_archives", index)) for index in range(len(archives)))
    if "ca_file" in definition["bundle"]["delivery"]:
        yield definition["bundle"]["delivery"], "ca_file", ("bundle", "delivery", "ca_file")
    if "recipient" in definition.get("backup_store", {}):
        yield definition["backup_store"], "recipient", ("backup_store", "recipient")
    for index, issuer in enumerate(definition["authentication"]["oidc"]):
        if issuer is not None and "ca_file" in issuer:
            yield issuer, "ca_file", ("authentication", "oidc", index, "ca_file")
    for number, addon in enumerate(definition["addons"][OWN]):
        files = (addon or {}).get("manifests", [])
        yield from ((files, index, ("addons", OWN, number, "manifests", index)) for index in range(len(files)))
    webhook = definition["security"]["audit"].get("webhook", {})
    if "ca_file" in webhook:
        yield webhook, "ca_file", ("security", "audit", "webhook", "ca_file")


def load_file(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """Return the merged, validated definition in a file; None for a class or profile.

    :raises DefinitionErrors: with every problem of the file and of what it inherits.
    """
    loaded = Loader().load(Path(os.path.abspath(path)))  # noqa: PTH100
    return loaded.definition if loaded else None


def load_fleet(sources: Iterable[str | os.PathLike[str]]) -> list[dict[str, Any]]:
    """Return all definitions in inventory sources, checked one by one and against each other.

    :raises DefinitionErrors: with every problem of every file.
    """
    return check_sources(sources).valid().definitions


@dataclass(frozen=True)
class Checked:
    """What inventory sources hold: the definition files, classes and profiles included, what is valid of it and what is wrong."""

    files: list[Path]
    definitions: list[dict[str, Any]]
    problems: list[Problem]
    fleets: list[dict[str, Any]]

    def valid(self) -> Checked:
        """Return this.

        :raises DefinitionErrors: with every problem, if there is one.
        """
        if self.problems:
            raise DefinitionErrors(self.problems)
        return self


def check_sources(sources: Iterable[str | os.PathLike[str]]) -> Checked:
    """Load all definitions in inventory sources and check them one by one and against each other."""
    files, problems = find_files(sources)
    loader, fleet = Loader(), []
    for path in files:
        try:
            loaded = loader.load(path)
        except DefinitionErrors as error:
            problems.extend(error.problems)
        else:
            if loaded is not None:
                fleet.append(loaded)
    problems.extend(check_fleet(fleet))
    problems.extend(
        fleet_rules.check_files([(loaded.root, loaded.definition) for loaded in loader.fleets], [loaded.definition for loaded in fleet])
    )
    return Checked(files, [loaded.definition for loaded in fleet], problems, [loaded.definition for loaded in loader.fleets])


def check_fleet(fleet: list[Loaded]) -> list[Problem]:
    """Return what is wrong between clusters: equal names, Ansible groups that collide, overlapping networks on one machine."""
    problems: list[Problem] = []
    names: dict[str, Loaded] = {}
    groups: dict[str, str] = {}
    zones: dict[str, str] = {}
    networks: list[tuple[Any, Loaded]] = []
    doors: dict[tuple[str, int], Loaded] = {}

    def report(loaded: Loaded, path: tuple[str | int, ...], message: str) -> None:
        node = loaded.root.nearest(path)
        problems.append(Problem(node.file, node.line, path_text(path), message, node.text))

    for loaded in fleet:
        definition = loaded.definition
        name = definition["name"]
        if name in names:
            report(loaded, ("name",), f"is {name}, as in {names[name].root.file}; names are unique in the fleet.")
            continue
        names[name] = loaded
        for group, meaning in groups_of(definition).items():
            if groups.setdefault(group, meaning) != meaning:
                report(
                    loaded,
                    ("name",),
                    f"is {name}: the Ansible group {group} would stand for {meaning} and for {groups[group]}; rename one.",
                )
        for zone in zones_of(definition):
            group = f"zone_{group_name(zone)}"
            if zones.setdefault(group, zone) != zone:
                report(
                    loaded,
                    ("name",),
                    f"is {name}: its zone {zone} and the zone {zones[group]} give the same Ansible group {group}; rename one.",
                )
        networks.extend(_local_networks(loaded, networks, report))
        for index, machine in enumerate(definition.get("existing", {}).get("machines", [])):
            door = (machine.get("ssh_address", machine["address"]), machine["ssh_port"])
            owner = doors.setdefault(door, loaded)
            if owner is not loaded:
                message = (
                    f"is the machine {door[0]}, which the cluster {owner.definition['name']} ({owner.root.file}) has; take it out of one."
                )
                report(loaded, ("existing", "machines", index, "address"), message)
    return problems


def _local_networks(loaded: Loaded, others: list[tuple[Any, Loaded]], report: Callable[..., None]) -> list[tuple[Any, Loaded]]:
    """Check the network of a local cluster against those of the others, which live on the same machine."""
    if loaded.definition["cloud"] != "local":
        return []
    network = rules.network_of(loaded.definition["local"]["network_cidr"])
    for other, owner in others:
        if network.overlaps(other):
            cluster = f"the cluster {owner.definition['name']} ({other}, {owner.root.file})"
            report(loaded, ("local", "network_cidr"), f"is {network} and overlaps with {cluster}; choose another network.")
    return [(network, loaded)]
