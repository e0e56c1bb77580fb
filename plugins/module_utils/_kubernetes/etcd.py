# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The members of etcd and how one is removed or promoted without losing the others (private to flotilla.kubernetes).

It runs on a control plane and speaks to etcd's own JSON gateway with kubeadm's client certificate, so a node needs no etcdctl:
https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/. Python 3.9, standard library only.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .._errors import FlotillaError
from .client import ApiError, Client

ETCD_PKI = "/etc/kubernetes/pki/etcd"
CLIENT_PORT = 2379
NOT_FOUND, UNAVAILABLE = 404, 503
ELECTION = 20.0  # seconds, generous: an election takes one or two, and etcd counts a member as connected after five


def client_context(ca: str = f"{ETCD_PKI}/ca.crt", pair: str = f"{ETCD_PKI}/healthcheck-client") -> ssl.SSLContext:
    """Return the TLS settings of a client of etcd.

    :param pair: path of the client certificate and its key, without ``.crt`` and ``.key``.
    :raises OSError: a file is not there: this node runs no etcd.
    """
    context = ssl.create_default_context(cafile=ca)
    context.load_cert_chain(f"{pair}.crt", f"{pair}.key")
    return context


@dataclass(frozen=True)
class Member:
    """One member as etcd lists it, and whether it answers; a member that never started has no name."""

    id: str
    name: str
    peer_urls: tuple[str, ...]
    client_urls: tuple[str, ...]
    learner: bool
    healthy: bool = False
    leader: bool = False

    def as_dict(self) -> dict[str, Any]:
        return {
            "id": f"{int(self.id):x}",
            "name": self.name,
            "peer_urls": list(self.peer_urls),
            "learner": self.learner,
            "healthy": self.healthy,
            "leader": self.leader,
        }

    @property
    def title(self) -> str:
        return self.name or f"that never started ({', '.join(self.peer_urls)})"

    @classmethod
    def of(cls, data: dict[str, Any]) -> Member:
        """Return the member of an entry of ``MemberList``; absent fields are empty ones there."""
        peers, clients = (tuple(sorted(data.get(key, []))) for key in ("peerURLs", "clientURLs"))
        return cls(str(data["ID"]), data.get("name", ""), peers, clients, bool(data.get("isLearner")))


def members_of(endpoint: Client) -> list[Member]:
    """Return the members that one endpoint knows, without looking at them."""
    listed = json.loads(endpoint.request("POST", "/v3/cluster/member/list", {}))
    return [Member.of(entry) for entry in listed.get("members", [])]


@dataclass(frozen=True)
class Removal:
    """What would be removed and what that leaves."""

    member: Member
    voters: int
    healthy: int
    problem: str = ""
    remedy: str = ""
    # Voters that may take the leadership first.
    heirs: tuple[Member, ...] = field(default_factory=tuple)


def plan_removal(members: Sequence[Member], member: Member, remove_healthy: bool) -> Removal:
    """Return what the removal of ``member`` leaves, and why it must not be, if so. Pure.

    A removal is itself a decision that a majority of the present voters must take:
    https://etcd.io/docs/v3.6/op-guide/runtime-reconf-design/. Learners do not vote.

    :param members: all members, with their health.
    :param remove_healthy: whether a voter that works may go, too.
    """
    voters = [one for one in members if not one.learner]
    quorum = len(voters) // 2 + 1
    healthy = [one for one in voters if one.healthy]
    others = [one for one in healthy if one.id != member.id]
    numbers = f"{len(healthy)} of {len(voters)} voting members answer, {quorum} are needed"

    def plan(problem: str = "", remedy: str = "", heirs: Iterable[Member] = ()) -> Removal:
        return Removal(member, len(voters) - (not member.learner), len(others), problem, remedy, tuple(heirs))

    if len(healthy) < quorum:
        return plan(
            f"etcd has no quorum: {numbers}, so it can not decide to remove the member {member.title}.",
            "Start members that are down; if they are lost for good, restore etcd from a snapshot.",
        )
    if member.learner:
        if member.healthy and not remove_healthy:
            return plan(f"The etcd member {member.title} is a learner that works.", "Set remove_healthy=true if it is to go all the same.")
        return plan()
    if len(voters) == 1:
        return plan(f"The etcd member {member.title} is the only voting one; without it there is no cluster.", "Add a control plane first.")
    if member.healthy and not remove_healthy:
        return plan(
            f"The etcd member {member.title} is healthy.", "Stop its machine first, or set remove_healthy=true if it is to go all the same."
        )
    quorum_after = (len(voters) - 1) // 2 + 1
    if len(others) < quorum_after:
        return plan(
            f"Without the member {member.title} etcd has no quorum: {len(others)} of {len(voters) - 1} voting members would answer, "
            f"{quorum_after} would be needed.",
            "Start or remove the members that are down first.",
        )
    return plan(heirs=heirs_of(members, member))


def heirs_of(members: Iterable[Member], member: Member) -> list[Member]:
    """Return who may lead in place of ``member``: the other voters that work; nobody when it does not lead. Pure."""
    return [one for one in members if one.healthy and not one.learner and one.id != member.id] if member.leader else []


def gone(members: Iterable[Member], control_planes: dict[str, str]) -> list[Member]:
    """Return the members of machines that no longer exist. Pure.

    :param control_planes: node name -> address of every control plane that exists. One that is just joining has no name in etcd yet.
    """
    addresses = set(control_planes.values())
    return [
        member
        for member in members
        if member.name not in control_planes and not addresses & {urlsplit(url).hostname for url in member.peer_urls}
    ]


class Etcd:
    """etcd as its members see it, reached through any of them that answers."""

    def __init__(self, endpoints: Sequence[str], context: ssl.SSLContext, timeout: float = 5.0) -> None:
        """:param endpoints: ``host`` or ``host:port`` where members may answer; the first one that does is asked."""
        self._context, self._timeout = context, timeout
        self._endpoints = [self._connect(f"//{endpoint}") for endpoint in endpoints]

    def members(self) -> list[Member]:
        """Return all members with their health.

        :raises FlotillaError: no member answers.
        """
        listed = self._first(members_of)
        return [self._look_at(member) for member in listed]

    def remove(self, removal: Removal) -> None:
        """Remove a member whose removal has no problem, after its leadership went to another one. Safe to repeat.

        :raises FlotillaError: etcd refuses.
        """
        self.hand_over(removal.member, removal.heirs)
        try:
            self._call("/v3/cluster/member/remove", {"ID": removal.member.id})
        except FlotillaError as error:
            # An answer that was lost and asked for again.
            if not (isinstance(error.cause, ApiError) and error.cause.status == NOT_FOUND):
                raise

    def add_learner(self, peer_urls: Sequence[str]) -> None:
        """Announce a member that does not vote before it is promoted, so that it can not take the quorum away."""
        self._call("/v3/cluster/member/add", {"peerURLs": list(peer_urls), "isLearner": True})

    def promote(self, member: Member, timeout: float) -> None:
        """Make a learner a voter once it has caught up.

        :raises FlotillaError: it has not within ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        while True:
            try:
                self._call("/v3/cluster/member/promote", {"ID": member.id})
                return
            except FlotillaError as error:
                if time.monotonic() >= deadline:
                    raise FlotillaError(
                        "ETCD_LEARNER_BEHIND",
                        f"The etcd member {member.title} could not be made a voter within {timeout:g} s: {error.cause or error.message}",
                        "Look at the log of etcd on its machine: it has to start and to catch up first.",
                        error,
                    ) from error
            time.sleep(0.5)

    def hand_over(self, member: Member, heirs: Sequence[Member]) -> None:
        """Let the first of ``heirs`` that can lead, if ``member`` leads and there is one.

        :raises FlotillaError: none of them took over.
        """
        # Only the leader itself can give its leadership away.
        leader = self._client(member) if heirs else None
        if leader is None:
            return
        refused = ""
        for heir in heirs:
            try:
                leader.request("POST", "/v3/maintenance/transfer-leadership", {"targetID": heir.id})
                return
            except (OSError, ApiError) as error:
                refused = f"{heir.title}: {error}"
        raise FlotillaError(
            "ETCD_LEADERSHIP_NOT_MOVED",
            f"The etcd member {member.title} leads and could not hand over to {refused}",
            "Run again, or move the leadership with 'etcdctl move-leader'.",
        )

    def _look_at(self, member: Member) -> Member:
        """Return the member with its health, asked at its own address."""
        client = self._client(member)
        if client is None:
            return member
        try:
            status = json.loads(client.request("POST", "/v3/maintenance/status", {}))
        except (OSError, ApiError, ValueError):
            return member
        # A member answers without a quorum, too, but then it knows no leader.
        alive = str(status.get("header", {}).get("member_id")) == member.id and str(status.get("leader", "0")) != "0"
        leads = alive and str(status["leader"]) == member.id
        return Member(member.id, member.name, member.peer_urls, member.client_urls, member.learner, alive, leads)

    def _client(self, member: Member) -> Client | None:
        urls = sorted(member.client_urls, key=lambda url: urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1"))
        return self._connect(urls[0]) if urls else None

    def _connect(self, url: str) -> Client:
        parts = urlsplit(url)
        return Client(str(parts.hostname), parts.port or CLIENT_PORT, self._context, timeout=self._timeout)

    def _call(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        """Ask for a change; while a new leader is found etcd says that it is unavailable, and asking again is right."""
        deadline = time.monotonic() + ELECTION
        while True:
            try:
                return self._first(lambda endpoint: json.loads(endpoint.request("POST", path, body)))
            except FlotillaError as error:
                unavailable = isinstance(error.cause, ApiError) and error.cause.status == UNAVAILABLE
                if not unavailable or time.monotonic() >= deadline:
                    raise
            time.sleep(0.5)

    def _first(self, ask: Any) -> Any:
        """Return the answer of the first endpoint that is reached; a refusal of etcd is an answer, too."""
        silent = []
        for endpoint in self._endpoints:
            try:
                return ask(endpoint)
            except FlotillaError as error:
                raise FlotillaError(
                    "ETCD_REFUSED", f"etcd at {endpoint.address} refused: {error}", "Read the log of etcd.", error
                ) from error
            except (OSError, ValueError) as silence:
                silent.append(f"{endpoint.address}: {silence}")
        raise FlotillaError(
            "ETCD_UNREACHABLE",
            f"No etcd member answers ({'; '.join(silent)}).",
            "Read the log of etcd on the control planes ('crictl logs', /var/log/pods).",
        )
