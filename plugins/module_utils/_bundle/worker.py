# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that makes a bundle while Ansible waits (private to flotilla.kubernetes).

`session` starts it: ``python -m ..._bundle.worker``, the request as JSON on standard input, the lock as an inherited descriptor.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from dataclasses import asdict
from pathlib import Path
from typing import Any

from .._errors import FlotillaError
from .build import Request, build
from .progress import Journal, Report
from .provided import Provided
from .source import Credentials, Mirror


def main() -> None:
    task = json.load(sys.stdin)
    # The lock is held as long as this process lives; compilers that outlive it must not hold it too.
    os.set_inheritable(task["lock"], False)
    os.nice(5)
    work(request_from(task["request"]), Path(task["log"]), Journal(Path(task["journal"])))


def work(request: Request, log: Path, journal: Journal) -> None:
    """Make the bundle and write how it went to the journal."""
    report = Report(journal.emit, f"bundle {request.version}")
    try:
        build(request, log, report)
        journal.emit({"result": {"elapsed": report.total()}})
    except FlotillaError as error:
        journal.emit({"error": error.as_result()})
    except Exception as error:  # whatever it is, those who wait must hear of it
        trace = traceback.format_exc()
        message = f"Making the bundle of Kubernetes {request.version} failed: {type(error).__name__}: {error}."
        journal.emit({"error": FlotillaError("BUNDLE_FAILED", message, f"More is in {log}.", trace, {"log": str(log)}).as_result()})


def request_as_json(request: Request) -> dict[str, Any]:
    """Return a request as JSON-ready data, its credentials included."""
    return {name: str(value) if isinstance(value, Path) else value for name, value in asdict(request).items()}


def request_from(data: dict[str, Any]) -> Request:
    """Return the request that `request_as_json` gave."""
    paths = {name: Path(data[name]) for name in ("directory", "modules", "cache")}
    mirror = Mirror(**data["mirror"]) if data["mirror"] else None
    provided = Provided(data["provided"]["manifest"], tuple(data["provided"]["archives"]))
    more = {
        "architectures": tuple(data["architectures"]),
        "mirror": mirror,
        "credentials": Credentials(**data["credentials"]),
        "provided": provided,
        "addons": tuple(data["addons"]),
    }
    return Request(**{**data, **paths, **more})


if __name__ == "__main__":
    main()
