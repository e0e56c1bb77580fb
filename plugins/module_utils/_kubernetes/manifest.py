# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Server-side apply with kubectl (private to flotilla.kubernetes). Runs on a control plane; Python 3.9, standard library only."""

from __future__ import annotations

import re
from pathlib import Path

from .._command import run
from .._errors import FlotillaError
from .client import FIELD_MANAGER

# kubectl writes an object as it is and as it would be into two folders with changing names, and lets diff compare them.
_FOLDER = re.compile(r"\S*/(LIVE|MERGED)-\d+/")
_OBJECT = re.compile(r"^diff -u -N LIVE/(\S+)", re.MULTILINE)


def difference(content: str, kubeconfig: Path, timeout: float) -> str:
    """Return what applying ``content`` would change, as kubectl shows it (Secrets masked), or nothing.

    :param timeout: seconds.
    :raises FlotillaError: the API server refuses an object.
    """
    try:
        _kubectl(["diff"], content, kubeconfig, timeout)
    except FlotillaError as error:
        # kubectl diff ends with 1 for a difference and above 1 for an error.
        if error.details.get("rc") == 1:
            return _FOLDER.sub(r"\1/", str(error.details["stdout"]))
        # The server can not try an object whose namespace comes with the same content.
        if re.search(r'namespaces "[^"]+" not found', str(error.details.get("stderr"))):
            return f"{error.details['stderr'].strip()}: everything in it is new\n"
        raise
    return ""


def objects_of(shown: str) -> list[str]:
    """Return the objects in a text of `difference`, each as version, kind, namespace and name."""
    return sorted(set(_OBJECT.findall(shown)))


def apply(content: str, kubeconfig: Path, timeout: float) -> None:
    """Apply ``content``.

    :param timeout: seconds.
    :raises FlotillaError: the API server refuses an object.
    """
    _kubectl(["apply"], content, kubeconfig, timeout)


def _kubectl(verb: list[str], content: str, kubeconfig: Path, timeout: float) -> str:
    return run(
        [
            "kubectl",
            *verb,
            f"--kubeconfig={kubeconfig}",
            "--server-side",
            "--force-conflicts",
            f"--field-manager={FIELD_MANAGER}",
            "--filename=-",
        ],
        stdin=content,
        timeout=timeout,
        code="KUBERNETES_APPLY_FAILED",
        remedy="Mend the object that kubectl names and run again.",
    )
