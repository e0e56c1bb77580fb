# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A node fetches files by HTTP or HTTPS, in parts that a killed run or a lost connection does not lose (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import ipaddress
import os
import ssl
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

from ._errors import FlotillaError, clear_os_errors
from ._files import sha256_of
from ._locks import lock
from ._site import proxy_environment
from ._state import STATE_DIR

INCOMING = STATE_DIR / "incoming"
ATTEMPTS = 5
REDIRECTS = 5
PIECE = 1 << 20
# What nobody came back for in this time, in seconds, is thrown away.
LEFT_OVER = 7 * 86400
_LATER = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Origin:
    """Where files come from.

    :param url: the folder.
    :param ca_certificates: PEM of authorities to trust besides those of the system; with ``only_ca`` instead of them.
    :param token: a bearer token, or nothing; ``username`` and ``password`` likewise.
    :param proxies: as `_site.proxy_environment` returns them.
    """

    url: str
    ca_certificates: str = ""
    only_ca: bool = False
    token: str = ""
    username: str = ""
    password: str = ""
    proxies: dict[str, Any] | None = None

    def context(self) -> ssl.SSLContext:
        """Return what checks the server's certificate; nothing turns that off."""
        context = ssl.create_default_context(cadata=self.ca_certificates) if self.only_ca else ssl.create_default_context()
        if self.ca_certificates and not self.only_ca:
            context.load_verify_locations(cadata=self.ca_certificates)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        # Python 3.13 began to refuse authorities without a key usage extension, as companies often have; neither Go nor curl does.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        return context

    def headers(self) -> dict[str, str]:
        if self.token:
            return {"Authorization": f"Bearer {self.token}"}
        return {"Authorization": _basic(self.username, self.password)} if self.username else {}


class Incoming:
    """The folder of what is on its way to this node; a finished file has its SHA-256 as name."""

    def __init__(self, folder: Path = INCOMING) -> None:
        self._folder = folder
        self.received = 0

    def fetch(self, origin: Origin, name: str, sha256: str, deadline: float, attempts: int = ATTEMPTS) -> Path | None:
        """Return where the file lies, or None when time was over; the next call goes on where this one stopped.

        :param name: path below the origin's URL.
        :param deadline: of the clock `time.monotonic`.
        :raises FlotillaError: ``BUNDLE_SOURCE_UNREACHABLE``, ``BUNDLE_SOURCE_REFUSED`` or ``BUNDLE_FILE_CORRUPT``.
        """
        target, part = self._folder / sha256, self._folder / f"{sha256}.part"
        url = f"{origin.url.rstrip('/')}/{quote(name)}"
        with ExitStack() as held:
            with clear_os_errors(self._folder, "written"):
                self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                # A killed run's task may still be at work, on the same file.
                held.enter_context(lock(self._folder.with_suffix(".lock")))
            return target if target.exists() else self._bring(origin, url, target, part, deadline, attempts)

    def _bring(self, origin: Origin, url: str, target: Path, part: Path, deadline: float, attempts: int) -> Path | None:
        sha256 = target.name
        for fresh in (False, True):
            if not self._complete(origin, url, part, deadline, attempts):
                return None
            found = sha256_of(part)
            if found == sha256:
                with clear_os_errors(target, "written"):
                    part.replace(target)
                return target
            # It may have grown from two versions of the file: once more, from nothing.
            part.unlink()
            if fresh:
                raise FlotillaError(
                    "BUNDLE_FILE_CORRUPT",
                    f"{url} has the SHA-256 {found}, the bundle's manifest says {sha256}.",
                    "Copy the bundle to the mirror again, the files first and manifest.json last; nothing was installed from it.",
                )
        return None

    def clean(self) -> None:
        """Throw away what nobody came back for."""
        if not self._folder.is_dir():
            return
        oldest = time.time() - LEFT_OVER
        for path in self._folder.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink()

    def _complete(self, origin: Origin, url: str, part: Path, deadline: float, attempts: int) -> bool:
        """Bring a part to its end; return False when time was over before."""
        for attempt in range(1, attempts + 1):
            try:
                return self._receive(origin, url, part, deadline)
            except _Again as again:
                if attempt == attempts:
                    raise FlotillaError(
                        "BUNDLE_SOURCE_UNREACHABLE",
                        f"{url} could not be fetched in {attempts} attempts: {again}.",
                        "Check from this machine that the address, the proxy and the firewall let it through, then run again.",
                        again.__cause__,
                    ) from again
                if time.monotonic() > deadline:
                    return False
                _pause(min(2 ** (attempt - 1), 8))
        return False

    def _receive(self, origin: Origin, url: str, part: Path, deadline: float) -> bool:
        offset = part.stat().st_size if part.exists() else 0
        try:
            connection, response = _get(origin, url, offset)
        except ssl.SSLCertVerificationError as error:
            raise FlotillaError(
                "BUNDLE_SOURCE_UNTRUSTED",
                f"The certificate of {url} is not to be trusted: {error.verify_message}.",
                "Name the authority's file in bundle.delivery.ca_file or site.ca_files; the certificate's name must be that of the URL.",
                error,
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise _Again(str(error) or type(error).__name__) from error
        with connection_closed(connection):
            if response.status == 416:
                # The part is as long as the file, or longer: its digest decides.
                return True
            if response.status in _LATER:
                raise _Again(f"it answered {response.status} {response.reason}")
            if response.status not in (200, 206):
                raise _refused(url, response)
            goes_on = response.status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {offset}-")
            # A server that always begins anew would never come to an end in slices.
            limit = None if offset and not goes_on else deadline
            return self._store(response, part, goes_on, limit)

    def _store(self, response: http.client.HTTPResponse, part: Path, goes_on: bool, deadline: float | None) -> bool:
        expected, received = response.headers.get("Content-Length"), 0
        with clear_os_errors(part, "written"):
            file = part.open("ab" if goes_on else "wb")
        with file:
            os.fchmod(file.fileno(), 0o600)
            while True:
                try:
                    piece = response.read(PIECE)
                except (OSError, http.client.HTTPException) as error:
                    raise _Again(f"the connection was lost after {received} bytes ({error})") from error
                if not piece:
                    break
                with clear_os_errors(part, "written"):
                    file.write(piece)
                received += len(piece)
                self.received += len(piece)
                if deadline is not None and time.monotonic() > deadline and (expected is None or received < int(expected)):
                    return False
        if expected is not None and received < int(expected):
            raise _Again(f"the connection was lost after {received} of {expected} bytes")
        return True


def _pause(seconds: float) -> None:
    time.sleep(seconds)


class _Again(Exception):
    """Something that may be over at the next attempt."""


class connection_closed:  # noqa: N801 - reads like contextlib.closing, for a connection that has no close of its own in 3.9
    def __init__(self, connection: http.client.HTTPConnection) -> None:
        self._connection = connection

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_exception: object) -> None:
        self._connection.close()


def _get(origin: Origin, url: str, offset: int) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """Send the request, to wherever the server says, and return connection and answer."""
    headers = {"User-Agent": "flotilla.kubernetes", "Accept-Encoding": "identity", **origin.headers()}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    for _hop in range(REDIRECTS + 1):
        connection, target, more = connect(origin, url)
        connection.request("GET", target, headers={**headers, **more})
        response = connection.getresponse()
        location = response.headers.get("Location")
        if response.status not in (301, 302, 303, 307, 308) or not location:
            return connection, response
        connection.close()
        there = urljoin(url, location)
        if urlsplit(there)[:2] != urlsplit(url)[:2]:
            # Our login is for the host that it was given for.
            headers.pop("Authorization", None)
        if urlsplit(url).scheme == "https" and urlsplit(there).scheme != "https":
            raise FlotillaError("BUNDLE_SOURCE_REFUSED", f"{url} sends us to {there}, which is not encrypted.", "Mend the mirror.")
        url = there
    raise FlotillaError("BUNDLE_SOURCE_REFUSED", f"{url} sends us on more than {REDIRECTS} times.", "Mend the mirror.")


def connect(origin: Origin, url: str, timeout: float = 30.0) -> tuple[http.client.HTTPConnection, str, dict[str, str]]:
    """Return a connection for a URL, the request's target and the headers that a proxy wants.

    :raises FlotillaError: a proxy is spoken to by TLS, which the standard library can not do.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    proxies = origin.proxies or {}
    proxy = "" if goes_direct(host, proxies.get("no_proxy", [])) else proxies.get(parts.scheme, "")
    if not proxy:
        if parts.scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=timeout, context=origin.context()), target, {}
        return http.client.HTTPConnection(host, port, timeout=timeout), target, {}
    through = urlsplit(proxy)
    if through.scheme != "http":
        raise FlotillaError(
            "BUNDLE_PROXY_UNSUPPORTED",
            f"The proxy {through.scheme}://{through.hostname} is spoken to by TLS, which the delivery of bundles can not do.",
            "Add the mirror's host to site.proxy.no_proxy, or give the proxy's http:// address.",
        )
    login = {"Proxy-Authorization": _basic(unquote(through.username or ""), unquote(through.password or ""))} if through.username else {}
    address = (through.hostname or "", through.port or 80)
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(*address, timeout=timeout, context=origin.context())
        connection.set_tunnel(host, port, headers=login)
        return connection, target, {}
    return http.client.HTTPConnection(*address, timeout=timeout), url, login


def goes_direct(host: str, no_proxy: Sequence[str]) -> bool:
    """Return whether ``no_proxy`` has a host: by its name, its domain, its address or its network, as Go's programs read it."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        address = None
    name = host.lower().rstrip(".")
    for entry in no_proxy:
        rule = entry.strip().lower()
        if rule == "*":
            return True
        if address is None:
            bare = rule.lstrip("*").lstrip(".")
            if bare and (name.endswith(f".{bare}") or (name == bare and not rule.startswith((".", "*")))):
                return True
            continue
        try:
            if address in ipaddress.ip_network(rule, strict=False):
                return True
        except ValueError:
            continue
    return False


def fetch_all(
    wanted: Sequence[dict[str, str]], origins: Sequence[dict[str, Any]], seconds: float, incoming: Incoming | None = None
) -> dict[str, Any]:
    """Fetch files for at most ``seconds``.

    :param wanted: ``key``, ``path`` and ``sha256`` of each.
    :param origins: fields of `Origin`, and ``keys`` (which files it has; all without it), ``by`` (``path`` or ``sha256``: their names
        there) and ``may_fail`` (another one will bring what this one does not).
    :return: ``staged`` (key -> path on this node), ``refused`` (key -> why), ``left`` (keys that time did not suffice for) and
        ``received`` (bytes).
    """
    incoming = incoming or Incoming()
    deadline = time.monotonic() + seconds
    node_proxies = proxy_environment()
    staged: dict[str, str] = {}
    refused: dict[str, str] = {}
    tried = False
    for given in origins:
        fields = {name: value for name, value in given.items() if name in Origin.__dataclass_fields__ and value is not None}
        # What comes from another node of the cluster never goes through a proxy.
        origin = Origin(**{"proxies": {} if given.get("may_fail") else node_proxies, **fields})
        for entry in wanted:
            # The first file of a call always comes some way, however slow the machine is.
            if tried and time.monotonic() > deadline:
                break
            if given.get("keys") is not None and entry["key"] not in given["keys"]:
                continue
            tried = True
            name = entry["sha256"] if given.get("by") == "sha256" else entry["path"]
            try:
                # Of another node that does not answer the rest is not asked for.
                gone = given.get("may_fail") and any(key in refused for key in given["keys"])
                path = None if gone else incoming.fetch(origin, name, entry["sha256"], deadline, 2 if given.get("may_fail") else ATTEMPTS)
            except FlotillaError as error:
                if not given.get("may_fail"):
                    raise
                refused[entry["key"]] = str(error)
                continue
            if gone:
                refused[entry["key"]] = "another file of that machine did not come either"
            if path:
                staged[entry["key"]] = str(path)
    asked = {key for given in origins for key in (given.get("keys") or [entry["key"] for entry in wanted])}
    left = [entry["key"] for entry in wanted if entry["key"] in asked and entry["key"] not in staged and entry["key"] not in refused]
    incoming.clean()
    return {"staged": staged, "refused": refused, "left": left, "received": incoming.received}


def _refused(url: str, response: http.client.HTTPResponse) -> FlotillaError:
    remedies = {
        401: "Give the mirror's login as bundle_delivery_credentials.",
        403: "Let the login of bundle_delivery_credentials read there.",
        404: "Copy the whole bundle there as it is: the URL is that of the folder with manifest.json.",
        407: "Give the proxy's login as kubernetes_node_proxy_credentials.",
    }
    return FlotillaError(
        "BUNDLE_SOURCE_REFUSED",
        f"{url} answered {response.status} {response.reason}.",
        remedies.get(response.status, "Look into the log of the mirror."),
    )


def _basic(username: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{username}:{password}".encode()).decode()


def token_digest(token: str) -> str:
    """Return what a server keeps of a token."""
    return hashlib.sha256(token.encode()).hexdigest()
