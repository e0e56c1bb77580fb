# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Logins of machines that a cloud made, and the first look at them, whichever cloud (private to flotilla.kubernetes)."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from .._errors import FlotillaError
from .._machines.model import Machine

_SCAN_SECONDS = 5


def login_keys(definition: dict[str, Any]) -> list[str]:
    """Return the public keys that a new machine takes for its login: that of the definition's own key first."""
    access = definition["access"]
    own = public_key(str(access["ssh_private_key_file"])) if access.get("ssh_private_key_file") else ""
    return [key for key in (own, *(access.get("ssh_public_keys") or ())) if key]


def default_private_key(definition: dict[str, Any]) -> str:
    """Return the path of the private key of the definition; without one ssh finds a key by itself."""
    return str((definition.get("access") or {}).get("ssh_private_key_file") or "")


def public_key(private_key_file: str) -> str:
    """Return the public half of a private key: of the file next to it, or made from it."""
    path = Path(private_key_file).expanduser()
    try:
        beside = Path(f"{path}.pub")
        if beside.exists():
            return " ".join(beside.read_text(encoding="utf-8").split()[:2])
        done = subprocess.run(["ssh-keygen", "-y", "-P", "", "-f", str(path)], capture_output=True, text=True, check=False, timeout=30)
        if done.returncode == 0:
            return " ".join(done.stdout.split()[:2])
        reason = done.stderr.strip()
    except (OSError, UnicodeError, subprocess.TimeoutExpired) as error:
        reason = str(error)
    raise FlotillaError(
        "SSH_KEY_UNREADABLE",
        f"The public half of access.ssh_private_key_file {path} is not to be had.",
        f"Put it in {path}.pub, or name keys in access.ssh_public_keys.",
        reason,
    )


def scan_host_key(definition: dict[str, Any], machine: Machine) -> str:
    """Return the machine's public SSH host key, or nothing while it does not answer: this is the first contact.

    Where there is a bastion the bastion looks, because nothing else reaches the machine.
    """
    access = definition["access"]
    address = machine.addresses.get(access.get("address") or "private")
    if not address:
        return ""
    command = ["ssh-keyscan", "-T", str(_SCAN_SECONDS), "-t", "ed25519", "-p", str(machine.ssh_port), str(address)]
    bastion = access.get("bastion")
    if bastion:
        key = bastion.get("ssh_private_key_file") or access.get("ssh_private_key_file")
        identity = ["-i", str(Path(key).expanduser())] if key else []
        options = ["-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ConnectTimeout=10"]
        login = f"{bastion.get('user') or access['ssh_user']}@{bastion['host']}"
        command = ["ssh", *options, *identity, "-p", str(bastion.get("port") or 22), login, " ".join(command)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False, timeout=_SCAN_SECONDS + 20)
    except FileNotFoundError as error:
        raise FlotillaError(
            "SSH_CLIENT_MISSING", f"{command[0]} is not on the machine that runs this.", "Install the OpenSSH client there.", error
        ) from error
    except (OSError, subprocess.TimeoutExpired):
        return ""
    for line in done.stdout.splitlines():
        parts = line.split()
        if len(parts) >= 3 and not line.startswith("#"):
            return " ".join(parts[1:3])
    return ""
