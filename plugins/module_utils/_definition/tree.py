# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""YAML text -> a tree of plain values that know their file and line (private to flotilla.kubernetes).

Built from the parser's events, not by ``yaml.load``: events are iterative (libyaml's composer overflows the C stack on deep nesting),
keep the lines, and let duplicate keys, tags and merge keys be refused instead of being resolved silently.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors, Problem, path_text, short
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

MAX_DEPTH = 32
MAX_TEXT = 1024  # characters of one value
MAX_NODES = 50_000  # after anchors are expanded: a few lines of aliases of aliases would fill the memory

_TAG = "tag:yaml.org,2002:"
_BOOLEANS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


@dataclass(frozen=True)
class Node:
    """One value of a definition: a ``dict[str, Node]``, a ``list[Node]`` or a scalar.

    :param line: line of the key, of the list's item, or of the value; counted from 1.
    :param text: a scalar as it was written, for messages (``1.30`` is not 1.3).
    """

    value: Any
    file: str
    line: int
    text: str = ""

    def get(self, *path: str | int) -> Node | None:
        """Return the node at ``path``, or None."""
        node: Node | None = self
        for part in path:
            if node is None:
                return None
            if isinstance(node.value, dict):
                node = node.value.get(part)
            elif isinstance(node.value, list) and isinstance(part, int) and part < len(node.value):
                node = node.value[part]
            else:
                return None
        return node

    def nearest(self, path: Iterable[str | int]) -> Node:
        """Return the deepest node on the way to ``path`` that exists."""
        node = self
        for part in path:
            child = node.get(part)
            if child is None:
                break
            node = child
        return node


def plain(node: Node) -> Any:
    """Return the tree as dicts, lists and scalars."""
    if isinstance(node.value, dict):
        return {key: plain(child) for key, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value


def yaml_library() -> Any:
    """Import PyYAML late: the collection's other modules do not need it."""
    try:
        import yaml
    except ImportError as error:
        raise FlotillaError(
            "REQUIREMENT_MISSING",
            "Reading cluster definitions needs the Python library PyYAML on the controller.",
            "Install it: pip install -r requirements.txt of the collection.",
            cause=error,
        ) from error
    return yaml


@cache
def _loaders() -> tuple[type, ...]:
    """Return libyaml's parser, if there, and the pure one, neither of which reads dates."""
    yaml = yaml_library()

    def without_dates(base: type) -> type:
        resolvers = {
            first: [(tag, pattern) for tag, pattern in found if tag != _TAG + "timestamp"]
            for first, found in base.yaml_implicit_resolvers.items()
        }
        return type(base.__name__, (base,), {"yaml_implicit_resolvers": resolvers})

    bases = [yaml.SafeLoader]
    if hasattr(yaml, "CSafeLoader"):
        bases.insert(0, yaml.CSafeLoader)
    return tuple(without_dates(base) for base in bases)


@dataclass
class _Frame:
    """A collection that is still open."""

    anchor: str | None
    path: tuple[str | int, ...]
    children: dict[str, Node] | list[Node]
    line: int
    is_key: bool
    key: str | None = None  # of the value that comes next; "" when the key was bad and its value is dropped
    key_line: int = 0

    def next_path(self) -> tuple[str | int, ...]:
        if isinstance(self.children, list):
            return (*self.path, len(self.children))
        return (*self.path, self.key) if self.key else self.path


class _Builder:
    """Turns the events of one document into a tree and collects what is wrong on the way."""

    def __init__(self, file: str, loader: Any) -> None:
        self.yaml = yaml_library()
        self.file = file
        self.loader = loader
        self.problems: list[Problem] = []
        self.stack: list[_Frame] = []
        self.root: Node | None = None
        self.anchors: dict[str, Node | None] = {}  # None while the anchored collection is still open
        self.measures: dict[int, tuple[int, int]] = {}  # id of a finished collection -> values in it, depth
        self.count = 0

    def build(self) -> Node:
        """Return the tree, which leaves out what `problems` then names.

        :raises DefinitionErrors: if there is no mapping, or the text does not end within the bounds of one document.
        """
        yaml, documents = self.yaml, 0
        while self.loader.check_event():
            event = self.loader.get_event()
            line = event.start_mark.line + 1
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents == 2:
                    self.problem(line, (), "a second YAML document begins here; write one definition per file.")
                    raise DefinitionErrors(self.problems)
            elif isinstance(event, (yaml.CollectionStartEvent, yaml.ScalarEvent, yaml.AliasEvent)):
                if not self.fits(event, line):
                    raise DefinitionErrors(self.problems)
                self.value(event, line)
            elif isinstance(event, yaml.CollectionEndEvent):
                self.close()
        if self.root is not None and isinstance(self.root.value, dict):
            return self.root
        if self.root is not None:
            self.problem(self.root.line, (), "must hold keys and values such as 'name: demo'.")
        elif not self.problems:
            self.problem(1, (), "is empty.")
        raise DefinitionErrors(self.problems)

    def problem(self, line: int, path: tuple[str | int, ...], message: str) -> None:
        self.problems.append(Problem(self.file, line, path_text(path), message))

    def fits(self, event: Any, line: int) -> bool:
        """Count a value; say no when the document grows beyond what a definition can need."""
        size, depth = 1, 0
        known = self.anchors.get(event.anchor) if isinstance(event, self.yaml.AliasEvent) else None
        if known is not None:
            size, depth = self.measure(known)
        self.count += size
        if self.count <= MAX_NODES and len(self.stack) + depth <= MAX_DEPTH:
            return True
        self.problem(line, (), f"is nested deeper than {MAX_DEPTH} levels or has more than {MAX_NODES} values.")
        return False

    def measure(self, node: Node) -> tuple[int, int]:
        return self.measures.get(id(node.value), (1, 0)) if isinstance(node.value, (dict, list)) else (1, 0)

    def value(self, event: Any, line: int) -> None:
        """Take a scalar, an alias or the start of a collection, as a key or as a value."""
        yaml = self.yaml
        frame = self.stack[-1] if self.stack else None
        is_key = frame is not None and isinstance(frame.children, dict) and frame.key is None
        path = frame.next_path() if frame else ()
        if isinstance(event, yaml.CollectionStartEvent):
            if event.tag not in (None, "!", _TAG + "map", _TAG + "seq"):
                self.problem(line, path, f"the YAML tag {short(event.tag)} is not allowed; definitions are plain data.")
            if event.anchor:
                self.anchors[event.anchor] = None
            own_line = frame.key_line if frame and frame.key_line and not is_key else line
            self.stack.append(_Frame(event.anchor, path, {} if isinstance(event, yaml.MappingStartEvent) else [], own_line, is_key))
        elif frame is not None and is_key:
            self.key(frame, event, line)
        else:
            own_line = frame.key_line if frame and frame.key_line else line
            if isinstance(event, yaml.AliasEvent):
                known = self.anchors.get(event.anchor)
                if known is None:
                    self.problem(line, path, f"the alias *{short(event.anchor)} names no finished value above it.")
                    known = Node(None, self.file, line)
                self.add(Node(known.value, self.file, own_line, known.text))
            else:
                node = Node(self.scalar(event, path), self.file, own_line, event.value)
                if event.anchor:
                    self.anchors[event.anchor] = node
                self.add(node)

    def key(self, frame: _Frame, event: Any, line: int) -> None:
        """Remember a mapping's key; a bad key gets the name "", whose value is dropped."""
        key, wrong = getattr(event, "value", None), ""
        if key is None:
            wrong = "an alias can not be a key; write the key."
        elif key == "<<":
            wrong = "merge keys (<<) are not supported; use a cluster class for what clusters share."
        elif not key or len(key) > MAX_TEXT:
            wrong = f"a key is longer than {MAX_TEXT} characters." if key else "a key is empty."
        elif key in frame.children:
            first = frame.children[key].line
            self.problem(line, (*frame.path, key), f"is written twice, first in line {first}.")
        if wrong:
            self.problem(line, frame.path, wrong)
        frame.key = "" if wrong or key in frame.children else key
        frame.key_line = line

    def close(self) -> None:
        """Finish the innermost collection."""
        frame = self.stack.pop()
        if frame.is_key:
            parent = self.stack[-1]
            self.problem(frame.line, parent.path, "a key must be a plain word.")
            parent.key, parent.key_line = "", frame.line
            return
        children = frame.children.values() if isinstance(frame.children, dict) else frame.children
        measures = [self.measure(child) for child in children]
        self.measures[id(frame.children)] = (
            1 + sum(size for size, _depth in measures),
            1 + max((depth for _size, depth in measures), default=0),
        )
        node = Node(frame.children, self.file, frame.line)
        if frame.anchor:
            self.anchors[frame.anchor] = node
        self.add(node)

    def add(self, node: Node) -> None:
        """Put a finished value into the collection that is open."""
        if not self.stack:
            self.root = node
            return
        frame = self.stack[-1]
        if isinstance(frame.children, list):
            frame.children.append(node)
            return
        if frame.key:
            frame.children[frame.key] = node
        frame.key, frame.key_line = None, 0

    def scalar(self, event: Any, path: tuple[str | int, ...]) -> Any:
        """Return the plain value of a scalar event."""
        tag = event.tag
        if tag in (None, "!"):
            tag = self.loader.resolve(self.yaml.ScalarNode, event.value, event.implicit)
        line = event.start_mark.line + 1
        if len(event.value) > MAX_TEXT:
            self.problem(line, path, f"is longer than {MAX_TEXT} characters, which no value of a definition is.")
            return None
        kind = tag[len(_TAG) :] if tag.startswith(_TAG) else ""
        if kind in ("str", "merge", "value"):
            return event.value
        if kind == "null":
            return None
        if kind == "bool" and event.value.lower() in _BOOLEANS:
            return _BOOLEANS[event.value.lower()]
        if kind in ("int", "float"):
            try:
                construct = self.loader.construct_yaml_int if kind == "int" else self.loader.construct_yaml_float
                return construct(self.yaml.ScalarNode(tag, event.value))
            except (ValueError, OverflowError, IndexError):
                self.problem(line, path, f"{short(event.value)} is no number that YAML can read; quote it if it is a text.")
                return None
        self.problem(line, path, f"the YAML tag {short(event.tag or tag)} is not allowed; definitions are plain data.")
        return None


def parse(text: str, file: str) -> Node:
    """Return the tree of a YAML text that holds one mapping.

    :raises DefinitionErrors: with every problem that was found, when there is any.
    """
    root, problems = parse_all(text, file)
    if problems:
        raise DefinitionErrors(problems)
    return root


def parse_all(text: str, file: str) -> tuple[Node, list[Problem]]:
    """Return the tree of a YAML text that holds one mapping, and what was left out of it.

    :raises DefinitionErrors: when there is no such tree.
    """
    yaml = yaml_library()
    for loader_class in _loaders():
        loader = None
        try:
            loader = loader_class(text)
            builder = _Builder(file, loader)
            return builder.build(), builder.problems
        except (yaml.YAMLError, UnicodeError) as error:
            failure = error  # the pure parser comes last: its messages are the same everywhere
        finally:
            if loader is not None:
                loader.dispose()
    raise DefinitionErrors([_syntax_problem(text, file, failure)]) from failure


def _syntax_problem(text: str, file: str, error: Exception) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is not None:
        line, why = mark.line + 1, getattr(error, "problem", None) or getattr(error, "context", "")
    else:  # a character that YAML does not allow
        line, why = text.count("\n", 0, getattr(error, "position", 0)) + 1, getattr(error, "reason", str(error))
    return Problem(file, line, "", f"is not valid YAML: {why}.")
