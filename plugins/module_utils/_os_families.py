# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What differs between the operating systems of nodes: one table (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ._errors import FlotillaError


@dataclass(frozen=True)
class OsFamily:
    """One row of the table.

    :param releases: ``ID`` of /etc/os-release -> the beginnings of ``VERSION_ID`` that belong to the row.
    :param run: whether our own tests run it; docs/not_run.md lists the others.
    :param packages: what brings the commands of `_node.NEEDED_COMMANDS`.
    :param ca_folder: where certificates of private authorities go, as files with ``ca_suffix``; ``ca_command`` then takes them in, and
        ``ca_command_after_removal`` takes out what is gone.
    :param proxy_file: where the package manager's proxy goes; ``proxy_kind`` is ``apt`` (a file of ours) or ``dnf`` (a block in its file).
    :param time_package: what brings a time service if there is none.
    :param chrony_file: where chrony reads time servers; ``chrony_block``: that file is the system's own, and ours is a block in it.
    """

    name: str
    releases: dict[str, tuple[str, ...]]
    run: bool
    packages: tuple[str, ...]
    ca_folder: str
    ca_suffix: str
    ca_command: tuple[str, ...]
    ca_command_after_removal: tuple[str, ...]
    proxy_file: str
    proxy_kind: str
    time_package: str
    chrony_file: str
    chrony_block: bool


_DEBIAN_PACKAGES = (
    "ca-certificates", "conntrack", "diffutils", "ethtool", "iproute2", "iptables", "kmod", "mount", "openssl", "util-linux",
)  # fmt: skip
_RED_HAT_PACKAGES = (
    "ca-certificates", "conntrack-tools", "diffutils", "ethtool", "iproute", "iproute-tc", "iptables-nft", "kmod", "openssl", "util-linux",
)  # fmt: skip


def _debian(name: str, releases: dict[str, tuple[str, ...]], run: bool) -> OsFamily:
    return OsFamily(
        name,
        releases,
        run,
        _DEBIAN_PACKAGES,
        # update-ca-certificates(8)
        ca_folder="/usr/local/share/ca-certificates",
        ca_suffix=".crt",
        ca_command=("update-ca-certificates",),
        # Without that the links in /etc/ssl/certs stay and point nowhere.
        ca_command_after_removal=("update-ca-certificates", "--fresh"),
        proxy_file="/etc/apt/apt.conf.d/90flotilla-proxy",
        proxy_kind="apt",
        time_package="chrony",
        chrony_file="/etc/chrony/sources.d/90-flotilla.sources",
        chrony_block=False,
    )


def _red_hat(name: str, releases: dict[str, tuple[str, ...]]) -> OsFamily:
    return OsFamily(
        name,
        releases,
        False,
        _RED_HAT_PACKAGES,
        # update-ca-trust(8)
        ca_folder="/etc/pki/ca-trust/source/anchors",
        ca_suffix=".pem",
        ca_command=("update-ca-trust", "extract"),
        ca_command_after_removal=("update-ca-trust", "extract"),
        proxy_file="/etc/dnf/dnf.conf",
        proxy_kind="dnf",
        time_package="chrony",
        chrony_file="/etc/chrony.conf",
        chrony_block=True,
    )


OS_FAMILIES = (
    _debian("Debian 12 and 13", {"debian": ("12", "13")}, run=True),
    _debian("Ubuntu 22.04 and 24.04", {"ubuntu": ("22.04", "24.04")}, run=False),
    _red_hat("RHEL 9, Rocky Linux 9 and AlmaLinux 9", {"rhel": ("9",), "rocky": ("9",), "almalinux": ("9",)}),
    _red_hat("Amazon Linux 2023", {"amzn": ("2023",)}),
)


def os_release(root: Path = Path("/")) -> dict[str, str]:
    """Return the fields of /etc/os-release: https://www.freedesktop.org/software/systemd/man/latest/os-release.html"""
    lines = (root / "etc/os-release").read_text(encoding="utf-8").splitlines()
    return {key: value.strip("\"'") for key, _equals, value in (line.partition("=") for line in lines if "=" in line)}


def find_family(release: dict[str, str]) -> OsFamily | None:
    """Return the row of an operating system, or None for one that the table does not have."""
    version = release.get("VERSION_ID", "")
    for family in OS_FAMILIES:
        for beginning in family.releases.get(release.get("ID", ""), ()):
            if version == beginning or version.startswith(f"{beginning}."):
                return family
    return None


def require_family(release: dict[str, str]) -> OsFamily:
    """Return the row of an operating system.

    :raises FlotillaError: ``OS_FAMILY_UNKNOWN``.
    """
    family = find_family(release)
    if family is None:
        known = "; ".join(row.name for row in OS_FAMILIES)
        raise FlotillaError(
            "OS_FAMILY_UNKNOWN",
            f"This machine runs {release.get('PRETTY_NAME') or release.get('ID', 'an unknown system')}, for which no settings are known.",
            f"Use one of: {known}.",
        )
    return family
