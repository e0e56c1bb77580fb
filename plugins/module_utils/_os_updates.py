# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which packages of a machine have updates, and whether it has to boot again (private to flotilla.kubernetes).

What apt and dnf print is read by pure functions. Python 3.9, standard library only.
"""

from __future__ import annotations

import platform
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ._command import SEARCH_PATH, run
from ._errors import FlotillaError

APT, DNF = "apt", "dnf"
# dnf(8): there are updates.
SOME = 100
# Left by the package update-notifier-common or unattended-upgrades.
REBOOT_MARK = Path("/run/reboot-required")
# Another program that uses dpkg, such as unattended-upgrades, is waited for.
_PATIENCE = "DPkg::Lock::Timeout=600"
_APT_LINE = re.compile(r"^Inst (?P<name>\S+) \[[^\]]*\] \((?P<version>\S+) (?P<archives>[^)]*)\)", re.MULTILINE)
_DNF_LINE = re.compile(r"^(?P<name>\S+)\.(?P<architecture>\w+)\s+(?P<version>\d\S*)\s+\S+\s*$")


@dataclass(frozen=True)
class Update:
    """A package that is installed and has a newer version."""

    name: str
    version: str
    security: bool


def manager() -> str:
    """Return the package manager of this machine.

    :raises FlotillaError: ``OS_UNKNOWN``: it has neither apt nor dnf.
    """
    for name, program in ((APT, "apt-get"), (DNF, "dnf")):
        if shutil.which(program, path=SEARCH_PATH):
            return name
    raise FlotillaError(
        "OS_UNKNOWN", "This machine has neither apt nor dnf.", "Update its operating system by its own means, or replace the machine."
    )


def refresh(name: str) -> None:
    """Read anew what the package sources have.

    :raises FlotillaError: one of them can not be read.
    """
    command = (
        ["apt-get", "--quiet", "--error-on=any", f"--option={_PATIENCE}", "update"] if name == APT else ["dnf", "--quiet", "makecache"]
    )
    run(
        command, timeout=600, code="PACKAGES_UNREACHABLE",
        remedy="Look whether this machine reaches its package sources: proxy, mirror, name server.",
    )  # fmt: skip


def updates(name: str) -> list[Update]:
    """Return what has a newer version; packages that a person held back are not among them."""
    if name == APT:
        return of_apt(run(["apt-get", "--quiet", "--simulate", "--with-new-pkgs", "upgrade"], timeout=300, code="PACKAGES_UNREADABLE"))
    return of_dnf(_check_update(), _check_update("--security"))


def install(name: str, packages: Sequence[str]) -> None:
    """Update ``packages``. What a person changed in a configuration file stays.

    :raises FlotillaError: ``UPDATE_FAILED``.
    """
    if name == APT:
        options = ["--option=Dpkg::Options::=--force-confdef", "--option=Dpkg::Options::=--force-confold", f"--option={_PATIENCE}"]
        steps = [
            # What an update left half done that was interrupted.
            ["dpkg", "--configure", "--pending", "--force-confdef", "--force-confold"],
            ["apt-get", "--quiet", "--yes", *options, "--only-upgrade", "install", *packages],
        ]
    else:
        steps = [["dnf", "--quiet", "--assumeyes", "upgrade", *packages]]
    for step in steps:
        run(
            step, timeout=1800, code="UPDATE_FAILED", environment={"DEBIAN_FRONTEND": "noninteractive"},
            remedy="Look at what the package manager says on the machine, mend it and run again: it goes on with what is left.",
        )  # fmt: skip


def _check_update(*options: str) -> str:
    try:
        return run(["dnf", "--quiet", *options, "check-update"], timeout=300, code="PACKAGES_UNREADABLE")
    except FlotillaError as error:
        if error.details.get("rc") != SOME:
            raise
        return str(error.details["stdout"])


def of_apt(simulated: str) -> list[Update]:
    """Return the updates in what ``apt-get --simulate upgrade`` printed."""
    return [
        # "Debian-Security:12/stable-security", "Ubuntu:24.04/noble-security"
        Update(found["name"], found["version"], bool(re.search(r"-security\b", found["archives"], re.IGNORECASE)))
        for found in _APT_LINE.finditer(simulated)
    ]


def of_dnf(every: str, security: str) -> list[Update]:
    """Return the updates in what ``dnf check-update`` printed, once without and once with ``--security``."""

    def read(text: str) -> dict[str, str]:
        # What follows replaces packages of another name.
        lines = text.partition("\nObsoleting Packages")[0].splitlines()
        return {found["name"]: found["version"] for found in map(_DNF_LINE.match, lines) if found}

    safe = read(security)
    return [Update(name, version, name in safe) for name, version in read(every).items()]


def wanted(found: Iterable[Update], security_only: bool, exclude: Sequence[str]) -> list[Update]:
    """Return the updates that are to be made.

    :param exclude: patterns of names, as the shell has them.
    """
    return [one for one in found if (one.security or not security_only) and not any(fnmatch(one.name, pattern) for pattern in exclude)]


def reboot_reason(mark: Path = REBOOT_MARK, modules: Path = Path("/lib/modules"), running: str = "") -> str:
    """Return why this machine has to boot again, or nothing."""
    if mark.exists():
        packages = mark.with_name(f"{mark.name}.pkgs")
        names = sorted(set(packages.read_text(encoding="utf-8").split())) if packages.exists() else []
        return f"{', '.join(names) or 'a package'} asks for it"
    running = running or platform.release()
    kernels = [folder.name for folder in modules.glob("*") if (folder / "modules.dep").exists()]
    # In a container the kernel is the host's.
    newer = [name for name in kernels if running in kernels and _order(name) > _order(running) and _flavour(name) == _flavour(running)]
    if newer:
        return f"the kernel {max(newer, key=_order)} is installed and {running} runs"
    if shutil.which("needs-restarting", path=SEARCH_PATH):
        try:
            run(["needs-restarting", "--reboothint"], timeout=120)
        except FlotillaError as error:
            if error.details.get("rc") == 1:
                return "needs-restarting asks for it"
    return ""


def _order(kernel: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", kernel)]


def _flavour(kernel: str) -> str:
    return re.sub(r"[\d.+-]+", " ", kernel).strip()
