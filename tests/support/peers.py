# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's programs, as they are published: each in a Python environment of its own in the cache, made when it is not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ANSIBLE, AZURE_CLI = "ansible==12.3.0", "azure-cli==2.91.0"


def ansible() -> Path:
    """Return the environment with Ansible's package of collections, and what AWS's need."""
    return _environment(ANSIBLE.replace("==", "-"), ANSIBLE, "boto3")


def collections() -> list[Path]:
    """Return where the collections of that package are."""
    return list((ansible() / "lib").glob("python*/site-packages"))


def azcollection() -> Path:
    """Return the environment with what azure.azcollection of that package asks for."""
    (needed,) = ansible().glob("lib/python*/site-packages/ansible_collections/azure/azcollection/requirements.txt")
    return _environment(ANSIBLE.replace("ansible==", "azcollection-"), "--requirement", str(needed))


def azure_cli() -> Path:
    return _environment(AZURE_CLI.replace("==", "-"), AZURE_CLI)


def _environment(name: str, *wanted: str) -> Path:
    cache = Path(os.environ.get("FLOTILLA_CACHE") or "~/.cache/flotilla").expanduser()
    folder = cache / "benchmarks" / name
    if not (folder / "complete").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(folder / "bin/pip"), "install", "--quiet", *wanted], check=True)
        (folder / "complete").touch()
    return folder
