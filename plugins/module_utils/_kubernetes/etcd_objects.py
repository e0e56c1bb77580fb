# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What etcd holds, counted by kind of object, and what changed since a revision (private to flotilla.kubernetes).

Kubernetes' keys are ``/registry/<resource>/...``, or ``/registry/<group>/<resource>/...`` where the group has a dot; only keys are read.
Python 3.9, standard library only.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from .client import Client

_ROOT = b"/registry/"
_PAGE = 5000
# A restore lets revisions go on further than this (`staged_restore`), and no cluster writes so much between two backups.
RESTORED_AHEAD = 500_000_000


def counts(etcd: Client, revision: int = 0) -> dict[str, int]:
    """Return how many objects of each kind there were at a revision, or are now.

    :raises FlotillaError: etcd refuses, e.g. because the revision was compacted.
    """
    return {
        kind: int(_range(etcd, prefix, _end(prefix), revision, count_only=True).get("count", 0)) for kind, prefix in _kinds(etcd, revision)
    }


def changes(etcd: Client, since: int, before: dict[str, int]) -> dict[str, dict[str, int]]:
    """Return kind -> ``created``, ``changed`` and ``deleted``: what became of the objects after a revision. Kinds without any are left out.

    :param before: what `counts` returned for that revision.
    """
    found = {}
    now = dict(_kinds(etcd, 0))
    for kind in sorted({*before, *now}):
        here = created = changed = 0
        if kind in now:
            here = int(_range(etcd, now[kind], _end(now[kind]), 0, count_only=True).get("count", 0))
            for entry in _changed(etcd, now[kind], since):
                new = int(entry["create_revision"]) > since
                created, changed = created + new, changed + (not new)
        # One that was deleted and made again is new as well.
        deleted = before.get(kind, 0) + created - here
        if created or changed or deleted:
            found[kind] = {"created": created, "changed": changed, "deleted": deleted}
    return found


def revision(etcd: Client) -> int:
    """Return the revision that etcd is at: each write adds one."""
    return int(_range(etcd, _ROOT, b"", 0, count_only=True)["header"]["revision"])


def kind_of(key: bytes) -> tuple[str, bytes]:
    """Return the kind of the object with a key, as kubectl names it, and the prefix of all of that kind. Pure."""
    parts = key[len(_ROOT) :].split(b"/")
    # Endpoints have been stored below services since the beginning.
    depth = 2 if len(parts) > 2 and (b"." in parts[0] or parts[0] == b"services") else 1
    names = [part.decode("utf-8", "replace") for part in parts[:depth]]
    prefix = _ROOT + b"/".join(parts[:depth]) + b"/"
    if names[0] == "services":
        return ("services" if names[-1] == "specs" else names[-1]), prefix
    return ".".join(reversed(names)), prefix


def _kinds(etcd: Client, at: int) -> Iterator[tuple[str, bytes]]:
    """Yield each kind that has objects, with its prefix: one small question for each."""
    start = _ROOT
    while True:
        first = _range(etcd, start, _end(_ROOT), at, limit=1, keys_only=True).get("kvs")
        if not first:
            return
        kind, prefix = kind_of(base64.b64decode(first[0]["key"]))
        yield kind, prefix
        start = _end(prefix)


def _changed(etcd: Client, prefix: bytes, since: int) -> Iterator[dict[str, Any]]:
    start = prefix
    while True:
        answer = _range(etcd, start, _end(prefix), 0, limit=_PAGE, keys_only=True, min_mod_revision=str(since + 1))
        page = answer.get("kvs", [])
        yield from page
        if len(page) < _PAGE:
            return
        start = base64.b64decode(page[-1]["key"]) + b"\0"


def _end(prefix: bytes) -> bytes:
    """Return the first key behind all that begin with a prefix, which ends with a slash."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _range(etcd: Client, key: bytes, end: bytes, at: int, **more: Any) -> dict[str, Any]:
    body = {"key": base64.b64encode(key).decode(), "range_end": base64.b64encode(end).decode(), "revision": str(at), **more}
    return json.loads(etcd.request("POST", "/v3/kv/range", body))
