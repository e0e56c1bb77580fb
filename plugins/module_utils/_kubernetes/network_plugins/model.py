# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a network plugin (private to flotilla.kubernetes). Pure: objects in, objects out.

Python 3.9, standard library only: nodes read the table, too. YAML is read and written by the controller's filters.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

TCP, UDP, ANY = "tcp", "udp", "any"


@dataclass(frozen=True)
class Traffic:
    """What a plugin sends from node to node, which the firewalls of clouds let through.

    :param name: short, for clouds whose rules have names.
    :param protocol: `TCP`, `UDP` or `ANY`; the latter has no ports.
    """

    name: str
    protocol: str
    first: int
    last: int
    reason: str


@dataclass(frozen=True)
class Settings:
    """What of a cluster a manifest is rendered from.

    :param cluster: name of the cluster.
    :param pod_cidr: address range of the pods, for instance ``10.244.0.0/16``.
    :param overlay: whether packets of pods travel inside of packets of nodes. Only what lies between nodes on one network that takes
        addresses of pods as they are goes without, such as the bridge of the local cloud.
    :param api_endpoint: ``host`` and ``port`` of the API's stable address; empty: the plugin asks the Service ``kubernetes``.
    :param nsx: section ``nsx`` of the definition; empty where the cluster has none.
    :param credentials: what the plugin logs in with, see the plugin's own file.
    """

    cluster: str = ""
    pod_cidr: str = ""
    overlay: bool = True
    api_endpoint: Mapping[str, Any] = field(default_factory=dict)
    nsx: Mapping[str, Any] = field(default_factory=dict)
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class NetworkPlugin:
    """One network plugin.

    :param name: as definitions name it.
    :param manifest: name of its manifest in a bundle.
    :param module_path: where the Go module of its first component has that manifest, if it is `compiled`.
    :param namespace: where its pods are.
    :param daemon_set: name of the DaemonSet that runs on every node.
    :param render: puts the settings into the objects of the manifest, in place. KeyError, TypeError or ValueError: it is no manifest
        of this plugin's.
    :param traffic: what its nodes send each other.
    :param network_policy: whether it enforces NetworkPolicy.
    :param components: what a bundle has because of it; the first one is the version that the manifest and the images are of.
    :param compiled: whether its images can be compiled from Go modules.
    :param provided: whether manifest and images are the user's, as nobody publishes them.
    :param images: image as the released manifest names it -> as the bundle does; ``{version}`` is that of the first component.
    :param since: the oldest minor of Kubernetes that its makers support, empty where they say none.
    :param links: network interfaces that it leaves behind on a machine.
    :param folders: folders that it leaves behind on a machine.
    :param secrets: makes the objects that no log may show.
    """

    name: str
    manifest: str
    namespace: str
    daemon_set: str
    render: Callable[[Any, Settings], None]
    traffic: tuple[Traffic, ...]
    network_policy: bool
    module_path: str = ""
    components: tuple[str, ...] = ()
    compiled: bool = True
    provided: bool = False
    images: Mapping[str, str] = field(default_factory=dict)
    since: str = ""
    links: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    secrets: Callable[[Settings], Any] | None = None


def api_environment(api_endpoint: Mapping[str, Any]) -> dict[str, str]:
    """Return the variables by which a client in a pod finds the API; kubelet sets the same ones, and what a container says itself wins."""
    return {f"KUBERNETES_SERVICE_{name.upper()}": str(api_endpoint[name]) for name in ("host", "port")} if api_endpoint else {}
