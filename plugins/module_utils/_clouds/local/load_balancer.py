# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API load balancer of a local cluster: HAProxy in a container (private to flotilla.kubernetes)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, Callable

from ... import _haproxy as haproxy
from ..._errors import FlotillaError
from ..._haproxy import BACKEND, LAST_RESORT, SOCKET, Server, parse_stat
from ..result import Result
from . import containers, image, locking, network, probes
from . import layout as names
from .session import Session

CONFIG_FILE = "/etc/haproxy/haproxy.cfg"
START_TIMEOUT = 60
SETTLE_TIMEOUT = 5
ACTIVE, DRAINED = "active", "drained"


@dataclass(frozen=True)
class Member:
    """A control plane behind the load balancer; ``state`` is `ACTIVE` or `DRAINED`."""

    id: str
    address: str
    state: str = ACTIVE


def to_members(items: list[dict[str, Any]]) -> list[Member]:
    """Return the members that the module was given, ordered by id, or fail on the first that HAProxy would not take."""
    members = sorted((Member(str(item["id"]), str(item["address"]), item.get("state") or ACTIVE) for item in items), key=lambda m: m.id)
    for index, member in enumerate(members):
        problem = ""
        if not re.fullmatch(r"[A-Za-z0-9_.:-]+", member.id):
            problem = "its id has characters that HAProxy does not take"
        elif not re.fullmatch(r"[0-9a-fA-F.:]+", member.address):
            problem = f"its address '{member.address}' is not an IP address"
        elif index and members[index - 1].id == member.id:
            problem = "its id is given twice"
        if problem:
            raise FlotillaError(
                "LOCAL_LOAD_BALANCER_MEMBER",
                f"Member '{member.id}' of the API load balancer is not usable: {problem}.",
                "Correct the members that are passed to local_load_balancer.",
            )
    return members


def render(port: int, members: list[Member]) -> str:
    """Return HAProxy's configuration. A drained member is ``disabled``, so a reload or reboot does not bring it back."""
    return haproxy.render(port, [(member.id, member.address, "disabled" if member.state == DRAINED else "") for member in members])


def parse_members(config: str) -> list[Member]:
    """Return the members that a configuration of `render` has."""
    pattern = re.compile(r"^    server (\S+) (\S+):\d+( disabled)?$", re.MULTILINE)
    return [Member(match[0], match[1], DRAINED if match[2] else ACTIVE) for match in pattern.findall(config)]


def same_but_states(one: str, other: str) -> bool:
    """Tell whether two configurations differ in nothing but which members are drained: that needs no reload."""
    pattern = re.compile(r"^(    server \S+ \S+(?: no-check)?) disabled$", re.MULTILINE)
    return pattern.sub(r"\1", one) == pattern.sub(r"\1", other)


def present(
    session: Session,
    definition: dict[str, Any],
    items: list[dict[str, Any]],
    *,
    drain_timeout: float = 10,
    close: bool = True,
    check_mode: bool = False,
) -> Result:
    """Bring the load balancer to these members, or with ``check_mode`` say what would be done.

    :param drain_timeout: seconds that open connections of a member get to end when it is drained; then they are closed.
    :param close: whether they are closed at all, or left to the API server.
    """
    with locking.hold(definition, check_mode):
        return _present(session, definition, items, drain_timeout if close else None, check_mode)


def _present(
    session: Session, definition: dict[str, Any], items: list[dict[str, Any]], drain_timeout: float | None, check_mode: bool
) -> Result:
    place = names.layout(definition)
    port = int((definition.get("api_endpoint") or {}).get("port") or 6443)
    members = to_members(items)
    wanted = render(port, members)
    own = network.find(session, place) if check_mode else network.require(session, place)
    container = _find(session, place, network.network_uid(own))
    usable = container is not None and container.started_once
    running = container is not None and container.running
    config, servers = _read(session, place) if running else ("", {})
    actions: list[Callable[[], Any]] = []
    if container is not None and not usable:
        actions.append(lambda: containers.remove(session, [place.load_balancer]))
    if not usable:
        actions.append(lambda: _create(session, definition, place, network.network_uid(own), wanted))
    elif not running:
        actions.append(lambda: containers.start(session, place.load_balancer, container.state if container else ""))
        actions.append(lambda: _wait_for_socket(session, place))
        actions.append(lambda: _replace(session, place, wanted, reload=True))
    elif config != wanted and not same_but_states(config, wanted):
        actions.append(lambda: _replace(session, place, wanted, reload=True))
    elif config != wanted:
        actions.append(lambda: _replace(session, place, wanted, reload=False))
    # A new process reads the states from its configuration; a running one is told.
    drain = [m.id for m in members if m.state == DRAINED and m.id in servers and not servers[m.id].disabled]
    ready = [m.id for m in members if m.state == ACTIVE and m.id in servers and servers[m.id].disabled]
    if drain or ready:
        actions.append(lambda: _switch(session, place, drain, ready, drain_timeout))

    result = Result(bool(actions))
    result.before = _diff_state(container, port if config == wanted else _port(config), parse_members(config))
    result.after = {"load_balancer": "running", "port": port, "members": {m.id: {"address": m.address, "state": m.state} for m in members}}
    if not check_mode:
        for action in actions:
            action()
        # Nobody depends on a new one yet.
        if usable and (actions or not all(server.settled for server in servers.values())):
            servers = _settle(session, place, members)
    result.value = {
        "endpoint": {"host": place.load_balancer_address, "port": port},
        "members": [_member_value(member, servers.get(member.id)) for member in members],
    }
    return result


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return endpoint and members of the load balancer that there is; without one, neither. Nothing is planned or changed."""
    place = names.layout(definition)
    container = _find(session, place, "")
    if container is None:
        return Result()
    config, servers = _read(session, place) if container.running else ("", {})
    port = _port(config) or int((definition.get("api_endpoint") or {}).get("port") or 6443)
    members = [_member_value(member, servers.get(member.id)) for member in parse_members(config)]
    return Result(value={"endpoint": {"host": place.load_balancer_address, "port": port}, "members": members})


def absent(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Remove the load balancer; nothing there is nothing to do."""
    with locking.hold(definition, check_mode):
        place = names.layout(definition)
        container = _find(session, place, network.network_uid(network.find(session, place)))
        result = Result(container is not None, _diff_state(container, None, []), _diff_state(None, None, []))
        if container is not None and not check_mode:
            containers.remove(session, [place.load_balancer])
        return result


def _find(session: Session, place: names.Layout, uid: str) -> containers.Container | None:
    container = containers.list_containers(session, place.cluster).get(place.load_balancer)
    if container is not None:
        names.check_owner(container.labels, place, uid, f"Container {place.load_balancer}")
    return container


def _read(session: Session, place: names.Layout) -> tuple[str, dict[str, Server]]:
    """Return configuration and state of the servers, in one call.

    In the middle of a reload the process that is going away may take the question and not answer it, so it is asked up to three times.
    """
    script = f"cat {CONFIG_FILE}; echo 'show stat -1 4 -1' | socat -t 2 - {SOCKET}"
    config, stat = "", ""
    for _attempt in range(3):
        text = session.run(["podman", "exec", place.load_balancer, "sh", "-c", script], check=False).stdout
        config, _header, stat = text.partition("# pxname")
        if stat:
            break
    return config, parse_stat(f"# pxname{stat}")


def _create(session: Session, definition: dict[str, Any], place: names.Layout, uid: str, config: str) -> None:
    wants = "etc/systemd/system/multi-user.target.wants"
    containers.create(
        session,
        name=place.load_balancer,
        image=image.ensure(session, definition["image"]["family"]),
        network=place.network,
        address=place.load_balancer_address,
        resolver=place.services_address,
        labels=place.labels(names.ROLE_LOAD_BALANCER, uid),
        files=image.archive(
            {
                CONFIG_FILE.strip("/"): (0o644, config),
                "etc/hosts": containers.hosts_file(place.load_balancer, place.load_balancer_address),
            },
            {f"{wants}/haproxy.service": "/usr/lib/systemd/system/haproxy.service", "etc/systemd/system/ssh.service": "/dev/null"},
        ),
    )
    containers.start(session, place.load_balancer)
    _wait_for_socket(session, place)


def _wait_for_socket(session: Session, place: names.Layout) -> None:
    def answers() -> bool:
        script = f"echo 'show info' | socat -t 5 - {SOCKET}"
        done = session.run(["podman", "exec", place.load_balancer, "sh", "-c", script], check=False)
        return done.returncode == 0 and "Name: HAProxy" in done.stdout

    if not probes.wait(answers, START_TIMEOUT, 0.2):
        log = containers.journal(session, place.load_balancer)
        raise containers.failed(place.load_balancer, START_TIMEOUT, "as HAProxy", log)


def _replace(session: Session, place: names.Layout, config: str, reload: bool) -> None:
    """Check the new configuration, put it in place of the old one and, where asked, reload without closing connections."""
    script = f"cat > {CONFIG_FILE}.new && haproxy -c -q -f {CONFIG_FILE}.new && mv {CONFIG_FILE}.new {CONFIG_FILE}"
    if reload:
        script += " && systemctl reload haproxy.service"
    containers.exec_text(
        session,
        place.load_balancer,
        ["sh", "-c", script],
        data=config.encode(),
        code="LOCAL_LOAD_BALANCER_CONFIG",
        message=f"HAProxy in {place.load_balancer} did not take its new configuration and goes on with the old one.",
    )


def _switch(session: Session, place: names.Layout, drain: list[str], ready: list[str], drain_timeout: float | None) -> None:
    """Tell the running HAProxy to stop or to resume sending to members; connections have ``drain_timeout`` seconds, or any time, to end."""
    for commands in haproxy.switch(drain, ready, leave_open=drain_timeout is None):
        _command(session, place, commands)
    if drain and drain_timeout is not None:

        def idle() -> bool:
            servers = _read(session, place)[1]
            return not any(servers[member].sessions for member in drain if member in servers)

        probes.wait(idle, drain_timeout, 0.5)
        leaving = [f"{backend}/{member}" for backend in (BACKEND, LAST_RESORT) for member in drain]
        maintained = [f"set server {server} state maint" for server in leaving]
        _command(session, place, [*maintained, *(f"shutdown sessions server {server}" for server in leaving)])


def _command(session: Session, place: names.Layout, commands: list[str]) -> None:
    if commands:
        answer = containers.exec_text(
            session, place.load_balancer, ["socat", "-t", "5", "-", SOCKET], data=("; ".join(commands) + "\n").encode()
        ).strip()
        if answer:
            raise FlotillaError(
                "LOCAL_LOAD_BALANCER_COMMAND", f"HAProxy in {place.load_balancer} refused a command.", "Run again.", cause=answer
            )


def _settle(session: Session, place: names.Layout, members: list[Member]) -> dict[str, Server]:
    """Wait a few checks long until HAProxy knows every member's health, and return what it knows."""
    deadline = time.monotonic() + SETTLE_TIMEOUT
    while True:
        servers = _read(session, place)[1]
        if set(servers) == {member.id for member in members} and all(server.settled for server in servers.values()):
            return servers
        if time.monotonic() > deadline:
            return servers
        time.sleep(0.2)


def _member_value(member: Member, server: Server | None) -> dict[str, Any]:
    return {
        "id": member.id,
        "address": member.address,
        "state": member.state,
        "health": server.health if server else "unknown",
        "detail": server.detail if server else "",
    }


def _port(config: str) -> int | None:
    match = re.search(r"^    bind :(\d+)$", config, re.MULTILINE)
    return int(match.group(1)) if match else None


def _diff_state(container: containers.Container | None, port: int | None, members: list[Member]) -> dict[str, Any]:
    return {
        "load_balancer": container.state if container else None,
        "port": port,
        "members": {member.id: {"address": member.address, "state": member.state} for member in members},
    }
