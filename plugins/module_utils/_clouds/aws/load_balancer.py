# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API load balancer of a cluster in AWS: a Network Load Balancer (private to flotilla.kubernetes)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Callable

from ..._errors import FlotillaError
from ..._machines.cloud import CloudError, NotFound
from ..members import ACTIVE, DRAINED, LEFT_OPEN, checked, patience
from ..patience import CONSISTENCY
from ..result import Result
from . import inventory
from . import layout as names
from .layout import API_PORT, LOAD_BALANCER, Place
from .network import Action
from .session import Session

ACTIVE_TIMEOUT = 900
# A target is out of use a little later than its delay says.
_DRAIN_MARGIN = 60
_ROUNDS = 6
_HEALTH = {"healthy": "healthy", "unhealthy": "unhealthy", "unhealthy.draining": "drained", "draining": "drained"}
_PROTECTION = "deletion_protection.enabled"
# Without the client's address a control plane reaches itself through the balancer, and its firewall needs to know the balancer only.
# https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html#client-ip-preservation
_GROUP_ATTRIBUTES = {"preserve_client_ip.enabled": "false", "deregistration_delay.connection_termination.enabled": "true"}
_DELAY = "deregistration_delay.timeout_seconds"
_CHECK = {"HealthCheckProtocol": "HTTPS", "HealthCheckPath": "/readyz", "HealthCheckPort": str(API_PORT), "HealthCheckEnabled": True}
# An API server that is told to end goes on serving for 20 s while its /readyz fails: by then no connection comes any more.
_CHECK_SPEED = {
    "HealthCheckIntervalSeconds": 5,
    "HealthCheckTimeoutSeconds": 4,
    "HealthyThresholdCount": 2,
    "UnhealthyThresholdCount": 2,
}


@dataclass
class Seen:
    """What there is of a load balancer; empty mappings for what is not there."""

    balancer: dict[str, Any] = field(default_factory=dict)
    group: dict[str, Any] = field(default_factory=dict)
    listeners: list[dict[str, Any]] = field(default_factory=list)
    tags: dict[str, dict[str, str]] = field(default_factory=dict)
    balancer_attributes: dict[str, str] = field(default_factory=dict)
    group_attributes: dict[str, str] = field(default_factory=dict)
    health: dict[str, dict[str, Any]] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)

    @property
    def balancer_arn(self) -> str:
        return str(self.balancer.get("LoadBalancerArn") or "")

    @property
    def group_arn(self) -> str:
        return str(self.group.get("TargetGroupArn") or "")

    @property
    def serving(self) -> set[str]:
        """Ids of the members that get connections or will when they are healthy."""
        return {member for member, health in self.health.items() if health.get("State") not in ("draining", "unhealthy.draining")}


def attributes_of(where: Place) -> dict[str, str]:
    """Return the attributes of the load balancer itself."""
    return {"load_balancing.cross_zone.enabled": "true", _PROTECTION: "true" if where.protected else "false"}


def observe(session: Session, where: Place, definition: dict[str, Any]) -> Seen:
    """Read everything; changes nothing. A load balancer of somebody else's under the name is an error."""
    seen = Seen()
    named = {"Names": [names.balancer_name(where)]}
    seen.balancer = _first(session, "describe_load_balancers", "LoadBalancers", **named)
    seen.group = _first(session, "describe_target_groups", "TargetGroups", **named)
    arns = [arn for arn in (seen.balancer_arn, seen.group_arn) if arn]
    if arns:
        answer = _or_nothing(lambda: session.repeat("elbv2", "describe_tags", ResourceArns=arns))
        seen.tags = {str(entry["ResourceArn"]): names.to_tags(entry.get("Tags")) for entry in answer.get("TagDescriptions") or ()}
        for arn in arns:
            names.check_owner(seen.tags.get(arn, {}), where, "", f"The load balancer {names.balancer_name(where)}")
    if seen.balancer_arn:
        arn = seen.balancer_arn
        answer = _or_nothing(lambda: session.repeat("elbv2", "describe_listeners", LoadBalancerArn=arn))
        seen.listeners = answer.get("Listeners") or []
        answer = _or_nothing(lambda: session.repeat("elbv2", "describe_load_balancer_attributes", LoadBalancerArn=arn))
        seen.balancer_attributes = names.to_tags(answer.get("Attributes"))
    if seen.group_arn:
        arn = seen.group_arn
        answer = _or_nothing(lambda: session.repeat("elbv2", "describe_target_group_attributes", TargetGroupArn=arn))
        seen.group_attributes = names.to_tags(answer.get("Attributes"))
        seen.health = _health(session, arn)
    zone, name = _dns(definition)
    if zone:
        answer = session.repeat(
            "route53", "list_resource_record_sets", HostedZoneId=zone, StartRecordName=name, StartRecordType="A", MaxItems="1"
        )
        records = answer.get("ResourceRecordSets") or []
        seen.record = next((entry for entry in records if entry["Name"].rstrip(".") == name and entry["Type"] == "A"), {})
    return seen


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return what there is, whatever the definition asks for."""
    where = names.place(definition)
    seen = observe(session, where, definition)
    members = [{"id": member, "address": "", "state": ACTIVE} for member in sorted(seen.serving)]
    return Result(value=_value(where, definition, seen, members))


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
    seen = observe(session, where, definition)
    base = inventory.base(session, where) if check_mode else inventory.ready_base(session, where)
    if not check_mode and (not seen.balancer_arn or not seen.group_arn):
        session.clock.sleep(CONSISTENCY)
        seen = observe(session, where, definition)
    builder = _Builder(session, where, definition, seen, base, members, patience(drain_timeout, close))
    actions = builder.plan()
    result = Result(bool(actions), _state(where, seen), builder.wanted_state())
    if check_mode:
        result.value = _value(where, definition, seen, members, planned=True)
        return result
    for action in actions:
        action.do()
    if actions:
        seen.health = _health(session, seen.group_arn)
    result.value = _value(where, definition, seen, members)
    return result


def absent(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Remove the load balancer, its target group and its name. Two looks, apart by the lag of reads, have to see nothing."""
    where = names.place(definition)
    result = Result()
    for number in range(_ROUNDS):
        seen = observe(session, where, definition)
        record = seen.record if _points_here(where, seen.record) else {}
        there = bool(seen.balancer or seen.group or record)
        if number == 0:
            result = Result(there, _state(where, seen), {})
            if check_mode:
                return result
            clean = False
        result.changed = result.changed or there
        if not there and clean:
            return result
        clean = not there
        _remove(session, definition, seen, record)
        session.clock.sleep(CONSISTENCY)
    return result


def _remove(session: Session, definition: dict[str, Any], seen: Seen, record: dict[str, Any]) -> None:
    if record:
        _change_record(session, definition, "DELETE", record)
    if seen.balancer_arn:
        if seen.balancer_attributes.get(_PROTECTION) != "false":
            off = [{"Key": _PROTECTION, "Value": "false"}]
            _or_nothing(
                lambda: session.repeat("elbv2", "modify_load_balancer_attributes", LoadBalancerArn=seen.balancer_arn, Attributes=off)
            )
        _or_nothing(lambda: session.repeat("elbv2", "delete_load_balancer", LoadBalancerArn=seen.balancer_arn))
    if seen.group_arn:
        _or_nothing(lambda: session.repeat("elbv2", "delete_target_group", TargetGroupArn=seen.group_arn))


def _dns(definition: dict[str, Any]) -> tuple[str, str]:
    """Return hosted zone and name of the endpoint's own DNS record; both empty where it has none or the user makes it."""
    zone, name = (definition.get("aws") or {}).get("hosted_zone_id"), (definition.get("api_endpoint") or {}).get("dns_name")
    return (str(zone), str(name).rstrip(".")) if zone and name else ("", "")


def _points_here(where: Place, record: dict[str, Any]) -> bool:
    """Tell whether a record leads to a load balancer of the cluster's, this one or one before it."""
    target = str((record.get("AliasTarget") or {}).get("DNSName") or "").lower()
    return target.removeprefix("dualstack.").removeprefix("internal-").startswith(f"{names.balancer_name(where)}-")


def _same_name(one: str, other: str) -> bool:
    return one.lower().removeprefix("dualstack.").rstrip(".") == other.lower().rstrip(".")


def _change_record(session: Session, definition: dict[str, Any], verb: str, record: dict[str, Any]) -> None:
    zone, _name = _dns(definition)
    batch = {"Comment": "flotilla.kubernetes", "Changes": [{"Action": verb, "ResourceRecordSet": record}]}
    try:
        session.repeat("route53", "change_resource_record_sets", HostedZoneId=zone, ChangeBatch=batch)
    except CloudError as error:
        # It was deleted by a call whose answer was lost.
        if verb != "DELETE" or error.details.get("aws_code") != "InvalidChangeBatch":
            raise


def _first(session: Session, operation: str, key: str, **parameters: Any) -> dict[str, Any]:
    found = (_or_nothing(lambda: session.repeat("elbv2", operation, **parameters))).get(key) or []
    return dict(found[0]) if found else {}


def _or_nothing(do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return an answer, or nothing about something that is not there."""
    try:
        return do()
    except NotFound:
        return {}


def _health(session: Session, group_arn: str) -> dict[str, dict[str, Any]]:
    answer = _or_nothing(lambda: session.repeat("elbv2", "describe_target_health", TargetGroupArn=group_arn))
    entries = answer.get("TargetHealthDescriptions") or ()
    return {str(entry["Target"]["Id"]): entry.get("TargetHealth") or {} for entry in entries}


def _state(where: Place, seen: Seen) -> dict[str, Any]:
    """Return what a diff shows."""
    return {
        "load_balancer": {
            "name": seen.balancer["LoadBalancerName"],
            "scheme": seen.balancer.get("Scheme"),
            "zones": sorted(entry["ZoneName"] for entry in seen.balancer.get("AvailabilityZones") or ()),
            "security_groups": sorted(seen.balancer.get("SecurityGroups") or ()),
            "attributes": {key: seen.balancer_attributes.get(key) for key in attributes_of(where)},
        }
        if seen.balancer
        else None,
        "target_group": {
            "health_check": {key: seen.group.get(key) for key in (*_CHECK, *_CHECK_SPEED)},
            "attributes": {key: seen.group_attributes.get(key) for key in _GROUP_ATTRIBUTES},
        }
        if seen.group
        else None,
        "listeners": sorted(int(entry["Port"]) for entry in seen.listeners),
        "members": sorted(seen.serving),
        "dns": str((seen.record.get("AliasTarget") or {}).get("DNSName") or "").rstrip(".") or None,
        "tags": {("load_balancer" if arn == seen.balancer_arn else "target_group"): tags for arn, tags in sorted(seen.tags.items())},
    }


def _value(where: Place, definition: dict[str, Any], seen: Seen, members: list[dict[str, Any]], planned: bool = False) -> dict[str, Any]:
    """Return endpoint and members as the module returns them."""

    def one(member: dict[str, Any]) -> dict[str, Any]:
        health = seen.health.get(str(member["id"]), {})
        drained = member["state"] == DRAINED
        word = DRAINED if drained else "unknown" if planned else _HEALTH.get(str(health.get("State")), "unknown")
        detail = "" if drained else str(health.get("Description") or health.get("Reason") or "")
        return {"id": member["id"], "address": member["address"], "state": member["state"], "health": word, "detail": detail}

    host = (definition.get("api_endpoint") or {}).get("dns_name") or seen.balancer.get("DNSName")
    there = planned or bool(seen.balancer)
    endpoint = {"host": host, "port": where.endpoint_port} if there else {}
    return {"endpoint": endpoint, "members": [one(member) for member in members]}


class _Builder:
    """Plans the changes of one run and makes them; ``seen`` grows as things are made."""

    def __init__(
        self,
        session: Session,
        where: Place,
        definition: dict[str, Any],
        seen: Seen,
        base: inventory.Base,
        members: list[dict[str, Any]],
        seconds: int | None,
    ) -> None:
        self.session = session
        self.where = where
        self.definition = definition
        self.seen = seen
        self.base = base
        self.seconds = seconds
        self.wanted = {str(member["id"]) for member in members if member["state"] == ACTIVE}
        self.scheme = "internet-facing" if where.public_endpoint else "internal"
        self.subnets = sorted(base.subnets["load_balancer"].values())
        self.tags = where.own_tags(LOAD_BALANCER, base.uid, names.balancer_name(where))
        self.actions: list[Action] = []

    def plan(self) -> list[Action]:
        """Return the changes in their order."""
        seen = self.seen
        if not seen.group:
            self._need("make the target group", self._make_group)
        else:
            self._group_drift()
        fresh_attributes = {key: value for key, value in _GROUP_ATTRIBUTES.items() if seen.group_attributes.get(key) != value}
        if fresh_attributes:
            self._need("set attributes of the target group", lambda: self._set_group(fresh_attributes))
        if not seen.balancer:
            self._need("make the load balancer", self._make_balancer)
        else:
            self._balancer_drift()
        attributes = {key: value for key, value in attributes_of(self.where).items() if seen.balancer_attributes.get(key) != value}
        if attributes:
            self._need("set attributes of the load balancer", lambda: self._set_balancer(attributes))
        self._plan_listeners()
        self._plan_tags()
        join, leave = self.wanted - seen.serving, seen.serving - self.wanted
        if join:
            self._need(f"register {', '.join(sorted(join))}", lambda: self._register(join))
        if leave:
            self._need(f"drain {', '.join(sorted(leave))}", lambda: self._drain(leave))
        self._plan_record()
        if not seen.balancer or (seen.balancer.get("State") or {}).get("Code") == "provisioning":
            self._need("wait for the load balancer", self._wait)
        return self.actions

    def wanted_state(self) -> dict[str, Any]:
        """Return what a diff shows after the change."""
        now = _state(self.where, self.seen)
        zones = set(self.base.subnets["load_balancer"]) or set(self.where.zones)
        had = now["load_balancer"] or {}
        dns_zone, _name = _dns(self.definition)
        tags = {what: {**now["tags"].get(what, {}), **self.tags} for what in ("load_balancer", "target_group")}
        return {
            "load_balancer": {
                "name": names.balancer_name(self.where),
                "scheme": self.scheme,
                "zones": sorted(zones | set(had.get("zones") or ())),
                "security_groups": sorted(self.base.groups[LOAD_BALANCER]),
                "attributes": attributes_of(self.where),
            },
            "target_group": {"health_check": {**_CHECK, **_CHECK_SPEED}, "attributes": dict(_GROUP_ATTRIBUTES)},
            "listeners": [self.where.endpoint_port],
            "members": sorted(self.wanted),
            "dns": (str(self.seen.balancer.get("DNSName") or "").lower() or "the load balancer") if dns_zone else None,
            "tags": tags if self.seen.balancer and self.seen.group else {},
        }

    def _need(self, text: str, do: Callable[[], Any]) -> None:
        self.actions.append(Action(text, do))

    def _call(self, operation: str, **parameters: Any) -> dict[str, Any]:
        return self.session.repeat("elbv2", operation, fresh=True, **parameters)

    def _named(self, operation: str, read: str, key: str, **parameters: Any) -> dict[str, Any]:
        """Make what has a unique name; when it is there already, a call whose answer was lost has made it."""
        try:
            return dict(self._call(operation, Tags=names.from_tags(self.tags), **parameters)[key][0])
        except CloudError as error:
            if not str(error.details.get("aws_code")).startswith("Duplicate"):
                raise
            self.session.clock.sleep(CONSISTENCY)
            found = _first(self.session, read, key, Names=[names.balancer_name(self.where)])
            if not found:
                raise
            return found

    def _make_group(self) -> None:
        self.seen.group = self._named(
            "create_target_group",
            "describe_target_groups",
            "TargetGroups",
            Name=names.balancer_name(self.where),
            Protocol="TCP",
            Port=API_PORT,
            VpcId=self.base.vpc_id,
            TargetType="instance",
            **_CHECK,
            **_CHECK_SPEED,
        )

    def _group_drift(self) -> None:
        differs = {key: value for key, value in {**_CHECK, **_CHECK_SPEED}.items() if self.seen.group.get(key) != value}
        if differs:
            self._need(
                f"set {', '.join(differs)} of the target group",
                lambda: self._call("modify_target_group", TargetGroupArn=self.seen.group_arn, **_CHECK, **_CHECK_SPEED),
            )

    def _set_group(self, attributes: dict[str, str]) -> None:
        self._call("modify_target_group_attributes", TargetGroupArn=self.seen.group_arn, Attributes=names.from_tags(attributes))

    def _set_balancer(self, attributes: dict[str, str]) -> None:
        self._call("modify_load_balancer_attributes", LoadBalancerArn=self.seen.balancer_arn, Attributes=names.from_tags(attributes))

    def _make_balancer(self) -> None:
        self.seen.balancer = self._named(
            "create_load_balancer",
            "describe_load_balancers",
            "LoadBalancers",
            Name=names.balancer_name(self.where),
            Type="network",
            Scheme=self.scheme,
            Subnets=self.subnets,
            SecurityGroups=sorted(self.base.groups[LOAD_BALANCER]),
        )

    def _balancer_drift(self) -> None:
        balancer = self.seen.balancer
        if balancer.get("Scheme") != self.scheme:
            raise FlotillaError(
                "AWS_ENDPOINT_FIXED",
                f"The load balancer {names.balancer_name(self.where)} is {balancer.get('Scheme')},"
                f" and api_endpoint.visibility asks for {self.scheme}: AWS can not change that.",
                "Set api_endpoint.visibility back, or delete the cluster and make it anew.",
            )
        have = {str(entry.get("ZoneName")) for entry in balancer.get("AvailabilityZones") or ()}
        if set(self.base.subnets["load_balancer"]) - have:
            self._need(
                "add zones to the load balancer",
                lambda: self._call("set_subnets", LoadBalancerArn=self.seen.balancer_arn, Subnets=self.subnets),
            )
        groups = sorted(self.base.groups[LOAD_BALANCER])
        if groups and sorted(balancer.get("SecurityGroups") or ()) != groups:
            self._need(
                "set the security groups of the load balancer",
                lambda: self._call("set_security_groups", LoadBalancerArn=self.seen.balancer_arn, SecurityGroups=groups),
            )

    def _plan_listeners(self) -> None:
        port = self.where.endpoint_port
        right = [entry for entry in self.seen.listeners if self._is_right(entry)]
        for entry in self.seen.listeners:
            if entry not in right:
                self._need(
                    f"delete the listener on {entry['Port']}",
                    lambda entry=entry: _or_nothing(lambda: self._call("delete_listener", ListenerArn=entry["ListenerArn"])),
                )
        if not right:
            self._need(f"listen on {port}", self._listen)

    def _is_right(self, entry: dict[str, Any]) -> bool:
        actions = entry.get("DefaultActions") or []
        leads = [action.get("TargetGroupArn") for action in actions]
        return entry.get("Port") == self.where.endpoint_port and entry.get("Protocol") == "TCP" and leads == [self.seen.group_arn]

    def _listen(self) -> None:
        action = {"Type": "forward", "TargetGroupArn": self.seen.group_arn}
        parameters = {"LoadBalancerArn": self.seen.balancer_arn, "Protocol": "TCP", "Port": self.where.endpoint_port}
        try:
            self._call("create_listener", DefaultActions=[action], Tags=names.from_tags(self.tags), **parameters)
        except CloudError as error:
            if error.details.get("aws_code") != "DuplicateListener":
                raise

    def _plan_tags(self) -> None:
        for arn, tags in self.seen.tags.items():
            missing = {key: value for key, value in self.tags.items() if tags.get(key) != value}
            if missing:
                self._need(
                    f"tag {arn}",
                    lambda arn=arn, missing=missing: self._call("add_tags", ResourceArns=[arn], Tags=names.from_tags(missing)),
                )

    def _register(self, ids: set[str]) -> None:
        targets = [{"Id": member, "Port": API_PORT} for member in sorted(ids)]
        self._call("register_targets", TargetGroupArn=self.seen.group_arn, Targets=targets)

    def _drain(self, ids: set[str]) -> None:
        """Take members out, and wait until their connections have ended or are closed, or leave them open."""
        delay = LEFT_OPEN if self.seconds is None else self.seconds
        if self.seen.group_attributes.get(_DELAY) != str(delay):
            self._set_group({_DELAY: str(delay)})
        targets = [{"Id": member, "Port": API_PORT} for member in sorted(ids)]
        _or_nothing(lambda: self._call("deregister_targets", TargetGroupArn=self.seen.group_arn, Targets=targets))

        def gone() -> bool:
            health = _health(self.session, self.seen.group_arn)
            kept = {member for member in ids & set(health) if self.seconds is not None or health[member].get("State") != "draining"}
            return not kept

        self.session.wait(gone, (self.seconds or 0) + _DRAIN_MARGIN)

    def _plan_record(self) -> None:
        zone, name = _dns(self.definition)
        if not zone:
            return
        record, balancer = self.seen.record, self.seen.balancer
        if record and not _points_here(self.where, record):
            raise FlotillaError(
                "AWS_DNS_NAME_TAKEN",
                f"The DNS name {name} in zone {zone} leads to something that is not the load balancer of cluster '{self.where.cluster}'.",
                "Choose another api_endpoint.dns_name, or remove the record by hand.",
            )
        target = str((record.get("AliasTarget") or {}).get("DNSName") or "")
        if not record or not balancer or not _same_name(target, str(balancer.get("DNSName") or "")):
            self._need(f"let {name} lead to the load balancer", self._write_record)

    def _write_record(self) -> None:
        _zone, name = _dns(self.definition)
        alias = {
            "HostedZoneId": self.seen.balancer["CanonicalHostedZoneId"],
            "DNSName": self.seen.balancer["DNSName"],
            "EvaluateTargetHealth": False,
        }
        _change_record(self.session, self.definition, "UPSERT", {"Name": name, "Type": "A", "AliasTarget": alias})

    def _wait(self) -> None:
        """Wait until the load balancer takes connections."""

        def active() -> bool:
            found = _first(self.session, "describe_load_balancers", "LoadBalancers", Names=[names.balancer_name(self.where)])
            state = found.get("State") or {}
            if state.get("Code") == "failed":
                raise FlotillaError(
                    "AWS_LOAD_BALANCER_FAILED",
                    f"AWS did not make the load balancer {names.balancer_name(self.where)}: {state.get('Reason') or 'it gives no reason'}.",
                    "Delete it in the AWS console and run again.",
                )
            return state.get("Code") in ("active", "active_impaired")

        if not self.session.wait(active, ACTIVE_TIMEOUT, pause=5):
            raise FlotillaError(
                "AWS_LOAD_BALANCER_SLOW",
                f"The load balancer {names.balancer_name(self.where)} is not active after {ACTIVE_TIMEOUT} s.",
                "Run again: it goes on waiting.",
            )
