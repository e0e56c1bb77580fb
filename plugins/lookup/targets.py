# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: targets
short_description: Hosts that a play on clusters runs on
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Stands in C(hosts) of a play. It loads and validates every cluster definition in the inventory sources first and fails with all
    errors, because Ansible turns an inventory source that fails into a warning and skips a play without hosts.
  - It also fails when there is no cluster, when a definition gave no host, when there are several clusters and none was chosen, and when
    a limit hides the chosen cluster.
  - With C(--syntax-check) and C(--list-*) nothing is checked.
options:
  _terms:
    description:
      - V(cluster) is the cluster's own host, C(<name>.cluster).
      - V(control_plane) and V(workers) are its machines of that role, V(machines) are both; without those that are about to leave, and
        without those that are left to an upgrade.
      - V(machines_and_successors) are its machines and the hosts of P(flotilla.kubernetes.successor_hosts#filter), if there are any.
      - V(existing) are its machines if they are of the cloud C(existing), else no host at all.
      - V(definitions) are the own hosts of all clusters, as far as they are there, once every definition of the inventory is valid. No
        cloud has to answer. It stands alone.
    type: list
    elements: str
    choices: [cluster, control_plane, workers, machines, machines_and_successors, existing, definitions]
    required: true
  of:
    description: V(one) means exactly one cluster, V(all) every cluster of the inventory (or the chosen one).
    type: str
    choices: [one, all]
    default: one
  lost:
    description:
      - V(refuse) fails when a definition gave no host, as its cloud did not answer.
      - V(allow) goes on with the others, if there are any. For plays that only look.
    type: str
    choices: [allow, refuse]
    default: refuse
  limit:
    description:
      - V(allow) accepts C(--limit) as long as it keeps the clusters' own hosts.
      - V(refuse) accepts none. For plays that create machines, as a limit drops new hosts silently.
    type: str
    choices: [allow, refuse]
    default: allow
  flotilla_cluster_name:
    description: The chosen cluster; an extra variable. Needed when the inventory has several clusters.
    type: str
    vars:
      - name: flotilla_cluster_name
  flotilla_report:
    description:
      - With V(definitions) the file that gets the result as JSON, whether it is good or bad; an extra variable.
      - It holds C(valid), C(files), C(clusters) and C(errors), each error with C(file), C(line), C(path), C(message), C(value), C(allowed)
        and C(suggestion).
    type: path
    vars:
      - name: flotilla_report
notes:
  - Inventory variables are not visible in C(hosts), extra variables are.
seealso:
  - plugin: flotilla.kubernetes.cluster
    plugin_type: inventory
"""

EXAMPLES = r"""
- name: Prepare the cluster
  hosts: "{{ lookup('flotilla.kubernetes.targets', 'cluster', limit='refuse') }}"
  connection: local
  gather_facts: false
  tasks: []

- name: Prepare the nodes
  hosts: "{{ lookup('flotilla.kubernetes.targets', 'machines') }}"
  tasks: []
"""

RETURN = r"""
_raw:
  description: One host pattern per term.
  type: list
  elements: str
"""

import json
from pathlib import Path
from typing import Any

from ansible import context
from ansible.errors import AnsibleError
from ansible.inventory.manager import InventoryManager
from ansible.plugins.loader import filter_loader
from ansible.plugins.lookup import LookupBase
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import hosts, load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.errors import DefinitionErrors, Problem, nearest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError, clear_os_errors
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _fleet

TERMS = ("cluster", "control_plane", "workers", "machines", "machines_and_successors", "existing", "definitions")
_NOT_A_RUN = ("syntax", "listhosts", "listtasks", "listtags")


class LookupModule(LookupBase):
    def run(self, terms: list[str], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[str]:
        # A task that uses one of our filters imports all of them, and Ansible compiles plugins of collections at each import. Tasks run in
        # processes that come from this one and end with the task: what is imported here they need not import again.
        filter_loader.get("flotilla.kubernetes.machines_group")
        self.set_options(var_options=variables, direct=kwargs)
        for term in terms:
            if term not in TERMS:
                raise AnsibleError(f"flotilla.kubernetes.targets knows no {term!r}; there are: {', '.join(TERMS)}.")
        if any(context.CLIARGS.get(option) for option in _NOT_A_RUN):
            return [hosts.CLUSTERS_GROUP for _term in terms]
        variables = variables or {}
        try:
            if terms == ["definitions"]:
                return [self._validated(variables)]
            chosen = self._clusters(variables)
            self._check_stale(chosen)
            self._check_limit(chosen, variables)
        except FlotillaError as error:
            raise AnsibleError(str(error)) from error
        groups = variables.get("groups") or {}
        return [":".join(self._pattern(term, name, groups) for name in chosen) for term in terms]

    def _clusters(self, variables: dict[str, Any]) -> list[str]:
        """Return the names of the clusters that are meant."""
        sources = [str(source) for source in variables.get("ansible_inventory_sources") or ()]
        defined = [definition["name"] for definition in _fleet.load_fleet(sources).definitions]
        members = (variables.get("groups") or {}).get(hosts.CLUSTERS_GROUP, [])
        suffix = hosts.cluster_host_name("")
        there = [name[: -len(suffix)] for name in members if name.endswith(suffix)]
        name = self.get_option("flotilla_cluster_name")
        lost = sorted(set(defined) - set(there))
        bearable = self.get_option("lost") == "allow" and name is None and there
        if lost and name in (None, *lost) and not bearable:  # another cluster's cloud that does not answer is no reason to stop
            reasons = [reason for _path, reason in sorted(_fleet.FAILURES.items())]
            raise FlotillaError(
                "INVENTORY_INCOMPLETE",
                f"The inventory has no host for the cluster {', '.join(lost)}, whose definition is valid: "
                f"{' '.join(reasons) or 'no reason is known.'}",
                ""
                if reasons
                else "Run ansible-inventory --graph with the same -i for the reason (FLOTILLA_HIDE_CLUSTER_HOSTS hides them, too).",
            )
        where = ", ".join(sources) or "an empty inventory"
        if not there:
            raise self._nothing(sources)
        choices = ", ".join(sorted(there))
        if name is not None:
            if name not in there:
                guess = nearest(str(name), there)
                hint = f'Did you mean "{guess}"?' if guess else f"There are: {choices}."
                raise FlotillaError("CLUSTER_UNKNOWN", f"flotilla_cluster_name is {name}, but {where} holds no such cluster.", hint)
            return [str(name)]
        if self.get_option("of") == "one" and len(there) > 1:
            raise FlotillaError(
                "CLUSTER_AMBIGUOUS",
                f"This playbook takes one cluster, and {where} holds {len(there)}: {choices}.",
                f"Add -e flotilla_cluster_name=<name>, for example -e flotilla_cluster_name={sorted(there)[0]}.",
            )
        return sorted(there)

    def _validated(self, variables: dict[str, Any]) -> str:
        """Check every definition of the inventory, report, and return the hosts of the clusters."""
        sources = [str(source) for source in variables.get("ansible_inventory_sources") or ()]
        checked = load.check_sources(sources)
        problems = list(checked.problems)
        # Ansible only warns of these, and a check that checks nothing would be green.
        missing = [source for source in sources if "," not in source and not Path(source).exists()]
        problems += [Problem(load.shown(Path(source)), 0, "", "does not exist.") for source in missing]
        if not checked.files and not problems:
            raise self._nothing(sources)
        self._write_report(checked, problems)
        if problems:
            raise DefinitionErrors(problems)
        groups = variables.get("groups") or {}
        there = set(groups.get(hosts.CLUSTERS_GROUP, []))
        names = [hosts.cluster_host_name(definition["name"]) for definition in checked.definitions]
        return ":".join(name for name in names if name in there) or "all:!all"

    def _write_report(self, checked: load.Checked, problems: list[Problem]) -> None:
        path = self.get_option("flotilla_report")
        if not path:
            return
        keys = ("name", "file", "foundation", "cloud", "kubernetes_version")
        result = {
            "valid": not problems,
            "files": [load.shown(file) for file in checked.files],
            "clusters": [{key: definition[key] for key in keys} for definition in checked.definitions],
            "errors": [problem.as_dict() for problem in sorted(set(problems))],
        }
        with clear_os_errors(Path(path), "written"):
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")

    def _check_stale(self, chosen: list[str]) -> None:
        """Refuse to make or remove machines by what a cloud said some time ago."""
        stale = [f"{name} ({_fleet.STALE[name]})" for name in chosen if name in _fleet.STALE]
        if stale and self.get_option("limit") == "refuse":
            raise FlotillaError(
                "INVENTORY_STALE",
                f"The inventory is not up to date, and this playbook makes or removes machines: {', '.join(stale)}.",
                "Run it again when the cloud answers.",
            )

    @staticmethod
    def _nothing(sources: list[str]) -> FlotillaError:
        return FlotillaError(
            "INVENTORY_EMPTY",
            f"There is no cluster definition in {', '.join(sources) or 'an empty inventory'}.",
            "Give -i a definition file (first line 'plugin: flotilla.kubernetes.cluster') or a folder that holds clusters/.",
        )

    def _check_limit(self, chosen: list[str], variables: dict[str, Any]) -> None:
        """Refuse a limit that would turn the play into a green run that does nothing."""
        limit = variables.get("ansible_limit")
        if not limit:
            return
        if self.get_option("limit") == "refuse":
            raise FlotillaError(
                "LIMIT_REFUSED",
                f"--limit {limit} is refused here: machines that this playbook creates would be dropped from the run silently.",
                "Choose a cluster by -e flotilla_cluster_name=<name> instead.",
            )
        inventory = InventoryManager(loader=self._loader, sources=None, parse=False)
        for group, members in (variables.get("groups") or {}).items():
            inventory.add_group(group)
            for member in members:
                inventory.add_host(member, group=group)
        inventory.subset(limit)
        kept = {host.name for host in inventory.get_hosts()}
        hidden = [hosts.cluster_host_name(name) for name in chosen if hosts.cluster_host_name(name) not in kept]
        if hidden:
            raise FlotillaError(
                "LIMIT_HIDES_CLUSTER",
                f"--limit {limit} hides {', '.join(hidden)}, on which this playbook checks and plans.",
                f"Add the host to the limit: --limit '{limit}:{':'.join(hidden)}'.",
            )

    @staticmethod
    def _pattern(term: str, name: str, groups: dict[str, Any]) -> str:
        if term == "cluster":
            return hosts.cluster_host_name(name)
        apart = [hosts.cluster_group(name, part=part) for part in (hosts.LEAVING, hosts.BEHIND)]
        staying = "".join(f":!{group}" for group in apart if group in groups)
        if term == "control_plane":
            return hosts.cluster_group(name, part=hosts.CONTROL_PLANE) + staying
        if term == "workers":
            return f"{hosts.cluster_group(name)}:!{hosts.cluster_group(name, part=hosts.CONTROL_PLANE)}{staying}"
        if term == "existing":
            # A group that is not there would be a warning.
            existing = hosts.cloud_group("existing")
            return f"{hosts.cluster_group(name)}:&{existing}" if existing in groups else "all:!all"
        successors = hosts.cluster_group(name, part=hosts.SUCCESSORS)
        more = f":{successors}" if term == "machines_and_successors" and successors in groups else ""
        return hosts.cluster_group(name) + more + staying
