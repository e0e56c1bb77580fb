# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""VMware's NSX Container Plugin, NCP 4, with NSX's policy API (private to flotilla.kubernetes).

Manifest and image come from the archive that VMware gives its customers; what is set here are options of the file ``ncp.ini`` in two of
the manifest's ConfigMaps, and the Secret that NCP logs in with.
https://techdocs.broadcom.com/us/en/vmware-cis/nsx/container-plugin/4-2.html
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

from ..released import one
from .model import ANY, NetworkPlugin, Settings, Traffic

_NAMESPACE, _SECRET = "nsx-system", "nsx-secret"
_FILES = {"certificate": "tls.crt", "private_key": "tls.key", "authority": "tls.ca"}
_FOLDER = "/etc/nsx-ujo/nsx-cert"


def identity(reference: str) -> str:
    """Return the id of something in NSX that is named by its id or policy path: NCP takes ids."""
    return reference.rpartition("/")[2]


def options(settings: Settings) -> dict[str, dict[str, str]]:
    """Return the options of NCP's own ``ncp.ini``, section -> option -> value.

    With a Tier-1 of the user's, pods are on segments of that; else NCP makes a Tier-1 for pods next to that of the machines: one for
    the whole cluster, not one for each namespace, as gateways are few.
    """
    nsx = settings.nsx
    routers = {"single_tier_topology": "True"}
    if nsx.get("tier1"):
        routers["top_tier_router"] = identity(nsx["tier1"])
    else:
        routers["tier0_gateway"] = identity(nsx["tier0"])
    blocks = [identity(block) for block in nsx.get("container_ip_blocks") or ()] or [settings.pod_cidr]
    pool = identity(nsx.get("floating_ip_pool") or "")
    further = {
        "overlay_tz": identity(nsx.get("transport_zone") or ""),
        "edge_cluster": identity(nsx.get("edge_cluster") or ""),
        "external_ip_pools": pool,
        "external_ip_pools_lb": pool,
    }
    found = {
        "coe": {"cluster": settings.cluster, "enable_snat": str(nsx.get("outbound", "snat") == "snat")},
        "k8s": _api(settings),
        "nsx_v3": {
            "policy_nsxapi": "True",
            "nsx_api_managers": str(nsx["manager"]),
            "insecure": "False",
            "ca_file": f"{_FOLDER}/tls.ca",
            "nsx_api_cert_file": f"{_FOLDER}/tls.crt",
            "nsx_api_private_key_file": f"{_FOLDER}/tls.key",
            "container_ip_blocks": ",".join(blocks),
            **routers,
            **{name: value for name, value in further.items() if value},
        },
    }
    for section, values in (nsx.get("ncp_options") or {}).items():
        found.setdefault(section, {}).update({name: str(value) for name, value in values.items()})
    return found


def render(objects: Any, settings: Settings) -> None:
    """Set the options of NCP and of its agents, and let NCP find its Secret. The Secret itself is of `secrets`."""
    wanted = options(settings)
    agents = {name: wanted[name] for name in ("coe", "k8s", "nsx_node_agent", "nsx_kube_proxy") if name in wanted}
    for name, values in (("nsx-ncp-config", wanted), ("nsx-node-agent-config", agents)):
        data = one(objects, "ConfigMap", name)["data"]
        data["ncp.ini"] = with_options(data["ncp.ini"], values)
    one(objects, "DaemonSet", NCP.daemon_set)
    _mount(one(objects, "Deployment", "nsx-ncp"))
    # The manifest may have an empty one to fill in.
    objects[:] = [item for item in objects if (item["kind"], item["metadata"]["name"]) != ("Secret", _SECRET)]


def secrets(settings: Settings) -> list[dict[str, Any]]:
    """Return the Secret with NCP's principal identity.

    :raises KeyError: a part of the credentials is missing.
    """
    data = {file: base64.b64encode(settings.credentials[part].encode()).decode() for part, file in _FILES.items()}
    metadata = {"name": _SECRET, "namespace": _NAMESPACE}
    return [{"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "data": data}]


def with_options(text: str, wanted: Mapping[str, Mapping[str, str]]) -> str:
    """Return an ``ncp.ini`` with options set: where the option stands, in use or as a comment, else below its section's title.

    Everything else stays as it is, comments too, so that people find what VMware's documentation speaks of.
    """
    left = {section: dict(values) for section, values in wanted.items() if values}
    blocks: list[tuple[str, list[str]]] = [("", [])]
    for line in text.splitlines():
        title = re.fullmatch(r"\s*\[(\w+)\]\s*", line)
        if title:
            blocks.append((title.group(1), [line]))
        else:
            blocks[-1][1].append(line)
    for section, lines in blocks:
        values = left.pop(section, {})
        for name, value in values.items():
            in_use = [number for number, line in enumerate(lines) if re.match(rf"\s*{re.escape(name)}\s*=", line)]
            commented = [number for number, line in enumerate(lines) if re.match(rf"\s*#\s?{re.escape(name)}\s*=", line)]
            for number in reversed(in_use[1:]):
                del lines[number]
            if in_use or commented:
                lines[(in_use or commented)[0]] = f"{name} = {value}"
            else:
                lines.insert(1, f"{name} = {value}")
    lines = [line for _section, block in blocks for line in block]
    for section, values in left.items():
        lines += ["", f"[{section}]", *(f"{name} = {value}" for name, value in values.items())]
    return "\n".join(lines) + "\n"


def _api(settings: Settings) -> dict[str, str]:
    if not settings.api_endpoint:
        return {}
    return {"apiserver_host_ip": str(settings.api_endpoint["host"]), "apiserver_host_port": str(settings.api_endpoint["port"])}


def _mount(deployment: Mapping[str, Any]) -> None:
    """Put the Secret's files where the options say."""
    volumes = {volume["name"]: volume for volume in deployment["spec"]["template"]["spec"]["volumes"]}
    sources = volumes["projected-volume"]["projected"]["sources"]
    items = [{"key": file, "path": f"nsx-cert/{file}"} for file in _FILES.values()]
    sources[:] = [source for source in sources if source.get("secret", {}).get("name") != _SECRET]
    sources.append({"secret": {"name": _SECRET, "items": items}})


NCP = NetworkPlugin(
    name="ncp",
    manifest="ncp.yaml",
    namespace=_NAMESPACE,
    daemon_set="nsx-node-agent",
    render=render,
    # Pods are on segments of NSX: their packets never are the nodes'. Between nodes, NCP's makers name no ports.
    traffic=(Traffic("overlay", ANY, 0, 0, "agents of NCP may use anything between nodes"),),
    network_policy=True,
    compiled=False,
    provided=True,
    links=("nsx_agent_outer", "nsx_agent_inner"),
    folders=("/run/nsx-ujo", "/etc/nsx-ujo"),
    secrets=secrets,
)
