# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Fetching over HTTPS into a cache by SHA-256 (private to flotilla.kubernetes).

What has arrived whole lies in ``<cache>/downloads/<sha256>`` and is never fetched again; what was cut off goes on where it stopped.
Proxies are those of the environment (``HTTPS_PROXY``, ``NO_PROXY``). Credentials go to their own server only, never along a redirect.
"""

from __future__ import annotations

import base64
import errno
import hashlib
import http.client
import random
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from .._errors import FlotillaError
from .._files import sha256_of
from .._locks import lock

_T = TypeVar("_T")
# Tries of one file without a new byte in between, and the longest pause between two of them, in seconds.
_TRIES, _LONGEST_PAUSE = 5, 30.0
# Seconds until a connection counts as refused, and without a byte until it counts as broken.
_TIMEOUT = 60.0
_BLOCK = 1 << 18
# Checksums, tokens and lists of images; anything larger is not what it should be.
_SMALL = 8 << 20
_PASSING = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True)
class Access:
    """What a user's own servers need.

    :param ca_file: certificates to trust next to the system's.
    :param origins: ``https://host[:port]`` of the servers that get the credentials.
    """

    ca_file: Path | None = None
    origins: frozenset[str] = frozenset()
    username: str = ""
    password: str = field(default="", repr=False)

    def basic(self, url: str) -> str:
        """Return the Authorization header for `url`, empty if it gets none."""
        if not self.username or origin(url) not in self.origins:
            return ""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


@dataclass(frozen=True)
class Answer:
    """A small answer."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes


def origin(url: str) -> str:
    """Return scheme, host and port, the port only if it is not the usual one."""
    parts = urlsplit(url)
    usual = {"https": 443, "http": 80}.get(parts.scheme)
    port = "" if parts.port in (None, usual) else f":{parts.port}"
    return f"{parts.scheme}://{(parts.hostname or '').lower()}{port}"


class Client:
    """Fetches files; may be used by several threads.

    :param missing: what to do about a file that a server does not have, for the error message.
    :param tell: takes a line for people, such as that a server is asked again.
    """

    def __init__(self, cache: Path, access: Access, missing: str, tell: Callable[[str], None] = lambda text: None) -> None:
        self._place, self._access, self._missing, self._tell = cache / "downloads", access, missing, tell
        context = ssl.create_default_context()
        if access.ca_file:
            try:
                context.load_verify_locations(access.ca_file)
            except (OSError, ssl.SSLError) as error:
                raise FlotillaError(
                    "BUNDLE_CA_FILE_INVALID",
                    f"The CA certificates in {access.ca_file} can not be read.",
                    "Set bundle.mirror.ca_file to a file with certificates in PEM form.",
                    error,
                ) from error
        self._opener = urllib.request.build_opener(urllib.request.HTTPSHandler(context=context), _Redirects())
        self._stop = threading.Event()
        self.bytes = 0

    def stop(self) -> None:
        """Let the transfers of all threads end soon."""
        self._stop.set()

    def basic(self, url: str) -> str:
        """Return the Authorization header with the user's credentials for `url`, empty if it gets none."""
        return self._access.basic(url)

    def small(
        self, url: str, headers: dict[str, str] | None = None, authorization: str | None = None, accept: tuple[int, ...] = ()
    ) -> Answer:
        """Return a small answer.

        :param authorization: the Authorization header; None for the user's credentials where they belong.
        :param accept: further statuses that are an answer and not an error.
        :raises FlotillaError: see `fetch`.
        """

        def once() -> Answer:
            with self._open(url, headers, authorization, accept) as response:
                body = response.read(_SMALL + 1)
                if len(body) > _SMALL:
                    raise FlotillaError(
                        "BUNDLE_DOWNLOAD_FAILED", f"{url} gives more than {_SMALL >> 20} MiB, which can not be right.", self._missing
                    )
                length = response.headers.get("Content-Length")
                if length is not None and len(body) < int(length):
                    raise http.client.IncompleteRead(body, int(length) - len(body))
                return Answer(response.status, response.headers, body)

        return self._patiently(url, once, lambda: 0)

    def fetch(self, url: str, sha256: str, authorization: Callable[[], str] | None = None, headers: dict[str, str] | None = None) -> Path:
        """Return the path of a file with this SHA-256, fetched from `url` if it is not in the cache.

        :param authorization: gives the Authorization header; None for the user's credentials where they belong.
        :raises FlotillaError: ``BUNDLE_CHECKSUM_WRONG``, ``BUNDLE_NOT_FOUND``, ``BUNDLE_CREDENTIALS_REFUSED``, ``BUNDLE_TLS_FAILED``,
            ``BUNDLE_DISK_SPACE`` or ``BUNDLE_DOWNLOAD_FAILED``.
        """
        target = self._place / sha256
        part = target.with_name(f"{sha256}.part")
        with lock(self._place / "locks" / sha256):
            if target.exists():
                if sha256_of(target) == sha256:
                    return target
                target.unlink()  # the disk spoiled it
            resumed = part.exists()
            found = self._whole(url, part, authorization, headers or {})
            if found != sha256 and resumed:
                # Half of it was from another time; once more from the beginning.
                part.unlink()
                found = self._whole(url, part, authorization, headers or {})
            if found != sha256:
                part.unlink()
                raise FlotillaError(
                    "BUNDLE_CHECKSUM_WRONG",
                    f"{url} has the SHA-256 {found}, but {sha256} was published for it.",
                    "Do not use that file. Find out who changed it, or copy it to the mirror again.",
                )
            part.replace(target)
        return target

    def _whole(self, url: str, part: Path, authorization: Callable[[], str] | None, headers: dict[str, str]) -> str:
        """Fetch what `part` lacks of `url` and return the SHA-256 of the whole."""

        def size() -> int:
            return part.stat().st_size if part.exists() else 0

        try:
            self._patiently(url, lambda: self._append(url, part, size(), authorization() if authorization else None, headers), size)
            return sha256_of(part)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise FlotillaError(
                    "BUNDLE_DISK_SPACE",
                    f"The disk of {part.parent} is full.",
                    "Free some space, or set FLOTILLA_CACHE to a directory on a larger disk; what has arrived is kept.",
                    error,
                ) from error
            raise

    def _append(self, url: str, part: Path, have: int, authorization: str | None, headers: dict[str, str]) -> None:
        headers = {**headers, "Range": f"bytes={have}-"} if have else headers
        with self._open(url, headers, authorization, (416,) if have else ()) as response:
            if response.status == 416:
                return  # it was whole already
            follows = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {have}-")
            length = response.headers.get("Content-Length")
            got = 0
            with part.open("ab" if follows else "wb") as file:
                while block := response.read(_BLOCK):
                    if self._stop.is_set():
                        raise FlotillaError("BUNDLE_DOWNLOAD_STOPPED", f"{url} was not fetched to its end.")
                    file.write(block)
                    got += len(block)
                    self.bytes += len(block)
            # http.client takes a connection that ends early for the end of the answer.
            if length is not None and got < int(length):
                raise http.client.IncompleteRead(b"", int(length) - got)

    def _open(self, url: str, headers: dict[str, str], authorization: str | None, accept: tuple[int, ...] = ()) -> Any:
        request = urllib.request.Request(url, headers={"User-Agent": "flotilla.kubernetes", **headers})
        value = self._access.basic(url) if authorization is None else authorization
        if value:
            request.add_unredirected_header("Authorization", value)
        try:
            return self._opener.open(request, timeout=_TIMEOUT)
        except urllib.error.HTTPError as error:
            if error.code in accept:
                return error
            raise

    def _patiently(self, url: str, once: Callable[[], _T], progress: Callable[[], int]) -> _T:
        """Return what `once` returns, trying again after what may pass; new bytes (`progress`) renew the patience."""
        tried, had = 0, progress()
        while True:
            try:
                return once()
            except FlotillaError:
                raise
            except (OSError, http.client.HTTPException) as error:
                if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise
                has = progress()
                tried, had = (1, has) if has > had else (tried + 1, had)
                wrong = self._explained(url, error, tried)
                if wrong:
                    raise wrong from error
                pause = _pause(error, tried)
                self._tell(f"{origin(url)}: {_reason(error)}, once more in {pause:.0f} s")
                if self._stop.wait(pause):
                    raise FlotillaError("BUNDLE_DOWNLOAD_STOPPED", f"{url} was not fetched to its end.") from error

    def _explained(self, url: str, error: Exception, tried: int) -> FlotillaError | None:
        """Return the error for people, or None if it may pass."""
        reason = _reason(error)
        status = error.code if isinstance(error, urllib.error.HTTPError) else 0
        if status in (404, 410):
            return FlotillaError("BUNDLE_NOT_FOUND", f"{url} does not exist ({reason}).", self._missing)
        if status in (401, 403):
            given = "refuses the given credentials" if self._access.basic(url) else "asks for credentials"
            return FlotillaError(
                "BUNDLE_CREDENTIALS_REFUSED",
                f"{origin(url)} {given} for {urlsplit(url).path} ({reason}).",
                "Set bundle_credentials (username and password, from a vault) to those of the mirror.",
            )
        if status == 407 or "407" in reason:
            return FlotillaError(
                "BUNDLE_PROXY_REFUSED",
                f"The HTTP proxy refuses to fetch {url} ({reason}).",
                "Correct HTTPS_PROXY in the environment, or name the host in NO_PROXY.",
            )
        cause = getattr(error, "reason", error)
        if isinstance(cause, ssl.SSLCertVerificationError):
            return FlotillaError(
                "BUNDLE_TLS_FAILED",
                f"The certificate of {origin(url)} can not be trusted: {cause.verify_message}.",
                "Set bundle.mirror.ca_file to the CA that signed it, or correct the name or the time.",
            )
        if status and status not in _PASSING:
            return FlotillaError("BUNDLE_DOWNLOAD_FAILED", f"{url} can not be fetched ({reason}).", self._missing)
        if tried >= _TRIES:
            return FlotillaError(
                "BUNDLE_DOWNLOAD_FAILED",
                f"{url} could not be fetched in {tried} tries ({reason}).",
                "Check the network and HTTPS_PROXY, then run again: it goes on where it stopped.",
            )
        return None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects; the Authorization header stays with the server that it is for, and nothing falls back to plain HTTP."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(origin(newurl), code, "is a redirect to plain HTTP", headers, fp)
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        secret = req.unredirected_hdrs.get("Authorization")
        if following is not None and secret and origin(newurl) == origin(req.full_url):
            following.add_unredirected_header("Authorization", secret)
        return following


def _reason(error: Exception) -> str:
    """Return a short reason without URLs, which may hold secrets of a redirect or a proxy."""
    if isinstance(error, urllib.error.HTTPError):
        return f"HTTP {error.code}"
    cause = getattr(error, "reason", error)
    if isinstance(cause, (socket.timeout, TimeoutError)):
        return "no answer in time"
    if isinstance(cause, http.client.IncompleteRead):
        return "the connection ended too early"
    return str(getattr(cause, "strerror", None) or cause) or type(cause).__name__


def _pause(error: Exception, tried: int) -> float:
    wanted = error.headers.get("Retry-After", "") if isinstance(error, urllib.error.HTTPError) else ""
    if wanted.isdigit():
        return min(float(wanted), _LONGEST_PAUSE)
    return min(2.0 ** (tried - 1), _LONGEST_PAUSE) * (0.5 + random.random() / 2)


def published_sha256(text: str, name: str) -> str | None:
    """Return the SHA-256 of the file `name` in published checksums, or the only one there is; None if there is none."""
    lines = [line.split() for line in text.splitlines() if line.split()]
    for words in lines:
        if len(words) > 1 and words[-1].lstrip("*").rpartition("/")[2] == name:
            return _hexadecimal(words[0])
    if len(lines) == 1 and len(lines[0]) == 1:
        return _hexadecimal(lines[0][0])
    return None


def _hexadecimal(word: str) -> str | None:
    return word.lower() if len(word) == 64 and all(letter in "0123456789abcdef" for letter in word.lower()) else None


def sha256_text(data: bytes) -> str:
    """Return the SHA-256 of `data`, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def reachable(url: str, seconds: float) -> str:
    """Return why `url` can not be had within some seconds, empty if it can."""
    try:
        with urllib.request.build_opener(_Redirects()).open(url, timeout=seconds) as response:
            response.read(1024)
    except (OSError, http.client.HTTPException) as error:
        return _reason(error)
    return ""
