# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a site demands of a node: proxy, private certificate authorities, time and name servers (private to flotilla.kubernetes).

Each setting is a file in the folder where the system looks for it, and a command that makes the system look. A command that is due is
marked on disk before its file changes, so a killed run does not lose it. Python 3.9, standard library only.
"""

from __future__ import annotations

import hashlib
import json
import re
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ._command import run
from ._config_files import BLOCK, FILE, REPLACED, Change, ConfigFile, ConfigFiles
from ._errors import FlotillaError
from ._files import write_atomically
from ._os_families import OsFamily, os_release, require_family
from ._restart import Restart
from ._state import STATE_DIR

PROXY_ENVIRONMENT = "etc/flotilla/proxy.env"
# containerd pulls images; kubelet runs credential providers, which ask the cloud. Neither hands its environment on to containers.
PROXIED_SERVICES = ("containerd", "kubelet")
_CERTIFICATE = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)
UNIT_FOLDERS = ("etc/systemd/system", "usr/lib/systemd/system", "lib/systemd/system")
# Owed commands, in the order in which they run.
TRUST, TIME, DNS = "trust-store", "time-service", "name-service"


@dataclass(frozen=True)
class Site:
    """The settings; what is empty is left alone.

    :param proxies: ``http`` and ``https`` -> URL without credentials.
    :param no_proxy: everything that is reached directly, complete.
    :param credentials: ``username`` and ``password`` for both proxies, or nothing.
    :param certificates: name (shown in the file's name) -> PEM text.
    """

    proxies: dict[str, str] = field(default_factory=dict)
    no_proxy: Sequence[str] = ()
    credentials: dict[str, str] = field(default_factory=dict)
    certificates: dict[str, str] = field(default_factory=dict)
    ntp_servers: Sequence[str] = ()
    dns_servers: Sequence[str] = ()
    dns_search: Sequence[str] = ()

    @property
    def empty(self) -> bool:
        return not (self.proxies or self.certificates or self.ntp_servers or self.dns_servers)


class SiteSettings:
    """The settings of a site on this node."""

    def __init__(self, site: Site, root: Path = Path("/"), state_dir: Path = STATE_DIR) -> None:
        self._site = site
        self._root = root
        self._state_dir = state_dir
        self._own_time_service = state_dir / "time-service-enabled"
        self._changes: list[Change] = []
        self._files = ConfigFiles("site", [], state_dir)
        self._time_service = ""

    def changes(self) -> list[Change]:
        """Return the files that differ.

        :raises FlotillaError: the operating system is not in the table, a certificate is none, there is no time service.
        """
        memory = self._state_dir / "files-of-site.json"
        wanted: list[ConfigFile] = []
        self._family: OsFamily | None = None
        if not self._site.empty or memory.exists():
            self._family = require_family(os_release(self._root))
            wanted = list(self._wanted(self._family))
        self._files = ConfigFiles("site", wanted, self._state_dir)
        self._changes = self._files.changes()
        return self._changes

    def due(self) -> list[str]:
        """Return the commands that have to run, because of a change or because a killed run did not come to them."""
        tags = {change.tag for change in self._changes}
        return [name for name in (TRUST, TIME, DNS) if name in tags or self._debt(name).due]

    def restarts(self) -> list[str]:
        """Return the services that read what changes at their start only."""
        if "proxy" in {change.tag for change in self._changes}:
            return sorted(PROXIED_SERVICES)
        # A Go program reads the system's certificates once. kubelet trusts the cluster's own authority only and needs no restart.
        return ["containerd"] if TRUST in self.due() else []

    def apply(self) -> None:
        """Make the changes and run what is due. Services that read their settings at start only are marked for a restart by their roles.

        :raises FlotillaError: a file can not be written, or a command fails.
        """
        due = self.due()
        for name in due:
            self._debt(name).owe()
        for service in self.restarts():
            Restart(service, self._state_dir).owe()
        self._files.apply(self._changes)
        for name in due:
            {TRUST: self._renew_trust, TIME: self._restart_time, DNS: self._restart_names}[name]()
            self._debt(name).pay()

    def _debt(self, name: str) -> Restart:
        return Restart(name, self._state_dir)

    def _wanted(self, family: OsFamily) -> Iterator[ConfigFile]:
        # Before the package manager's proxy: a proxy may have a certificate of a private authority.
        yield from self._certificate_files(family)
        yield from self._proxy_files(family)
        yield from self._time_files(family)
        yield from self._dns_files()

    def _proxy_files(self, family: OsFamily) -> Iterator[ConfigFile]:
        if not self._site.proxies:
            return
        urls = {scheme: with_credentials(url, self._site.credentials) for scheme, url in sorted(self._site.proxies.items())}
        secret = bool(self._site.credentials)
        mode = 0o600 if secret else 0o644
        # Not Environment= in the unit: everybody may ask systemd for that, see systemd.exec(5).
        variables = {f"{scheme}_proxy": url for scheme, url in urls.items()}
        variables["no_proxy"] = ",".join(self._site.no_proxy)
        # Go takes both spellings, curl and Python want the small one.
        lines = "".join(f'{name.upper()}="{value}"\n{name}="{value}"\n' for name, value in variables.items())
        yield ConfigFile(self._root / PROXY_ENVIRONMENT, lines, mode, secret=secret, tag="proxy")
        for service in PROXIED_SERVICES:
            yield ConfigFile(
                self._root / f"etc/systemd/system/{service}.service.d/90-flotilla-proxy.conf",
                f"# Written by the Ansible role flotilla.kubernetes.kubernetes_node.\n[Service]\nEnvironmentFile=/{PROXY_ENVIRONMENT}\n",
                tag="proxy",
            )
        path = self._root / family.proxy_file.lstrip("/")
        if family.proxy_kind == "apt":
            yield ConfigFile(path, _apt(urls, self._site.no_proxy), mode, secret=secret)
        else:
            yield ConfigFile(path, _dnf(self._site), mode, BLOCK, secret)

    def _certificate_files(self, family: OsFamily) -> Iterator[ConfigFile]:
        seen = set()
        for name, text in sorted(self._site.certificates.items()):
            for pem in certificates_of(name, text):
                # The trust stores take one certificate per file; the digest tells those of one bundle, and of equal names, apart.
                digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()[:16]
                if digest not in seen:
                    seen.add(digest)
                    stem = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(name).stem).strip("-") or "site"
                    path = self._root / family.ca_folder.lstrip("/") / f"flotilla-{stem}-{digest}{family.ca_suffix}"
                    yield ConfigFile(path, f"{pem}\n", tag=TRUST)

    def _time_files(self, family: OsFamily) -> Iterator[ConfigFile]:
        if not self._site.ntp_servers:
            return
        self._time_service = self._find_time_service(family)
        if self._time_service.startswith("systemd-timesyncd"):
            text = f"# Written by the Ansible role flotilla.kubernetes.kubernetes_node.\n[Time]\nNTP={' '.join(self._site.ntp_servers)}\n"
            yield ConfigFile(self._root / "etc/systemd/timesyncd.conf.d/90-flotilla.conf", text, tag=TIME)
        else:
            text = "".join(f"server {server} iburst prefer\n" for server in self._site.ntp_servers)
            path = self._root / family.chrony_file.lstrip("/")
            yield ConfigFile(path, text, kind=BLOCK if family.chrony_block else FILE, tag=TIME)

    def _dns_files(self) -> Iterator[ConfigFile]:
        servers, search = self._site.dns_servers, self._site.dns_search
        if not servers:
            return
        head = "# Written by the Ansible role flotilla.kubernetes.kubernetes_node.\n"
        if (self._root / "run/systemd/resolve/stub-resolv.conf").exists():
            # "~." sends every name to these servers and none to those that a link learned, see resolved.conf(5).
            text = f"{head}[Resolve]\nDNS={' '.join(servers)}\nDomains={' '.join([*search, '~.'])}\n"
            yield ConfigFile(self._root / "etc/systemd/resolved.conf.d/90-flotilla.conf", text, tag=DNS)
        elif (self._root / "run/NetworkManager").exists():
            searches = f"searches={','.join(search)}\n" if search else ""
            text = f"{head}[global-dns]\n{searches}\n[global-dns-domain-*]\nservers={','.join(servers)}\n"
            yield ConfigFile(self._root / "etc/NetworkManager/conf.d/90-flotilla-dns.conf", text, tag=DNS)
        else:
            lines = [f"nameserver {server}" for server in servers]
            if search:
                lines.append(f"search {' '.join(search)}")
            yield ConfigFile(self._root / "etc/resolv.conf", head + "\n".join(lines) + "\n", kind=REPLACED)

    def _find_time_service(self, family: OsFamily) -> str:
        names = ("chrony.service", "chronyd.service", "systemd-timesyncd.service")
        there = [name for name in names if self._unit_exists(name)]
        for name in there:
            if _systemctl("is-enabled", name) in ("enabled", "enabled-runtime", "alias"):
                return name
        if not there:
            raise FlotillaError(
                "TIME_SERVICE_MISSING",
                "The site has ntp_servers, but this machine has neither chrony nor systemd-timesyncd.",
                f"Install the package {family.time_package}, or leave ntp_servers out.",
            )
        return there[0]

    def _unit_exists(self, name: str) -> bool:
        return any((self._root / folder / name).is_file() for folder in UNIT_FOLDERS)

    def _renew_trust(self) -> None:
        family = self._family or require_family(os_release(self._root))
        links = (self._root / "etc/ssl/certs").glob("flotilla-*")
        gone = any(link.is_symlink() and not link.exists() for link in links)
        command = family.ca_command_after_removal if gone else family.ca_command
        remedy = f"Run '{' '.join(command)}' on the machine and mend what it says."
        run(command, timeout=300, code="TRUST_STORE_NOT_RENEWED", remedy=remedy)

    def _restart_time(self) -> None:
        remedy = "Read 'journalctl -u chrony -u chronyd -u systemd-timesyncd' on the machine."
        if self._site.ntp_servers:
            if _systemctl("is-enabled", self._time_service) == "disabled":
                # It was off before: off it will be again when the setting goes.
                write_atomically(self._own_time_service, json.dumps(self._time_service).encode(), 0o600)
                run(["systemctl", "enable", self._time_service], code="TIME_SERVICE_FAILED", remedy=remedy)
            run(["systemctl", "restart", self._time_service], code="TIME_SERVICE_FAILED", remedy=remedy)
        elif self._own_time_service.exists():
            name = json.loads(self._own_time_service.read_text(encoding="utf-8"))
            run(["systemctl", "disable", "--now", name], code="TIME_SERVICE_FAILED", remedy=remedy)
            self._own_time_service.unlink()
        else:
            for name in ("chrony.service", "chronyd.service", "systemd-timesyncd.service"):
                if self._unit_exists(name):
                    run(["systemctl", "try-restart", name], code="TIME_SERVICE_FAILED", remedy=remedy)

    def _restart_names(self) -> None:
        name = "systemd-resolved" if (self._root / "run/systemd/resolve/stub-resolv.conf").exists() else "NetworkManager"
        action = "restart" if name == "systemd-resolved" else "reload"
        run(["systemctl", action, name], code="NAME_SERVICE_FAILED", remedy=f"Read 'journalctl -u {name}' on the machine.")


def with_credentials(url: str, credentials: dict[str, str]) -> str:
    """Return a proxy's URL with user name and password, escaped as RFC 3986 wants it."""
    if not credentials:
        return url
    scheme, _separator, rest = url.partition("://")
    user, password = (quote(credentials[key], safe="") for key in ("username", "password"))
    return f"{scheme}://{user}:{password}@{rest}"


def certificates_of(name: str, text: str) -> list[str]:
    """Return the certificates of a PEM text.

    :raises FlotillaError: ``CERTIFICATE_INVALID``.
    """
    found = _CERTIFICATE.findall(text)
    try:
        for pem in found:
            ssl.create_default_context(cadata=pem)
    except (ssl.SSLError, ValueError) as error:
        found, cause = [], error
    else:
        cause = None
    if not found:
        raise FlotillaError(
            "CERTIFICATE_INVALID", f"{name} holds no certificate that can be read.", "Give a file with certificates in PEM format.", cause
        )
    return found


def _apt(urls: dict[str, str], no_proxy: Sequence[str]) -> str:
    """Return the proxies for apt, see apt-transport-http(1) and -https(1); it knows hosts, but neither domains nor networks."""
    lines = ["// Written by the Ansible role flotilla.kubernetes.kubernetes_node."]
    # For https apt takes the proxy of http unless told otherwise.
    proxies = {**({"https": "DIRECT"} if "http" in urls else {}), **urls}
    for scheme, url in sorted(proxies.items()):
        lines.append(f'Acquire::{scheme}::Proxy "{url}";')
        lines += [f'Acquire::{scheme}::Proxy::{host} "DIRECT";' for host in no_proxy if re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9.]*", host)]
    return "\n".join(lines) + "\n"


def _dnf(site: Site) -> str:
    """Return the lines for dnf's [main], see dnf.conf(5); it has one proxy for both schemes."""
    url = site.proxies.get("https") or site.proxies.get("http", "")
    lines = [f"proxy={url}"]
    if site.credentials:
        lines += [f"proxy_username={site.credentials['username']}", f"proxy_password={site.credentials['password']}"]
    return "\n".join(lines) + "\n"


def _systemctl(*arguments: str) -> str:
    """Return what systemctl says, also when it means no."""
    try:
        return run(["systemctl", *arguments]).strip()
    except FlotillaError as error:
        return str(error.details.get("stdout", "")).strip()


def proxy_environment(root: Path = Path("/")) -> dict[str, Any]:
    """Return the node's own proxies as ``{"http": url, "https": url, "no_proxy": [...]}``; empty without a proxy."""
    try:
        lines = (root / PROXY_ENVIRONMENT).read_text(encoding="utf-8").splitlines()
    except OSError:
        return {}
    values = {name: value.strip('"') for name, _equals, value in (line.partition("=") for line in lines)}
    found: dict[str, Any] = {scheme: values[f"{scheme}_proxy"] for scheme in ("http", "https") if f"{scheme}_proxy" in values}
    return {**found, "no_proxy": values.get("no_proxy", "").split(",")} if found else {}


def host_of(url: str) -> str:
    """Return the host of a URL without its port."""
    return urlsplit(url).hostname or ""
