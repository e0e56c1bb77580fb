# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a machine is a node of a cluster (private to flotilla.kubernetes).

Apart from what talks to the cluster, so that a module which only asks this stays small. Python 3.9, standard library only.
"""

from __future__ import annotations

import fcntl
import http.client
from pathlib import Path

from .._command import run
from .._state import STATE_DIR

KUBELET_KUBECONFIG = Path("/etc/kubernetes/kubelet.conf")


def membership() -> str:
    """Return ``none``, ``unfinished`` (a step began and did not end) or ``member``."""
    if (STATE_DIR / "kubeadm.started").exists():
        return "unfinished"
    return "member" if KUBELET_KUBECONFIG.exists() else "none"


def step_at_work() -> bool:
    """Tell whether a kubeadm that a run started works on this node, maybe one of a run that was killed: it holds the node's lock."""
    try:
        with (STATE_DIR / "kubeadm.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False


def kubelet_version() -> str:
    """Return the version of the installed kubelet, without a leading ``v``."""
    return run(["kubelet", "--version"], code="KUBELET_MISSING").split()[-1].lstrip("v")


def kubelet_problem(port: int = 10248) -> str:
    """Return why the kubelet of this node is not healthy, by its own word; nothing when it is."""
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        connection.close()
    except (OSError, http.client.HTTPException) as error:
        return str(error)
    return "" if answer.status == 200 else f"it answers {answer.status}"
