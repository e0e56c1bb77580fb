# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program behind `_module_process`: one request per line of its input, one answer per line of its output.

It is no part of Ansible's controller, so that modules find themselves where they expect to be: standard library and ansible.module_utils.
"""

from __future__ import annotations

import importlib
import io
import json
import os
import runpy
import sys
import traceback
from types import ModuleType
from typing import Any

from ansible.module_utils import urls


def serve(root: str, package: str, shared: str) -> None:
    """Answer until the input ends."""
    # This file's folder.
    del sys.path[0]
    # Of that folder nothing else: it may have another ansible-core beside the collections.
    collections = ModuleType("ansible_collections")
    collections.__path__ = [f"{root}/ansible_collections"]
    sys.modules[collections.__name__] = collections
    importlib.import_module(f"{package}.{shared}")
    share_contexts()
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(answer(package, json.loads(line)) + b"\n")
        sys.stdout.buffer.flush()


def share_contexts() -> None:
    """Let all requests of a module have one TLS context: with one of its own each reads every certificate that the system trusts."""
    make, made = urls.make_context, {}

    def shared(*arguments: Any, **options: Any) -> Any:
        key = repr((arguments, sorted(options.items())))
        if key not in made:
            made[key] = make(*arguments, **options)
        return made[key]

    urls.make_context = shared


def answer(package: str, request: dict[str, Any]) -> bytes:
    """Return what a module printed, in one line."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        os.dup2(writing, 1)
        os.close(reading)
        os.close(writing)
        be_module(f"{package}.modules.{request['module']}", request)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        printed = stream.read()
    os.waitpid(child, 0)
    try:
        return json.dumps(json.loads(printed)).encode()
    except ValueError:
        return json.dumps(
            {"failed": True, "msg": "The module returned no JSON.", "module_stderr": printed.decode(errors="replace")}
        ).encode()


def be_module(name: str, request: dict[str, Any]) -> None:
    """Run a module, and end this process with it."""
    try:
        os.environ.update(request["environment"])
        sys.argv = [name]
        sys.stdin = io.TextIOWrapper(io.BytesIO(json.dumps({"ANSIBLE_MODULE_ARGS": request["arguments"]}).encode()))
        runpy.run_module(name, run_name="__main__")
    except SystemExit:
        pass
    except BaseException:
        sys.stdout.write(json.dumps({"failed": True, "msg": "The module crashed.", "module_stderr": traceback.format_exc()}))
    finally:
        sys.stdout.flush()
        os._exit(0)


if __name__ == "__main__":
    serve(*sys.argv[1:])
