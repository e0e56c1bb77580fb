# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a control plane is and whether it serves (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

import time
from typing import Any

from .._node import architecture
from .gates import api_server_problem
from .membership import kubelet_version, membership, step_at_work
from .staged_restore import staged

POLL = 0.5  # seconds


def look(address: str | None, wait: float, wait_for_steps: bool) -> dict[str, Any]:
    """Return ``membership``, ``api_ready``, ``address``, ``architecture``, ``kubelet_version`` and ``restore`` of this machine.

    :param address: of its own API server; without one nothing is asked.
    :param wait: seconds to wait for the API server of a member.
    :param wait_for_steps: whether to wait for that of a machine, too, on which a kubeadm of a killed run still works. Who attaches to it
        later need not, and should not: it may itself wait for what this run is about to do, such as the removal of a dead etcd learner.
    """
    deadline = time.monotonic() + wait
    while True:
        # Asked first: a step that ends now has taken its mark away by the time it is looked for.
        at_work = step_at_work()
        state = membership()
        ready = bool(address) and state == "member" and not api_server_problem(address)
        hopeless = state == "none" or (state == "unfinished" and not (at_work and wait_for_steps))
        if ready or hopeless or not address or time.monotonic() >= deadline:
            break
        time.sleep(POLL)
    return {
        "membership": state,
        "api_ready": ready,
        "address": address or "",
        "architecture": architecture(),
        "kubelet_version": kubelet_version() if state == "member" else "",
        "restore": bool(staged()),
    }
