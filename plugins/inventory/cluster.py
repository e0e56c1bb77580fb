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
  - Files with C(kind=cluster_class) or C(kind=network_profile) are checked and give no hosts.
  - A definition with errors, and a cloud that does not answer, fail the source. Ansible turns that into a warning unless
    C(ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED) is set; the playbooks of this collection fail in any case.
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

from pathlib import Path
from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import hosts, load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _fleet
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils._untrusted import as_data


class InventoryModule(BaseInventoryPlugin):
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
            found = self._hosts(path)
        except FlotillaError as error:
            _fleet.FAILURES[path] = str(error)
            raise AnsibleParserError(str(error)) from error
        # Only now, when nothing can fail any more: Ansible keeps the hosts that a failing source has added.
        _fleet.FAILURES.pop(path, None)
        for host in found:
            self._add(host)

    def _hosts(self, path: str) -> list[hosts.Host]:
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
        machines = _fleet.provider(definition["cloud"]).observe_machines(definition)
        found = [] if self.get_option("hide_cluster_hosts") else [own]
        return found + _fleet.machine_hosts(definition, [machine.as_dict() for machine in machines])

    def _add(self, host: hosts.Host) -> None:
        for group in host.groups:
            self.inventory.add_group(group)
        self.inventory.add_host(host.name)
        for group in host.groups:
            self.inventory.add_child(group, host.name)
        for name, value in host.variables.items():
            self.inventory.set_variable(host.name, name, as_data(value))
