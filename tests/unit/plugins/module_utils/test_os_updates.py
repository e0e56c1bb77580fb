# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What apt and dnf print, and when a machine has to boot again."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _os_updates
from ansible_collections.flotilla.kubernetes.plugins.module_utils._os_updates import Update

APT = """NOTE: This is only a simulation!
Calculating upgrade...
The following NEW packages will be installed:
  linux-image-6.1.0-32-amd64
The following packages have been kept back:
  kept
Inst libc-bin [2.36-9] (2.36-9+deb12u1 Debian:12.10/stable [amd64])
Inst openssl [3.0.15-1] (3.0.16-1 Debian-Security:12/stable-security [amd64]) []
Inst libssl3 [3.0.15-1] (3.0.16-1 Debian:12.10/stable, Debian-Security:12/stable-security [amd64])
Inst linux-image-6.1.0-32-amd64 (6.1.129-1 Debian:12.10/stable [amd64])
Inst containerd [1.6.20] (1.6.21 Ubuntu:24.04/noble-updates [amd64])
Conf libc-bin (2.36-9+deb12u1 Debian:12.10/stable [amd64])
"""
DNF = """
kernel.x86_64                5.14.0-503.22.1.el9_5      baseos
openssl-libs.x86_64          1:3.2.2-6.el9_5.1          baseos
Obsoleting Packages
old.noarch                   1.0-1.el9                  appstream
"""
DNF_SECURITY = """
openssl-libs.x86_64          1:3.2.2-6.el9_5.1          baseos
"""


def test_what_apt_would_do() -> None:
    assert _os_updates.of_apt(APT) == [
        Update("libc-bin", "2.36-9+deb12u1", False),
        Update("openssl", "3.0.16-1", True),
        Update("libssl3", "3.0.16-1", True),
        Update("containerd", "1.6.21", False),
    ]
    assert _os_updates.of_apt("Reading package lists...\n0 upgraded\n") == []


def test_what_dnf_would_do() -> None:
    assert _os_updates.of_dnf(DNF, DNF_SECURITY) == [
        Update("kernel", "5.14.0-503.22.1.el9_5", False),
        Update("openssl-libs", "1:3.2.2-6.el9_5.1", True),
    ]
    assert _os_updates.of_dnf("", "") == []


@pytest.mark.parametrize(
    ("security_only", "exclude", "names"),
    [
        (False, [], ["libc-bin", "openssl", "libssl3", "containerd"]),
        (True, [], ["openssl", "libssl3"]),
        (False, ["containerd*", "lib*"], ["openssl"]),
        (True, ["openssl", "libssl3"], []),
    ],
)
def test_what_is_wanted(security_only, exclude, names) -> None:
    assert [one.name for one in _os_updates.wanted(_os_updates.of_apt(APT), security_only, exclude)] == names


def test_when_a_machine_has_to_boot_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_os_updates.shutil, "which", lambda *_arguments, **_options: None)
    mark, modules = tmp_path / "reboot-required", tmp_path / "modules"

    def reason(running: str) -> str:
        return _os_updates.reboot_reason(mark, modules, running)

    for kernel in ("6.1.0-9-amd64", "6.1.0-31-amd64", "6.1.0-40-rt-amd64"):
        (modules / kernel).mkdir(parents=True)
        (modules / kernel / "modules.dep").touch()
    (modules / "6.1.0-50-amd64").mkdir()
    assert reason("6.1.0-31-amd64") == "", "a removed kernel leaves its folder, and another flavour is another kernel"
    assert reason("6.1.0-9-amd64") == "the kernel 6.1.0-31-amd64 is installed and 6.1.0-9-amd64 runs"
    assert reason("5.10.0-host") == "", "a container runs its host's kernel"
    mark.touch()
    assert reason("6.1.0-31-amd64") == "a package asks for it"
    (tmp_path / "reboot-required.pkgs").write_text("linux-base\nlibc6\nlibc6\n")
    assert reason("6.1.0-31-amd64") == "libc6, linux-base asks for it"
