# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asks a container over the network whether it serves, the way its clients will (private to flotilla.kubernetes)."""

from __future__ import annotations

import socket
import struct
import time
from typing import Callable


def ssh_banner(address: str, port: int = 22, timeout: float = 2) -> bool:
    """Tell whether an SSH server greets."""
    try:
        with socket.create_connection((address, port), timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def name_answer(address: str, name: str, timeout: float = 2) -> int | None:
    """Ask a resolver for the A record of ``name`` and return the answer's code (0 found, 3 NXDOMAIN; RFC 1035), or None."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.strip(".").split("."))
    query = struct.pack(">HHHHHH", 0xF107, 0x0100, 1, 0, 0, 0) + labels + b"\0" + struct.pack(">HH", 1, 1)
    answer = _exchange(address, 53, query, timeout)
    return answer[3] & 0x0F if answer and len(answer) >= 12 and answer[:2] == query[:2] else None


def time_answer(address: str, timeout: float = 2) -> int | None:
    """Ask a time server (RFC 5905, client mode) and return its stratum, or None."""
    answer = _exchange(address, 123, b"\x23" + 47 * b"\0", timeout)
    return answer[1] if answer and len(answer) >= 48 else None


def wait(predicate: Callable[[], bool], timeout: float, pause: float = 0.1) -> bool:
    """Call ``predicate`` until it is true or ``timeout`` seconds have passed, and tell which."""
    deadline = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() >= deadline:
            return False
        time.sleep(pause)
    return True


def _exchange(address: str, port: int, query: bytes, timeout: float) -> bytes | None:
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
            channel.settimeout(timeout)
            channel.connect((address, port))
            channel.send(query)
            return channel.recv(4096)
    except OSError:
        return None
