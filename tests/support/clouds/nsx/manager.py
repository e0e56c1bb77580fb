# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A strict NSX manager: what the types do not say. Revisions, references, realization, allocation, a search that lags, sessions."""

from __future__ import annotations

import copy
import ipaddress
import json
import re
import threading
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any

from clouds.clock import Clock
from clouds.faults import Answer, Request
from clouds.nsx import schema
from clouds.nsx.schema import PREFIX, Refused

USER, PASSWORD = "ops", "right"
NODE = "/infra/sites/default/enforcement-points/default"
Entry = dict[str, Any]

# field -> where what it refers to has to be.
_REFERS = {
    "tier0_path": r"/infra/tier-0s/[^/]+",
    "edge_cluster_path": rf"{NODE}/edge-clusters/[^/]+",
    "transport_zone_path": rf"{NODE}/transport-zones/[^/]+",
    "connectivity_path": r"/infra/tier-[01]s/[^/]+",
    "dhcp_config_path": r"/infra/dhcp-(server|relay)-configs/[^/]+",
    "ip_block_path": r"/infra/ip-blocks/[^/]+",
    "lb_service_path": r"/infra/lb-services/[^/]+",
    "pool_path": r"/infra/lb-pools/[^/]+",
    "application_profile_path": r"/infra/lb-app-profiles/[^/]+",
    "active_monitor_paths": r"/infra/lb-monitor-profiles/[^/]+",
    "group_path": r"/infra/domains/[^/]+/groups/[^/]+",
    "scope": r"/infra/domains/[^/]+/groups/[^/]+",
    "source_groups": r"/infra/domains/[^/]+/groups/[^/]+",
    "destination_groups": r"/infra/domains/[^/]+/groups/[^/]+",
    "paths": r"/infra/(segments/[^/]+|domains/[^/]+/groups/[^/]+)",
}
# What there is without anybody having made it.
_FOLDERS = re.compile(rf"/infra|/infra/domains/default|{NODE}|/infra/tier-1s/[^/]+/nat/USER")
_SEARCHED = re.compile(r"((?:\\.|[^\\: ])+):((?:\\.|[^\\ ])+)")
_MEANING = set('-+=&|!(){}[]^"~*?:/')
_DEFAULTS: dict[str, Entry] = {
    "LBPool": {"algorithm": "ROUND_ROBIN", "min_active_members": 1, "tcp_multiplexing_enabled": False},
    "LBPoolMember": {"admin_state": "ENABLED", "weight": 1, "backup_member": False},
    "LBService": {"size": "SMALL", "enabled": True, "error_log_level": "INFO"},
    "LBVirtualServer": {"enabled": True, "access_log_enabled": False},
    "PolicyNatRule": {"enabled": True, "logging": False, "sequence_number": 0, "firewall_match": "MATCH_INTERNAL_ADDRESS"},
    "Rule": {"disabled": False, "logged": False, "sequence_number": 0, "direction": "IN_OUT", "ip_protocol": "IPV4_IPV6"},
    "SecurityPolicy": {"category": "Application", "stateful": True, "tcp_strict": True, "locked": False, "scope": ["ANY"]},
    "Segment": {"admin_state": "UP", "replication_mode": "MTEP"},
    "Tier1": {"failover_mode": "NON_PREEMPTIVE", "disable_firewall": False, "force_whitelisting": False, "ha_mode": "ACTIVE_STANDBY"},
    "DhcpServerConfig": {"lease_time": 86400},
}


class Manager:
    """:param clock: by which everything here lasts.

    :ivar things: path -> document.
    :ivar lag: seconds until what was accepted is real, or gone.
    :ivar index_lag: seconds after which the search knows of a change.
    :ivar principal: whether who stands in front has checked a principal identity's certificate.
    :ivar failing: beginning of a path -> the manager's words for why it can not be made.
    :ivar attached: path of a segment -> names of its ports.
    :ivar sessions: pool member's address -> connections that it has.
    :ivar health: pool member's address -> what the monitor says.
    :ivar log: method and path of each call.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.lock = threading.Lock()
        self.things: dict[str, Entry] = {}
        self.lag = 2.0
        self.index_lag = 3.0
        self.page = 1000
        self.new_release = False
        self.principal = False
        self.failing: dict[str, str] = {}
        self.attached: dict[str, list[str]] = {}
        self.sessions: dict[str, int] = {}
        self.health: dict[str, tuple[str, str]] = {}
        self.log: list[str] = []
        self.bodies: list[tuple[str, str, Entry]] = []
        self._written: dict[str, float] = {}
        self._going: dict[str, tuple[float, Entry]] = {}
        self._given: dict[str, str] = {}
        self._index: list[tuple[float, str, Entry | None]] = []
        self._cookies: set[str] = set()

    # Requests

    def __call__(self, request: Request) -> Answer:
        try:
            with self.lock:
                return self._answer(request)
        except Refused as error:
            names = {400: "BAD_REQUEST", 401: "UNAUTHORIZED", 403: "FORBIDDEN", 404: "NOT_FOUND", 412: "PRECONDITION_FAILED"}
            document = {
                "httpStatus": names[error.status],
                "error_code": error.code,
                "module_name": "policy",
                "error_message": error.message,
            }
            return _json(error.status, document)

    def _answer(self, request: Request) -> Answer:
        path, _mark, query = request.path.partition("?")
        if path == "/api/session/create":
            return self._sign_in(request)
        token = request.headers.get("x-xsrf-token", "")
        signed_in = token in self._cookies and f"JSESSIONID={token}" in request.headers.get("cookie", "")
        if not signed_in and not self.principal:
            raise Refused(401, 403, "The credentials were incorrect or the account specified has been locked.")
        route = schema.route(request.method, path)
        given = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        unknown = set(given) - route.query
        if unknown:
            raise Refused(400, 220, f"Unknown query parameter {', '.join(sorted(unknown))}.")
        place = urllib.parse.unquote(path.removeprefix(PREFIX))
        self.log.append(f"{request.method} {place}")
        if request.method == "GET":
            found = self._read(place, given, route)
            schema.check(route.answer, found, partial=True)
            return _json(200, found)
        if request.method == "DELETE":
            self._delete(place)
            return Answer(200, {}, b"")
        if not request.headers.get("content-type", "").startswith("application/json"):
            raise Refused(400, 220, "The content type is not application/json.")
        body = json.loads(request.body)
        self.bodies.append((request.method, place, body))
        done = self._write(request.method, place, route.body, body)
        return _json(200, done) if request.method == "PUT" else Answer(200, {}, b"")

    def _sign_in(self, request: Request) -> Answer:
        form = dict(urllib.parse.parse_qsl(request.body.decode()))
        if (form.get("j_username"), form.get("j_password")) != (USER, PASSWORD):
            raise Refused(403, 403, "The credentials were incorrect or the account specified has been locked.")
        token = uuid.uuid4().hex
        self._cookies.add(token)
        return Answer(200, {"Set-Cookie": f"JSESSIONID={token}; Path=/; HttpOnly", "X-XSRF-TOKEN": token}, b"")

    def end_sessions(self) -> None:
        self._cookies.clear()

    # Reads

    def _read(self, place: str, query: dict[str, str], route: schema.Route) -> Entry:
        self._settle()
        if place == "/search/query":
            return self._paged(self._search(query.get("query", "")), query)
        if place == "/infra/realized-state/status":
            return self._status(query["intent_path"])
        if place == "/infra/realized-state/realized-entities":
            return self._paged([self._entity(query["intent_path"])], {})
        if re.search(r"/lb-pools/[^/]+/(detailed-status|statistics)$", place):
            return self._pool_said(place)
        ports = re.fullmatch(r"(/infra/segments/[^/]+)/ports", place)
        if ports:
            return self._paged(
                [{"id": name, "display_name": name, "resource_type": "SegmentPort"} for name in self.attached.get(ports.group(1), ())],
                query,
            )
        if route.answer.endswith("ListResult"):
            pattern = re.compile(rf"{re.escape(place)}/[^/]+")
            return self._paged([thing for path, thing in sorted(self.things.items()) if pattern.fullmatch(path)], query)
        if place not in self.things:
            raise Refused(404, 600, f"The path=[{place}] does not exist.")
        return copy.deepcopy(self.things[place])

    def _paged(self, found: list[Entry], query: dict[str, str]) -> Entry:
        size = min(self.page, int(query.get("page_size") or 1000))
        begin = int(query.get("cursor") or 0)
        part = copy.deepcopy(found[begin : begin + size])
        more = {"cursor": str(begin + size)} if begin + size < len(found) else {}
        return {"results": part, "result_count": len(found), **more}

    def _search(self, query: str) -> list[Entry]:
        known: dict[str, Entry] = {}
        for at, path, thing in self._index:
            if at <= self.clock.now():
                if thing is None:
                    known.pop(path, None)
                else:
                    known[path] = thing
        terms = []
        for part in query.split(" AND "):
            found = _SEARCHED.fullmatch(part)
            if not found or any(char in _MEANING for char in re.sub(r"\\.", "", found.group(2))):
                raise Refused(400, 60519, f"Search query parse failed: {part}")
            terms.append((found.group(1), re.sub(r"\\(.)", r"\1", found.group(2))))
        return [thing for _path, thing in sorted(known.items()) if all(value in _values(thing, name.split(".")) for name, value in terms)]

    def _status(self, path: str) -> Entry:
        if path not in self.things:
            raise Refused(404, 600, f"The path=[{path}] does not exist.")
        state = self._state(path)
        if self.things[path]["resource_type"] == "IpAddressAllocation":
            return {"publish_status": "UNAVAILABLE", "intent_path": path, "consolidated_status": {"consolidated_status": "UNINITIALIZED"}}
        words = {"REALIZED": "SUCCESS", "UNREALIZED": "IN_PROGRESS", "ERROR": "ERROR"}
        return {"publish_status": state, "intent_path": path, "consolidated_status": {"consolidated_status": words[state]}}

    def _state(self, path: str) -> str:
        if self.clock.now() < self._written.get(path, 0.0) + self.lag:
            return "UNREALIZED"
        return "ERROR" if self._why(path) else "REALIZED"

    def _why(self, path: str) -> str:
        said = next((words for part, words in self.failing.items() if path.startswith(part)), "")
        return said or ("The pool or block has no free addresses." if self._gives(path) and path not in self._given else "")

    def _entity(self, path: str) -> Entry:
        if path not in self.things:
            raise Refused(404, 600, f"The path=[{path}] does not exist.")
        state = self._state(path)
        found: Entry = {
            "resource_type": "GenericPolicyRealizedResource",
            "state": state,
            "intent_paths": [path],
            "id": path.rsplit("/", 1)[-1],
        }
        if state == "ERROR":
            found["alarms"] = [{"resource_type": "PolicyAlarmResource", "message": self._why(path)}]
        if state == "REALIZED" and path in self._given:
            key = "cidr" if "/ip-subnets/" in path else "allocation_ip"
            found["extended_attributes"] = [{"data_type": "STRING", "multivalue": False, "key": key, "values": [self._given[path]]}]
        return found

    def _pool_said(self, place: str) -> Entry:
        service, _part, rest = place.partition("/lb-pools/")
        name, _slash, question = rest.partition("/")
        pool = self.things.get(f"/infra/lb-pools/{name}")
        used = [
            one
            for one in self.things.values()
            if one.get("pool_path") == f"/infra/lb-pools/{name}" and one.get("lb_service_path") == service
        ]
        if not pool or service not in self.things or not used:
            raise Refused(404, 600, f"The path=[{place}] does not exist.")
        members = []
        for one in pool.get("members") or ():
            address, state = one["ip_address"], one["admin_state"]
            part: Entry = {"ip_address": address, "port": one.get("port")}
            if question == "statistics":
                part["statistics"] = {"current_sessions": self.sessions.get(address, 0)}
            else:
                word, cause = self.health.get(address, ("UP", ""))
                part |= {"status": word if state == "ENABLED" else state, "failure_cause": cause}
            members.append(part)
        kind = "LBPoolStatistics" if question == "statistics" else "LBPoolStatus"
        return {"results": [{"resource_type": kind, "pool_path": pool["path"], "members": members}]}

    # Changes

    def _write(self, method: str, path: str, struct: str, body: Entry) -> Entry:
        self._settle()
        have = self.things.get(path)
        checked = schema.check(struct, body, partial=method == "PATCH" and have is not None)
        kind = schema.kind_of(struct, {**(have or {}), **checked})
        name = path.rsplit("/", 1)[-1]
        if checked.get("id", name) != name:
            raise Refused(400, 500079, f"The id {checked['id']} is not that of the path=[{path}].")
        parent = path.rsplit("/", 2)[0]
        if parent not in self.things and not _FOLDERS.fullmatch(parent):
            raise Refused(400, 500090, f"The parent of the path=[{path}] does not exist.")
        if method == "PUT":
            self._check_revision(path, have, checked)
            done = checked
        else:
            done = {**(have or {}), **checked}
        own = ("id", "path", "parent_path", "relative_path", "resource_type", "unique_id", "marked_for_delete", "overridden", "_revision")
        done = {key: value for key, value in done.items() if key not in own and not key.startswith("_")}
        done = {**_DEFAULTS.get(kind, {}), **done}
        for key, inner in (("members", "LBPoolMember"), ("rules", "Rule")):
            if kind in ("LBPool", "SecurityPolicy") and done.get(key):
                done[key] = [{**_DEFAULTS[inner], **part} for part in done[key]]
        if kind == "SecurityPolicy":
            done["rules"] = self._rules(path, method, have, done.get("rules") or [])
        self._check_references(path, done)
        getattr(self, f"_check_{kind}", lambda *_arguments: None)(path, done, have)
        done.setdefault("display_name", name)
        done |= {
            "id": name,
            "path": path,
            "parent_path": parent,
            "relative_path": name,
            "resource_type": kind,
            "unique_id": (have or {}).get("unique_id") or str(uuid.uuid4()),
            "marked_for_delete": False,
            "overridden": False,
            "_revision": have["_revision"] + 1 if have else 0,
            "_create_user": USER,
            "_system_owned": False,
            "_protection": "NOT_PROTECTED",
        }
        self.things[path] = done
        self._written[path] = self.clock.now()
        self._index.append((self.clock.now() + self.index_lag, path, copy.deepcopy(done)))
        self._give(path)
        return copy.deepcopy(self.things[path])

    def put(self, path: str, **body: Any) -> Entry:
        """Make or change something as somebody else than those who are tested."""
        with self.lock:
            route = schema.route("PATCH", f"{PREFIX}{path}")
            done = self._write("PATCH", path, route.body, body)
            self._written[path] = -self.lag
            self._index[-1] = (0.0, path, copy.deepcopy(self.things[path]))
            return done

    def seed(self, path: str, resource_type: str, **body: Any) -> None:
        """Have something that nobody can make by this API."""
        name = path.rsplit("/", 1)[-1]
        self.things[path] = {"id": name, "path": path, "display_name": name, "resource_type": resource_type, "_revision": 0, **body}
        self._index.append((0.0, path, copy.deepcopy(self.things[path])))

    def _check_revision(self, path: str, have: Entry | None, body: Entry) -> None:
        if have is None and body.get("_revision") is None:
            return
        if have is None or body.get("_revision") != have["_revision"]:
            there = have["_revision"] if have else "none"
            raise Refused(
                412,
                604,
                f"The object {path} is already present in the system or its revision {body.get('_revision')} is not the latest ({there}).",
            )

    def _rules(self, path: str, method: str, have: Entry | None, rules: list[Entry]) -> list[Entry]:
        before = {rule["id"]: rule for rule in (have or {}).get("rules") or ()}
        if len({rule["id"] for rule in rules}) != len(rules):
            raise Refused(400, 500100, f"Rules of the path=[{path}] have the same id.")
        done = []
        for rule in rules:
            old = before.get(rule["id"])
            if method == "PUT" and (rule.get("_revision") != (old or {}).get("_revision")):
                raise Refused(412, 604, f"The object {path}/rules/{rule['id']} is not the latest revision.")
            for key in ("source_groups", "destination_groups", "services", "scope"):
                if "ANY" in rule[key] and len(rule[key]) > 1:
                    raise Refused(400, 500101, f"ANY is not alone in {key} of rule {rule['id']}.")
            place = {"path": f"{path}/rules/{rule['id']}", "parent_path": path, "relative_path": rule["id"], "resource_type": "Rule"}
            done.append({**rule, **place, "_revision": old["_revision"] + 1 if old else 0})
        kept = [rule for name, rule in before.items() if method == "PATCH" and name not in {one["id"] for one in done}]
        return sorted([*done, *kept], key=lambda rule: int(rule["sequence_number"]))

    def _check_references(self, path: str, body: Entry) -> None:
        for name, value in _texts(body):
            pattern = _REFERS.get(name)
            if not pattern or not value.startswith("/"):
                if pattern and name.endswith("_path"):
                    raise Refused(400, 500012, f"The path=[{value}] is invalid.")
                continue
            if not re.fullmatch(pattern, value) or value not in self.things:
                raise Refused(400, 500012, f"The path=[{value}] is invalid: {name} of {path}.")

    def _delete(self, path: str) -> None:
        self._settle()
        if path not in self.things:
            raise Refused(404, 600, f"The path=[{path}] does not exist.")
        users = [one for one, thing in self.things.items() if one != path and (one.startswith(f"{path}/") or path in _paths(thing))]
        # What goes is not gone yet.
        users += [one for one, (_at, thing) in self._going.items() if one.startswith(f"{path}/") or path in _paths(thing)]
        if users:
            raise Refused(
                400,
                500030,
                f"The object path=[{path}] cannot be deleted as either it has children or it is being referenced by other objects "
                f"path=[{','.join(sorted(users))}].",
            )
        if self.attached.get(path):
            raise Refused(
                400, 503040, f"Segment path=[{path}] has {len(self.attached[path])} VMs or VIFs attached. Disconnect all before deletion."
            )
        self._going[path] = (self.clock.now() + self.lag, self.things.pop(path))
        self._index.append((self.clock.now() + self.index_lag, path, None))
        self._given.pop(path, None)

    def _settle(self) -> None:
        for path in [path for path, (at, _thing) in self._going.items() if at <= self.clock.now()]:
            del self._going[path]

    # What only the manager knows

    def _edges(self, router: str) -> bool:
        return any(thing.get("edge_cluster_path") for path, thing in self.things.items() if path.startswith(f"{router}/locale-services/"))

    def _check_Segment(self, path: str, body: Entry, have: Entry | None) -> None:  # noqa: N802  named after the struct
        before = (have or {}).get("subnets") or []
        body.setdefault("transport_zone_path", f"{NODE}/transport-zones/overlay")
        if have and have["transport_zone_path"] != body["transport_zone_path"]:
            raise Refused(400, 500080, f"The transport zone of Segment path=[{path}] cannot be changed.")
        for number, subnet in enumerate(body.get("subnets") or ()):
            try:
                gateway = ipaddress.ip_interface(subnet["gateway_address"])
            except ValueError as error:
                raise Refused(400, 500066, f"Invalid gateway {subnet['gateway_address']}.") from error
            network = gateway.network
            if "/" not in subnet["gateway_address"] or gateway.ip in (network[0], network[-1]):
                raise Refused(400, 500066, f"Gateway {subnet['gateway_address']} is no host of its network.")
            self._check_dhcp(path, body, subnet, gateway)
            old = (before[number].get("dhcp_ranges") or []) if number < len(before) else []
            if set(old) - set(subnet.get("dhcp_ranges") or ()):
                raise Refused(400, 500091, f"DHCP ranges of Segment path=[{path}] cannot be deleted or modified.")
            for other, thing in self.things.items():
                if (
                    other == path
                    or not other.startswith("/infra/segments/")
                    or thing.get("connectivity_path") != body.get("connectivity_path")
                ):
                    continue
                for part in thing.get("subnets") or ():
                    if ipaddress.ip_interface(part["gateway_address"]).network.overlaps(network):
                        raise Refused(400, 500067, f"Subnet {network} of Segment path=[{path}] overlaps with that of path=[{other}].")

    def _check_dhcp(self, path: str, body: Entry, subnet: Entry, gateway: Any) -> None:
        config, ranges = subnet.get("dhcp_config") or {}, subnet.get("dhcp_ranges") or []
        if bool(body.get("dhcp_config_path")) != bool(config.get("server_address")) or (ranges and not config):
            raise Refused(400, 500092, f"Segment path=[{path}] has ranges, a server address or a DHCP server without the others.")
        server = ipaddress.ip_interface(config["server_address"]) if config else None
        if server and (server.network != gateway.network or server.ip == gateway.ip):
            raise Refused(400, 500093, f"DHCP server {server} is not in {gateway.network}, or is its gateway.")
        for text in ranges:
            try:
                low, high = (ipaddress.ip_address(end) for end in text.split("-"))
            except ValueError as error:
                raise Refused(400, 500094, f"Invalid range {text}.") from error
            inside = all(end in gateway.network for end in (low, high)) and low <= high < gateway.network[-1]
            if not inside or any(low <= taken.ip <= high for taken in (gateway, server) if taken):
                raise Refused(400, 500094, f"Range {text} is not of the hosts of {gateway.network}, or has its gateway or server in it.")

    def _check_PolicyNatRule(self, path: str, body: Entry, _have: Entry | None) -> None:  # noqa: N802
        router = path.partition("/nat/")[0]
        if not self._edges(router):
            raise Refused(400, 503076, f"NAT needs an edge cluster at path=[{router}].")
        if body["action"] == "SNAT" and not (body.get("source_network") and body.get("translated_network")):
            raise Refused(400, 503077, "SNAT needs source_network and translated_network.")
        for text in ",".join(body.get(key) or "" for key in ("source_network", "translated_network")).strip(",").split(","):
            try:
                ipaddress.ip_network(text)
            except ValueError as error:
                raise Refused(400, 503078, f"Invalid network {text}.") from error

    def _check_LBService(self, path: str, body: Entry, _have: Entry | None) -> None:  # noqa: N802
        router = body.get("connectivity_path")
        if router and not self._edges(router):
            raise Refused(400, 23026, f"Load balancer path=[{path}] needs an edge cluster at path=[{router}].")
        others = [one for one, thing in self.things.items() if one.startswith("/infra/lb-services/") and one != path]
        if router and any(self.things[one].get("connectivity_path") == router for one in others):
            raise Refused(400, 23027, f"Tier-1 path=[{router}] has a load balancer service already.")

    def _check_LBPool(self, path: str, body: Entry, _have: Entry | None) -> None:  # noqa: N802
        ends = [(one["ip_address"], one.get("port")) for one in body.get("members") or ()]
        if len(set(ends)) != len(ends):
            raise Refused(400, 23030, f"Members of path=[{path}] are the same.")
        for address, _port in ends:
            try:
                ipaddress.ip_address(address)
            except ValueError as error:
                raise Refused(400, 23031, f"Invalid address {address}.") from error

    def _check_LBVirtualServer(self, path: str, body: Entry, _have: Entry | None) -> None:  # noqa: N802
        for other, thing in self.things.items():
            if other == path or not other.startswith("/infra/lb-virtual-servers/"):
                continue
            if thing["ip_address"] == body["ip_address"] and set(thing["ports"]) & set(body["ports"]):
                raise Refused(400, 23040, f"Address and port of path=[{path}] are those of path=[{other}].")

    def _check_Group(self, path: str, body: Entry, _have: Entry | None) -> None:  # noqa: N802
        for number, part in enumerate(body.get("expression") or ()):
            if (number % 2 == 1) != (part.get("resource_type") == "ConjunctionOperator"):
                raise Refused(400, 500050, f"Expressions of path=[{path}] are not joined by operators.")
            schema.check(str(part.get("resource_type")), part, where=f"expression[{number}]")

    def _check_SecurityPolicy(self, path: str, body: Entry, have: Entry | None) -> None:  # noqa: N802
        if have and have["category"] != body["category"]:
            raise Refused(400, 500060, f"The category of path=[{path}] cannot be changed.")
        for rule in body["rules"]:
            for part in rule.get("service_entries") or ():
                schema.check(str(part.get("resource_type")), part, where=f"rules.{rule['id']}.service_entries")

    def _check_IpAddressPoolBlockSubnet(self, path: str, body: Entry, have: Entry | None) -> None:  # noqa: N802
        if body["size"] & (body["size"] - 1):
            raise Refused(400, 520004, f"Size {body['size']} of path=[{path}] is no power of two.")
        if have and (have["size"], have["ip_block_path"]) != (body["size"], body["ip_block_path"]):
            raise Refused(400, 520005, f"Block and size of path=[{path}] cannot be changed.")

    def _check_IpAddressAllocation(self, path: str, body: Entry, have: Entry | None) -> None:  # noqa: N802
        if have and have.get("allocation_ip") != body.get("allocation_ip"):
            raise Refused(400, 520012, f"The address of path=[{path}] cannot be changed.")

    # Addresses

    def _gives(self, path: str) -> bool:
        kind = self.things.get(path, {}).get("resource_type")
        return kind in ("IpAddressPoolBlockSubnet", "IpAddressAllocation")

    def _give(self, path: str) -> None:
        thing = self.things[path]
        if not self._gives(path) or path in self._given:
            return
        free = self._free_networks(thing) if thing["resource_type"] == "IpAddressPoolBlockSubnet" else self._free_addresses(path)
        found = next(free, "")
        if found:
            self._given[path] = found
            if self.new_release:
                thing["allocated_cidr" if "/ip-subnets/" in path else "allocated_ip"] = found

    def _free_networks(self, subnet: Entry) -> Iterator[str]:
        block = ipaddress.ip_network(self.things[subnet["ip_block_path"]]["cidr"])
        taken = [ipaddress.ip_network(text) for one, text in self._given.items() if "/ip-subnets/" in one]
        prefix = block.max_prefixlen - (subnet["size"].bit_length() - 1)
        if prefix >= block.prefixlen:
            yield from (str(net) for net in block.subnets(new_prefix=prefix) if not any(net.overlaps(other) for other in taken))

    def _free_addresses(self, path: str) -> Iterator[str]:
        pool = path.partition("/ip-allocations/")[0]
        taken = set(self._given.values())
        for one, thing in sorted(self.things.items()):
            if one.startswith(f"{pool}/ip-subnets/"):
                for part in thing.get("allocation_ranges") or ():
                    low, high = (int(ipaddress.ip_address(part[end])) for end in ("start", "end"))
                    yield from (text for number in range(low, high + 1) if (text := str(ipaddress.ip_address(number))) not in taken)

    # For tests

    def dump(self) -> dict[str, Entry]:
        """Return everything that there is."""
        return copy.deepcopy(self.things)

    def changes(self) -> list[str]:
        """Return the calls that changed something, or tried to."""
        return [line for line in self.log if not line.startswith("GET ")]


def _json(status: int, body: Any) -> Answer:
    return Answer(status, {"Content-Type": "application/json"}, json.dumps(body).encode())


def _texts(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield field and value of every text in a document."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _texts(item, key)
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item, name)
    elif isinstance(value, str):
        yield name, value


def _paths(thing: Entry) -> set[str]:
    return {value for name, value in _texts(thing) if value.startswith("/infra/") and name in _REFERS}


def _values(thing: Any, names: list[str]) -> list[str]:
    """Return the values of a field; those of a list's documents are one heap, as in an index."""
    if isinstance(thing, list):
        return [value for part in thing for value in _values(part, names)]
    if not names:
        return [str(thing)]
    return _values(thing.get(names[0]), names[1:]) if isinstance(thing, dict) and names[0] in thing else []
