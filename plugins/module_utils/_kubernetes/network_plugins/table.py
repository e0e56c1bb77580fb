# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network plugins that this release installs (private to flotilla.kubernetes). Pure; Python 3.9, standard library only.

Adding one is one file next to this one, one entry below, and its version in the bundle's catalogue.
"""

from __future__ import annotations

from .antrea import ANTREA
from .flannel import FLANNEL
from .kube_router import KUBE_ROUTER
from .model import ANY, NetworkPlugin, Traffic
from .ncp import NCP

# Objects of the user's own, and nothing at all.
MANIFESTS, NONE = "manifests", "none"
DEFAULT = FLANNEL.name
PLUGINS: dict[str, NetworkPlugin] = {plugin.name: plugin for plugin in (FLANNEL, KUBE_ROUTER, ANTREA, NCP)}
CHOICES = (*PLUGINS, MANIFESTS, NONE)
NAMESPACES = tuple(dict.fromkeys(plugin.namespace for plugin in PLUGINS.values()))
_YOURS = Traffic("overlay", ANY, 0, 0, "the network plugin is yours and may use anything between nodes")


def system_namespaces(name: str) -> list[str]:
    """Return the namespaces of a cluster's own parts, for which no rules about pods hold; flannel's always, as it is the default."""
    return list(dict.fromkeys(("kube-system", FLANNEL.namespace, bundled(name).namespace)))


def traffic(name: str) -> tuple[Traffic, ...]:
    """Return what the nodes of a cluster with a plugin send each other; of one that is not known, anything."""
    return PLUGINS[name].traffic if name in PLUGINS else (_YOURS,)


def bundled(name: str) -> NetworkPlugin:
    """Return the plugin that the bundle of a cluster holds: the default one where the user brings an own one."""
    return PLUGINS.get(name, PLUGINS[DEFAULT])
