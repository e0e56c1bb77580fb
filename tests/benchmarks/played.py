# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What benchmarks of real clusters measure: playbooks that keep a journal, and bare floors that print the seconds of their phases."""

from __future__ import annotations

import subprocess
from pathlib import Path

import journal
import outside

HERE = Path(__file__).resolve().parent


def play(folder: Path, inventory: Path, playbook: str, name: str, *options: str) -> outside.Run:
    """Run a playbook that has to succeed; its journal and its log are ``<folder>/<name>.jsonl`` and ``.log``."""
    run = outside.playbook(playbook, inventory, *options, environment=journal.environment(folder / f"{name}.jsonl"))
    (folder / f"{name}.log").write_text(run.output, encoding="utf-8")
    assert run.status == 0, f"{playbook} failed:\n{run.output[-5000:]}"
    return run


def floor(script: str, *arguments: str, timeout: float) -> dict[str, float]:
    """Run a script of this folder as root and return the seconds of its phases.

    :param timeout: seconds, generous: it only ends what hangs.
    """
    done = subprocess.run(
        [*outside.SUDO, str(HERE / script), *arguments],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    print(done.stdout, flush=True)
    assert done.returncode == 0, f"the bare floor did not end:\n{done.stdout[-5000:]}"
    return {line.split()[0]: float(line.split()[1]) for line in done.stdout.splitlines() if line.endswith(" s")}
