# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""MetalLB, addresses for Services where no cloud gives any (private to flotilla.kubernetes): https://metallb.io."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..released import one
from .model import Addon

_NAME = "flotilla"


def render(objects: list[dict[str, Any]], values: Mapping[str, Any]) -> None:
    """Add the pool of addresses and their announcement on the nodes' own network (layer 2).

    https://metallb.io/configuration/#layer-2-configuration
    """
    namespace = one(objects, "Namespace")["metadata"]["name"]
    for kind, spec in (
        ("IPAddressPool", {"addresses": list(values["addresses"]), "autoAssign": True}),
        ("L2Advertisement", {"ipAddressPools": [_NAME]}),
    ):
        metadata = {"name": _NAME, "namespace": namespace}
        objects.append({"apiVersion": "metallb.io/v1beta1", "kind": kind, "metadata": metadata, "spec": spec})


METALLB = Addon(
    name="metallb",
    description="Services of type LoadBalancer on machines without a cloud, by announcing addresses on the nodes' network",
    manifests={"metallb-native.yaml": "config/manifests/metallb-native.yaml"},
    render=render,
    values={
        "addresses": {
            "type": "array",
            "items": {
                "type": "string",
                "pattern": r"^(?:[0-9A-Fa-f.:]+(?:/[0-9]{1,3}|-[0-9A-Fa-f.:]+))(?!\n)$",
                "x-allowed": "a range such as 10.0.0.200-10.0.0.220 or a network such as 10.0.0.192/27",
            },
            "minItems": 1,
            "uniqueItems": True,
            "description": "Addresses that Services get: of the nodes' network, and nobody else's.",
        }
    },
    required=("addresses",),
    without_cloud=True,
)
