# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loaded by every Python of a run that is to be killed: announces what modules do to the harness and waits for its leave.

On the controller it is on PYTHONPATH; on a node the harness puts it in place as `kill_gate` with a .pth file. It announces, before and
after: commands, file renames and changing HTTP requests of modules, and modules and file transfers of the controller (by
`callbacks/kill_modules.py`). A command that takes longer is announced once more in its middle.

Python 3.9, standard library only: it runs on nodes.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

SOCKET = os.environ.get("FLOTILLA_TEST_KILL_GATE", "/run/kill-gate.sock")
RUN = os.environ.get("FLOTILLA_TEST_KILL_RUN", "")
MIDDLE = 0.3
"""Seconds after which something that still works counts as half done."""


def ask(kind: str, detail: str, phase: str, **more: str) -> None:
    """Announce an event and return when the harness says so; without a harness at once."""
    event = {"run": RUN, "kind": kind, "detail": detail, "phase": phase, **more}
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as gate:
            gate.connect(SOCKET)
            gate.sendall(json.dumps(event).encode() + b"\n")
            gate.recv(1)
    except OSError:
        pass


class Middle:
    """Announces once that something is half done, if it takes long enough."""

    def __init__(self, kind: str, detail: str, **more: str) -> None:
        self._timer = threading.Timer(MIDDLE, ask, (kind, detail, "during"), more)
        self._timer.daemon = True
        self._timer.start()

    def over(self) -> None:
        self._timer.cancel()


def around(kind: str, detail: str, call: Callable[[], Any], **more: str) -> Any:
    """Do ``call`` between the two announcements."""
    ask(kind, detail, "before", **more)
    try:
        return call()
    finally:
        ask(kind, detail, "after", **more)


def _module() -> str:
    """Return the name of the module or action of ours that is at work, or nothing."""
    # A module may have threads; what it is stands on the stack of its main one.
    stacks: list[Any] = [sys._getframe(1), sys._current_frames().get(threading.main_thread().ident or 0)]
    for frame in stacks:
        while frame:
            folder, _slash, name = frame.f_code.co_filename.rpartition("/")
            if folder.endswith(("/plugins/modules", "ansible/modules", "kubernetes/plugins/action")):
                return str(name[:-3])
            frame = frame.f_back
    return ""


def _patch_renames() -> None:
    def gated(real: Any) -> Any:
        def rename(source: Any, target: Any, **options: Any) -> Any:
            module = _module()
            if not module:
                return real(source, target, **options)
            return around("rename", os.fsdecode(target), lambda: real(source, target, **options), module=module)

        return rename

    os.rename, os.replace = gated(os.rename), gated(os.replace)


def _patch_commands() -> None:
    start, ended = subprocess.Popen.__init__, subprocess.Popen._handle_exitstatus  # type: ignore[attr-defined]

    def gated_start(self: Any, args: Any, *rest: Any, **options: Any) -> None:
        module = _module()
        argv = [args] if isinstance(args, (str, bytes)) else list(args)
        self.gate = (" ".join(os.fsdecode(part) for part in argv), module) if module else None
        if self.gate:
            ask("command", self.gate[0], "before", module=module)
        start(self, args, *rest, **options)
        self.middle = Middle("command", self.gate[0], module=module) if self.gate else None

    def gated_end(self: Any, *arguments: Any, **options: Any) -> None:
        ended(self, *arguments, **options)
        if self.gate:
            self.middle.over()
            ask("command", self.gate[0], "after", module=self.gate[1])

    subprocess.Popen.__init__ = gated_start  # type: ignore[method-assign]
    subprocess.Popen._handle_exitstatus = gated_end  # type: ignore[attr-defined]


def _patch_requests() -> None:
    import http.client

    request, answer = http.client.HTTPConnection.request, http.client.HTTPConnection.getresponse

    def gated_request(self: Any, method: str, url: str, *rest: Any, **options: Any) -> None:
        self.gate = (f"{method} {url}", _module()) if method not in ("GET", "HEAD") else None
        if self.gate:
            ask("request", self.gate[0], "before", module=self.gate[1])
        request(self, method, url, *rest, **options)

    def gated_answer(self: Any) -> Any:
        response = answer(self)
        if getattr(self, "gate", None):
            ask("request", self.gate[0], "after", module=self.gate[1])
            self.gate = None
        return response

    http.client.HTTPConnection.request = gated_request  # type: ignore[method-assign]
    http.client.HTTPConnection.getresponse = gated_answer  # type: ignore[method-assign]


if Path(SOCKET).exists():
    _patch_renames()
    # What Ansible itself starts are connections and modules: they are in callbacks/kill_modules.py.
    if not any(part.endswith("ansible-playbook") for part in getattr(sys, "orig_argv", ())[:3]):
        _patch_commands()
        _patch_requests()
