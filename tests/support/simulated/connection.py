# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = """
name: simulated
short_description: Run modules on the controller, for a machine that is simulated
description:
  - Ansible's own connection C(local), which tells what it starts for which machine, and by which run, and writes down what that took.
author: flotilla.kubernetes authors (@flotilla-kubernetes)
extends_documentation_fragment: ansible.builtin.connection_pipelining
"""

import multiprocessing
import os
import resource
import shlex
from pathlib import Path

from ansible import context
from ansible.plugins.connection import local


class Connection(local.Connection):
    """Works for the address of the host."""

    transport = "flotilla.kubernetes.simulated"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        host = shlex.quote(str(self._play_context.remote_addr or ""))
        said = f"FLOTILLA_SIMULATED_HOST={host} FLOTILLA_SIMULATED_RUN={_run()}"
        before = _children()
        done = super().exec_command(f"{said} {cmd}", in_data=in_data, sudoable=sudoable)
        spent = os.open(Path(os.environ["FLOTILLA_SIMULATED"]) / "spent", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(spent, f"{_children() - before:.6f}\n".encode())
        os.close(spent)
        return done


def _run():
    """Return the playbook and its process, which may be gone already: a killed one leaves its workers."""
    playbook = Path(context.CLIARGS["args"][0]).name.removesuffix(".yml").rpartition(".")[2]
    process = multiprocessing.parent_process()
    return shlex.quote(f"{playbook}:{process.pid if process else os.getpid()}")


def _children():
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
