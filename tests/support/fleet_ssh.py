# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""SSH at many addresses of this machine, each connection by a dropbear of its own.

    python fleet_ssh.py <host key> <address:port> ...

One dropbear for all would let five connections be about to log in, and drop the others. Says ``ready`` once all listen.
"""

from __future__ import annotations

import resource
import selectors
import socket
import subprocess
import sys


def serve(host_key: str, places: list[str]) -> None:
    """Serve until the process is ended."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    listeners = selectors.DefaultSelector()
    for place in places:
        address, _colon, port = place.rpartition(":")
        listeners.register(socket.create_server((address, int(port)), backlog=64), selectors.EVENT_READ)
    print("ready", flush=True)
    while True:
        for key, _events in listeners.select():
            connection, _peer = key.fileobj.accept()
            with connection:
                subprocess.Popen(["dropbear", "-i", "-s", "-r", host_key], stdin=connection, stdout=connection)


if __name__ == "__main__":
    serve(sys.argv[1], sys.argv[2:])
