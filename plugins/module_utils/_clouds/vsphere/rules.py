# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of DRS: machines of a pool stay apart, and those of a zone on its hosts (private to flotilla.kubernetes).

A rule belongs to one compute cluster and names virtual machines, so it follows the machines: it is brought in line after them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from ..._machines.cloud import CloudError
from ..._machines.retry import Caller
from ..result import Result
from .layout import Place
from .session import Entry, Session, moid


@dataclass(frozen=True)
class Member:
    """A machine, as far as rules have to do with it.

    :param cluster: id of the compute cluster that it is in.
    """

    pool: str
    zone: str
    cluster: str
    ref: Any


@dataclass(frozen=True)
class Rule:
    """A rule or a group of a compute cluster.

    :param machines: ids of virtual machines, of one that keeps apart and of a group.
    :param hosts: name of the group of hosts, of a rule that keeps on hosts; its group of machines has the rule's own name.
    """

    machines: frozenset[str] = frozenset()
    mandatory: bool = False
    enabled: bool = True
    hosts: str = ""


@dataclass
class Compute:
    """What a compute cluster has of the cluster's rules."""

    entry: Entry
    apart: dict[str, Rule] = field(default_factory=dict)
    groups: dict[str, Rule] = field(default_factory=dict)
    on_hosts: dict[str, Rule] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return str(self.entry.values.get("name") or self.entry.id)


class Rules:
    """The rules of one cluster, as they are.

    :param owners: id of a resource pool -> id of its compute cluster.
    """

    def __init__(self, session: Session, where: Place) -> None:
        self.session = session
        self.where = where
        self.computes: dict[str, Compute] = {}
        self.owners: dict[str, str] = {}

    def look(self) -> None:
        """Read the rules and where resource pools belong to, by one call."""
        session, vim = self.session, self.session.vim
        wanted = {vim.ClusterComputeResource: ["name", "configurationEx"], vim.ResourcePool: ["owner"]}
        found = session.read(session.all(wanted))
        self.owners = {entry.id: moid(entry.values["owner"]) for entry in found if "owner" in entry.values}
        self.computes = {entry.id: self._compute(entry) for entry in found if "configurationEx" in entry.values}

    def _compute(self, entry: Entry) -> Compute:
        kinds, compute = self.session.vim.cluster, Compute(entry)
        configuration = entry.values["configurationEx"]
        for rule in configuration.rule or ():
            if not self._ours(rule.name):
                continue
            compute.keys[rule.name] = rule.key
            how = {"mandatory": bool(rule.mandatory), "enabled": bool(rule.enabled)}
            if isinstance(rule, kinds.AntiAffinityRuleSpec):
                compute.apart[rule.name] = Rule(frozenset(map(moid, rule.vm)), **how)
            elif isinstance(rule, kinds.VmHostRuleInfo):
                compute.on_hosts[rule.name] = Rule(hosts=str(rule.affineHostGroupName or ""), **how)
        for group in configuration.group or ():
            if self._ours(group.name) and isinstance(group, kinds.VmGroup):
                compute.groups[group.name] = Rule(frozenset(map(moid, group.vm or ())))
        return compute

    def _ours(self, name: str) -> bool:
        return str(name).startswith(self.where.rule(""))

    def wanted(self, members: Iterable[Member]) -> dict[str, Compute]:
        """Return what compute clusters are to have: id -> rules."""
        wanted = {number: Compute(compute.entry, keys=compute.keys) for number, compute in self.computes.items()}
        pools: dict[tuple[str, str], set[str]] = defaultdict(set)
        zones: dict[tuple[str, str], set[str]] = defaultdict(set)
        for member in members:
            pools[member.cluster, member.pool].add(moid(member.ref))
            if self.where.spots.get(member.zone) and self.where.spot(member.zone).host_group:
                zones[member.cluster, member.zone].add(moid(member.ref))
        for (cluster, pool), machines in pools.items():
            # A rule that keeps one machine apart from nobody is none.
            if cluster in wanted and self.where.anti_affinity != "none" and len(machines) > 1:
                rule = Rule(frozenset(machines), mandatory=self.where.anti_affinity == "required")
                wanted[cluster].apart[self.where.rule(pool)] = rule
        for (cluster, zone), machines in zones.items():
            if cluster in wanted:
                name = self.where.host_rule(zone)
                wanted[cluster].groups[name] = Rule(frozenset(machines))
                wanted[cluster].on_hosts[name] = Rule(mandatory=True, hosts=self.where.spot(zone).host_group)
        return wanted

    def differing(self, members: Iterable[Member]) -> list[tuple[str, Any]]:
        """Return the changes to what is wanted, in their order: id of a compute cluster, and its specification."""
        first, then = [], []
        for number, wanted in self.wanted(members).items():
            spec, other = self._changes(self.computes[number], wanted)
            first += [(number, spec)] if spec else []
            then += [(number, other)] if other else []
        return first + then

    def _changes(self, have: Compute, wanted: Compute) -> tuple[Any, Any]:
        """Return the changes in two parts: a group has to be there before its rule, and to stay until that has gone."""
        kinds = self.session.vim.cluster
        rules: list[Any] = []
        groups: list[Any] = []
        rules_gone: list[Any] = []
        groups_gone: list[Any] = []
        for name in sorted({*have.groups, *wanted.groups}):
            if name not in wanted.groups:
                groups_gone.append(kinds.GroupSpec(operation="remove", removeKey=name, info=kinds.VmGroup(name=name)))
            elif have.groups.get(name) != wanted.groups[name]:
                info = kinds.VmGroup(name=name, vm=self._refs(wanted.groups[name]))
                groups.append(kinds.GroupSpec(operation="edit" if name in have.groups else "add", info=info))
        for name in sorted({*have.apart, *wanted.apart, *have.on_hosts, *wanted.on_hosts}):
            before, after = (have.apart.get(name) or have.on_hosts.get(name)), (wanted.apart.get(name) or wanted.on_hosts.get(name))
            if before == after:
                continue
            if after is None:
                rules_gone.append(kinds.RuleSpec(operation="remove", removeKey=have.keys[name]))
                continue
            how = {"name": name, "enabled": after.enabled, "mandatory": after.mandatory, "userCreated": True, "key": have.keys.get(name)}
            info = (
                kinds.VmHostRuleInfo(vmGroupName=name, affineHostGroupName=after.hosts, **how)
                if after.hosts
                else kinds.AntiAffinityRuleSpec(vm=self._refs(after), **how)
            )
            rules.append(kinds.RuleSpec(operation="edit" if before else "add", info=info))
        first = kinds.ConfigSpecEx(rulesSpec=rules_gone, groupSpec=groups) if rules_gone or groups else None
        return first, kinds.ConfigSpecEx(rulesSpec=rules, groupSpec=groups_gone) if rules or groups_gone else None

    def _refs(self, rule: Rule) -> list[Any]:
        return [self.session.ref(self.session.vim.VirtualMachine, number) for number in sorted(rule.machines)]

    def shown(self) -> dict[str, Any]:
        """Return what a diff shows of the rules as they are."""
        found = {}
        for compute in self.computes.values():
            for name, rule in (*compute.apart.items(), *compute.on_hosts.items()):
                machines = rule.machines or getattr(compute.groups.get(name), "machines", frozenset())
                found[f"{name} in {compute.name}"] = _shown(rule, len(machines))
        return dict(sorted(found.items()))

    def foretold(self, machines: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """Return what a diff shows of the rules that machines as they are to be lead to; some of them are not made yet."""
        pools: Counter[tuple[str, str]] = Counter()
        zones: Counter[str] = Counter()
        for machine in machines.values():
            spot = self.where.spots.get(machine["zone"])
            if spot:
                pools[machine["pool"], spot.cluster.rsplit("/", 1)[-1]] += 1
                zones[machine["zone"]] += 1
        found = {}
        for (pool, cluster), count in pools.items():
            if count > 1 and self.where.anti_affinity != "none":
                rule = Rule(mandatory=self.where.anti_affinity == "required")
                found[f"{self.where.rule(pool)} in {cluster}"] = _shown(rule, count)
        for zone, count in zones.items():
            spot = self.where.spot(zone)
            if spot.host_group:
                rule = Rule(mandatory=True, hosts=spot.host_group)
                found[f"{self.where.host_rule(zone)} in {spot.cluster.rsplit('/', 1)[-1]}"] = _shown(rule, count)
        return dict(sorted(found.items()))

    def apply(self, changes: Iterable[tuple[str, Any]]) -> None:
        """Bring compute clusters in line.

        :raises CloudError: why one of them did not take it.
        """
        for number, spec in changes:
            compute = self.computes[number].entry.ref
            task = self.session.call(compute, "ReconfigureComputeResource_Task", spec=spec, modify=True)
            outcome = self.session.finish({number: task})[number]
            if isinstance(outcome, CloudError):
                raise outcome


def _shown(rule: Rule, count: int) -> dict[str, Any]:
    return {"machines": count, "mandatory": rule.mandatory, "enabled": rule.enabled, **({"hosts": rule.hosts} if rule.hosts else {})}


def follow(rules: Rules, result: Result, members: Any, check_mode: bool) -> Result:
    """Bring the rules in line with the machines, or say that they would be; returns the result with what that adds to it.

    :param rules: as they were before the machines were looked after.
    :param members: returns the machines as they are now.
    """
    call = Caller(rules.session.clock)
    result.before["rules"], result.after["rules"] = rules.shown(), rules.foretold(result.after["machines"])
    if check_mode:
        result.changed = result.changed or bool(rules.differing(members()))
        return result

    def once() -> bool:
        rules.look()
        changes = rules.differing(members())
        rules.apply(changes)
        return bool(changes)

    if result.changed or rules.differing(members()):
        result.changed = call(once) or result.changed
    return result
