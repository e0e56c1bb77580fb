# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ask an API endpoint at an even rate, each time through a new connection, and write down what became of every request.

usage: prober.py KUBECONFIG OUTPUT [RATE]      ends on SIGTERM

A line of OUTPUT is "<start> <end> <ok or the error>", in seconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

RATE = 50.0
# Of one request. Longer than an API server of a busy machine takes, shorter than a failing stretch that matters.
TIMEOUT = 2.0
# Read from etcd with a quorum, so that it fails while there is none.
PATH = "/api/v1/namespaces/kube-system"


@contextlib.contextmanager
def asking(kubeconfig: Path, log: Path, rate: float = RATE) -> Iterator[None]:
    """Ask all the while, in a process of its own; ``log`` is whole afterwards."""
    process = subprocess.Popen([sys.executable, __file__, str(kubeconfig), str(log), str(rate)])
    try:
        yield
    finally:
        process.terminate()
        process.wait(30)


def results(log: Path) -> list[str]:
    """Return what became of each request: ``ok`` or the error."""
    return [line.split(" ", 2)[2] for line in log.read_text(encoding="utf-8").splitlines()]


def outage(log: Path, since: float) -> float:
    """Return how many seconds after ``since`` requests succeeded again for good; 0.0 when none failed.

    That is the end of the first request of those that all succeeded after the last failed one.

    :raises ValueError: they still fail.
    """
    lines = [line.split(" ", 2) for line in log.read_text(encoding="utf-8").splitlines()]
    requests = sorted((float(start), float(end), result) for start, end, result in lines if float(end) >= since)
    failed = [index for index, (_start, _end, result) in enumerate(requests) if result != "ok"]
    if not failed:
        return 0.0
    if failed[-1] == len(requests) - 1:
        raise ValueError(f"the last request failed: {requests[-1][2]}")
    return requests[failed[-1] + 1][1] - since


def longest(log: Path) -> float:
    """Return the longest time in seconds in which no request succeeded, from the start of the first that failed."""
    lines = [line.split(" ", 2) for line in log.read_text(encoding="utf-8").splitlines()]
    stretch, began = 0.0, None
    for start, end, result in sorted((float(start), float(end), result) for start, end, result in lines):
        if result != "ok":
            began = start if began is None else began
        elif began is not None:
            stretch, began = max(stretch, end - began), None
    return stretch


def _context(kubeconfig: str) -> ssl.SSLContext:
    def embedded(field: str) -> bytes:
        return base64.b64decode(re.search(rf"{field}: (\S+)", kubeconfig).group(1))

    context = ssl.create_default_context(cadata=embedded("certificate-authority-data").decode())
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(embedded("client-certificate-data") + embedded("client-key-data"))
        pair.flush()
        context.load_cert_chain(pair.name)
    return context


async def _ask(host: str, port: int, context: ssl.SSLContext) -> None:
    reader, writer = await asyncio.open_connection(host, port, ssl=context)
    try:
        writer.write(f"GET {PATH} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
        status = await reader.readline()
        if status.split()[1:2] != [b"200"]:
            raise OSError(status.decode(errors="replace").strip() or "closed without an answer")
        await reader.read()
    finally:
        writer.transport.abort()


async def _measure(host: str, port: int, context: ssl.SSLContext, output: TextIO) -> None:
    start = time.monotonic()
    try:
        await asyncio.wait_for(_ask(host, port, context), TIMEOUT)
        result = "ok"
    except (OSError, asyncio.TimeoutError, asyncio.IncompleteReadError) as error:
        result = " ".join(f"{type(error).__name__} {error}".split())
    output.write(f"{start:.4f} {time.monotonic():.4f} {result}\n")


async def run(kubeconfig: Path, output: TextIO, rate: float) -> None:
    text = kubeconfig.read_text(encoding="utf-8")
    host, port = re.search(r"server: https://([^:\s]+):(\d+)", text).groups()
    context = _context(text)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    tasks: set[asyncio.Task[None]] = set()
    due = time.monotonic()
    while not stop.is_set():
        task = asyncio.create_task(_measure(host, int(port), context, output))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        due += 1 / rate
        await asyncio.sleep(max(0.0, due - time.monotonic()))
    await asyncio.gather(*tasks)


if __name__ == "__main__":
    with Path(sys.argv[2]).open("w", encoding="utf-8", buffering=1) as stream:
        asyncio.run(run(Path(sys.argv[1]), stream, float(sys.argv[3]) if len(sys.argv) > 3 else RATE))
