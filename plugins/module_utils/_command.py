# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a command and get its output or one clear error (private to flotilla.kubernetes).

Runs on nodes too: Python 3.9 and the standard library only.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from ._errors import FlotillaError

# sudo's secure_path and systemd leave /usr/local/bin out on some distributions; binaries of a bundle are there.
SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@contextmanager
def memory_file(content: str | bytes) -> Iterator[Path]:
    """Give the path of a file for this process and the commands that it runs, as secrets need it: nobody else but root can open it.

    It is in memory only and has no name anywhere, so it is gone with this process, however that ends.
    """
    descriptor = os.memfd_create("flotilla", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(content.encode() if isinstance(content, str) else content)
        # By our number and not /proc/self: commands open it, each from its beginning, and inherit nothing.
        yield Path(f"/proc/{os.getpid()}/fd/{descriptor}")
    finally:
        os.close(descriptor)


def run(
    argv: Sequence[str],
    *,
    stdin: str | None = None,
    timeout: float = 60.0,
    code: str = "COMMAND_FAILED",
    remedy: str = "",
    environment: Mapping[str, str] | None = None,
) -> str:
    """Return the standard output of ``argv``.

    :param timeout: seconds until the command is killed.
    :param environment: further environment variables.
    :param code: the error code of a failure; the message names the command and the last lines that it printed.
    :raises FlotillaError: the command is missing, failed, or did not end in time.
    """
    name = argv[0]
    try:
        done = subprocess.run(
            list(argv),
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
            env={**node_environment(), **(environment or {})},
        )
    except FileNotFoundError as error:
        raise FlotillaError(code, f"The command {name} is not installed.", remedy, error) from error
    except subprocess.TimeoutExpired as error:
        raise FlotillaError(code, f"{' '.join(argv[:3])} did not end within {timeout:g} s.", remedy, _tail(error.stderr)) from error
    if done.returncode != 0:
        raise FlotillaError(
            code,
            f"{' '.join(argv[:3])} failed (exit code {done.returncode}): {_tail(done.stderr or done.stdout)}",
            remedy,
            details={"rc": done.returncode, "stdout": done.stdout[-8000:], "stderr": done.stderr[-8000:]},
        )
    return done.stdout


def node_environment() -> dict[str, str]:
    """Return the environment for commands on a node: that of the login, with our PATH and without proxies.

    What these commands talk to is the cluster itself, or a service that has its own proxy. And kubeadm would write each variable that
    ends in ``_proxy``, password and all, into the manifests of the control plane and into the DaemonSet of kube-proxy, which every reader
    of the cluster sees: https://github.com/kubernetes/kubernetes/blob/master/cmd/kubeadm/app/util/env.go. None of them needs it. A proxy
    for an OIDC issuer outside belongs into ``apiServer.extraEnvs`` alone.
    """
    kept = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    return {**kept, "PATH": SEARCH_PATH, "LC_ALL": "C.UTF-8"}


def _tail(output: str | bytes | None, lines: int = 12) -> str:
    text = output.decode(errors="replace") if isinstance(output, bytes) else output or ""
    return "\n".join(text.strip().splitlines()[-lines:])
