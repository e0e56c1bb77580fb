# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers of the local cloud that boot like machines (private to flotilla.kubernetes)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._errors import FlotillaError
from . import layout as names
from .session import Session

START_TIMEOUT = 120


# podman (4.3) spools its standard input into a file and leaves that behind; the host key of a machine is in it. /run is memory, and the
# next run for the same container takes the same folder.
_COPY_IN = """
umask 077
spool=/run/flotilla-copy-$1
mkdir -p "$spool"
TMPDIR=$spool podman cp - "$1:/"
status=$?
rm -rf "$spool"
exit $status
"""


@dataclass(frozen=True)
class Container:
    """A container as podman lists it; ``state`` is podman's own word."""

    name: str
    state: str
    labels: dict[str, str]
    networks: tuple[str, ...]

    @property
    def running(self) -> bool:
        """Whether its processes run."""
        return self.state == "running"

    @property
    def started_once(self) -> bool:
        """Whether it was ever started; otherwise the run that made it was interrupted."""
        return self.state not in ("created", "configured", "initialized", "unknown")


def list_containers(session: Session, cluster: str | None = None) -> dict[str, Container]:
    """Return the containers of a cluster, or all of the host, by name: one read, whatever their number."""
    filters = ["--filter", f"label={names.LABEL_CLUSTER}={cluster}"] if cluster else []
    found = {}
    for entry in session.podman_json("ps", "--all", *filters):
        name = (entry.get("Names") or [entry.get("Id", "")])[0]
        found[name] = Container(name, str(entry.get("State", "")).lower(), entry.get("Labels") or {}, tuple(entry.get("Networks") or ()))
    return found


def create(
    session: Session,
    *,
    name: str,
    image: str,
    network: str,
    address: str,
    resolver: str,
    labels: dict[str, str],
    files: bytes,
    volumes: dict[str, str] | None = None,
) -> None:
    """Make a container, put ``files`` (a tar) into it and leave it unstarted.

    :param volumes: volume name -> folder.
    """
    arguments = [
        *session.runtime_options(),
        "create",
        "--name", name,
        "--hostname", name,
        "--privileged",
        # systemd finds its own way in; --systemd=always would mount the host's hierarchy into the container on cgroup v1.
        "--systemd=false",
        "--env", "container=podman",
        "--cgroupns=private",
        "--tmpfs", "/run",
        "--tmpfs", "/run/lock",
        "--tmpfs", "/tmp",
        # A host without CAP_SYS_RESOURCE can only lower limits, so they are set here for everything inside.
        "--ulimit", "nofile=20000:20000",
        "--ulimit", "nproc=30000:30000",
        "--pids-limit", "-1",
        "--network", network,
        "--ip", address,
        # Always the same: with podman's random ones the host and the other machines would send to the former address for up to
        # 45 s after a restart, and after a machine's replacement, until their neighbour entries time out.
        "--mac-address", names.mac(address),
        "--dns", resolver,
        "--dns-search", ".",
        # podman would copy the host's own /etc/hosts; ours is among the files.
        "--no-hosts",
    ]  # fmt: skip
    if Path("/lib/modules").is_dir():
        arguments += ["--volume", "/lib/modules:/lib/modules:ro"]
    for volume, folder in sorted((volumes or {}).items()):
        arguments += ["--volume", f"{volume}:{folder}"]
    for key, value in sorted({**labels, names.LABEL_ADDRESS: address}.items()):
        arguments += ["--label", f"{key}={value}"]
    session.podman(*arguments, image, code="LOCAL_CONTAINER", message=f"podman did not make the container {name}.")
    session.run(
        ["sh", "-c", _COPY_IN, "sh", name], data=files, code="LOCAL_CONTAINER", message=f"podman did not put the files into {name}."
    )


def hosts_file(name: str, address: str) -> tuple[int, str]:
    """Return mode and text of a container's /etc/hosts."""
    return 0o644, f"127.0.0.1 localhost\n{address} {name}\n"


def start(session: Session, container: str, state: str = "") -> None:
    """Start a container, whatever stopped state it is in."""
    verb = "unpause" if state == "paused" else "start"
    session.podman(
        verb, container, timeout=START_TIMEOUT, code="LOCAL_CONTAINER", message=f"podman did not start the container {container}."
    )


def remove(session: Session, containers: list[str]) -> None:
    """Remove containers at once and without a polite stop (systemd does not end within podman's patience)."""
    if containers:
        session.podman("rm", "--force", "--time", "0", "--volumes", "--ignore", *containers, timeout=60 + 10 * len(containers))


def journal(session: Session, container: str, lines: int = 25) -> str:
    """Return the last lines of a container's journal, or of what it wrote to its console, for an error message."""
    for arguments in (["exec", container, "journalctl", "--no-pager", "-n", str(lines)], ["logs", "--tail", str(lines), container]):
        done = session.run(["podman", *arguments], check=False, timeout=20)
        text = (done.stdout + done.stderr).strip()
        if done.returncode == 0 and text:
            return text
    return "(no journal)"


def exec_text(session: Session, container: str, argv: list[str], **options: Any) -> str:
    """Run a command in a running container and return its standard output."""
    interactive = ["--interactive"] if options.get("data") is not None else []
    return session.podman("exec", *interactive, container, *argv, **options)


def write_file(session: Session, container: str, path: str, text: str) -> None:
    """Replace a file in a running container in one step."""
    script = 'cat > "$1.new" && mv "$1.new" "$1"'
    exec_text(session, container, ["sh", "-c", script, "sh", path], data=text.encode())


def failed(name: str, seconds: float, what: str, log: str) -> FlotillaError:
    """Return the error of a container that did not become ready."""
    return FlotillaError(
        "LOCAL_NOT_READY",
        f"{name} does not answer {what} after {seconds:g} s.",
        "See its journal in the cause; on a busy host a larger wait_timeout helps.",
        cause=log,
    )
