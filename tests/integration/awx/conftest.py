# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role `awx_setup` and what it needs to run against the controller of the tests, with awx.awx as it is published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

import outside
import peers
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

__all__ = ["FlotillaError"]

SECRETS = {
    "aws": "planted-secret-of-aws",
    "token": "planted-token-of-the-controller",
    "key": "planted-key-of-machines",
    "store": "planted-secret-of-the-store",
    "mail": "planted-password-of-mail",
}
VARIABLES: dict[str, Any] = {
    "awx_setup_project": {"scm_url": "https://git.example.com/fleet.git", "scm_branch": "main"},
    "awx_setup_execution_environment": {"image": "registry.example.com/flotilla-ee:1.0"},
    "awx_setup_foundations": [
        {"source_path": "inventories/production", "credentials": ["aws production", "machines", "backups"], "instance_group": "default"},
    ],
    "awx_setup_credentials": [
        {"name": "aws production", "credential_type": "Amazon Web Services"},
        {"name": "machines", "credential_type": "flotilla cluster access"},
        {"name": "backups", "credential_type": "flotilla snapshot store"},
        {"name": "flotilla controller", "credential_type": "Red Hat Ansible Automation Platform"},
    ],
    "awx_setup_credential_inputs": {
        "aws production": {"username": "AKIA", "password": SECRETS["aws"]},
        "machines": {"ssh_private_key": SECRETS["key"]},
        "backups": {"access_key": "store", "secret_key": SECRETS["store"]},
        "flotilla controller": {"host": "https://awx.example.com", "oauth_token": SECRETS["token"], "verify_ssl": True},
    },
    "awx_setup_waves": 1,
    "awx_setup_time_zone": "Europe/Berlin",
}


def environment(**more: str) -> dict[str, str]:
    """Return the environment of a playbook that uses awx.awx."""
    clean = {key: value for key, value in outside.playbook_environment().items() if not key.startswith(("CONTROLLER_", "TOWER_"))}
    paths = os.pathsep.join(map(str, [outside.ROOT / "collection", *peers.collections()]))
    return {**clean, "ANSIBLE_COLLECTIONS_PATH": paths, "ANSIBLE_PIPELINING": "true", **more}


def setup(folder: Path, address: dict[str, str], *options: str, tasks_from: str = "main", **changes: Any) -> outside.Run:
    """Run the role with `VARIABLES` and ``changes``, as a play of a person does."""
    role = {"name": "flotilla.kubernetes.awx_setup", "tasks_from": tasks_from}
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [{"ansible.builtin.include_role": role}]}
    playbook = folder / "setup.yml"
    playbook.write_text(yaml.safe_dump([play]), encoding="utf-8")
    variables = folder / "variables.json"
    variables.write_text(json.dumps({**VARIABLES, "ansible_python_interpreter": sys.executable, **changes}), encoding="utf-8")
    began = time.monotonic()
    done = subprocess.run(
        [str(outside.BIN / "ansible-playbook"), "-i", "localhost,", "-e", f"@{variables}", str(playbook), *options],
        cwd=folder,
        env=environment(**address),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
        check=False,
    )
    return outside.Run(done.returncode, done.stdout, time.monotonic() - began)
