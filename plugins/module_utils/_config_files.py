# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Small files of a node, written atomically and taken away when nobody wants them any more (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

import errno
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._errors import clear_os_errors
from ._files import write_atomically
from ._state import STATE_DIR

BEGIN, END = "# BEGIN flotilla.kubernetes", "# END flotilla.kubernetes"
HIDDEN = "(not shown: it holds secrets)\n"
HIDDEN_CHANGE = "(not shown: it holds secrets, and it changes)\n"
FILE, BLOCK, REPLACED = "file", "block", "replaced"


@dataclass(frozen=True)
class ConfigFile:
    """A file as it should be.

    :param kind: ``file``: all of it is ours and it is removed in the end. ``block``: ours is what stands between two marks in a file of
        somebody else. ``replaced``: the file was there before, and its former content comes back in the end.
    :param secret: whether the content stays out of diffs. What only root may read never gets there.
    :param tag: names for whoever reacts to a change, e.g. a service.
    """

    path: Path
    content: str
    mode: int = 0o644
    kind: str = FILE
    secret: bool = False
    tag: str = ""


@dataclass(frozen=True)
class Change:
    """One file that is not as it should be; ``after`` is None for one that goes."""

    path: Path
    before: str | None
    after: str | None
    mode: int
    kind: str
    secret: bool
    tag: str

    def as_diff(self) -> dict[str, str]:
        """Return the change as ``--diff`` shows it."""
        before, after = self.before or "", self.after or ""
        if self.secret:
            # Two texts that differ, so that one sees that there is a change.
            before, after = (HIDDEN if before else ""), (HIDDEN_CHANGE if before and after else HIDDEN if after else "")
        return {"before_header": str(self.path), "after_header": str(self.path), "before": before, "after": after}


class ConfigFiles:
    """The files of one owner; those that an earlier run wrote for the owner, and that are no longer wanted, are removed."""

    def __init__(self, owner: str | None, files: Sequence[ConfigFile], state_dir: Path = STATE_DIR) -> None:
        """:param owner: name under which the node remembers the files; without one nothing is ever removed."""
        self._files = list(files)
        self._state_dir = state_dir
        self._memory = state_dir / f"files-of-{owner}.json" if owner else None
        self._known: dict[str, dict[str, str]] = self._recall()

    def changes(self) -> list[Change]:
        """Return what differs, first what is to be written, then what is to go.

        :raises FlotillaError: a file is there and can not be read.
        """
        found = [self._change(wanted) for wanted in self._files]
        paths = {str(wanted.path) for wanted in self._files}
        # The other way round: whatever names a file goes before that file.
        left = [self._removal(Path(path), entry) for path, entry in reversed(self._known.items()) if path not in paths]
        return [change for change in (*found, *left) if change]

    def apply(self, changes: Sequence[Change], stay: Sequence[Path] = ()) -> None:
        """Make the changes, and remember the files also when there are none.

        What is about to be written is remembered first, so that the next run knows what a killed one left.

        :param stay: files of an earlier run that stay for now although they are no longer wanted.
        :raises FlotillaError: a file can not be written or removed.
        """
        wanted = {str(entry.path): {"kind": entry.kind, "tag": entry.tag} for entry in self._files}
        if {**self._known, **wanted} != self._known:
            self._remember({**self._known, **wanted})
        for change in changes:
            with clear_os_errors(change.path, "removed" if change.after is None else "written"):
                self._make(change)
        left = {path: entry for path, entry in self._known.items() if Path(path) in stay and path not in wanted}
        if list(self._known.items()) != [*left.items(), *wanted.items()]:
            self._remember({**left, **wanted})

    def _change(self, wanted: ConfigFile) -> Change | None:
        before = _read(wanted.path)
        after = with_block(before or "", wanted.content) if wanted.kind == BLOCK else wanted.content
        mode = _mode(wanted.path)
        # The mode of a file of somebody else is theirs, unless ours is a secret.
        target = mode if wanted.kind != FILE and mode is not None and not wanted.secret else wanted.mode
        if before == after and mode == target:
            return None
        return Change(wanted.path, before, after, target, wanted.kind, wanted.secret or _private(mode), wanted.tag)

    def _removal(self, path: Path, entry: dict[str, str]) -> Change | None:
        kind, before, mode = entry["kind"], _read(path), _mode(path)
        after: str | None = None
        if kind == REPLACED:
            after = _read(self._original(path))
            if after is None:
                return None
        elif before is None:
            return None
        elif kind == BLOCK:
            after = with_block(before, "")
            if after == before:
                return None
        # Without our secret a file of somebody else is for everybody again.
        target = 0o644 if kind == BLOCK else 0o644 if mode is None else mode
        return Change(path, before, after, target, kind, _private(mode), entry["tag"])

    def _make(self, change: Change) -> None:
        if change.after is None:
            change.path.unlink()
            return
        change.path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        if change.kind == REPLACED:
            self._replace(change)
        else:
            write_atomically(change.path, change.after.encode(), change.mode)

    def _replace(self, change: Change) -> None:
        original = self._original(change.path)
        wanted = any(entry.path == change.path for entry in self._files)
        if wanted and not original.exists():
            write_atomically(original, (change.before or "").encode(), 0o600)
        content = (change.after or "").encode()
        target = change.path.resolve()
        try:
            write_atomically(target, content, change.mode)
        except OSError as error:
            # A file that is mounted into a container can be written but not exchanged.
            if error.errno != errno.EBUSY:
                raise
            target.write_bytes(content)
            target.with_name(f".{target.name}.flotilla").unlink(missing_ok=True)
        if not wanted:
            original.unlink()

    def _original(self, path: Path) -> Path:
        return self._state_dir / "originals" / str(path).strip("/").replace("/", "_")

    def _recall(self) -> dict[str, dict[str, str]]:
        text = _read(self._memory) if self._memory else None
        try:
            known = json.loads(text or "{}")
        except ValueError:
            known = {}
        return known if isinstance(known, dict) else {}

    def _remember(self, known: dict[str, dict[str, str]]) -> None:
        self._known = known
        if self._memory:
            with clear_os_errors(self._memory, "written"):
                write_atomically(self._memory, json.dumps(known, indent=1).encode(), 0o600)


def with_block(text: str, block: str) -> str:
    """Return a text whose block between our two marks is ``block``; an empty block takes the marks away."""
    head, begin, rest = text.partition(f"{BEGIN}\n")
    tail = rest.partition(f"{END}\n")[2] if begin else ""
    if not block:
        return head + tail
    if not begin and head and not head.endswith("\n"):
        head += "\n"
    return f"{head}{BEGIN}\n{block}{END}\n{tail}"


def _read(path: Path) -> str | None:
    with clear_os_errors(path, "read"):
        try:
            # What is not UTF-8 is about to be replaced; a diff needs some text.
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None


def _mode(path: Path) -> int | None:
    try:
        return path.stat().st_mode & 0o7777
    except OSError:
        return None


def _private(mode: int | None) -> bool:
    return mode is not None and not mode & 0o077


def results(changes: Sequence[Change]) -> dict[str, Any]:
    """Return what modules say about changes."""
    return {
        "written": [str(change.path) for change in changes if change.after is not None],
        "removed": [str(change.path) for change in changes if change.after is None],
        "diff": [change.as_diff() for change in changes],
    }
