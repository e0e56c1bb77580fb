# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines without a cluster, as if bought elsewhere: node containers of the local cloud, reached by SSH."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import outside
import yaml


@contextmanager
def made(foundation: Path, name: str, network: str, workers: int = 1) -> Iterator[list[str]]:
    """Make one machine and ``workers`` more for a cluster that nobody makes, give their addresses, and take them away again.

    :param network: their own network, a /24.
    """
    pools = [{"name": "workers", "count": workers}] if workers else []
    definition = outside.write_definition(foundation, name, pools=pools, local={"network_cidr": network})

    def module(kind: str, **arguments: object) -> None:
        done = outside.command(
            "ansible", "-i", str(definition), f"{name}.cluster", "-c", "local",
            "-e", "ansible_python_interpreter={{ ansible_playbook_python }}",
            "-m", f"flotilla.kubernetes.{kind}", "-a", json.dumps({"cluster": "{{ flotilla_cluster }}", **arguments}),
        )  # fmt: skip
        assert done.status == 0, done.output[-3000:]

    try:
        module("local_network")
        module("local_machines")
        yield list(map(outside.address, outside.machines(name)))
    finally:
        if not os.environ.get("FLOTILLA_KEEP"):
            module("local_machines", state="absent")
            module("local_network", state="absent")


def inventory(path: Path, groups: Mapping[str, Any], variables: Mapping[str, Any]) -> Path:
    """Write an inventory for machines of `made`, with what reaches them, and return its path.

    :param groups: groups as Ansible's YAML inventories have them.
    """
    login = {
        "ansible_user": "flotilla",
        "ansible_ssh_private_key_file": str(outside.cache() / "local/ssh/id_ed25519"),
        "ansible_ssh_common_args": f"-o StrictHostKeyChecking=accept-new -o UserKnownHostsFile={path.with_suffix('.known_hosts')}",
    }
    path.write_text(yaml.safe_dump({"all": {"vars": {**login, **variables}, "children": dict(groups)}}), encoding="utf-8")
    return path
