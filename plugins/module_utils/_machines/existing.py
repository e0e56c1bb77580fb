# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What would stop a cluster on machines that exist already (private to flotilla.kubernetes). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._errors import Finding

# https://kubernetes.io/docs/reference/networking/ports-and-protocols/
WORKER_PORTS = (10250, 10256)
CONTROL_PLANE_PORTS = (2379, 2380, 6443, 10250, 10256, 10257, 10259)


def findings(definition: dict[str, Any], machines: list[dict[str, Any]], looks: dict[str, dict[str, Any]]) -> list[Finding]:
    """Return everything that is wrong with the machines of a definition.

    :param machines: as `*_machines` modules return them.
    :param looks: machine's name -> result of the module `machine_info` there, or Ansible's own result when it did not run.
    """
    found: list[Finding] = []
    seen: dict[tuple[str, str], str] = {}
    endpoint = f"{definition['api_endpoint']['address']}:{definition['api_endpoint']['port']}"
    for machine in machines:
        look = looks.get(machine["name"]) or {"unreachable": True, "msg": "nobody looked at it"}
        who = f"The machine {machine['name']} ({machine['addresses']['private']})"
        reason = " ".join(str(look.get("msg", "")).split())
        if look.get("unreachable"):
            remedy = (
                f"Try 'ssh -p {machine['ssh_port']} {definition['access']['ssh_user']}@{machine['ssh_address']}' and mend what that "
                "shows, or take the machine out of existing.machines."
            )
            found.append(Finding("MACHINE_UNREACHABLE", machine["name"], f"{who} can not be reached: {reason}", remedy))
        elif "machine_id" not in look:
            remedy = (
                f"The login {definition['access']['ssh_user']} needs sudo without a password (or ansible_become_password), and the machine "
                "Python 3.9 or newer."
            )
            found.append(Finding("MACHINE_NOT_ROOT", machine["name"], f"{who} can not be worked on as root: {reason}", remedy))
        else:
            found.extend(_identity(who, machine, look, seen))
            found.extend(_state(who, machine, look, endpoint))
    return found


def _identity(who: str, machine: dict[str, Any], look: dict[str, Any], seen: dict[tuple[str, str], str]) -> Iterator[Finding]:
    """Two machines that are one, or clones of one: https://kubernetes.io/docs/setup/production-environment/tools/kubeadm/install-kubeadm/."""
    name = machine["name"]
    if machine["addresses"]["private"] not in look["addresses"]:
        remedy = "Write the address that the machine has in the cluster's network; ssh_address is for another one that only SSH uses."
        has = ", ".join(look["addresses"]) or "no address at all"
        yield Finding("MACHINE_ADDRESS_FOREIGN", name, f"{who} does not have this address, but {has}.", remedy)
    remedies = {
        "machine_id": ("MACHINE_ID_TWICE", "Give a clone its own: rm /etc/machine-id && systemd-machine-id-setup, and reboot it."),
        "product_uuid": ("MACHINE_UUID_TWICE", "Give each virtual machine its own UUID in its hypervisor."),
        "mac": ("MACHINE_MAC_TWICE", "Give each network interface its own MAC address."),
    }
    identities = [("machine_id", look["machine_id"]), ("product_uuid", look["product_uuid"]), *(("mac", mac) for mac in look["macs"])]
    for kind, value in identities:
        other = seen.setdefault((kind, value), name) if value else name
        if other != name:
            code, remedy = remedies[kind]
            yield Finding(code, name, f"{who} has the same {kind.replace('_', ' ')} as {other}: {value}.", remedy)


def _state(who: str, machine: dict[str, Any], look: dict[str, Any], endpoint: str) -> Iterator[Finding]:
    name = machine["name"]
    if look["membership"] == "member":
        if look["api_endpoint"] != endpoint:
            yield Finding(
                "MACHINE_IN_OTHER_CLUSTER",
                name,
                f"{who} is a member of the cluster at {look['api_endpoint'] or 'an unknown address'}, not of the one at {endpoint}.",
                "Correct api_endpoint in the definition, or take the machine out of the other cluster first ('kubeadm reset' on it).",
            )
        return
    if look["membership"] == "unfinished":
        return  # what listens there is what the interrupted step left; the next one takes it back
    for port in CONTROL_PLANE_PORTS if machine["role"] == "control_plane" else WORKER_PORTS:
        if str(port) in look["listening"]:
            owner = look["listening"][str(port)] or "an unknown process"
            remedy = f"Stop it, or give it another port: Kubernetes needs {port}."
            yield Finding("MACHINE_PORT_TAKEN", name, f"{who} has the TCP port {port} in use by {owner}.", remedy)
