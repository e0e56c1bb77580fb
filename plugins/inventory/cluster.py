# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
name: cluster
short_description: Cluster definitions as inventory
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - A cluster definition is an inventory source. C(-i inventories/local/clusters/demo.yml) is one cluster,
    C(-i inventories/local) all clusters of a foundation.
  - Every cluster is a host C(<name>.cluster) in the group C(flotilla_clusters), which carries the merged and validated definition as
    C(flotilla_cluster) and has no connection variables.
  - Every machine that runs, read from the cloud, is a host in the groups C(flotilla), C(cluster_<name>), C(cluster_<name>__control_plane)
    or C(cluster_<name>__pool_<pool>), C(zone_<zone>) and C(cloud_<cloud>); C(-) and C(.) in names become C(_).
  - Files with C(kind=cluster_class), C(kind=network_profile) or C(kind=policy_profile) are checked and give no hosts.
  - A definition with errors, and a cloud that does not answer, fail the source. Ansible turns that into a warning unless
    C(ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED) is set; the playbooks of this collection fail in any case.
  - A cluster costs one read of its cloud, with the credentials that the cloud's own tools would find. Ansible's inventory cache keeps the
    answer if it is turned on; C(--flush-cache) reads again.
  - Every host has the boolean C(flotilla_enabled), which AWX takes as the enabled variable of an inventory source (with the enabled value
    C(True)).
  - A machine is reached at the address that C(access) in the definition chooses; one that does not run, or has no such address yet, is no
    host.
extends_documentation_fragment:
  - inventory_cache
requirements:
  - PyYAML
  - jsonschema >= 4.0
options:
  plugin:
    description: Marks a file as a source of this plugin.
    type: str
    required: true
    choices: [flotilla.kubernetes.cluster]
  hide_cluster_hosts:
    description:
      - Leaves out the clusters' own hosts, for playbooks of other people that run on C(hosts=all).
      - The playbooks of this collection need these hosts.
    type: bool
    default: false
    env:
      - name: FLOTILLA_HIDE_CLUSTER_HOSTS
    ini:
      - section: flotilla
        key: hide_cluster_hosts
  strict:
    description:
      - Whether a cloud that does not answer fails the source.
      - V(false) takes the machines that it last named instead, as hosts with the variable C(flotilla_stale). Answers are kept for this
        while the option is V(false). Playbooks that make or remove machines refuse such hosts.
      - V(false) is refused under AWX, which stores what it gets for good.
    type: bool
    default: true
    env:
      - name: FLOTILLA_STRICT
    ini:
      - section: flotilla
        key: strict
seealso:
  - plugin: flotilla.kubernetes.targets
    plugin_type: lookup
"""

EXAMPLES = r"""
# inventories/local/clusters/demo.yml
plugin: flotilla.kubernetes.cluster
schema: 1
name: demo
cloud: local
kubernetes_version: "1.36.3"
control_plane:
  count: 3
pools:
  - name: workers
    count: 2
local:
  network_cidr: 172.30.86.0/24
"""

import os
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin, Cacheable
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import hosts, load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _fleet, _last_answer
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._untrusted import as_data

# Set by AWX for whatever it runs, and for inventory updates.
_AWX = ("AWX_PRIVATE_DATA_DIR", "INVENTORY_UPDATE_ID")


class InventoryModule(BaseInventoryPlugin, Cacheable):
    NAME = "flotilla.kubernetes.cluster"

    def verify_file(self, path: str) -> bool:
        """Take YAML files that have our plugin line, whether the rest is valid or not."""
        if not super().verify_file(path) or not path.endswith(load.SUFFIXES):
            return False
        try:
            return load.is_definition(load.read_text(Path(path)))
        except FlotillaError:
            return False

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        super().parse(inventory, loader, path, cache)
        self.set_options(direct={"plugin": self.NAME})
        try:
            found = self._hosts(path, cache)
        except FlotillaError as error:
            _fleet.FAILURES[path] = str(error)
            raise AnsibleParserError(str(error)) from error
        # Only now, when nothing can fail any more: Ansible keeps the hosts that a failing source has added.
        _fleet.FAILURES.pop(path, None)
        for host in found:
            self._add(host)

    def _hosts(self, path: str, cache: bool) -> list[hosts.Host]:
        definition = load.load_file(path)
        if definition is None:
            return []
        own = hosts.cluster_host(definition)
        other = self.inventory.hosts.get(own.name)
        if other is not None:
            file = (other.vars.get("flotilla_cluster") or {}).get("file", "another source")
            if Path(file).resolve() == Path(path).resolve():
                return []  # the same file through a second -i
            raise FlotillaError(
                "DEFINITION_NAME_TAKEN",
                f"{load.shown(Path(path))}: name: is {definition['name']}, as in {file}; names are unique in the fleet.",
            )
        found = [] if self.get_option("hide_cluster_hosts") else [own]
        if not _fleet.asks_clouds():
            return found
        machines = _fleet.machine_hosts(definition, self._machines(definition, path, cache))
        # The address of each by its host: who looks at many clusters reads one variable instead of those of all machines.
        own.variables["flotilla_control_planes"] = hosts.control_planes(machines)
        found += machines
        if definition["name"] in _fleet.STALE:
            for host in found:
                host.variables["flotilla_stale"] = True
        return found

    def _machines(self, definition: dict[str, Any], path: str, cache: bool) -> list[dict[str, Any]]:
        """Return the cluster's machines: from Ansible's cache, from the cloud, or what the cloud said last."""
        strict, view = self.get_option("strict"), _last_answer.view(definition)
        if not strict and any(os.environ.get(name) for name in _AWX):
            raise FlotillaError(
                "INVENTORY_NOT_STRICT",
                "The inventory option strict is false, which AWX can not be given: it would take machines of long ago for those that run.",
                "Remove FLOTILLA_STRICT, or strict in the section [flotilla] of ansible.cfg.",
            )
        # What Ansible keeps is asked for only where asking would cost something.
        key = f"{self.get_cache_key(path)}_{view}" if self.get_option("cache") and definition["cloud"] != "existing" else ""
        if key:
            self.load_cache_plugin()
            if cache:
                try:
                    return self._cache[key]
                except KeyError:
                    pass  # never asked, or too long ago
        _fleet.STALE.pop(definition["name"], None)
        try:
            machines = [machine.as_dict() for machine in _fleet.provider(definition["cloud"]).observe_machines(definition)]
        except FlotillaError as error:
            if strict:
                raise
            last = _last_answer.read(definition["name"], view)
            if last is None:
                raise
            _fleet.STALE[definition["name"]] = f"of {last.time}: {error}"
            self.display.warning(f"The machines of the cluster {definition['name']} are those of {last.time}: {error}")
            return last.machines
        if not strict:
            _last_answer.write(definition["name"], view, machines)
        if key:
            self._cache[key] = machines
        return machines

    def _add(self, host: hosts.Host) -> None:
        for group in host.groups:
            self.inventory.add_group(group)
        self.inventory.add_host(host.name)
        for group in host.groups:
            self.inventory.add_child(group, host.name)
        # Ansible copies each value that it gets, so what the cluster's machines share is set once, for their group: copies of a definition
        # for thousands of machines would take most of the time.
        definition = host.variables["flotilla_cluster"]
        group = hosts.cluster_group(definition["name"])
        for name, value in host.variables.items():
            if value is not definition or group not in host.groups:
                self.inventory.set_variable(host.name, name, as_data(value))
            elif name not in self.inventory.groups[group].vars:
                self.inventory.set_variable(group, name, as_data(value))
