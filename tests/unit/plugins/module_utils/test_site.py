# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the settings of a site, in a folder that stands for a node's root."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _os_families, _restart, _site
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

RELEASES = {
    "debian": 'ID=debian\nVERSION_ID="13"\n',
    "ubuntu": 'ID=ubuntu\nVERSION_ID="24.04"\n',
    "rocky": 'ID="rocky"\nVERSION_ID="9.4"\n',
    "amazon": 'ID="amzn"\nVERSION_ID="2023"\n',
    "unknown": 'ID=slackware\nVERSION_ID=15\nPRETTY_NAME="Slackware 15"\n',
}
PROXY = _site.Site(proxies={"http": "http://proxy:3128", "https": "http://proxy:3128"}, no_proxy=["localhost", "10.96.0.0/12", "web"])
LOGIN = {"username": "user", "password": "p@ss/w:rd"}


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
        + ["-subj", "/CN=site", "-keyout", "/dev/null", "-out", str(path)],
        check=True,
        capture_output=True,
    )
    return path.read_text(encoding="utf-8")


class Node:
    """A root folder and the commands that were run in it."""

    def __init__(self, folder: Path, release: str = "debian") -> None:
        self.root, self.state = folder / "root", folder / "state"
        self.commands: list[tuple[str, ...]] = []
        self.answers: dict[tuple[str, ...], str] = {}
        self.write("etc/os-release", RELEASES[release])

    def write(self, path: str, text: str) -> None:
        (self.root / path).parent.mkdir(parents=True, exist_ok=True)
        (self.root / path).write_text(text, encoding="utf-8")

    def read(self, path: str) -> str:
        return (self.root / path).read_text(encoding="utf-8")

    def run(self, argv: list[str], **_options: Any) -> str:
        self.commands.append(tuple(argv))
        return self.answers.get(tuple(argv), "")

    def settings(self, site: _site.Site) -> _site.SiteSettings:
        return _site.SiteSettings(site, self.root, self.state)

    def apply(self, site: _site.Site) -> list[str]:
        """Apply, and return what was written or removed."""
        settings = self.settings(site)
        changed = [str(change.path.relative_to(self.root)) for change in settings.changes()]
        settings.apply()
        return changed

    def owed(self, service: str) -> bool:
        return _restart.Restart(service, self.state).due


@pytest.fixture
def node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Node]:
    def make(release: str = "debian") -> Node:
        made = Node(tmp_path, release)
        monkeypatch.setattr(_site, "run", made.run)
        return made

    return make


def test_a_proxy_with_a_password_is_in_files_that_only_root_may_read(node: Callable[..., Node]) -> None:
    debian = node()
    site = _site.Site(proxies=PROXY.proxies, no_proxy=PROXY.no_proxy, credentials=LOGIN)
    assert debian.apply(site) == [
        "etc/flotilla/proxy.env",
        "etc/systemd/system/containerd.service.d/90-flotilla-proxy.conf",
        "etc/systemd/system/kubelet.service.d/90-flotilla-proxy.conf",
        "etc/apt/apt.conf.d/90flotilla-proxy",
    ]
    for path in ("etc/flotilla/proxy.env", "etc/apt/apt.conf.d/90flotilla-proxy"):
        assert "user:p%40ss%2Fw%3Ard@proxy" in debian.read(path)
        assert (debian.root / path).stat().st_mode & 0o777 == 0o600
    assert "p%40ss" not in debian.read("etc/systemd/system/containerd.service.d/90-flotilla-proxy.conf")
    assert 'NO_PROXY="localhost,10.96.0.0/12,web"\n' in debian.read("etc/flotilla/proxy.env")
    assert 'Acquire::http::Proxy::web "DIRECT";' in debian.read("etc/apt/apt.conf.d/90flotilla-proxy")
    assert debian.owed("containerd") and debian.owed("kubelet")
    assert debian.apply(site) == []


def test_a_password_is_in_no_diff_neither_coming_nor_going(node: Callable[..., Node]) -> None:
    debian = node()
    site = _site.Site(proxies=PROXY.proxies, credentials=LOGIN)
    texts = [str(change.as_diff()) for change in debian.settings(site).changes()]
    debian.apply(site)
    texts += [str(change.as_diff()) for change in debian.settings(_site.Site()).changes()]
    assert len(texts) == 8 and not any("p%40ss" in text for text in texts)
    # The control: without a password the content is shown.
    debian.apply(_site.Site())
    assert any("proxy:3128" in str(change.as_diff()) for change in debian.settings(PROXY).changes())


def test_what_is_no_longer_set_goes_and_nothing_else(node: Callable[..., Node]) -> None:
    debian = node()
    debian.write("etc/apt/apt.conf.d/10theirs", "theirs")
    written = debian.apply(PROXY)
    assert sorted(debian.apply(_site.Site())) == sorted(written)
    assert not any((debian.root / path).exists() for path in written) and debian.read("etc/apt/apt.conf.d/10theirs") == "theirs"
    assert debian.settings(_site.Site()).changes() == []


def test_a_proxy_for_http_alone_is_not_taken_for_https(node: Callable[..., Node]) -> None:
    debian = node()
    debian.apply(_site.Site(proxies={"http": "http://proxy:3128"}))
    assert 'Acquire::https::Proxy "DIRECT";' in debian.read("etc/apt/apt.conf.d/90flotilla-proxy")
    assert "https_proxy" not in debian.read("etc/flotilla/proxy.env")


def test_dnf_has_a_block_in_its_own_file(node: Callable[..., Node]) -> None:
    rocky = node("rocky")
    rocky.write("etc/dnf/dnf.conf", "[main]\ngpgcheck=1\n")
    rocky.apply(_site.Site(proxies=PROXY.proxies, credentials=LOGIN))
    assert rocky.read("etc/dnf/dnf.conf").startswith("[main]\ngpgcheck=1\n# BEGIN")
    assert "proxy_password=p@ss/w:rd\n" in rocky.read("etc/dnf/dnf.conf")
    assert (rocky.root / "etc/dnf/dnf.conf").stat().st_mode & 0o777 == 0o600
    rocky.apply(_site.Site())
    assert rocky.read("etc/dnf/dnf.conf") == "[main]\ngpgcheck=1\n"
    assert (rocky.root / "etc/dnf/dnf.conf").stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    ("release", "folder", "suffix", "command"),
    [
        ("debian", "usr/local/share/ca-certificates", ".crt", "update-ca-certificates"),
        ("ubuntu", "usr/local/share/ca-certificates", ".crt", "update-ca-certificates"),
        ("rocky", "etc/pki/ca-trust/source/anchors", ".pem", "update-ca-trust"),
        ("amazon", "etc/pki/ca-trust/source/anchors", ".pem", "update-ca-trust"),
    ],
)
def test_a_certificate_goes_where_the_system_looks(
    node: Callable[..., Node], certificate: str, release: str, folder: str, suffix: str, command: str
) -> None:
    machine = node(release)
    # The same one under two names and twice in a file is one.
    site = _site.Site(certificates={"/a/company ca.pem": f"a comment\n{certificate}{certificate}", "/b/other.pem": certificate})
    (path,) = machine.apply(site)
    assert path.startswith(f"{folder}/flotilla-company-ca-") and path.endswith(suffix)
    assert machine.commands[0][0] == command and machine.owed("containerd") and not machine.owed("kubelet")
    machine.commands.clear()
    assert machine.apply(site) == [] and machine.commands == []
    if suffix == ".crt":
        link = machine.root / "etc/ssl/certs/flotilla-link.pem"
        link.parent.mkdir(parents=True)
        link.symlink_to(machine.root / path)
    assert machine.apply(_site.Site()) == [path] and machine.commands[0][0] == command
    assert ("--fresh" in machine.commands[0]) is (suffix == ".crt")


def test_what_a_killed_run_did_not_come_to_is_made_up_for(
    node: Callable[..., Node], certificate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    debian = node()
    site = _site.Site(certificates={"ca": certificate})

    def killed(*_arguments: Any, **_options: Any) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(_site, "run", killed)
    with pytest.raises(KeyboardInterrupt):
        debian.apply(site)
    monkeypatch.setattr(_site, "run", debian.run)
    settings = debian.settings(site)
    assert settings.changes() == [] and settings.due() == ["trust-store"]
    settings.apply()
    assert debian.commands == [("update-ca-certificates",)]
    settings = debian.settings(site)
    assert settings.changes() == [] and settings.due() == []


@pytest.mark.parametrize("text", ["", "no certificate", "-----BEGIN CERTIFICATE-----\nbm9uZQ==\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_named(node: Callable[..., Node], text: str) -> None:
    with pytest.raises(FlotillaError) as caught:
        node().settings(_site.Site(certificates={"/x/bad.pem": text})).changes()
    assert caught.value.code == "CERTIFICATE_INVALID" and "/x/bad.pem" in str(caught.value)


def test_time_servers_go_to_the_service_that_is_enabled(node: Callable[..., Node]) -> None:
    debian = node()
    debian.write("usr/lib/systemd/system/chrony.service", "")
    debian.write("usr/lib/systemd/system/systemd-timesyncd.service", "")
    debian.answers[("systemctl", "is-enabled", "chrony.service")] = "disabled"
    debian.answers[("systemctl", "is-enabled", "systemd-timesyncd.service")] = "enabled"
    site = _site.Site(ntp_servers=["time1", "time2"])
    assert debian.apply(site) == ["etc/systemd/timesyncd.conf.d/90-flotilla.conf"]
    assert debian.read("etc/systemd/timesyncd.conf.d/90-flotilla.conf").endswith("[Time]\nNTP=time1 time2\n")
    assert debian.commands[-1] == ("systemctl", "restart", "systemd-timesyncd.service")


def test_a_time_service_that_was_off_is_off_again_in_the_end(node: Callable[..., Node]) -> None:
    debian = node()
    debian.write("usr/lib/systemd/system/chrony.service", "")
    debian.answers[("systemctl", "is-enabled", "chrony.service")] = "disabled"
    assert debian.apply(_site.Site(ntp_servers=["time1"])) == ["etc/chrony/sources.d/90-flotilla.sources"]
    assert ("systemctl", "enable", "chrony.service") in debian.commands
    debian.apply(_site.Site())
    assert debian.commands[-1] == ("systemctl", "disable", "--now", "chrony.service")


def test_without_a_time_service_the_package_is_named(node: Callable[..., Node]) -> None:
    with pytest.raises(FlotillaError) as caught:
        node().settings(_site.Site(ntp_servers=["time1"])).changes()
    assert caught.value.code == "TIME_SERVICE_MISSING" and "chrony" in str(caught.value)


def test_amazon_linux_keeps_the_rest_of_its_chrony_file(node: Callable[..., Node]) -> None:
    amazon = node("amazon")
    amazon.write("etc/chrony.conf", "driftfile /var/lib/chrony/drift\n")
    amazon.write("usr/lib/systemd/system/chronyd.service", "")
    amazon.answers[("systemctl", "is-enabled", "chronyd.service")] = "enabled"
    amazon.apply(_site.Site(ntp_servers=["time1"]))
    assert amazon.read("etc/chrony.conf").startswith("driftfile") and "server time1 iburst prefer\n" in amazon.read("etc/chrony.conf")
    amazon.apply(_site.Site())
    assert amazon.read("etc/chrony.conf") == "driftfile /var/lib/chrony/drift\n"


DNS = _site.Site(dns_servers=["10.0.0.53", "10.0.1.53"], dns_search=["example.com"])


def test_name_servers_go_to_systemd_resolved(node: Callable[..., Node]) -> None:
    debian = node()
    debian.write("run/systemd/resolve/stub-resolv.conf", "")
    assert debian.apply(DNS) == ["etc/systemd/resolved.conf.d/90-flotilla.conf"]
    assert "DNS=10.0.0.53 10.0.1.53\nDomains=example.com ~.\n" in debian.read("etc/systemd/resolved.conf.d/90-flotilla.conf")
    assert debian.commands == [("systemctl", "restart", "systemd-resolved")]


def test_name_servers_go_to_network_manager(node: Callable[..., Node]) -> None:
    rocky = node("rocky")
    (rocky.root / "run/NetworkManager").mkdir(parents=True)
    assert rocky.apply(DNS) == ["etc/NetworkManager/conf.d/90-flotilla-dns.conf"]
    assert rocky.commands == [("systemctl", "reload", "NetworkManager")]


def test_a_plain_resolv_conf_comes_back_as_it_was(node: Callable[..., Node]) -> None:
    debian = node()
    debian.write("etc/resolv.conf", "nameserver 192.0.2.1\n")
    debian.apply(DNS)
    assert debian.read("etc/resolv.conf").endswith("nameserver 10.0.0.53\nnameserver 10.0.1.53\nsearch example.com\n")
    debian.apply(_site.Site(dns_servers=["10.0.2.53"]))
    debian.apply(_site.Site())
    assert debian.read("etc/resolv.conf") == "nameserver 192.0.2.1\n"
    assert debian.apply(_site.Site()) == []


def test_an_unknown_system_is_one_clear_error_and_only_where_something_is_to_do(node: Callable[..., Node]) -> None:
    assert node("unknown").apply(_site.Site()) == []
    with pytest.raises(FlotillaError) as caught:
        node("unknown").settings(PROXY).changes()
    assert caught.value.code == "OS_FAMILY_UNKNOWN"
    assert "Slackware 15" in str(caught.value) and "Amazon Linux 2023" in str(caught.value)


def test_the_proxies_of_a_node_can_be_read_back(node: Callable[..., Node]) -> None:
    debian = node()
    assert _site.proxy_environment(debian.root) == {}
    debian.apply(_site.Site(proxies=PROXY.proxies, no_proxy=["localhost", ".svc"], credentials=LOGIN))
    assert _site.proxy_environment(debian.root) == {
        "http": "http://user:p%40ss%2Fw%3Ard@proxy:3128",
        "https": "http://user:p%40ss%2Fw%3Ard@proxy:3128",
        "no_proxy": ["localhost", ".svc"],
    }


@pytest.mark.parametrize(
    ("system", "version", "name"),
    [
        ("debian", "12", "Debian 12 and 13"),
        ("ubuntu", "22.04", "Ubuntu 22.04 and 24.04"),
        ("almalinux", "9.6", "RHEL 9, Rocky Linux 9 and AlmaLinux 9"),
        ("rhel", "10.0", None),
        ("debian", "1", None),
        ("debian", "", None),
    ],
)
def test_a_system_is_found_by_its_release(system: str, version: str, name: str | None) -> None:
    family = _os_families.find_family({"ID": system, "VERSION_ID": version})
    assert (family.name if family else None) == name
