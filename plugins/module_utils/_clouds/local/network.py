# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a local cluster: podman bridge, resolver and time source, egress rules, host settings (private to flotilla.kubernetes)."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Any, Callable

from ..._errors import FlotillaError
from ..._machines.model import CONTROL_PLANE, WORKER
from ..._machines.plan import desired_groups
from ..result import Result
from . import containers, host, image, locking, probes
from . import layout as names
from .session import Session

READY_TIMEOUT = 60
RESOLVER_FILE = "/etc/flotilla/dnsmasq.conf"
TIME_FILE = "/etc/flotilla/chrony.conf"


@dataclass(frozen=True)
class Observed:
    """What the host has of one cluster's network."""

    networks: list[dict[str, Any]]
    containers: dict[str, containers.Container]
    table: names.Table
    table_exists: bool
    resolver_config: str

    def own(self, place: names.Layout) -> dict[str, Any] | None:
        """Return podman's entry of the cluster's network, or None."""
        return next((network for network in self.networks if network["name"] == place.network), None)


def find(session: Session, place: names.Layout) -> dict[str, Any] | None:
    """Return podman's entry of the cluster's network, or None, after a check of who owns it."""
    session.require("podman")
    network = next((entry for entry in session.podman_json("network", "ls") if entry["name"] == place.network), None)
    if network is not None:
        names.check_owner(network.get("labels") or {}, place, "", f"Network {place.network}")
    return network


def require(session: Session, place: names.Layout) -> dict[str, Any]:
    """Return podman's entry of the cluster's network, or fail with what makes it."""
    network = find(session, place)
    if network is None:
        raise FlotillaError(
            "LOCAL_NETWORK_MISSING",
            f"Cluster '{place.cluster}' has no network {place.network} on this host.",
            "Run the module flotilla.kubernetes.local_network with the same definition first.",
        )
    return network


def network_uid(network: dict[str, Any] | None) -> str:
    """Return the cluster's uid that its network carries, or an empty string."""
    return ((network or {}).get("labels") or {}).get(names.LABEL_UID, "")


def observe(session: Session, place: names.Layout) -> Observed:
    """Read everything; changes nothing."""
    session.require("podman", "nft", "ip", "sysctl")
    networks = session.podman_json("network", "ls")
    found = containers.list_containers(session, place.cluster)
    table = session.run(["nft", "--json", "list", "table", "inet", place.table], check=False)
    exists = table.returncode == 0
    services = found.get(place.services)
    config = ""
    if services and services.running:
        config = session.run(["podman", "exec", place.services, "cat", RESOLVER_FILE, TIME_FILE], check=False).stdout
    return Observed(networks, found, names.Table.from_json(table.stdout if exists else ""), exists, config)


def present(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Make the network as the definition says, or with ``check_mode`` say what would be done.

    Everything that can be refused is refused before the first change.
    """
    with locking.hold(definition, check_mode):
        return _present(session, definition, check_mode)


def _present(session: Session, definition: dict[str, Any], check_mode: bool) -> Result:
    place = names.layout(definition)
    policy = definition["local"].get("egress", "allow")
    family = definition["image"]["family"]
    image.suite(family)
    seen = observe(session, place)
    own = seen.own(place)
    result = Result()
    uid = _check_owners(place, own, seen)
    if own is None:
        _check_backend(session)
        _check_cidr(session, place, definition, seen)
    elif [subnet["subnet"] for subnet in own.get("subnets") or []] != [str(place.cidr)]:
        raise FlotillaError(
            "LOCAL_NETWORK_CIDR_CHANGED",
            f"Network {place.network} is {own['subnets'][0]['subnet']}, and local.network_cidr of cluster '{place.cluster}' is now"
            f" {place.cidr}: the addresses of its machines can not change.",
            "Set local.network_cidr back, or delete the cluster and make it anew.",
        )
    new_roles = _roles_to_create(definition, seen)
    services = seen.containers.get(place.services)
    if own is None or services is None or new_roles:
        host.require_disk(session, new_roles, not image.exists(session, family))
    warning = host.memory_warning(new_roles)
    if warning:
        result.warnings.append(warning)
    modules = host.missing_features()
    host.load_modules(session, modules, dry_run=True)

    upstreams = names.upstream_resolvers(host.resolver_texts()) if policy == "allow" else []
    if policy == "allow" and not upstreams:
        result.warnings.append("The host has no resolver that a container can reach: names from outside are answered NXDOMAIN.")
    resolver, clock = names.resolver_config(place, upstreams), names.time_config(place)
    bridge = own["network_interface"] if own else ""
    settings = host.low_settings()
    actions: list[Callable[[], Any]] = []

    result.before = _state(place, own, services, seen, _policy(seen.table), modules, settings)
    if services is None or not services.started_once:
        # First, because it takes longest and needs the outside most: a failure leaves the host as it was.
        actions.append(lambda: image.ensure(session, family))
    if modules:
        actions.append(lambda: host.load_modules(session, modules))
    if own is None:
        uid = secrets.token_hex(8)
        originals = _originals(seen)
        actions.append(lambda: _create_network(session, place, uid, originals))
    if settings:
        actions.append(lambda: host.write_settings(session, settings))
    if not (own and seen.table.matches(policy, bridge)):
        actions.append(lambda: _write_table(session, place, policy, seen))
    if services and not services.started_once:
        actions.append(lambda: containers.remove(session, [place.services]))
    if services is None or not services.started_once:
        actions.append(lambda: _create_services(session, place, uid, image.image_name(family), resolver, clock))
    elif not services.running:
        # After a reboot of the host its configuration can only be read once it runs.
        actions.append(lambda: containers.start(session, place.services, services.state))
        actions.append(lambda: _write_configs(session, place, resolver, clock))
    elif seen.resolver_config != resolver + clock:
        actions.append(lambda: _write_configs(session, place, resolver, clock))

    result.changed = bool(actions)
    result.after = {
        "network": {"name": place.network, "cidr": str(place.cidr)},
        "services": "running",
        "resolver": resolver.splitlines(),
        "egress": policy,
        "kernel_modules_missing": [],
        "settings_too_low": [],
    }
    if not check_mode:
        for action in actions:
            action()
        if actions:
            _wait_for_services(session, place)
            own = require(session, place)
            seen = observe(session, place)
    result.value = {
        "name": place.network,
        "cidr": str(place.cidr),
        "gateway": place.gateway,
        "resolver": place.services_address,
        "time_source": place.services_address,
        "bridge": own["network_interface"] if own else None,
        "uid": network_uid(own) or None,
        "egress": {
            "policy": policy,
            "packets": seen.table.packets,
            "bytes": seen.table.bytes,
            "host_packets": seen.table.host_packets,
        },
    }
    return result


def absent(session: Session, definition: dict[str, Any], check_mode: bool = False) -> Result:
    """Remove the network and everything that came with it; refuse while machines or a load balancer are on it."""
    with locking.hold(definition, check_mode):
        return _absent(session, definition, check_mode)


def _absent(session: Session, definition: dict[str, Any], check_mode: bool) -> Result:
    place = names.layout(definition)
    seen = observe(session, place)
    own = seen.own(place)
    result = Result()
    _check_owners(place, own, seen)
    users = sorted(
        name
        for name, container in containers.list_containers(session).items()
        if name != place.services and (place.network in container.networks or name in seen.containers)
    )
    if users:
        raise FlotillaError(
            "LOCAL_NETWORK_IN_USE",
            f"Network {place.network} of cluster '{place.cluster}' is in use by {', '.join(users)}.",
            "Remove machines and load balancer of the cluster first (playbook cluster_delete does it in order).",
            details={"containers": users},
        )
    services = seen.containers.get(place.services)
    actions: list[Callable[[], Any]] = []
    if services:
        actions.append(lambda: containers.remove(session, [place.services]))
    if seen.table_exists:
        actions.append(lambda: session.run(["nft", "delete", "table", "inet", place.table]))
    if own:
        # Settings go back before the network goes, because its labels are the only memory of what they were.
        actions.append(lambda: _restore(session, own, seen))
        actions.append(lambda: session.podman("network", "rm", place.network))
    result.changed = bool(actions)
    result.before = _state(place, own, services, seen, _policy(seen.table), [], {})
    result.after = _state(place, None, None, None, None, [], {})
    if not check_mode:
        for action in actions:
            action()
    return result


def _check_owners(place: names.Layout, own: dict[str, Any] | None, seen: Observed) -> str:
    """Check network and containers for another foundation or uid, and return the cluster's uid (empty without a network)."""
    if own is not None:
        names.check_owner(own.get("labels") or {}, place, "", f"Network {place.network}")
    uid = network_uid(own)
    for name, container in sorted(seen.containers.items()):
        names.check_owner(container.labels, place, uid, f"Container {name}")
    return uid


def _check_backend(session: Session) -> None:
    """Fail on a podman whose networks are CNI's: they have neither the labels nor the fields that are read here."""
    backend = session.podman("info", "--format", "{{.Host.NetworkBackend}}", check=False).strip()
    if backend != "netavark":
        raise FlotillaError(
            "LOCAL_PODMAN_BACKEND",
            f"podman on this host makes its networks with '{backend or 'an older system'}', and the local cloud needs netavark.",
            "Install podman 4.3 or newer and the package netavark; existing networks of the other kind are to be removed first.",
        )


def _check_cidr(session: Session, place: names.Layout, definition: dict[str, Any], seen: Observed) -> None:
    routes = host.routes(session)
    taken = names.taken_by(place.cidr, routes, seen.networks)
    if not taken:
        return
    network = definition.get("network") or {}
    avoid = [*(network.get("pod_cidrs") or []), *(network.get("service_cidrs") or [])]
    suggestion = names.free_cidr(place.cidr, routes, seen.networks, avoid)
    raise FlotillaError(
        "LOCAL_NETWORK_CIDR_TAKEN",
        f"local.network_cidr {place.cidr} of cluster '{place.cluster}' overlaps {taken}.",
        f"Set it to a free network, for example {suggestion}." if suggestion else "Set it to a free network.",
        details={"suggestion": suggestion},
    )


def _roles_to_create(definition: dict[str, Any], seen: Observed) -> list[str]:
    """Return the role of each machine that the definition asks for and the host does not have."""
    roles: list[str] = []
    for group in desired_groups(definition):
        have = sum(
            1
            for container in seen.containers.values()
            if container.labels.get(names.LABEL_POOL) == group.pool and container.labels.get(names.LABEL_ROLE) in (CONTROL_PLANE, WORKER)
        )
        roles += [group.role] * max(0, group.count - have)
    return roles


def _policy(table: names.Table) -> str | None:
    policies = {chain.split("_")[2] for chain in table.chains if chain.count("_") >= 3}
    return "+".join(sorted(policies)) or None


def _state(
    place: names.Layout,
    own: dict[str, Any] | None,
    services: containers.Container | None,
    seen: Observed | None,
    policy: str | None,
    modules: list[str],
    settings: dict[str, str],
) -> dict[str, Any]:
    """Return what a diff shows."""
    subnets = (own or {}).get("subnets") or []
    config = seen.resolver_config if seen else ""
    return {
        "network": {"name": place.network, "cidr": subnets[0]["subnet"]} if subnets else None,
        "services": services.state if services else None,
        "resolver": config[: config.find("# Written", 1)].splitlines() if config else None,
        "egress": policy,
        "kernel_modules_missing": modules,
        "settings_too_low": sorted(settings),
    }


def _originals(seen: Observed) -> dict[str, str]:
    """Return the host's settings as they were before the first flotilla network: from such a network's label, else as they are."""
    for network in seen.networks:
        text = (network.get("labels") or {}).get(names.LABEL_HOST_SETTINGS)
        if text:
            return names.parse_settings(text)
    return host.current_settings()


def _create_network(session: Session, place: names.Layout, uid: str, originals: dict[str, str]) -> None:
    labels = {**place.labels("network", uid), names.LABEL_HOST_SETTINGS: names.format_settings(originals)}
    arguments = [part for key, value in sorted(labels.items()) for part in ("--label", f"{key}={value}")]
    session.podman(
        "network", "create", "--driver", "bridge", "--subnet", str(place.cidr), "--gateway", place.gateway, "--disable-dns",
        *arguments, place.network,
        code="LOCAL_NETWORK",
        message=f"podman did not make the network {place.network} ({place.cidr}).",
    )  # fmt: skip


def _write_table(session: Session, place: names.Layout, policy: str, seen: Observed) -> None:
    bridge = require(session, place)["network_interface"]
    rules = names.egress_rules(place, policy, bridge, list(seen.table.chains))
    session.run(
        ["nft", "--file", "-"],
        data=rules.encode(),
        code="LOCAL_EGRESS_RULES",
        message=f"The egress rules of network {place.network} were not taken by nftables.",
        remedy="The kernel of this host needs nf_tables with counters.",
    )


def _create_services(session: Session, place: names.Layout, uid: str, image_ref: str, resolver: str, clock: str) -> None:
    wants = "etc/systemd/system/multi-user.target.wants"
    units = "/etc/systemd/system"
    files = image.archive(
        {
            RESOLVER_FILE.strip("/"): (0o644, resolver),
            TIME_FILE.strip("/"): (0o644, clock),
            "etc/hosts": containers.hosts_file(place.services, place.services_address),
        },
        {
            f"{wants}/flotilla-resolver.service": f"{units}/flotilla-resolver.service",
            f"{wants}/flotilla-time.service": f"{units}/flotilla-time.service",
            f"{units}/ssh.service".strip("/"): "/dev/null",
        },
    )
    containers.create(
        session,
        name=place.services,
        image=image_ref,
        network=place.network,
        address=place.services_address,
        resolver=place.services_address,
        labels=place.labels(names.ROLE_SERVICES, uid),
        files=files,
    )
    containers.start(session, place.services)


def _write_configs(session: Session, place: names.Layout, resolver: str, clock: str) -> None:
    containers.write_file(session, place.services, RESOLVER_FILE, resolver)
    containers.write_file(session, place.services, TIME_FILE, clock)
    containers.exec_text(session, place.services, ["systemctl", "restart", "flotilla-resolver.service", "flotilla-time.service"])


def _wait_for_services(session: Session, place: names.Layout) -> None:
    """Wait until resolver and time source answer over the network (the name asked for never leaves the host)."""
    address = place.services_address
    if not probes.wait(lambda: probes.name_answer(address, "services.flotilla.invalid", 1) is not None, READY_TIMEOUT):
        raise containers.failed(place.services, READY_TIMEOUT, "DNS queries", containers.journal(session, place.services))
    if not probes.wait(lambda: probes.time_answer(address, 1) is not None, READY_TIMEOUT):
        raise containers.failed(place.services, READY_TIMEOUT, "NTP queries", containers.journal(session, place.services))


def _restore(session: Session, own: dict[str, Any], seen: Observed) -> None:
    """Give the host its settings back, unless another cluster of the local cloud is still on it."""
    others = [network for network in seen.networks if network["name"] != own["name"]]
    if any((network.get("labels") or {}).get(names.LABEL_HOST_SETTINGS) for network in others):
        return
    originals = names.parse_settings((own.get("labels") or {}).get(names.LABEL_HOST_SETTINGS, ""))
    bridges = host.has_bridge(session, except_for=own["network_interface"])
    host.write_settings(session, host.settings_to_restore(originals, host.current_settings(), bridges))
