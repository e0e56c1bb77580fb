# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules of `network.plugin` (private to flotilla.kubernetes)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import tables
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.network_plugins.ncp import NCP
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.network_plugins.table import DEFAULT, PLUGINS

if TYPE_CHECKING:
    from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.rules import Report

_PLUGIN = ("network", "plugin")
# NCP takes ids, and the last part of a path is one; what else is a display name.
_IDENTITY = re.compile(r"/infra(/[A-Za-z0-9_.-]+)+|[A-Za-z0-9_.-]+")
_NAMED = ("tier0", "tier1", "edge_cluster", "transport_zone", "floating_ip_pool")
_ONLY_NCP = ("container_ip_blocks", "ncp_options")


def network_plugin(data: dict[str, Any], report: Report) -> None:
    """A network plugin fits the version and the cloud, and what the user has to give of it is there."""
    name = data.get("network", {}).get("plugin")
    plugin = PLUGINS.get(name)
    version = str(data.get("kubernetes_version", ""))
    if plugin and plugin.since and re.fullmatch(r"1\.\d+\.\d+", version) and tables.later(plugin.since, tables.minor_of(version)):
        report(
            _PLUGIN,
            f"is {name}, whose makers support Kubernetes {plugin.since} or newer; the cluster has {version}.",
            about=[("kubernetes_version",)],
        )
    if plugin is NCP and data.get("nsx") is None:
        report(
            _PLUGIN,
            f"is ncp, which is for clusters with a network in NSX; name a network profile with the section nsx, or take {DEFAULT}.",
            about=[("nsx",)],
        )
        return
    _provided(data, name, report)
    if plugin is NCP:
        _ncp(data["nsx"], report)
        return
    for key in _ONLY_NCP:
        if data.get("nsx", {}).get(key):
            report(("nsx", key), f"is for the network plugin ncp; the cluster has {name}. Remove it.", about=[_PLUGIN])


def _provided(data: dict[str, Any], name: Any, report: Report) -> None:
    """What the user gives of a plugin is asked for where nobody else has it, and refused where it would be ignored."""
    bundle, plugin, here = data.get("bundle", {}), PLUGINS.get(name), ("bundle", "network_plugin")
    provided, source = bundle.get("network_plugin", {}), bundle.get("source")
    about = [_PLUGIN, ("bundle", "source")]
    if provided and source == "directory":
        report(here, "is there, and bundle.source: directory takes a bundle that was made before; remove one.", about=about)
    elif provided and (plugin is None or plugin.compiled):
        report(here, f"is for network plugins whose files you give; {name} needs none. Remove it.", about=about)
    elif plugin and source != "directory" and (plugin.provided or (not plugin.compiled and source == "modules")):
        why = "nobody publishes them" if plugin.provided else "bundle.source: modules can not compile them"
        for key, what in (("manifest", "manifest"), ("image_archives", "images")):
            if not provided.get(key):
                report((*here, key), f"is missing: the {what} of the network plugin {name}, as {why}.", about=[*about, here])


def _ncp(nsx: dict[str, Any], report: Report) -> None:
    """NCP knows nothing of the controller's surroundings, and reads ids."""
    if not nsx.get("manager"):
        report(("nsx", "manager"), "is missing: NCP does not know the controller's environment.", about=[_PLUGIN])
    for key in _NAMED:
        if nsx.get(key) and not _IDENTITY.fullmatch(str(nsx[key])):
            report(("nsx", key), f"is {nsx[key]}, a display name, and NCP reads ids only; write its id or policy path.", about=[_PLUGIN])
    for section, values in (nsx.get("ncp_options") or {}).items():
        for option in values or {}:
            if "password" in option or "token" in option:
                place = ("nsx", "ncp_options", section, option)
                report(place, "would be read by everybody; NCP logs in with network_plugin_credentials.", about=[_PLUGIN])
