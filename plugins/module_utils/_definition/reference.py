# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The reference of cluster definitions, written from the schema (private to flotilla.kubernetes)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema import cluster_schema, file_schema

_HEAD = """\
# Cluster definitions

<!-- Written by tools/definition-reference from plugins/module_utils/_definition/schema.py; do not edit. -->

A cluster is one file `inventories/<foundation>/clusters/<name>.yml`. The file is its own Ansible inventory: `-i` takes the file, or the
foundation's folder. The smallest one:

```yaml
---
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
```

`ansible-playbook -i <file or folder> flotilla.kubernetes.validate` checks definitions; see [below](#checking-definitions). Values are plain
data, never templates.

**In an editor.** [schema/](schema) holds the same as JSON Schema, from which editors complete keys and show what they mean. VS Code and
others with yaml-language-server take it from a first line, or from the setting `yaml.schemas` for all files at once:

```yaml
# yaml-language-server: $schema=<path of the collection>/docs/schema/cluster.schema.json
```

```json
{"yaml.schemas": {
  "<path of the collection>/docs/schema/cluster.schema.json": "**/clusters/*.yml",
  "<path of the collection>/docs/schema/cluster_class.schema.json": "**/cluster_classes/*.yml",
  "<path of the collection>/docs/schema/network_profile.schema.json": "**/network_profiles/*.yml",
  "<path of the collection>/docs/schema/policy_profile.schema.json": "**/policy_profiles/*.yml",
  "<path of the collection>/docs/schema/fleet.schema.json": "**/fleet.yml"
}}
```

**Inheritance.** `class: <class>` takes what `cluster_classes/<class>.yml` says, `network: {profile: <profile>}` what
`network_profiles/<profile>.yml` says, and `policies: {profile: <profile>}` what `policy_profiles/<profile>.yml` says. They lie next to
`clusters/`, policy profiles also in the folder above, for several foundations, and begin with the same `plugin:` and `schema:` lines and
with `kind: cluster_class`, `kind: network_profile` or `kind: policy_profile`. The cluster wins over its class, the class over the
profiles. Mappings merge, pools, `addons.own` and the lists of `policies` merge by name, other lists are replaced, and so is what is one
thing said in one of several ways: `image`, `aws.vpc`, `aws.subnets.machines` and `aws.subnets.load_balancer`. A
class may hold every key below but `name` and `class`, a network profile only `network`, `api_endpoint` and `nsx`, a policy profile only
`policies`.

**In playbooks** the merged definition is the variable `flotilla_cluster` of the host `<name>.cluster` and of every machine, with all
defaults, without `plugin` and `kind`, and with `file` (path of the definition) and `foundation` (the folder's name).

## Keys

| key | value | default | meaning |
|---|---|---|---|
"""

_TAIL = """\

## Checking definitions

```sh
ansible-playbook -i inventories flotilla.kubernetes.validate
ansible-playbook -i inventories/lab -i inventories/office/clusters/hq.yml flotilla.kubernetes.validate -e flotilla_report=build/report.json
```

All errors of all files come at once, each with file, line, path, value, what is allowed and the nearest key or value. No cloud is asked and
no credential needed. The status is 0 when every file is valid, else another. `flotilla_report` names a file that gets the result as JSON:

```json
{"valid": false,
 "files": ["inventories/lab/clusters/demo.yml"],
 "clusters": [],
 "errors": [{"file": "inventories/lab/clusters/demo.yml", "line": 7, "path": "control_plane.cuont", "value": "cuont",
             "message": "unknown key; did you mean \\"count\\"? Known here: ...", "allowed": "count, ...", "suggestion": "count"}]}
```

As a hook of pre-commit, in a repository with foundations in `inventories/`:

```yaml
repos:
  - repo: local
    hooks:
      - id: flotilla-validate
        name: cluster definitions
        language: system
        entry: ansible-playbook -i inventories flotilla.kubernetes.validate
        files: ^inventories/.*\\.ya?ml$
        pass_filenames: false
```

## Rules between keys

- Pool names are unique and not `control-plane`. Cluster names are unique in the fleet, and no two names give the same Ansible group.
- Networks are written canonically and do not overlap. Each node takes a /24 of the pod network, which has between /8 and /24; the network
  of Services has between /12 and /28. Two networks are dual stack, which no network plugin of the collection does in this release.
- `network.plugin: ncp` is for clusters with the section `nsx`, whose `manager` is there and whose things are named by id or policy path. It
  needs the files of `bundle.network_plugin`, as do `antrea` and `kube-router` with `bundle.source: modules`; flannel has none.
- `local.network_cidr` has room for all machines from .10 up, and no two local clusters share addresses.
- Labels of `kubernetes.io` and `k8s.io` are Kubernetes' own, but for `node.kubernetes.io` and `kubelet.kubernetes.io`. A node has one taint
  per key and effect.
- Only the section of the cluster's own cloud may be there.
- `bundle.delivery.url` goes with the method `pull`.
- `backup_store` has one of `directory`, `ssh` and `s3`; a directory is none that a reboot empties.
- `existing.machines`: each machine once, with either `role` or `pool`; 1, 3, 5 or 7 control planes. No two clusters have the same machine.
- `api_endpoint.address` is in none of the cluster's networks. With `kube_vip` the port is 6443, with `haproxy_keepalived` it is not; in a
  local cluster the address is one from .4 to .9 of `local.network_cidr`.
- With `aws`: every pool has a `machine.size` and zones of `aws.region`, and somebody can log in: `access.ssh_private_key_file` or
  `ssh_public_keys`. A control plane is not `spot`. `aws.vpc` goes with `aws.subnets.machines`, and without `vpc_cidr` and `nat_gateways`. A
  public API endpoint names who reaches it. A VPC that is made has room for the machines of each zone, of which there are at most 7.
  `access.address: public` needs machines with public addresses, and no bastion.
- With `azure`: the same as with `aws`, with zones that begin with `azure.location`, such as `westeurope-1`; the location's own name is
  no zone in particular. `azure.subnets` are of one network and go without `vnet_cidr` and `outbound`.
- With `vsphere`: every pool has `machine.cpus` and `machine.memory_gib` (which are for `vsphere` only) and a template, `image.id`; each
  zone has a cluster and a network, its own or that of all. `vsphere.addresses.ranges` lie in their `cidr`, do not overlap, have neither the
  gateway's address nor the API's, and are enough for all machines. The API endpoint is of `provider: cloud` only with `nsx`.
- With `gcp`: the same as with `aws`, with zones of `gcp.region`; the name begins with a letter. `gcp.network` goes without `subnet_cidr`,
  `secondary_ranges` and `nat`. A subnetwork that is made has room for all machines. A load balancer of the cloud listens on 6443 only.
- `nsx` is for the cloud `vsphere`: it has `tier0` or `tier1`, segments with room for their machines, from `ip_block` or with a `cidr` each,
  and a `floating_ip_pool` where addresses come from it. With its firewall, `access.allowed_cidrs` or a bastion lets Ansible in. It
  stands for `vsphere.network` and `vsphere.addresses`, and its load balancer is the API endpoint unless `api_endpoint.provider` is another.
- `policies`: names are unique in their list. A role binding has either `role`, one of its namespace's, or `cluster_role`; a binding names
  somebody, and never those without credentials. A level has no effect in `kube-system` and other exempt namespaces, and no version that is
  newer than the cluster's.
- What has an effect on one cloud only is refused on the others.
- `site.dns.search` needs `site.dns.servers`, and `site.proxy.no_proxy` a proxy. Passwords are never in a definition ([sites](sites.md)).
"""

_FLEET_HEAD = """\
# Fleet files

<!-- Written by tools/definition-reference from plugins/module_utils/_definition/fleet_schema.py; do not edit. -->

A fleet file says in which order and when the clusters of a foundation are changed: `inventories/<foundation>/fleet.yml`, or a file
`fleet.yml` above several foundations. It rules the clusters in its folder and below; a cluster has one at most. [Fleets](fleet.md) shows
how it is used, and `flotilla.kubernetes.validate` checks it together with the definitions.

## Keys

| key | value | default | meaning |
|---|---|---|---|
"""

_PLAIN = {"integer": "whole number", "string": "text", "boolean": "true or false", "object": "mapping", "array": "list", "null": "null"}


def render() -> str:
    """Return the text of docs/cluster_definition.md."""
    return _HEAD + _table(cluster_schema()) + _TAIL


def render_fleet() -> str:
    """Return the text of docs/fleet_file.md."""
    return _FLEET_HEAD + _table(file_schema("fleet"))


def _table(schema: dict[str, Any]) -> str:
    rows = _rows(schema, "")
    return "".join(f"| `{path}` | {value} | {default} | {meaning} |\n" for path, value, default, meaning in rows)


def _rows(schema: dict[str, Any], place: str) -> Iterator[tuple[str, str, str, str]]:
    required = schema.get("required", ())
    for name, part in schema.get("properties", {}).items():
        path = f"{place}.{name}" if place else name
        default = "**required**" if name in required else _default(part)
        yield path, _value(part), default, part["description"]
        yield from _rows(part, path)
        items = part.get("items", {})
        yield from _rows(items, f"{path}[]")


def _default(part: dict[str, Any]) -> str:
    if "default" not in part or part["default"] == {}:
        return ""
    return f"`{json.dumps(part['default'])}`"


def _value(part: dict[str, Any]) -> str:
    """Return what a key takes, in a few words."""
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    if "x-allowed" in part:
        return part["x-allowed"]
    kinds = part["type"] if isinstance(part["type"], list) else [part["type"]]
    text = " or ".join(_PLAIN[kind] for kind in kinds)
    if "minimum" in part:
        text += f" from {part['minimum']} to {part['maximum']}"
    items = part.get("items", {})
    if items and items["type"] != "object":
        return f"{text}, each {_value(items)}"
    if isinstance(part.get("additionalProperties"), dict):
        return f"{text} of {part['x-entries']}"
    return text
