# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""moto's server with what real AWS does and moto does not: `python -m clouds.aws.endpoint --help`.

Added, all by the test's clock: client tokens of RunInstances and CreateNatGateway (kept for a day after the machine is gone), machines that
are pending, shutting down, and listed for an hour after their end, gateways that take their time, quota and capacity per zone with fewer
machines than asked for, targets that become healthy, and the refusal to delete what is in use.

``PUT /_endpoint/limits`` sets ``{"capacity": {zone: machines that still fit}, "quota": machines at all}``; ``PUT /_endpoint/reset``
empties the account; ``GET /_endpoint/inventory`` gives every object that moto holds, of every kind, whether the API lists it or not.
"""

from __future__ import annotations

import argparse
import collections
import copy
import datetime
import functools
import io
import json
import logging
import os
import sys
import threading
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ.update(MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="1", MOTO_ENABLE_KEYPAIR_VALIDATION="0", MOTO_ENABLE_AMI_VALIDATION="1")

import moto.backends
import moto.core.responses
from moto.backends import get_backend
from moto.core import DEFAULT_ACCOUNT_ID
from moto.core.base_backend import BaseBackend
from moto.core.common_models import BaseModel
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models import EC2Backend
from moto.ec2.models.security_groups import SecurityGroupRule
from moto.ec2.responses.instances import InstanceResponse
from moto.ec2.responses.nat_gateways import NatGateways
from moto.elbv2.exceptions import DuplicateListenerError, DuplicateLoadBalancerName
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeTargetGroup
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from clouds.clock import Clock
from clouds.faults import Answer, Request

DAY, HOUR = 86400.0, 3600.0
PENDING = 4.0
"""Seconds that a machine is pending; real ones take 5 to 30."""
ENDING = 6.0
GATEWAY = 10.0
"""Seconds until a NAT gateway is available or deleted; real ones take one to three minutes."""
HEALTHY = 10.0

# Every kind of which moto has some before anybody made one.
SERVICES = ("ec2", "elbv2", "iam", "route53", "ssm", "kms", "autoscaling", "sqs", "events", "s3", "resourcegroupstaggingapi")


class World:
    """What moto does not keep."""

    clock: Clock

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        self.capacity: dict[str, int] = {}
        self.quota = 1 << 30
        self.tokens: dict[tuple[str, str], tuple[str, Any, list[Any]]] = {}
        self.since: dict[tuple[str, str], float] = {}
        self.wanted: tuple[int, str] = (1, "")

    def age(self, thing: str, state: str) -> float:
        """Return for how long a thing has been in a state."""
        now = self.clock.now()
        return now - self.since.setdefault((thing, state), now)

    def move(self, thing: str, before: str, after: str, lasted: float) -> None:
        """A state ended when its time was over, not when somebody looked."""
        self.since[(thing, after)] = self.since[(thing, before)] + lasted

    def settle(self, backend: EC2Backend) -> None:
        """Let happen what time brings."""
        for number, reservation in list(backend.reservations.items()):
            for instance in list(reservation.instances):
                state = instance._state
                age = self.age(instance.id, state.name)
                if state.name == "pending" and age > PENDING:
                    state.name, state.code = "running", 16
                elif state.name == "shutting-down" and age > ENDING:
                    state.name, state.code = "terminated", 48
                    self.move(instance.id, "shutting-down", "terminated", ENDING)
                    for interface in instance.nics.values():
                        backend.enis.pop(interface.id, None)
                if state.name == "terminated" and self.age(instance.id, "terminated") > HOUR:
                    reservation.instances.remove(instance)
            if not reservation.instances:
                del backend.reservations[number]
        for gateway in list(backend.nat_gateways.values()):
            age = self.age(gateway.id, gateway.state)
            if gateway.state == "pending" and age > GATEWAY:
                gateway.state = "available"
            elif gateway.state == "deleting" and age > GATEWAY:
                gateway.state = "deleted"
                self.move(gateway.id, "deleting", "deleted", GATEWAY)
                for address in backend.addresses:
                    if address.eni is gateway._eni:
                        backend.disassociate_address(address=address.public_ip)
                backend.enis.pop(gateway._eni.id, None)
            elif gateway.state == "deleted" and age > HOUR:
                del backend.nat_gateways[gateway.id]

    def repeated(self, kind: str, token: str, parameters: str) -> Any:
        """Return what a token made before, or None.

        :raises EC2ClientError: when it was made with other parameters.
        """
        known = self.tokens.get((kind, token)) if token else None
        if known is None:
            return None
        if known[0] != parameters:
            raise EC2ClientError("IdempotentParameterMismatch", f"The token '{token}' was used with different parameters.")
        made = known[1]
        if kind == "instance":
            # All that it made, also what is not listed any more.
            made = copy.copy(made)
            made.instances = known[2]
        ended = [
            self.age(instance.id, instance._state.name)
            for instance in getattr(made, "instances", [])
            if instance._state.name == "terminated"
        ]
        if ended and len(ended) == len(made.instances) and min(ended) > DAY:
            del self.tokens[(kind, token)]
            return None
        return made


def live(backend: EC2Backend) -> Iterator[Any]:
    for reservation in backend.reservations.values():
        yield from (instance for instance in reservation.instances if instance._state.name != "terminated")


def refuse(thing: str, user: str) -> None:
    raise EC2ClientError("DependencyViolation", f"{thing} has a dependent object ({user}) and cannot be deleted.")


def add_what_moto_lacks(world: World) -> None:
    """Change moto's classes."""
    run_response, run = InstanceResponse.run_instances, EC2Backend.run_instances

    def answer_run(self: Any) -> Any:
        least, most = int(self._get_param("MinCount", 1)), int(self._get_param("MaxCount", 1))
        if not 1 <= least <= most:
            raise EC2ClientError("InvalidParameterValue", f"Value ({least}) for parameter minCount is invalid.")
        fields = {key: value for key, value in self.querystring.items() if key not in ("ClientToken",)}
        world.wanted = (most, json.dumps(fields, sort_keys=True, default=str))
        return run_response(self)

    def run_instances(self: Any, image_id: str, count: int, user_data: Any, security_group_names: list[str], **options: Any) -> Any:
        most, parameters = world.wanted
        token = options.get("client_token", "")
        token = "" if token == "ABCDE" else token  # moto's word for none
        made = world.repeated("instance", token, parameters)
        if made is not None:
            return made
        if len(list(live(self))) + count > world.quota:
            text = "You have requested more vCPU capacity than your current vCPU limit of {} allows for the instance bucket."
            raise EC2ClientError("VcpuLimitExceeded", text.format(world.quota))
        subnet = self.get_subnet(options["subnet_id"]) if options.get("subnet_id") else None
        zone = subnet.availability_zone if subnet else options.get("placement") or ""
        fits = min(world.capacity.get(zone, most), world.quota - len(list(live(self))), most)
        if fits < count:
            text = (
                f"We currently do not have sufficient {options['instance_type']} capacity in the Availability Zone you requested ({zone})."
            )
            raise EC2ClientError("InsufficientInstanceCapacity", text)
        if subnet and fits > len(list(subnet.cidr.hosts())) - 3 - sum(instance.subnet_id == subnet.id for instance in live(self)):
            raise EC2ClientError("InsufficientFreeAddressesInSubnet", f"There are not enough free addresses in subnet '{subnet.id}'.")
        made = run(self, image_id, fits, user_data, security_group_names, **options)
        if zone in world.capacity:
            world.capacity[zone] -= fits
        begun = datetime.datetime.fromtimestamp(world.clock.time(), datetime.timezone.utc).replace(tzinfo=None)
        for instance in made.instances:
            instance._state.name, instance._state.code = "pending", 0
            instance.launch_time = begun
            world.age(instance.id, "pending")
        if token:
            world.tokens[("instance", token)] = (parameters, made, list(made.instances))
        return made

    InstanceResponse.run_instances = answer_run  # type: ignore[method-assign]
    EC2Backend.run_instances = run_instances  # type: ignore[method-assign]

    terminate = EC2Backend.terminate_instances

    def terminate_instances(self: Any, instance_ids: list[str]) -> Any:
        states = {instance.id: instance._state.name for instance in self.get_multi_instances_by_id(instance_ids)}
        done = terminate(self, instance_ids)
        for instance, _before in done:
            if states[instance.id] not in ("terminated", "shutting-down"):
                world.since.pop((instance.id, "shutting-down"), None)
            if states[instance.id] != "terminated":
                instance._state.name, instance._state.code = "shutting-down", 32
                world.age(instance.id, "shutting-down")
        return done

    EC2Backend.terminate_instances = terminate_instances  # type: ignore[method-assign]

    create_gateway, delete_gateway = NatGateways.create_nat_gateway, EC2Backend.delete_nat_gateway

    def answer_gateway(self: Any) -> Any:
        fields = {key: value for key, value in self.querystring.items() if key != "ClientToken"}
        token, parameters = self._get_param("ClientToken") or "", json.dumps(fields, sort_keys=True, default=str)
        made = world.repeated("natgateway", token, parameters)
        if made is not None:
            return made
        before = set(self.ec2_backend.nat_gateways)
        address = self._get_param("AllocationId")
        if any(item.allocation_id == address and item.eni for item in self.ec2_backend.addresses):
            raise EC2ClientError("Resource.AlreadyAssociated", f"{address} is already associated")
        made = create_gateway(self)
        for number in set(self.ec2_backend.nat_gateways) - before:
            self.ec2_backend.nat_gateways[number].state = "pending"
        if token:
            world.tokens[("natgateway", token)] = (parameters, made, [])
        return made

    def delete_nat_gateway(self: Any, nat_gateway_id: str) -> Any:
        gateway = self.nat_gateways.get(nat_gateway_id)
        if gateway is None:
            raise EC2ClientError("NatGatewayNotFound", f"NatGateway {nat_gateway_id} was not found")
        state = gateway.state
        delete_gateway(self, nat_gateway_id)
        gateway.state = state if state in ("deleted", "deleting") else "deleting"
        return gateway

    NatGateways.create_nat_gateway = answer_gateway  # type: ignore[method-assign]
    EC2Backend.delete_nat_gateway = delete_nat_gateway  # type: ignore[method-assign]
    add_refusals()

    create_balancer = ELBv2Backend.create_load_balancer

    def create_load_balancer(self: Any, name: str, security_groups: list[str], subnet_ids: list[str], *more: Any, **options: Any) -> Any:
        # A name is unique in its region, and asking for the same again gives the same; moto makes another one.
        # https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateLoadBalancer.html
        known = next((item for item in self.load_balancers.values() if item.name == name), None)
        if known is None:
            return create_balancer(self, name, security_groups, subnet_ids, *more, **options)
        asked = (sorted(security_groups or []), sorted(subnet_ids or []), options.get("scheme", known.scheme))
        if asked != (sorted(known.security_groups or []), sorted(subnet.id for subnet in known.subnets), known.scheme):
            raise DuplicateLoadBalancerName()
        return known

    create_listener_ = ELBv2Backend.create_listener

    def create_listener(self: Any, load_balancer_arn: str, protocol: str, port: str, *more: Any, **options: Any) -> Any:
        # A port has one listener; moto looks for the port among ARNs.
        balancer = self.load_balancers.get(load_balancer_arn)
        if balancer and any(str(listener.port) == str(port) for listener in balancer.listeners.values()):
            raise DuplicateListenerError()
        return create_listener_(self, load_balancer_arn, protocol, port, *more, **options)

    ELBv2Backend.create_listener = create_listener  # type: ignore[method-assign]
    ELBv2Backend.create_load_balancer = create_load_balancer  # type: ignore[method-assign]

    health = FakeTargetGroup.health_for

    def health_for(self: Any, target: dict[str, Any], ec2_backend: Any) -> Any:
        status = health(self, target, ec2_backend)
        registered = target["Id"] in self.targets
        if status.status == "healthy" and world.age(f"{self.arn} {target['Id']}", "registered") < HEALTHY:
            return FakeHealthStatus(status.instance_id, status.port, status.health_check_port, "initial", "Elb.RegistrationInProgress")
        if not registered:
            world.since.pop((f"{self.arn} {target['Id']}", "registered"), None)
        return status

    FakeTargetGroup.health_for = health_for  # type: ignore[method-assign]


def add_refusals() -> None:
    """Make moto refuse to delete what is in use: https://docs.aws.amazon.com/vpc/latest/userguide/delete-vpc.html."""
    delete_group, delete_subnet, delete_vpc = EC2Backend._delete_security_group, EC2Backend.delete_subnet, EC2Backend.delete_vpc
    detach, release = EC2Backend.detach_internet_gateway, EC2Backend.release_address

    def gateways(backend: Any) -> Iterator[Any]:
        return (gateway for gateway in backend.nat_gateways.values() if gateway.state not in ("deleted", "failed"))

    def balancers() -> Iterator[Any]:
        for region in get_backend("elbv2")[DEFAULT_ACCOUNT_ID].values():
            yield from region.load_balancers.values()

    def delete_security_group(self: Any, vpc_id: str | None, group_id: str) -> None:
        for instance in live(self):
            if any(group.id == group_id for group in instance.security_groups):
                refuse(f"resource {group_id}", instance.id)
        for interface in self.enis.values():
            if any(group.id == group_id for group in interface.group_set):
                refuse(f"resource {group_id}", interface.id)
        for balancer in balancers():
            if group_id in (balancer.security_groups or []):
                refuse(f"resource {group_id}", balancer.arn)
        for groups in self.groups.values():
            for other in groups.values():
                rules = [*other.ingress_rules, *other.egress_rules]
                if other.id != group_id and any((rule.source_group or {}).get("GroupId") == group_id for rule in rules):
                    refuse(f"resource {group_id}", other.id)
        delete_group(self, vpc_id, group_id)

    def delete_subnet_(self: Any, subnet_id: str) -> Any:
        for instance in live(self):
            if instance.subnet_id == subnet_id:
                refuse(f"The subnet '{subnet_id}'", instance.id)
        for gateway in gateways(self):
            if gateway.subnet_id == subnet_id:
                refuse(f"The subnet '{subnet_id}'", gateway.id)
        for balancer in balancers():
            if any(subnet.id == subnet_id for subnet in balancer.subnets):
                refuse(f"The subnet '{subnet_id}'", balancer.arn)
        return delete_subnet(self, subnet_id)

    def delete_vpc_(self: Any, vpc_id: str) -> Any:
        for gateway in self.internet_gateways.values():
            if gateway.vpc and gateway.vpc.id == vpc_id:
                refuse(f"The vpc '{vpc_id}'", gateway.id)
        for group in self.groups.get(vpc_id, {}).values():
            if group.name != "default":
                refuse(f"The vpc '{vpc_id}'", group.id)
        deleted = delete_vpc(self, vpc_id)
        # They go with their VPC: https://docs.aws.amazon.com/vpc/latest/userguide/default-network-acl.html
        for number, acl in list(self.network_acls.items()):
            if acl.vpc_id == vpc_id:
                del self.network_acls[number]
        return deleted

    def detach_internet_gateway(self: Any, internet_gateway_id: str, vpc_id: str) -> None:
        if any(gateway.vpc_id == vpc_id and gateway.connectivity_type == "public" for gateway in gateways(self)):
            raise EC2ClientError("DependencyViolation", f"Network {vpc_id} has some mapped public address(es). Please unmap those first.")
        detach(self, internet_gateway_id, vpc_id)

    def release_address(self: Any, address: str | None = None, allocation_id: str | None = None) -> None:
        for item in self.addresses:
            if item.allocation_id == allocation_id and item.eni:
                raise EC2ClientError("InvalidIPAddress.InUse", f"Address {allocation_id} is in use.")
        release(self, address, allocation_id)

    def same_rule(self: Any, other: Any) -> bool:
        """A description is no part of what a rule is; moto does not revoke a rule without it."""

        def identity(rule: Any) -> tuple[Any, ...]:
            names = ("ip_protocol", "from_port", "to_port", "is_egress")
            source = (rule.source_group or {}).get("GroupId")
            ranges = {key: value for key, value in (rule.ip_range or {}).items() if key != "Description"}
            return *(str(getattr(rule, name)) for name in names), source, ranges

        return identity(self) == identity(other)

    SecurityGroupRule.__eq__ = same_rule  # type: ignore[method-assign]
    EC2Backend._delete_security_group = delete_security_group  # type: ignore[method-assign]
    EC2Backend.delete_subnet = delete_subnet_  # type: ignore[method-assign]
    EC2Backend.delete_vpc = delete_vpc_  # type: ignore[method-assign]
    EC2Backend.detach_internet_gateway = detach_internet_gateway  # type: ignore[method-assign]
    EC2Backend.release_address = release_address  # type: ignore[method-assign]


def inventory() -> dict[str, list[str]]:
    """Return kind -> ids of every model that any backend in use holds, found by walking through all they have."""
    found: dict[str, set[str]] = collections.defaultdict(set)

    def walk(value: Any, path: str, depth: int) -> None:
        if isinstance(value, BaseModel) and not isinstance(value, BaseBackend):
            number = next(
                (str(getattr(value, name)) for name in ("id", "arn", "allocation_id", "name") if getattr(value, name, None)), path
            )
            found[type(value).__name__].add(number)
        elif depth and isinstance(value, dict):
            for key, item in list(value.items()):
                walk(item, f"{path}/{key}", depth - 1)
        elif depth and isinstance(value, (list, tuple, set)):
            for number, item in enumerate(list(value)):
                walk(item, f"{path}/{number}", depth - 1)
        elif depth and type(value).__name__ == "Reservation":
            walk(value.instances, path, depth)

    for service in SERVICES:
        for region, backend in list(get_backend(service)[DEFAULT_ACCOUNT_ID].items()):
            for name, value in list(vars(backend).items()):
                if name not in ("amis", "reservations"):
                    walk(value, f"{service}/{region}/{name}", 3)
            for reservation in getattr(backend, "reservations", {}).values():
                for instance in reservation.instances:
                    walk(instance, instance.id, 1)
    return {kind: sorted(ids) for kind, ids in sorted(found.items())}


class Application:
    """moto, one request at a time: its backends know no locks."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.moto = DomainDispatcherApplication(create_backend_app)
        self.lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Any:
        with self.lock:
            path = environ["PATH_INFO"]
            if not path.startswith("/_endpoint/"):
                for backend in list(get_backend("ec2")[DEFAULT_ACCOUNT_ID].values()):
                    self.world.settle(backend)
                try:
                    return list(self.moto(environ, start_response))
                except Exception:
                    logging.exception("moto failed")
                    raise
            reply: Any = {}
            if path == "/_endpoint/limits":
                limits = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
                self.world.capacity, self.world.quota = limits.get("capacity", {}), limits.get("quota", 1 << 30)
            elif path == "/_endpoint/reset":
                self.world.clear()
                for service in SERVICES:
                    get_backend(service).reset()
            elif path == "/_endpoint/inventory":
                reply = inventory()
            start_response("200 OK", [("Content-Type", "application/json")])
            return [json.dumps(reply).encode()]


def create(clock: Clock) -> Callable[[Request], Answer]:
    """Return the endpoint for this process. There is one account: the clock of the last call is its clock."""
    world = _world()
    application = Application(world)
    unwanted = {"connection", "content-length", "date", "keep-alive", "server", "transfer-encoding"}

    def ask(request: Request) -> Answer:
        world.clock = clock
        path, _mark, query = request.path.partition("?")
        environ = {
            "REQUEST_METHOD": request.method,
            "PATH_INFO": urllib.parse.unquote(path, "latin1"),
            "QUERY_STRING": query,
            "REQUEST_URI": request.path,
            "SCRIPT_NAME": "",
            "SERVER_NAME": "127.0.0.1",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "CONTENT_TYPE": request.headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(request.body)),
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(request.body),
            "wsgi.errors": sys.stderr,
            "wsgi.multithread": True,
            "wsgi.multiprocess": False,
            "wsgi.run_once": False,
            **{f"HTTP_{name.upper().replace('-', '_')}": value for name, value in request.headers.items()},
        }
        head: list[Any] = []
        body = b"".join(application(environ, lambda status, headers, _error=None: head.extend((status, headers))))
        return Answer(int(head[0][:3]), {name: value for name, value in head[1] if name.lower() not in unwanted}, body)

    return ask


@functools.cache
def _world() -> World:
    """Return what moto's classes know, which are changed once."""
    world = World()
    add_what_moto_lacks(world)
    # It looks through its folders and classes for each request.
    modules = tuple(moto.backends.list_of_moto_modules())
    moto.backends.list_of_moto_modules = lambda: modules
    moto.core.responses.method_names_from_class = functools.cache(moto.core.responses.method_names_from_class)
    return world


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clock", required=True, type=Path)
    parser.add_argument("--ready", required=True, type=Path, help="file that gets the URL")
    options = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    world = _world()
    world.clock = Clock(options.clock)
    server = make_server("127.0.0.1", 0, Application(world), threaded=True, request_handler=Quiet)
    ready = options.ready.with_suffix(".new")
    ready.write_text(f"http://127.0.0.1:{server.server_port}", encoding="utf-8")
    ready.rename(options.ready)
    server.serve_forever()


if __name__ == "__main__":
    main()
