# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Other people's programs, as they are published: each in a Python environment of its own in the cache, made when it is not there."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE, AZURE_CLI = "ansible==12.3.0", "azure-cli==2.91.0"
# The minors that meta/runtime.yml admits, next to the one that the tools of this repository are.
CORES = {"2.17": "2.17.14", "2.18": "2.18.19", "2.20": "2.20.10", "2.21": "2.21.4"}
# What playbooks on machines that exist already need of requirements.txt.
BESIDE_CORE = ("ansible-runner==2.4.3", "jsonschema>=4.17")


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


def core(minor: str) -> Path | None:
    """Return the Python of an environment with ansible-core of a minor and ansible-runner; None if no Python here is new enough for it."""
    wanted = (f"ansible-core=={CORES[minor]}", *BESIDE_CORE)
    python = sys.executable if minor < "2.20" else _new_python()
    if python is None:
        return None
    digest = hashlib.sha256("\n".join((python, *wanted)).encode()).hexdigest()[:8]
    return _environment(f"ansible-core-{CORES[minor]}-{digest}", *wanted, python=python) / "bin/python"


def _new_python() -> str | None:
    """Return a Python that ansible-core 2.20 and newer run with: 3.12."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or "~/.pyenv").expanduser()
    found = [sys.executable, *filter(None, map(shutil.which, ("python3.12", "python3.13")))]
    for candidate in (*found, *map(str, sorted(pyenv.glob("versions/3.1[23].*/bin/python")))):
        # One that stands in PATH is not always one that starts.
        check = [candidate, "-c", "import sys, ensurepip; sys.exit(sys.version_info < (3, 12))"]
        if subprocess.run(check, capture_output=True, check=False).returncode == 0:
            return candidate
    return None


def play(playbook: Path, tasks: list[dict[str, Any]], environment: dict[str, str], python: str = sys.executable) -> dict[str, int]:
    """Run tasks with modules of this collection and of Ansible's package.

    :param playbook: is written, and a log of the same name beside it.
    :param python: that runs the modules.
    :returns: how many of them were ok, and how many of these changed something.
    :raises RuntimeError: a task failed.
    """
    playbook.write_text(
        json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]), encoding="utf-8"
    )
    settings = playbook.with_name("ansible.cfg")
    settings.touch()
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    program = str(Path(sys.executable).with_name("ansible-playbook"))
    done = subprocess.run(
        [program, "-i", "localhost,", "-e", f"ansible_python_interpreter={python}", str(playbook)],
        env={
            **clean,
            "ANSIBLE_CONFIG": str(settings),
            "ANSIBLE_COLLECTIONS_PATH": os.pathsep.join(map(str, [ROOT / "collection", *collections()])),
            "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.json",
            **environment,
        },
        cwd=playbook.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )  # fmt: skip
    playbook.with_suffix(".log").write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode:
        told = [line for line in done.stdout.splitlines() if any(word in line for word in ('"msg"', '"module_stderr"', '"exception"'))]
        raise RuntimeError("\n".join([f"{playbook} failed:", *told[:20], done.stderr[-2000:]]))
    counts = json.loads(done.stdout[done.stdout.index("{") :])["stats"]["localhost"]
    return {"ok": counts["ok"], "changed": counts["changed"]}


def _environment(name: str, *wanted: str, python: str = sys.executable) -> Path:
    cache = Path(os.environ.get("FLOTILLA_CACHE") or "~/.cache/flotilla").expanduser()
    folder = cache / "benchmarks" / name
    if not (folder / "complete").exists():
        print(f"setup: installing {' '.join(wanted)} in {folder}", file=sys.stderr)
        subprocess.run([python, "-m", "venv", "--clear", str(folder)], check=True)
        subprocess.run([str(folder / "bin/pip"), "install", "--quiet", *wanted], check=True)
        (folder / "complete").touch()
    return folder


if __name__ == "__main__":
    ansible()
    core("2.18")
