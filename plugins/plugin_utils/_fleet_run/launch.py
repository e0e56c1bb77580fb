# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Becomes the ansible-playbook of a cluster's run, and holds the cluster's lock meanwhile (private to flotilla.kubernetes).

ansible-runner closes every descriptor of its child, so the child takes the lock itself. It goes to the workers that ansible-playbook forks,
and not to what they run: as long as one of them lives nobody else begins a run in the cluster. Called by its path; standard library only.
"""

from __future__ import annotations

import fcntl
import json
import os
import sys

BUSY = 75
"""EX_TEMPFAIL of sysexits.h: another run has the cluster."""


def main() -> None:
    """Take the lock in the first argument and become the command in the others."""
    descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit(BUSY)
    os.ftruncate(descriptor, 0)
    os.write(descriptor, json.dumps({"pid": os.getpid()}).encode())
    os.set_inheritable(descriptor, True)
    os.execv(sys.argv[2], sys.argv[2:])


if __name__ == "__main__":
    main()
