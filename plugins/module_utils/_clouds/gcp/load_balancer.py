# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API load balancer of a cluster in Google Cloud: a passthrough Network Load Balancer (private to flotilla.kubernetes).

It leaves addresses and ports as they are, and what a backend itself sends to it comes back to that backend, well or not. So a machine is
no backend before it serves.
https://cloud.google.com/load-balancing/docs/internal#test-from-backend-vms
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, NotFound
from ..members import ACTIVE, DRAINED, LEFT_OPEN, checked, patience
from ..patience import CONSISTENCY
from ..result import Result
from . import layout as names
from . import network, things
from .layout import API_PORT, Place
from .session import Entry, Session
from .things import ADDRESS, BACKEND, FORWARDING, GROUP, HEALTH_CHECK, Changes, Key, Stock, Wanted

WAITING = "waiting"
_ROUNDS = 6
_REMEDY = "Set it back, or delete the cluster and make it anew."
# An API server that is told to end goes on serving for 20 s while its /readyz fails: by then no connection comes any more.
_CHECK = {
    "type": "HTTPS",
    "checkIntervalSec": 5,
    "timeoutSec": 4,
    "healthyThreshold": 2,
    "unhealthyThreshold": 2,
    "httpsHealthCheck": {"port": API_PORT, "requestPath": "/readyz"},
}


class _Balancer:
    """What there is of a load balancer, and the changes to what is wanted."""

    def __init__(self, session: Session, where: Place) -> None:
        self.session = session
        self.where = where
        self.stock = Stock(session, where, where.project)
        name = f"{where.cluster}-api"
        self.address, self.check, self.backend, self.rule = (Key(kind, name) for kind in (ADDRESS, HEALTH_CHECK, BACKEND, FORWARDING))
        self.groups = [Key(GROUP, name, zone) for zone in where.zones]
        self.members: dict[str, Key] = {}
        self.look()

    def look(self) -> None:
        """Read everything: the groups of all zones by one list, because one of a zone that the definition left may be there."""
        self.stock.items.clear()
        self.stock.look(self.address, self.check, self.backend, self.rule)
        wanted = f'name = "{self.address.name}"'
        for entry in self.session.pages("instance_groups", "aggregated_list", project=self.stock.project, filter=wanted):
            zone = str(entry["zone"]).rsplit("/", 1)[-1]
            if zone.rsplit("-", 1)[0] == self.where.region:
                self.stock.put(Key(GROUP, str(entry["name"]), zone), entry)
        self.stock.check()
        self.members = {}
        for key in self.there:
            self.members.update(dict.fromkeys(self._in(key), key))

    @property
    def there(self) -> list[Key]:
        """The groups that there are."""
        return sorted((key for key in self.stock.items if key.kind is GROUP), key=str)

    def _in(self, key: Key) -> list[str]:
        if not int(self.stock.items[key].get("size") or 0):
            return []
        place = self.stock.place(key)
        found = self.session.pages("instance_groups", "list_instances", body={}, instance_group=key.name, **place)
        return [str(entry["instance"]).rsplit("/", 1)[-1] for entry in found]

    def health(self) -> dict[str, Entry]:
        """Return what Google says about the members: name -> health."""
        found: dict[str, Entry] = {}
        if self.backend not in self.stock.items or self.rule not in self.stock.items:
            return found
        backends = {things.plain(item["group"]) for item in self.stock.items[self.backend].get("backends") or ()}
        for key in sorted(set(self.members.values()), key=str):
            if self.stock.link(key) not in backends:
                continue
            place = {"region": self.where.region, "backend_service": self.backend.name}
            try:
                answer = self.session.repeat("region_backend_services", "get_health", {"group": self.stock.link(key)}, **place)
            except NotFound:
                continue
            found.update({str(item["instance"]).rsplit("/", 1)[-1]: item for item in answer.get("healthStatus") or ()})
        return found

    def plan(self, base: network.Base, draining: int) -> Changes:
        """Return the changes of all but the members."""
        where, changes, scheme = self.where, Changes(self.stock, base.uid, _REMEDY), self.where.scheme
        inside: Entry = {"subnetwork": base.subnetwork or where.subnetwork} if scheme == "INTERNAL" else {}
        kind = {"addressType": scheme, **inside}
        if scheme == "INTERNAL":
            kind["purpose"] = "GCE_ENDPOINT"
        first = [Wanted(self.address, "load_balancer", kind, tuple(kind)), Wanted(self.check, "load_balancer", dict(_CHECK), ("type",))]
        group = {"network": where.network}
        first += [Wanted(key, "load_balancer", group, tuple(group)) for key in self.groups]
        changes.wave(first)
        used = sorted({*self.groups, *self.there}, key=str)
        backend = {
            "loadBalancingScheme": scheme,
            "protocol": "TCP",
            "sessionAffinity": "NONE",
            "healthChecks": [self.stock.link(self.check)],
            "backends": [{"group": self.stock.link(key), "balancingMode": "CONNECTION"} for key in used],
            "connectionDraining": {"drainingTimeoutSec": draining},
        }
        changes.wave([Wanted(self.backend, "load_balancer", backend, ("loadBalancingScheme", "protocol"))])
        rule = {
            "loadBalancingScheme": scheme,
            "IPProtocol": "TCP",
            "ports": [str(API_PORT)],
            "backendService": self.stock.link(self.backend),
            **inside,
        }
        fixed = tuple(rule)
        have = self.stock.items.get(self.address, {})
        if self.rule not in self.stock.items:
            rule["IPAddress"] = self.stock.link(self.address)
        elif have:
            rule["IPAddress"] = have.get("address")
        if scheme == "INTERNAL":
            # From other regions, too, for those who may: the firewall says who.
            rule["allowGlobalAccess"] = True
        changes.wave([Wanted(self.rule, "load_balancer", rule, (*fixed, "IPAddress"))])
        return changes

    def draining(self) -> int | None:
        """Return how long connections of a member that leaves stay."""
        have = self.stock.items.get(self.backend)
        return int((have.get("connectionDraining") or {}).get("drainingTimeoutSec") or 0) if have else None


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return what there is, whatever the definition asks for."""
    balancer = _Balancer(session, names.place(definition))
    return Result(value=_value(balancer, definition, [{"id": name, "address": "", "state": ACTIVE} for name in sorted(balancer.members)]))


def present(
    session: Session,
    definition: dict[str, Any],
    items: list[dict[str, Any]],
    *,
    drain_timeout: int = 10,
    close: bool = True,
    check_mode: bool = False,
) -> Result:
    """Bring the load balancer to these members, or with ``check_mode`` say what would be done.

    :param drain_timeout: seconds that open connections of a member get to end when it is drained; then they are closed.
    :param close: whether they are closed at all, or left to the API server.
    """
    where = names.place(definition)
    members = checked(items)
    base = network.base(session, where) if check_mode else network.ready_base(session, where)
    balancer = _Balancer(session, where)
    members = _settled(members, balancer.members)
    wanted = {str(member["id"]) for member in members if member["state"] == ACTIVE}
    seconds = patience(drain_timeout, close)
    timeout = LEFT_OPEN if seconds is None else seconds
    leave = set(balancer.members) - wanted
    join = wanted - set(balancer.members)

    # What an earlier drain set is no difference.
    draining = balancer.draining() if not leave else None
    draining = timeout if draining is None else draining

    def again() -> Changes:
        balancer.look()
        return balancer.plan(base, draining)

    first = balancer.plan(base, draining)
    changed = things.converge(first, again, check_mode)
    before = {**first.before, "members": sorted(balancer.members)}
    result = Result(changed or bool(join or leave), before, {**first.after, "members": sorted(wanted)})
    if check_mode:
        result.value = _value(balancer, definition, members, planned=True)
        return result
    if changed or join or leave:
        if changed:
            balancer.look()
        _join(balancer, wanted - set(balancer.members))
        _leave(balancer, set(balancer.members) - wanted, seconds or 0)
        balancer.look()
    result.value = _value(balancer, definition, members)
    return result


def absent(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Remove the load balancer and its address. Two looks, apart by the lag of reads, have to see nothing."""
    where = names.place(definition)
    balancer = _Balancer(session, where)
    result = Result(bool(balancer.stock.items), {str(key): True for key in balancer.stock.items}, {})
    if check_mode:
        return result
    for _round in range(_ROUNDS):
        was_empty = not balancer.stock.items
        kinds = ((FORWARDING,), (BACKEND,), (HEALTH_CHECK, GROUP, ADDRESS))
        things.remove(balancer.stock, [[key for key in balancer.stock.items if key.kind in wave] for wave in kinds])
        session.clock.sleep(CONSISTENCY)
        balancer.look()
        result.changed = result.changed or bool(balancer.stock.items)
        if was_empty and not balancer.stock.items:
            break
    return result


def _settled(members: list[dict[str, Any]], there: Collection[str]) -> list[dict[str, Any]]:
    """Return members with what becomes of those that wait until they serve: what they are, or the first where there would be none."""
    kept = [{**member, "state": ACTIVE} if member["state"] == WAITING and member["id"] in there else member for member in members]
    first = next((member["id"] for member in kept if member["state"] == WAITING), None)
    if any(member["state"] == ACTIVE for member in kept):
        first = None
    return [{**member, "state": ACTIVE} if first is not None and member["id"] == first else member for member in kept]


def _join(balancer: _Balancer, members: set[str]) -> None:
    """Put machines into the groups of their zones."""
    if not members:
        return
    wanted = f'labels.{names.TAG_CLUSTER} = "{balancer.where.cluster}"'
    zones = {
        str(entry["name"]): str(entry["zone"]).rsplit("/", 1)[-1]
        for entry in balancer.session.pages("instances", "aggregated_list", filter=wanted)
    }
    unknown = sorted(members - set(zones))
    if unknown:
        raise FlotillaError(
            "GCP_LOAD_BALANCER_MEMBER",
            f"Project {balancer.where.project} has no machine {', '.join(unknown)} of cluster '{balancer.where.cluster}'.",
            "Correct the members that are passed to gcp_load_balancer.",
        )
    operations = []
    for key in balancer.there:
        here = sorted(name for name in members if zones[name] == key.zone)
        operations += _change_members(balancer, key, "add_instances", here, "memberAlreadyExists")
    balancer.session.finish(operations)


def _leave(balancer: _Balancer, members: set[str], seconds: int) -> None:
    """Take machines out of their groups and give their connections time: Google does not say when they have ended or are cut."""
    if not members:
        return
    operations = []
    for key in balancer.there:
        here = sorted(name for name in members if balancer.members[name] == key)
        operations += _change_members(balancer, key, "remove_instances", here, "memberNotFound")
    balancer.session.finish(operations)
    balancer.session.clock.sleep(seconds)


def _change_members(balancer: _Balancer, key: Key, method: str, members: list[str], done: str) -> list[Entry]:
    """Begin to change the members of a group, one by one where a call whose answer was lost has done a part of it."""
    if not members:
        return []
    place = {**balancer.stock.place(key), "instance_group": key.name}
    links = [{"instance": f"projects/{balancer.where.project}/zones/{key.zone}/instances/{name}"} for name in members]
    try:
        return [balancer.session.change("instance_groups", method, {"instances": links}, **place)]
    except CloudError as error:
        if error.details.get("gcp_reason") != done and not (method == "remove_instances" and isinstance(error, NotFound)):
            raise
    if len(members) == 1:
        return []
    return [operation for name in members for operation in _change_members(balancer, key, method, [name], done)]


def _value(balancer: _Balancer, definition: dict[str, Any], members: list[dict[str, Any]], planned: bool = False) -> dict[str, Any]:
    """Return endpoint and members as the module returns them."""
    health = {} if planned else balancer.health()

    def one(member: dict[str, Any]) -> dict[str, Any]:
        said = str(health.get(str(member["id"]), {}).get("healthState") or "")
        word = DRAINED if member["state"] == DRAINED else {"HEALTHY": "healthy", "UNHEALTHY": "unhealthy"}.get(said, "unknown")
        return {"id": member["id"], "address": member["address"], "state": member["state"], "health": word, "detail": said}

    address = balancer.stock.items.get(balancer.address) or {}
    there = planned or bool(address)
    host = (definition.get("api_endpoint") or {}).get("dns_name") or address.get("address")
    endpoint = {"host": host, "port": balancer.where.endpoint_port} if there else {}
    return {"endpoint": endpoint, "members": [one(member) for member in members]}
