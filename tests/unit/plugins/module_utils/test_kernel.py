# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of kernel settings, in a folder that stands for a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _kernel
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "sys/module/overlay").mkdir(parents=True)
    (tmp_path / "proc/sys/net/ipv4").mkdir(parents=True)
    (tmp_path / "proc/sys/net/ipv4/ip_forward").write_text("0\n")
    (tmp_path / "proc/filesystems").write_text("nodev\ttmpfs\n\text4\n")
    return tmp_path


def settings(root: Path, **parameters: str) -> _kernel.KernelSettings:
    return _kernel.KernelSettings("test", ["overlay"], parameters or {"net.ipv4.ip_forward": "1"}, root)


def test_kernel_settings_say_what_differs_then_apply_then_nothing_differs(root: Path) -> None:
    before, after = settings(root).difference()
    assert before["parameters"] == {"net.ipv4.ip_forward": "0"} and after["parameters"] == {"net.ipv4.ip_forward": "1"}
    settings(root).apply()
    before, after = settings(root).difference()
    assert before == after
    assert (root / "etc/sysctl.d/test.conf").read_text() == "net.ipv4.ip_forward = 1\n"
    assert (root / "etc/modules-load.d/test.conf").read_text() == "overlay\n"


def test_a_kernel_parameter_that_the_machine_refuses_is_named(root: Path) -> None:
    with pytest.raises(FlotillaError) as caught:
        settings(root, **{"net.nowhere.x": "1"}).apply()
    assert caught.value.code == "KERNEL_PARAMETER_REFUSED" and "net.nowhere.x" in str(caught.value)


def test_a_file_of_kernel_settings_that_can_not_be_read_or_written_is_named(root: Path) -> None:
    (root / "etc/sysctl.d/test.conf").mkdir(parents=True)
    with pytest.raises(FlotillaError) as caught:
        settings(root).difference()
    assert caught.value.code == "FILE_UNREADABLE" and "sysctl.d/test.conf" in str(caught.value)
    (root / "etc/sysctl.d/test.conf").rmdir()
    (root / "etc/sysctl.d").rmdir()
    (root / "etc/sysctl.d").write_text("")
    with pytest.raises(FlotillaError) as caught:
        settings(root).apply()
    assert caught.value.code == "FILE_NOT_WRITTEN" and caught.value.remedy


@pytest.mark.parametrize("sign", ["sys/module/br_netfilter", "proc/sys/net/bridge"])
def test_a_module_counts_as_loaded_by_any_sign(root: Path, sign: str) -> None:
    wanted = _kernel.KernelSettings("test", ["br_netfilter"], {}, root)
    assert wanted.difference()[0]["modules"] == []
    (root / sign).mkdir(parents=True)
    assert wanted.difference()[0]["modules"] == ["br_netfilter"]


def test_a_built_in_file_system_counts_as_loaded(root: Path) -> None:
    wanted = _kernel.KernelSettings("test", ["fuse"], {}, root)
    assert wanted.difference()[0]["modules"] == []
    (root / "proc/filesystems").write_text("nodev\tfuse\n")
    assert wanted.difference()[0]["modules"] == ["fuse"]
