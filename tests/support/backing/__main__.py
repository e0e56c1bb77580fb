# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run a backing by hand or for a test: until it is told to end, and then nothing of it is left."""

from __future__ import annotations

import argparse
import importlib
import signal
import threading
from pathlib import Path

from backing import image
from backing.keeper import Keeper, say


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m backing", description=__doc__)
    parser.add_argument("--cloud", default="aws", help="folder next to this file")
    parser.add_argument("--url", default="", help="endpoint of the cloud's API")
    parser.add_argument("--owner", default="", help="cluster whose machines are made real")
    parser.add_argument("--name", required=True, help="of this backing, on this host")
    parser.add_argument("--ready", type=Path, help="file that is made when it runs")
    parser.add_argument("--lenient", action="store_true", help="let targets reach themselves through a balancer that is set so")
    parser.add_argument("--sweep", action="store_true", help="only remove what a backing of this name has left")
    options = parser.parse_args()
    cloud = importlib.import_module(f"backing.{options.cloud}.adapter").Adapter(options.url, options.owner) if options.url else None
    keeper = Keeper(cloud, options.name, "" if options.sweep else image.ensure(), not options.lenient)
    if not options.sweep:
        stopped = threading.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stopped.set())
        if options.ready:
            options.ready.write_text("ready", encoding="utf-8")
        say(f"backing {options.name} of {options.owner} at {options.url}")
        keeper.run(stopped)
    keeper.sweep()


if __name__ == "__main__":
    main()
