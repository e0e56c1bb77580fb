# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Images from a registry over the OCI distribution protocol (private to flotilla.kubernetes).

https://github.com/opencontainers/distribution-spec/blob/main/spec.md, with the tokens of
https://distribution.github.io/distribution/spec/auth/token/. Whatever a digest names is checked against it. An image is written as an OCI
layout in a tar file, byte for byte as the registry has it, so that its digest on nodes is that of the registry.
"""

from __future__ import annotations

import io
import json
import re
import tarfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from .._errors import FlotillaError
from .download import Answer, Client, sha256_text

_INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
_ACCEPT = {"Accept": ", ".join(_INDEXES + _MANIFESTS)}
# The registry behind a name that is no server's.
_SERVERS = {"docker.io": "registry-1.docker.io"}


@dataclass(frozen=True)
class Pulled:
    """An image of one architecture whose parts are all in the cache.

    :param digest: of the manifest, as the registry has it.
    :param media_type: of the manifest.
    :param blobs: digest -> file, the manifest included.
    """

    name: str
    architecture: str
    digest: str
    media_type: str
    config_digest: str
    blobs: dict[str, Path]


class Registry:
    """Reads images; may be used by several threads.

    :param client: fetches.
    :param mirror: ``host[:port][/path]`` that holds all images below the names of their registries; empty for these themselves.
    """

    def __init__(self, client: Client, mirror: str = "") -> None:
        self._client, self._mirror = client, mirror
        self._tokens: dict[str, str] = {}
        self._guard = threading.Lock()

    def pull(self, name: str, architecture: str) -> Pulled:
        """Fetch an image (``registry/path:tag``) for one architecture.

        :raises FlotillaError: ``BUNDLE_ARCHITECTURE_MISSING``, ``BUNDLE_REGISTRY_WRONG``, or what `Client.fetch` raises.
        """
        repository, _colon, tag = name.rpartition(":")
        base = self._base(repository)
        top = self._small(base, f"manifests/{tag}")
        content, kind = self._parsed(top.body, top.headers.get("Content-Type", ""), name)
        digest = f"sha256:{sha256_text(top.body)}"
        promised = top.headers.get("Docker-Content-Digest", "")
        if promised.startswith("sha256:") and promised != digest:
            raise _wrong(name, f"its manifest has the digest {digest}, the registry promised {promised}")
        if kind in _INDEXES:
            digest = self._of_platform(content, name, architecture)
        manifest_file = self._fetch(base, f"manifests/{digest}", digest)
        content, kind = self._parsed(manifest_file.read_bytes(), "", name)
        if kind not in _MANIFESTS:
            raise _wrong(name, f"its manifest has the media type {kind or 'none'}")
        blobs = {digest: manifest_file}
        config = _digest(content.get("config"), name)
        for part in [config, *(_digest(layer, name) for layer in content.get("layers", []))]:
            blobs[part] = self._fetch(base, f"blobs/{part}", part)
        found = json.loads(blobs[config].read_bytes())
        if (found.get("os"), found.get("architecture")) != ("linux", architecture):
            raise FlotillaError(
                "BUNDLE_ARCHITECTURE_MISSING",
                f"The image {name} is for {found.get('os')}/{found.get('architecture')}, not for linux/{architecture}.",
                "Copy the image with all its architectures (skopeo copy --all), or leave the architecture out of bundle.architectures.",
            )
        return Pulled(name, architecture, digest, kind, config, blobs)

    def _base(self, repository: str) -> str:
        if self._mirror:
            host, _slash, path = self._mirror.partition("/")
            return f"https://{host}/v2/{path.strip('/') + '/' if path else ''}{repository}"
        host, _slash, path = repository.partition("/")
        return f"https://{_SERVERS.get(host, host)}/v2/{path}"

    def _small(self, base: str, path: str) -> Answer:
        url = f"{base}/{path}"
        answer = self._client.small(url, _ACCEPT, self._authorization(base), accept=(401,))
        if answer.status == 401:
            self._sign_in(base, answer)
            answer = self._client.small(url, _ACCEPT, self._authorization(base))
        return answer

    def _fetch(self, base: str, path: str, digest: str) -> Path:
        """Return the file of a digest; the registry has been asked for something of the repository before, so the token is there."""
        url = f"{base}/{path}"
        sha256 = digest.removeprefix("sha256:")
        headers = _ACCEPT if path.startswith("manifests/") else {}
        try:
            return self._client.fetch(url, sha256, lambda: self._authorization(base), headers)
        except FlotillaError as error:
            if error.code != "BUNDLE_CREDENTIALS_REFUSED" or base not in self._tokens:
                raise
        # Tokens live for some minutes only, large images may take longer.
        self._sign_in(base, self._client.small(url, headers, "", accept=(401,)))
        return self._client.fetch(url, sha256, lambda: self._authorization(base), headers)

    def _authorization(self, base: str) -> str:
        with self._guard:
            return self._tokens.get(base, "")

    def _sign_in(self, base: str, refused: Answer) -> None:
        """Get what the registry asks for in its 401: a token from its token service, or else the credentials themselves."""
        challenge = refused.headers.get("WWW-Authenticate", "")
        scheme, _space, rest = challenge.partition(" ")
        value = self._client.basic(base)
        if scheme.lower() == "bearer":
            fields = dict(re.findall(r'(\w+)="([^"]*)"', rest))
            realm = fields.get("realm", "")
            if urlsplit(realm).scheme != "https":
                raise _wrong(base, f"its token service {realm or 'is not named'}, which is not https")
            query = {name: fields[name] for name in ("service", "scope") if fields.get(name)}
            answer = self._client.small(f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}", {}, value)
            try:
                data = json.loads(answer.body)
                value = f"Bearer {data.get('token') or data['access_token']}"
            except (ValueError, KeyError, AttributeError) as error:
                raise _wrong(base, "its token service gives no token") from error
        with self._guard:
            self._tokens[base] = value

    def _parsed(self, body: bytes, content_type: str, name: str) -> tuple[dict[str, Any], str]:
        try:
            content = json.loads(body)
            kind = content.get("mediaType") or content_type.partition(";")[0]
        except (ValueError, AttributeError) as error:
            raise _wrong(name, "its manifest is not JSON") from error
        if not kind:
            kind = _INDEXES[0] if "manifests" in content else _MANIFESTS[0]
        return content, kind

    def _of_platform(self, index: dict[str, Any], name: str, architecture: str) -> str:
        entries = [entry for entry in index.get("manifests", []) if isinstance(entry, dict)]
        has = []
        for entry in entries:
            platform = entry.get("platform") or {}
            if platform.get("os") == "linux":
                has.append(str(platform.get("architecture")))
                if platform.get("architecture") == architecture:
                    return _digest(entry, name)
        raise FlotillaError(
            "BUNDLE_ARCHITECTURE_MISSING",
            f"The image {name} has no variant for linux/{architecture} (it has {', '.join(sorted(set(has))) or 'none for linux'}).",
            "Copy the image with all its architectures (skopeo copy --all), or leave the architecture out of bundle.architectures.",
        )


def write_archive(image: Pulled, target: Path) -> None:
    """Write an image as a tar file with an OCI layout, which `ctr images import` names as it was pulled.

    https://github.com/opencontainers/image-spec/blob/main/image-layout.md. As `docker save` does, a docker-archive's index lies beside it,
    for the tools that read only that.
    """
    annotations = {"io.containerd.image.name": image.name, "org.opencontainers.image.ref.name": image.name.rpartition(":")[2]}
    descriptor = {
        "mediaType": image.media_type,
        "digest": image.digest,
        "size": image.blobs[image.digest].stat().st_size,
        "annotations": annotations,
        "platform": {"os": "linux", "architecture": image.architecture},
    }
    index = {"schemaVersion": 2, "mediaType": _INDEXES[0], "manifests": [descriptor]}
    layers = [_blob(layer["digest"]) for layer in json.loads(image.blobs[image.digest].read_bytes())["layers"]]
    docker = [{"Config": _blob(image.config_digest), "RepoTags": [image.name], "Layers": layers}]
    with tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as archive:
        for path, data in (("oci-layout", {"imageLayoutVersion": "1.0.0"}), ("index.json", index), ("manifest.json", docker)):
            text = json.dumps(data, sort_keys=True).encode()
            archive.addfile(_header(path, len(text)), io.BytesIO(text))
        for digest in sorted(image.blobs):
            with image.blobs[digest].open("rb") as file:
                archive.addfile(_header(_blob(digest), image.blobs[digest].stat().st_size), file)


def _blob(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _header(path: str, size: int) -> tarfile.TarInfo:
    header = tarfile.TarInfo(path)  # owner 0:0 and time 0, so that the same image gives the same bytes
    header.size = size
    return header


def _digest(descriptor: Any, name: str) -> str:
    digest = descriptor.get("digest") if isinstance(descriptor, dict) else None
    if not isinstance(digest, str) or not re.fullmatch("sha256:[0-9a-f]{64}", digest):
        raise _wrong(name, f"its manifest names a part by {digest!r}, which is no SHA-256")
    return digest


def _wrong(what: str, why: str) -> FlotillaError:
    return FlotillaError(
        "BUNDLE_REGISTRY_WRONG",
        f"The registry's answer for {what} can not be used: {why}.",
        "Look at what the registry has there.",
    )
