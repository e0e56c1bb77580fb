# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Many modules of another collection on the controller, in forks of one process (private to flotilla.kubernetes).

Ansible packs each module, unpacks it again in a new Python, and that imports the same files each time: most of the time that a small
module takes. Here one process imports them once and forks for each call. Modules are run as Ansible's documentation runs them by hand:
arguments on the standard input. https://docs.ansible.com/ansible/latest/dev_guide/developing_modules_general.html
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROGRAM = Path(__file__).with_name("_module_forks.py")


class ModuleProcess:
    """The process that runs modules of one collection; it ends with `close`, or with its parent.

    :param folder: ``plugins/modules`` of the collection, as it is installed.
    :param shared: what its modules import, below ``plugins``, such as ``module_utils.controller_api``.
    """

    def __init__(self, folder: Path, shared: str) -> None:
        plugins = folder.resolve().parent
        root = plugins.parents[3]
        package = ".".join(plugins.relative_to(root).parts)
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), str(root), package, shared],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def run(self, module: str, arguments: Mapping[str, Any], environment: Mapping[str, str]) -> dict[str, Any]:
        """Run a module and return what it returned.

        :param arguments: what is no text, number, list or mapping becomes text: a secret of a vault its content.
        :param environment: variables that it has besides those of this process.
        """
        request = {"module": module, "arguments": arguments, "environment": environment}
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise ValueError("the process has no pipes")
        try:
            stdin.write(json.dumps(request, default=str).encode() + b"\n")
            stdin.flush()
            line = stdout.readline()
        except OSError as error:
            line = str(error).encode()
        try:
            return dict(json.loads(line))
        except ValueError:
            said = line.decode(errors="replace").strip()
            return {"failed": True, "msg": f"The process that runs modules ended: {said or 'it said nothing'}"}

    def close(self) -> None:
        """Let the process end, and wait for it."""
        self._process.communicate()
