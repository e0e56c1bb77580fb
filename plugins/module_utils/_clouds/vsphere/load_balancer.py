# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API endpoint of a cluster in vSphere, which has no load balancer of its own (private to flotilla.kubernetes).

With kube-vip, or keepalived and HAProxy, the control planes hand the address on among themselves: role `api_endpoint`. An external load
balancer is somebody else's. So nothing is made here; whoever asks hears where the API is and what the members are.
"""

from __future__ import annotations

from typing import Any

from ..._errors import FlotillaError
from ..members import checked
from ..result import Result

API_PORT = 6443
OWN = ("kube_vip", "haproxy_keepalived")


def _endpoint(definition: dict[str, Any]) -> dict[str, Any]:
    """Return where the API is.

    :raises FlotillaError: ``VSPHERE_LOAD_BALANCER``: what is to answer there is not in this release.
    """
    wanted = definition.get("api_endpoint") or {}
    provider = str(wanted.get("provider") or "kube_vip")
    if provider not in (*OWN, "external"):
        raise FlotillaError(
            "VSPHERE_LOAD_BALANCER",
            f"vSphere has no load balancer of its own that could be api_endpoint.provider {provider} of cluster '{definition['name']}'.",
            "Set it to kube_vip, haproxy_keepalived or external; NSX Advanced Load Balancer (Avi) is external.",
        )
    return {"host": wanted.get("address"), "port": int(wanted.get("port") or API_PORT)}


def present(_session: Any, definition: dict[str, Any], members: list[dict[str, Any]], *, check_mode: bool, **_drain: Any) -> Result:
    """Return the endpoint, and the members as they are wanted: whoever hands on the address looks at their health itself."""
    shown = [{**member, "health": "healthy" if member["state"] == "active" else "unhealthy"} for member in checked(members)]
    return Result(value={"endpoint": _endpoint(definition), "members": shown})


def observed(_session: Any, definition: dict[str, Any]) -> Result:
    """Return the endpoint. Nobody has registered members."""
    return Result(value={"endpoint": _endpoint(definition), "members": []})


def absent(_session: Any, _definition: dict[str, Any], _check_mode: bool) -> Result:
    """There is nothing to remove: what hands on the address goes with the control planes."""
    return Result(value={"endpoint": {}, "members": []})
