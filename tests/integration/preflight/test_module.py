# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module and its action plugin, run by Ansible on this machine: what travels to it is enough, and what is read stays inside."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[3]
TOO_MUCH = 10**12  # MiB that no disk has


def run(tmp_path: Path, **arguments: Any) -> dict[str, Any]:
    environment = {**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collection"), "ANSIBLE_NOCOLOR": "1"}
    environment.pop("ANSIBLE_CONFIG", None)
    inventory = tmp_path / "hosts"
    inventory.write_text(f"here ansible_connection=local ansible_python_interpreter={sys.executable}\n")
    command = ["ansible", "here", "-i", inventory, "-m", "flotilla.kubernetes.upgrade_preflight", "-a", json.dumps(arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=120, check=False)
    answer = re.search(r"^here \| (?:SUCCESS|FAILED!) => (\{.*\})", done.stdout, re.MULTILINE | re.DOTALL)
    assert answer, done.stdout + done.stderr
    return json.loads(answer.group(1))


@pytest.mark.parametrize("fail", [True, False])
def test_a_node_without_room(tmp_path: Path, fail: bool) -> None:
    answer = run(tmp_path, scope="node", kubernetes_version="1.36.3", name="n", disk_free_mib=TOO_MUCH, disk_paths=["/"], fail=fail)
    assert ("UPGRADE_DISK_SPACE", "node/n:/") in [(one["code"], one["object"]) for one in answer["findings"]]
    assert answer["blocked"] and answer["changed"] is False and answer.get("code") == ("UPGRADE_BLOCKED" if fail else None)
    assert not {"observed", "parameters", "path", "versions"} & set(answer)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"kubernetes_version": "1.36.3"}, "address, control_planes"),
        ({"kubernetes_version": "1.36", "scope": "node", "name": "n"}, "is no version such as"),
        (
            {"kubernetes_version": "1.36.3", "scope": "node", "name": "n", "acknowledge": ["UPGRADE_DISK_SPAC"]},
            "Did you mean UPGRADE_DISK_SPACE",
        ),
    ],
)
def test_what_is_asked_wrongly(tmp_path: Path, arguments: dict[str, Any], says: str) -> None:
    assert says in run(tmp_path, **arguments)["msg"]
