# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bundles from official release files and images, or from a mirror of them (private to flotilla.kubernetes).

What was published beside a file is what it is checked against; images are checked against the digests of their registry.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .._errors import FlotillaError
from . import contents, download, official, registry
from .contents import MANIFESTS, FileSpec, ImageSpec
from .official import Published
from .source import BUNDLE_VERSION, Context, Source, Step, controller_architecture

_T = TypeVar("_T")
_AT_ONCE = 4  # transfers
# Estimated, on the safe side: what is fetched and the bundle itself, for one architecture (0.7 GiB with the images of the test bed).
_NEEDED_MIB = 1900
# Seconds that the question may take whether there is internet.
_PROBE = 4.0


class ReleaseSource(Source):
    """Fetches official release files and images."""

    name = "release"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._client = download.Client(context.cache, self._access(), self._missing(), context.report.line)
        self._registry = registry.Registry(self._client, self._mirror_registry())
        self._files: dict[str, Path] = {}
        self._pulled: dict[tuple[str, str], registry.Pulled] = {}
        self._names: list[str] = []

    def key(self) -> str:
        release = self.context.release
        urls = sorted(official.of_all(release, self._specs()))
        parts = [BUNDLE_VERSION, self.name, release.kubernetes, release.components, self.context.architectures, urls, self._place()]
        parts += self.variant()
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]

    def check(self) -> None:
        super().check()
        controller_architecture()

    def needed_bytes(self) -> int:
        return len(self.context.architectures) * _NEEDED_MIB << 20

    def steps(self) -> list[Step]:
        return [Step("kubeadm", self._ask_kubeadm), Step("files", self._fetch_files), Step("images", self._fetch_images)]

    def images(self) -> list[ImageSpec]:
        return contents.images(
            self.context.release, self.context.architectures, self._names, [self.plugin_manifest()], self.addon_manifests()
        )

    def released_manifest(self) -> str:
        (spec,) = (spec for spec in self._specs() if spec.kind == "manifest")
        return self._files[self._url(spec)].read_text(encoding="utf-8")

    def released_addon(self, spec: FileSpec) -> str:
        return self._files[self._url(spec)].read_text(encoding="utf-8")

    def put_files(self, wanted: list[tuple[FileSpec, Path]]) -> None:
        archives: dict[str, dict[str, Path]] = {}
        for spec, target in wanted:
            if spec.kind in MANIFESTS:
                target.write_text(self.manifest(spec), encoding="utf-8")
                continue
            found = official.published(self.context.release, spec)
            if found.members:
                archives.setdefault(found.url, {})[found.members[spec.name]] = target
            else:
                # Not a link: what is in the cache must not be what somebody edits in a bundle.
                shutil.copyfile(self._files[found.url], target)
        for url, members in archives.items():
            _extract(self._files[url], url, members)

    def put_image(self, spec: ImageSpec, target: Path) -> str:
        pulled = self._pulled[spec.name, spec.architecture]
        registry.write_archive(pulled, target)
        return pulled.config_digest

    def notes(self) -> dict[str, Any]:
        return {
            "files": {url: path.name for url, path in sorted(self._files.items())},
            "digests": {f"{name} {architecture}": pulled.digest for (name, architecture), pulled in sorted(self._pulled.items())},
        }

    # What a mirror does in another way.

    def _access(self) -> download.Access:
        return download.Access()

    def _missing(self) -> str:
        return "This release of flotilla.kubernetes may name a version that was never published; please report it."

    def _place(self) -> list[str]:
        """Return what tells this source from another of its kind."""
        return []

    def _mirror_registry(self) -> str:
        return ""

    def _at(self, url: str) -> str:
        """Return where the file with this official URL is fetched from."""
        return url

    # The work.

    def _specs(self) -> list[FileSpec]:
        """Return the files that are fetched."""
        wanted = contents.files(self.context.architectures, self.context.plugin, self.context.addons)
        return [
            spec for spec in wanted if not contents.is_written(spec) and (spec.kind != "manifest" or not self.context.provided.manifest)
        ]

    def _url(self, spec: FileSpec) -> str:
        return official.published(self.context.release, spec).url

    def _ask_kubeadm(self) -> str:
        # kubeadm of another architecture could not be run here; its list of images is the same.
        spec = FileSpec("kubeadm", "kubernetes", "bin", controller_architecture())
        fetched = self._fetch_file(official.published(self.context.release, spec))
        with tempfile.TemporaryDirectory(dir=self.context.cache) as place:
            runnable = Path(place) / "kubeadm"
            shutil.copyfile(fetched, runnable)
            runnable.chmod(0o755)
            self._names = contents.kubeadm_images(runnable, self.context.release.kubernetes)
        return f"asks for {len(self._names)} images"

    def _fetch_files(self) -> str:
        wanted = official.of_all(self.context.release, self._specs())
        found = self._together(wanted.values(), self._fetch_file)
        self._files = dict(zip(wanted, found))
        return f"{len(wanted)} files"

    def _fetch_images(self) -> str:
        has = self.context.provided.images()
        specs = [spec for spec in self.images() if spec.name not in has]
        pulled = self._together(specs, lambda spec: self._registry.pull(spec.name, spec.architecture))
        self._pulled = {(spec.name, spec.architecture): image for spec, image in zip(specs, pulled)}
        return f"{len(specs)} images"

    def _fetch_file(self, wanted: Published) -> Path:
        sha256 = wanted.sha256
        if not sha256:
            url = self._at(wanted.checksums_url)
            name = urlsplit(wanted.url).path.rpartition("/")[2]
            found = download.published_sha256(self._client.small(url, {}).body.decode("ascii", "replace"), name)
            if not found:
                raise FlotillaError("BUNDLE_CHECKSUM_MISSING", f"{url} holds no SHA-256 of {name}.", self._missing())
            sha256 = found
        return self._client.fetch(self._at(wanted.url), sha256)

    def _together(self, items: Iterable[Any], do: Callable[[Any], _T]) -> list[_T]:
        """Return what `do` gives for each item, some at a time; the first error ends the rest."""
        begun = self._client.bytes
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            futures: list[Future[_T]] = [pool.submit(do, item) for item in items]
            try:
                left = set(futures)
                while left:
                    done, left = wait(left, timeout=1, return_when=FIRST_EXCEPTION)
                    for future in done:
                        future.result()
                    ready = len(futures) - len(left)
                    self.context.report.working(
                        lambda ready=ready: f"{ready} of {len(futures)}, {(self._client.bytes - begun) >> 20} MiB fetched"  # type: ignore[misc]
                    )
            except BaseException:
                self._client.stop()
                for future in futures:
                    future.cancel()
                raise
        return [future.result() for future in futures]


class MirrorSource(ReleaseSource):
    """Fetches the same files and images from the user's own servers.

    A file with the official URL ``https://host/path`` is at ``<mirror.url>/host/path``, its published checksums likewise; the image
    ``registry/path:tag`` is at ``<mirror.registry>/registry/path:tag`` (as ``skopeo sync --scoped`` writes it).
    """

    name = "mirror"

    def check(self) -> None:
        super().check()
        mirror = self.context.mirror
        missing = [name for name in ("url", "registry") if not getattr(mirror, name, None)]
        if missing:
            raise FlotillaError(
                "BUNDLE_MIRROR_MISSING",
                f"The bundle source mirror needs {' and '.join(f'bundle.mirror.{name}' for name in missing)}.",
                "Set it, or choose another bundle.source.",
            )

    def _access(self) -> download.Access:
        mirror, credentials = self.context.mirror, self.context.credentials
        if mirror is None:
            return download.Access()
        origins = frozenset(download.origin(url) for url in (mirror.url, f"https://{mirror.registry}"))
        ca_file = Path(mirror.ca_file).expanduser() if mirror.ca_file else None
        return download.Access(ca_file, origins, credentials.username, credentials.password)

    def _missing(self) -> str:
        return "Copy it to the mirror; the layout is in docs/bundles.md."

    def _place(self) -> list[str]:
        mirror = self.context.mirror
        return [mirror.url, mirror.registry] if mirror else []

    def _mirror_registry(self) -> str:
        return self.context.mirror.registry.strip("/") if self.context.mirror else ""

    def _at(self, url: str) -> str:
        return f"{self.context.mirror.url.rstrip('/')}/{url.removeprefix('https://')}"


def reachable(version: str) -> str:
    """Return why official releases can not be had, empty if they can: one small file of Kubernetes' own host."""
    return download.reachable(f"{official.KUBERNETES}/v{version}/bin/linux/amd64/kubeadm.sha256", _PROBE)


def _extract(archive: Path, url: str, members: dict[str, Path]) -> None:
    """Write members of an archive, whose SHA-256 was checked, to their targets. Only regular files, only by their exact names.

    :raises FlotillaError: ``BUNDLE_ARCHIVE_WRONG``.
    """
    left = dict(members)
    try:
        with tarfile.open(archive, "r:*") as tar:
            for member in tar:
                target = left.get(member.name.removeprefix("./")) if member.isreg() else None
                content = tar.extractfile(member) if target else None
                if target and content:
                    with content, target.open("wb") as file:
                        shutil.copyfileobj(content, file)
                    del left[member.name.removeprefix("./")]
    except (tarfile.TarError, EOFError) as error:
        raise FlotillaError("BUNDLE_ARCHIVE_WRONG", f"{url} is not an archive that can be read.", "Please report it.", error) from error
    if left:
        raise FlotillaError("BUNDLE_ARCHIVE_WRONG", f"{url} does not hold {', '.join(sorted(left))}.", "Please report it.")
