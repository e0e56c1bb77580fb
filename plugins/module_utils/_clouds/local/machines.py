# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a local cluster: node containers with an SSH server (private to flotilla.kubernetes)."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
import threading
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..._errors import FlotillaError
from ..._machines import plan as planning
from ..._machines.decision import NO_REMOVAL, Wish, decide
from ..._machines.model import (
    CONTROL_PLANE,
    CREATE,
    DELETE,
    INCOMPLETE,
    KEEP,
    PLANNED,
    REPLACE,
    RUNNING,
    START,
    STOPPED,
    WORKER,
    Machine,
    Step,
)
from ..._paths import cache_dir
from ..result import Result, machines_value
from . import containers, host, image, locking, network, probes
from . import layout as names
from .session import Session

VOLUMES = {"containerd": "/var/lib/containerd", "kubelet": "/var/lib/kubelet", "etcd": "/var/lib/etcd"}
"""What has to be on a disk of its own: overlay on overlay does not work, and etcd wants a real file system."""

GENERATION = "1"
_MAKING = (CREATE, REPLACE)


def observe_machines(definition: dict[str, Any], session: Session | None = None) -> list[Machine]:
    """Return the machines of a cluster that exist on this host: one read, no side effects.

    A container that another foundation owns under the cluster's name is an error, never a machine of this cluster.
    """
    session = session or Session()
    place = names.layout(definition)
    session.require("podman")
    return to_machines(containers.list_containers(session, place.cluster), place)


def to_machines(found: dict[str, containers.Container], place: names.Layout) -> list[Machine]:
    """Return the machines among a cluster's containers, ordered by name."""
    machines = []
    for name, container in sorted(found.items()):
        labels = container.labels
        if labels.get(names.LABEL_ROLE) not in (CONTROL_PLANE, WORKER):
            continue
        names.check_owner(labels, place, "", f"Container {name}")
        machines.append(
            Machine(
                id=name,
                name=name,
                cluster=labels.get(names.LABEL_CLUSTER, ""),
                pool=labels.get(names.LABEL_POOL, ""),
                role=labels[names.LABEL_ROLE],
                zone=labels.get(names.LABEL_ZONE, ""),
                state=_state(container),
                addresses={"private": labels.get(names.LABEL_ADDRESS), "public": None},
                host_key=labels.get(names.LABEL_HOST_KEY, ""),
                spec_hash=labels.get(names.LABEL_SPEC_HASH, ""),
                uid=labels.get(names.LABEL_UID, ""),
            )
        )
    return machines


def default_private_key(definition: dict[str, Any]) -> str:
    """Return the path of the private key that opens the machines: the definition's, else the local cloud's own."""
    given = (definition.get("access") or {}).get("ssh_private_key_file")
    return str(Path(given).expanduser()) if given else str(cache_dir() / "local" / "ssh" / "id_ed25519")


def present(
    session: Session,
    definition: dict[str, Any],
    *,
    wait_timeout: float,
    wish: Wish = NO_REMOVAL,
    check_mode: bool = False,
) -> Result:
    """Bring the machines to what the definition asks for, or with ``check_mode`` say how.

    :param wait_timeout: seconds for each machine from its start to its SSH server's greeting.
    :param wish: what else the caller wants, and what it takes on itself.
    """
    with locking.hold(definition, check_mode):
        place = names.layout(definition)
        session.require("podman", "ssh-keygen")
        own = network.find(session, place) if check_mode else network.require(session, place)
        uid = network.network_uid(own)
        found = containers.list_containers(session, place.cluster)
        for name, container in sorted(found.items()):
            names.check_owner(container.labels, place, uid, f"Container {name}")
        observed = to_machines(found, place)
        groups = planning.desired_groups(definition)
        specs = {group.pool: group.spec_hash for group in groups}
        decision = decide(groups, observed, wish)
        steps = decision.steps
        orphans = _orphan_volumes(session, place, found)
        creates = [step for step in steps if step.action in _MAKING]
        result = Result(decision.changes or bool(orphans), _diff_state(observed, orphans))
        if creates:
            family = definition["image"]["family"]
            host.require_disk(session, [step.role for step in creates], not image.exists(session, family))
            warning = host.memory_warning([step.role for step in creates])
            if warning:
                result.warnings.append(warning)
        if check_mode:
            gone = {step.machine.name for step in steps if step.action == DELETE and step.machine}
            kept = [machine for machine in observed if machine.name not in gone]
            result.after = _diff_state(
                [replace(machine, state=RUNNING if machine.state == STOPPED else machine.state) for machine in kept], []
            )
            planned = [
                Machine(name, name, place.cluster, step.pool, step.role, step.zone, PLANNED, {"private": address, "public": None})
                for step, (name, address) in zip(creates, _plan_names(place, uid, steps, found, specs))
            ]
            result.after["machines"].update(_diff_state([replace(machine, state=RUNNING) for machine in planned], [])["machines"])
            result.value = machines_value(kept, planned, decision.as_result())
            return result
        _apply(session, definition, place, uid, steps, found, orphans, specs, wait_timeout, wish.replace)
        machines = observe_machines(definition, session) if result.changed else observed
        result.after = _diff_state(machines, [])
        result.value = machines_value(machines, [], decision.as_result())
        return result


def observed(session: Session, definition: dict[str, Any]) -> Result:
    """Return the machines that there are, whatever the definition asks for: nothing is planned, so nothing can be refused."""
    machines = observe_machines(definition, session)
    return Result(value=machines_value(machines))


def neighbours(session: Session, definition: dict[str, Any]) -> dict[str, list[str]]:
    """Return the machines of the foundation's other clusters: cluster -> names."""
    place = names.layout(definition)
    found: dict[str, list[str]] = {}
    for name, container in sorted(containers.list_containers(session).items()):
        labels = container.labels
        cluster = labels.get(names.LABEL_CLUSTER, "")
        ours = labels.get(names.LABEL_FOUNDATION) == place.foundation and labels.get(names.LABEL_ROLE) in (CONTROL_PLANE, WORKER)
        if ours and cluster != place.cluster:
            found.setdefault(cluster, []).append(name)
    return found


def absent(session: Session, definition: dict[str, Any], *, ids: Sequence[str] | None = None, check_mode: bool = False) -> Result:
    """Remove machines of the cluster with their disks; nothing there is nothing to do.

    :param ids: of the machines that go; None for all of them and for whatever else is left of any.
    """
    with locking.hold(definition, check_mode):
        place = names.layout(definition)
        session.require("podman")
        uid = network.network_uid(network.find(session, place))
        found = containers.list_containers(session, place.cluster)
        for name, container in sorted(found.items()):
            names.check_owner(container.labels, place, uid, f"Container {name}")
        observed = to_machines(found, place)
        leaving = [machine for machine in observed if ids is None or machine.id in ids]
        foreign = set(ids or ()) - set(found)
        if foreign and (foreign := foreign & set(containers.list_containers(session))):
            raise FlotillaError(
                "MACHINES_FOREIGN",
                f"Not of cluster '{place.cluster}', but there on this host: {', '.join(sorted(foreign))}.",
                "Correct ids; nothing was removed.",
            )
        staying = [machine for machine in observed if machine not in leaving]
        # A machine that a killed run has removed leaves its volumes.
        gone = {name: container for name, container in found.items() if name not in {machine.name for machine in leaving}}
        volumes = _orphan_volumes(session, place, gone)
        if ids is not None:
            volumes = [volume for volume in volumes if volume.rsplit("-", 1)[0] in ids]
        reason = "the cluster is to be absent" if ids is None else "it was asked for"
        steps = [Step(DELETE, machine.pool, machine.role, machine.zone, machine, reason) for machine in leaving]
        result = Result(bool(leaving or volumes), _diff_state(observed, volumes), _diff_state(staying, []))
        result.value = machines_value(staying, more={"steps": [step.as_dict() for step in steps]})
        if not check_mode:
            containers.remove(session, [machine.name for machine in leaving])
            _remove_volumes(session, volumes)
        return result


def _apply(
    session: Session,
    definition: dict[str, Any],
    place: names.Layout,
    uid: str,
    steps: list[Step],
    found: dict[str, containers.Container],
    orphans: list[str],
    specs: dict[str, str],
    wait_timeout: float,
    parting: Collection[str],
) -> None:
    failures: dict[str, FlotillaError] = {}
    deadline = time.monotonic() + wait_timeout
    # First of all: a machine that can not be reached stops the run before anything is changed.
    for step in steps:
        stays = step.action == KEEP and not step.later and step.machine and step.machine.id not in parting
        if stays and step.machine and step.machine.state == RUNNING:
            left = max(0.0, deadline - time.monotonic())
            _wait(session, step.machine.name, str(step.machine.addresses["private"]), left, failures)
    _raise_unreachable(place, failures)
    leftovers = [step.machine.name for step in steps if step.action == DELETE and step.machine and step.machine.state == INCOMPLETE]
    containers.remove(session, leftovers)
    _remove_volumes(session, [*orphans, *(f"{name}-{part}" for name in leftovers for part in VOLUMES)])
    for step in steps:
        if step.action == START and step.machine:
            containers.start(session, step.machine.name, found[step.machine.name].state)
            _wait(session, step.machine.name, str(step.machine.addresses["private"]), wait_timeout, failures)
    creates = [step for step in steps if step.action in _MAKING]
    if creates:
        family = definition["image"]["family"]
        image_ref = image.ensure(session, family)
        authorized = _authorized_key(session, definition)

        stopped = threading.Event()

        def create(step: Step, name: str, address: str) -> None:
            if stopped.is_set():
                return
            try:
                _create(session, definition, place, uid, step, name, address, image_ref, authorized, specs[step.pool])
                _wait(session, name, address, wait_timeout, failures)
            except BaseException:
                stopped.set()
                raise

        # One per core at a time: more of them that boot at once only take the core from each other.
        with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as executor:
            chosen = zip(creates, _plan_names(place, uid, steps, found, specs))
            begun = [executor.submit(create, step, name, address) for step, (name, address) in chosen]
            try:
                for future in begun:
                    future.result()
            finally:
                stopped.set()
    _raise_unreachable(place, failures)
    leaving = [step.machine.name for step in steps if step.action == DELETE and step.machine and step.machine.state != INCOMPLETE]
    containers.remove(session, leaving)
    _remove_volumes(session, [f"{name}-{part}" for name in leaving for part in VOLUMES])


def _plan_names(
    place: names.Layout, uid: str, steps: list[Step], found: dict[str, containers.Container], specs: dict[str, str]
) -> list[tuple[str, str]]:
    """Return name and address of each machine to create, in the order of the steps.

    Both follow from what is there, so that a run that was cut off and repeated chooses the same ones.
    """
    leftovers = {step.machine.name for step in steps if step.action == DELETE and step.machine and step.machine.state == INCOMPLETE}
    names_taken = set(found) - leftovers
    addresses = {container.labels.get(names.LABEL_ADDRESS, "") for name, container in found.items() if name not in leftovers}
    chosen = []
    for step in steps:
        if step.action not in _MAKING:
            continue
        live = [name for name in names_taken if name.startswith(f"{place.cluster}-{step.pool}-")]
        attempt = 0
        while True:
            suffix = planning.unique_suffix(uid, step.pool, step.zone, live, specs[step.pool], attempt)
            name = f"{place.cluster}-{step.pool}-{suffix}"
            if name not in names_taken:
                break
            attempt += 1
        address = place.free_address(addresses)
        names_taken.add(name)
        addresses.add(address)
        chosen.append((name, address))
    return chosen


def _create(
    session: Session,
    definition: dict[str, Any],
    place: names.Layout,
    uid: str,
    step: Step,
    name: str,
    address: str,
    image_ref: str,
    authorized: str,
    spec: str,
) -> None:
    private, public = _host_key(session, name, locking.work_folder(place.cluster))
    user = login_user(definition)
    labels = {
        **place.labels(step.role, uid),
        names.LABEL_POOL: step.pool,
        names.LABEL_ZONE: step.zone,
        names.LABEL_GENERATION: GENERATION,
        names.LABEL_SPEC_HASH: spec,
        names.LABEL_HOST_KEY: public,
    }
    volumes = {f"{name}-{part}": folder for part, folder in VOLUMES.items()}
    owner = [f"--label={key}={value}" for key, value in sorted(place.labels(step.role, uid).items())]
    for volume in volumes:
        session.podman("volume", "create", *owner, volume)
    containers.create(
        session,
        name=name,
        image=image_ref,
        network=place.network,
        address=address,
        resolver=place.services_address,
        labels=labels,
        volumes=volumes,
        files=image.archive(
            {
                "etc/flotilla/login": (0o644, f"{user}\n"),
                f"etc/flotilla/authorized_keys/{user}": (0o644, f"{authorized}\n"),
                "etc/hosts": containers.hosts_file(name, address),
                "etc/ssh/ssh_host_ed25519_key": (0o600, private),
                "etc/ssh/ssh_host_ed25519_key.pub": (0o644, f"{public}\n"),
            }
        ),
    )
    containers.start(session, name)


def login_user(definition: dict[str, Any]) -> str:
    """Return the login that the machines get, or fail on a name that useradd would not take."""
    user = str((definition.get("access") or {}).get("ssh_user") or "flotilla")
    if not re.fullmatch(r"[a-z_][a-z0-9_-]{0,31}", user):
        raise FlotillaError(
            "LOCAL_SSH_USER",
            f"access.ssh_user '{user}' of cluster '{definition['name']}' is not a name that a Debian machine takes.",
            "Use lower-case letters, digits, '-' and '_', at most 32, beginning with a letter.",
        )
    return user


def _host_key(session: Session, name: str, work: Path) -> tuple[str, str]:
    """Make an SSH host key pair and return (private, public); nothing of it stays on the controller, not even of a run that is killed."""
    work.mkdir(mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work) as folder:
        path = Path(folder, "key")
        session.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(path)], root=False)
        return path.read_text(), " ".join(path.with_suffix(".pub").read_text().split()[:2])


def _authorized_key(session: Session, definition: dict[str, Any]) -> str:
    """Return the public half of the key that opens the machines; the local cloud's own pair is made when it is not there."""
    path = Path(default_private_key(definition))
    public = Path(f"{path}.pub")
    if not path.exists():
        if (definition.get("access") or {}).get("ssh_private_key_file"):
            raise FlotillaError(
                "LOCAL_SSH_KEY",
                f"access.ssh_private_key_file {path} of cluster '{definition['name']}' does not exist.",
                "Create it with ssh-keygen, or leave the field out: the local cloud then makes a key of its own.",
            )
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # All local clusters share this key, and two may be made at once: the first to link its key gives it.
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            made = Path(folder) / path.name
            session.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "flotilla-local", "-f", str(made)], root=False)
            with contextlib.suppress(FileExistsError):
                os.link(made, path)
    if public.exists():
        return public.read_text().strip()
    done = session.run(
        ["ssh-keygen", "-y", "-P", "", "-f", str(path)],
        root=False,
        code="LOCAL_SSH_KEY",
        message=f"The public half of {path} can not be read.",
        remedy=f"Put it into {public}: ssh-keygen -y -f {path} > {public}",
    )
    return str(done.stdout).strip()


def _raise_unreachable(place: names.Layout, failures: dict[str, FlotillaError]) -> None:
    if failures:
        first = next(iter(failures.values()))
        raise FlotillaError(
            first.code,
            f"{len(failures)} of the machines of cluster '{place.cluster}' did not become reachable by SSH: {', '.join(sorted(failures))}."
            f" Nothing was removed.",
            first.remedy,
            cause="\n\n".join(f"{name}:\n{error.cause}" for name, error in sorted(failures.items())),
            details={"failed": sorted(failures)},
        )


def _wait(session: Session, name: str, address: str, timeout: float, failures: dict[str, FlotillaError]) -> None:
    started = time.monotonic()
    if not probes.wait(lambda: probes.ssh_banner(address), timeout):
        failures[name] = containers.failed(name, time.monotonic() - started, "SSH", containers.journal(session, name))


def _orphan_volumes(session: Session, place: names.Layout, found: dict[str, containers.Container]) -> list[str]:
    """Return the cluster's volumes whose machine does not exist (any more)."""
    listed = session.podman_json("volume", "ls", "--filter", f"label={names.LABEL_CLUSTER}={place.cluster}")
    return sorted(
        entry["Name"]
        for entry in listed
        if (entry.get("Labels") or {}).get(names.LABEL_FOUNDATION) == place.foundation and entry["Name"].rsplit("-", 1)[0] not in found
    )


def _remove_volumes(session: Session, volumes: list[str]) -> None:
    """Remove volumes by name; one that is already gone is no error (never ``volume prune``, which asks nobody)."""
    if volumes:
        done = session.run(["podman", "volume", "rm", *volumes], check=False, timeout=300)
        if done.returncode and any("no such volume" not in line for line in done.stderr.splitlines() if line.strip()):
            raise FlotillaError("LOCAL_VOLUME", "Volumes of removed machines are still there.", "Run again.", cause=done.stderr)


def _state(container: containers.Container) -> str:
    if not container.started_once:
        return INCOMPLETE
    return {"running": RUNNING, "exited": STOPPED, "stopped": STOPPED, "stopping": STOPPED, "paused": STOPPED}.get(
        container.state, container.state
    )


def _diff_state(machines: list[Machine], orphans: list[str]) -> dict[str, Any]:
    return {
        "machines": {
            machine.name: {
                "pool": machine.pool,
                "zone": machine.zone,
                "state": machine.state,
                "address": machine.addresses.get("private"),
            }
            for machine in machines
        },
        "orphaned_volumes": orphans,
    }
