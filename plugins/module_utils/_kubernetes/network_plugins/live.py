# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network plugin of a live cluster (private to flotilla.kubernetes). Only reads. Python 3.9, standard library only."""

from __future__ import annotations

from typing import Any

from ..._errors import FlotillaError
from ..client import Client
from ..foreign import network_plugins
from .table import PLUGINS


def look(client: Client, wanted: str) -> dict[str, Any]:
    """Return the network plugins that run, ``network_plugins``, and the NetworkPolicies that nobody enforces, ``unenforced``.

    :param wanted: name of the plugin that the cluster is to have. One that this collection does not install is not judged.
    :raises FlotillaError: ``NETWORK_PLUGIN_OTHER``: another one runs. Two that give pods their addresses tear the network of those that
        run, and pods keep the addresses of the first one until they are made anew.
    """
    running, plugin = sorted(network_plugins(client)), PLUGINS.get(wanted)
    if plugin and running and wanted not in running:
        raise FlotillaError(
            "NETWORK_PLUGIN_OTHER",
            f"The network plugin of this cluster is {' and '.join(running)}, and its definition says {wanted}: it is not changed in place,"
            " as pods would lose their network.",
            f"Set network.plugin back to {running[0]}; or make a new cluster with {wanted} and move the workloads there, as"
            " docs/network_plugins.md shows.",
            details={"network_plugins": running},
        )
    unenforced = []
    if plugin and not plugin.network_policy and running == [wanted]:
        policies = client.items("/apis/networking.k8s.io/v1/networkpolicies")
        unenforced = sorted(f"{item['metadata']['namespace']}/{item['metadata']['name']}" for item in policies)
    return {"network_plugins": running, "unenforced": unenforced}


def notice(wanted: str, unenforced: list[str]) -> str:
    """Return the line that people see about NetworkPolicies that nobody enforces; empty where there are none."""
    if not unenforced:
        return ""
    enforcing = " or ".join(name for name, plugin in PLUGINS.items() if plugin.network_policy and not plugin.provided)
    more = f" and {len(unenforced) - 3} more" if len(unenforced) > 3 else ""
    subject = f"{len(unenforced)} NetworkPolicies of the cluster have" if len(unenforced) > 1 else "A NetworkPolicy of the cluster has"
    return (
        f"{subject} no effect ({', '.join(unenforced[:3])}{more}): the network plugin {wanted} enforces none. One that does is {enforcing}."
    )
