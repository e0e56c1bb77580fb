# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Container images without a registry or a builder (private to flotilla.kubernetes).

An image is written as a docker-archive (`docker save`, https://github.com/moby/docker-image-spec) with one layer and no base.
Nothing of the machine or the moment goes in (no clock, owner or directory order): the same inputs give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
import posixpath
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

# The first moment of 1970 is taken for "unknown" by image tools; this is what reproducible images use instead.
_CREATED = "1970-01-01T00:00:01Z"
_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Entry:
    """One path of an image: a file from `source`, a file with `data`, a symbolic `link` to another path, or else a directory."""

    path: str
    source: Path | None = None
    data: bytes | None = None
    link: str | None = None
    mode: int = 0o755


@dataclass(frozen=True)
class Image:
    """An image: its name with tag, its files and what runs in it.

    :param user: ``uid`` or ``uid:gid``; empty is root.
    """

    name: str
    entries: tuple[Entry, ...]
    architecture: str = "amd64"
    entrypoint: tuple[str, ...] = ()
    user: str = ""
    environment: tuple[str, ...] = field(default=(_PATH,))


def write(image: Image, target: Path) -> str:
    """Write `image` to the file `target` and return the digest of its configuration (the image's id), ``sha256:...``.

    :raises ValueError: two different entries for one path.
    :raises OSError: a source can not be read or the target not be written.
    """
    with tempfile.TemporaryFile(dir=target.parent) as layer:
        diff_id = _write_layer(image.entries, layer)
        config = _json(
            {
                "architecture": image.architecture,
                "os": "linux",
                "created": _CREATED,
                "config": {
                    "Env": list(image.environment),
                    "WorkingDir": "/",
                    **({"Entrypoint": list(image.entrypoint)} if image.entrypoint else {}),
                    **({"User": image.user} if image.user else {}),
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
                "history": [{"created": _CREATED}],
            }
        )
        config_id = hashlib.sha256(config).hexdigest()
        layer_path = f"{diff_id}/layer.tar"
        index = _json([{"Config": f"{config_id}.json", "RepoTags": [image.name], "Layers": [layer_path]}])
        with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
            for path, data in ((f"{config_id}.json", config), ("manifest.json", index)):
                archive.addfile(_header(path, 0o644, len(data)), io.BytesIO(data))
            size = layer.seek(0, io.SEEK_END)
            layer.seek(0)
            archive.addfile(_header(layer_path, 0o644, size), layer)
    return f"sha256:{config_id}"


def _write_layer(entries: Iterable[Entry], layer: IO[bytes]) -> str:
    """Write the layer and return its digest (which is also its diff id, as it is not compressed)."""
    by_path: dict[str, Entry] = {}
    for entry in entries:
        path = posixpath.normpath(entry.path).strip("/")
        if by_path.setdefault(path, entry) != entry:
            raise ValueError(f"two different entries for {path} in one image")
    for path in list(by_path):
        while path := posixpath.dirname(path):
            by_path.setdefault(path, Entry(path))
    with tarfile.open(fileobj=layer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in sorted(by_path):
            entry = by_path[path]
            if entry.link is not None:
                header = _header(path, 0o777, 0)
                header.type, header.linkname = tarfile.SYMTYPE, entry.link
                archive.addfile(header)
            elif entry.data is not None:
                archive.addfile(_header(path, entry.mode, len(entry.data)), io.BytesIO(entry.data))
            elif entry.source is not None:
                with entry.source.open("rb") as stream:
                    archive.addfile(_header(path, entry.mode, entry.source.stat().st_size), stream)
            else:
                header = _header(path, entry.mode, 0)
                header.type = tarfile.DIRTYPE
                archive.addfile(header)
    layer.seek(0)
    digest = hashlib.sha256()
    while block := layer.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def _header(path: str, mode: int, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)  # owner 0:0 and time 0 unless set
    header.mode, header.size = mode, size
    return header


def _json(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
