# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user gives a bundle of a network plugin: its manifest, and images in archives (private to flotilla.kubernetes).

Archives are as ``docker save``, ``podman save`` and ``skopeo copy ... docker-archive:`` write them.
https://github.com/moby/docker-image-spec
"""

from __future__ import annotations

import copy
import hashlib
import io
import json
import re
import tarfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from .._errors import FlotillaError
from .._files import sha256_of
from .contents import IMAGE_LINE, ImageSpec, image_names

_INDEX = "manifest.json"


@dataclass(frozen=True)
class Saved:
    """One image in an archive: its full name with tag, and the names of its members."""

    name: str
    archive: str
    architecture: str
    config: str
    config_digest: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Provided:
    """Files on the controller.

    :param manifest: the plugin's manifest; empty: the released one.
    :param archives: archives of images.
    """

    manifest: str = ""
    archives: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.manifest or self.archives)

    def digests(self) -> list[str]:
        """Return the SHA-256 of each file.

        :raises FlotillaError: ``BUNDLE_PROVIDED_MISSING``.
        """
        return [sha256_of(_existing(name)) for name in (self.manifest, *self.archives) if name]

    def text(self) -> str:
        """Return the manifest.

        :raises FlotillaError: ``BUNDLE_PROVIDED_MISSING``.
        """
        return _existing(self.manifest).read_text(encoding="utf-8")

    def images(self) -> dict[str, Saved]:
        """Return the images in the archives, by their full names.

        :raises FlotillaError: ``BUNDLE_PROVIDED_MISSING`` or ``BUNDLE_ARCHIVE_WRONG``.
        """
        return {saved.name: saved for name in self.archives for saved in _read(str(_existing(name)))}

    def missing(self, manifest: str) -> list[str]:
        """Return the images that a manifest names and no archive has."""
        return sorted(set(image_names(manifest)) - set(self.images()))

    def named(self, manifest: str) -> str:
        """Return a manifest whose images have the names that they have in the archives.

        A manifest may name an image without registry and tag, for people to fill in: the one image whose repository begins like that
        is meant. What fits none, or several, stays.
        """
        has = self.images()

        def replaced(line: re.Match[str]) -> str:
            name = full_name(line["name"])
            if name not in has:
                begin = repository(name)
                fitting = [other for other in has if repository(other).startswith(begin)]
                name = fitting[0] if len(fitting) == 1 else line["name"]
            return f"{line['before']}{name}"

        return IMAGE_LINE.sub(replaced, manifest)

    def put(self, spec: ImageSpec, target: Path) -> str:
        """Write one image to an archive of its own and return the digest of its configuration.

        :raises FlotillaError: ``BUNDLE_ARCHITECTURE_MISSING``: it is of another architecture.
        """
        saved = self.images()[spec.name]
        if saved.architecture != spec.architecture:
            raise FlotillaError(
                "BUNDLE_ARCHITECTURE_MISSING",
                f"The image {saved.name} in {saved.archive} is for {saved.architecture}, wanted is {spec.architecture}.",
                "Save the image of that architecture, or change bundle.architectures.",
            )
        index = json.dumps([{"Config": saved.config, "RepoTags": [saved.name], "Layers": list(saved.layers)}]).encode()
        wanted = {saved.config, *saved.layers}
        with tarfile.open(saved.archive, "r:*") as source, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
            archive.addfile(_header(_INDEX, len(index)), io.BytesIO(index))
            for member in source:
                if member.name in wanted:
                    # A layer that several images share may be a link to the file of the first.
                    content = source.extractfile(copy.copy(member))
                    if content is None:
                        raise _wrong(saved.archive, f"{member.name} is no file")
                    size = content.seek(0, io.SEEK_END)
                    content.seek(0)
                    archive.addfile(_header(member.name, size), content)
                    wanted.discard(member.name)
        if wanted:
            raise _wrong(saved.archive, f"it lacks {', '.join(sorted(wanted))}")
        return saved.config_digest


def full_name(name: str) -> str:
    """Return an image's name with registry and tag, as containerd completes it.

    https://pkg.go.dev/github.com/distribution/reference#ParseNormalizedNamed
    """
    first, slash, rest = name.partition("/")
    if not slash:
        name = f"docker.io/library/{name}"
    elif not re.search(r"[.:]", first) and first != "localhost":
        name = f"docker.io/{first}/{rest}"
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def repository(name: str) -> str:
    """Return the last part of an image's name, without its tag."""
    return name.rpartition("/")[2].partition(":")[0]


def _existing(name: str) -> Path:
    path = Path(name).expanduser()
    if not path.is_file():
        raise FlotillaError(
            "BUNDLE_PROVIDED_MISSING",
            f"The file {path} of bundle.network_plugin is not on this machine.",
            "Put it there, or change bundle.network_plugin.",
        )
    return path


@lru_cache(maxsize=32)
def _read(archive: str) -> tuple[Saved, ...]:
    try:
        with tarfile.open(archive, "r:*") as tar:
            entries = json.loads(_member(tar, _INDEX))
            return tuple(_saved(tar, archive, entry, tag) for entry in entries for tag in entry["RepoTags"] or ())
    except (tarfile.TarError, EOFError, KeyError, TypeError, ValueError) as error:
        raise _wrong(archive, f"it is no archive of images ({error})") from error


def _saved(tar: tarfile.TarFile, archive: str, entry: dict[str, Any], tag: str) -> Saved:
    config = _member(tar, entry["Config"])
    digest = f"sha256:{hashlib.sha256(config).hexdigest()}"
    return Saved(full_name(tag), archive, json.loads(config)["architecture"], entry["Config"], digest, tuple(entry["Layers"]))


def _member(tar: tarfile.TarFile, name: str) -> bytes:
    content = tar.extractfile(name)
    if content is None:
        raise KeyError(name)
    with content:
        return content.read()


def _header(name: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(name)  # owner 0:0 and time 0, so that the same image gives the same bytes
    header.size = size
    return header


def _wrong(archive: str, why: str) -> FlotillaError:
    return FlotillaError(
        "BUNDLE_ARCHIVE_WRONG",
        f"{archive} of bundle.network_plugin can not be used: {why}.",
        "Write it again with 'docker save', 'podman save' or 'skopeo copy <image> docker-archive:<file>'.",
    )
