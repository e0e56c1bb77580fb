# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = """
name: simulated
short_description: Run modules on the controller, for a machine that is simulated
description: Ansible's own connection C(local), which tells what it starts for which machine, and by which run.
author: flotilla.kubernetes authors (@flotilla-kubernetes)
extends_documentation_fragment: ansible.builtin.connection_pipelining
"""

import os
import shlex

from ansible.plugins.connection import local


class Connection(local.Connection):
    """Works for the address of the host."""

    transport = "flotilla.kubernetes.simulated"

    def exec_command(self, cmd, in_data=None, sudoable=True):
        host = shlex.quote(str(self._play_context.remote_addr or ""))
        # A worker of ansible-playbook is its child.
        said = f"FLOTILLA_SIMULATED_HOST={host} FLOTILLA_SIMULATED_RUN={os.getppid()}"
        return super().exec_command(f"{said} {cmd}", in_data=in_data, sudoable=sudoable)
