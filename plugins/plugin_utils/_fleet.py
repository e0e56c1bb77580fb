# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What inventory plugin, filters and lookup share on the controller (private to flotilla.kubernetes)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ansible import context
from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition import hosts, load
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._fleet.plan import definition_digest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._paths import cache_dir

# Ansible turns a source that fails into a warning; the lookup `targets`, in the same process, makes it an error again.
FAILURES: dict[str, str] = {}
# Clusters whose cloud did not answer, with what the inventory shows of them instead.
STALE: dict[str, str] = {}

VALIDATE = "flotilla.kubernetes.validate"

_loaded: dict[tuple[Any, ...], load.Checked] = {}


def provider(cloud: str) -> Any:
    """Return the module of a cloud, imported late: its SDK is needed only when a cluster runs there."""
    from ansible_collections.flotilla.kubernetes.plugins.module_utils import _clouds

    return _clouds.provider(cloud)


def asks_clouds() -> bool:
    """Return whether this run needs to know machines: the playbook `validate` does not, so it needs no credentials and no network."""
    playbooks = context.CLIARGS.get("args") or ()
    own = Path(__file__).resolve().parents[2] / "playbooks/validate.yml"
    return not playbooks or not all(name == VALIDATE or Path(name).resolve() == own for name in playbooks)


def known_hosts_file(cluster: str) -> Path:
    """Return the file with the host keys of a cluster's machines."""
    return cache_dir() / "known_hosts" / cluster


def machine_hosts(definition: dict[str, Any], machines: Iterable[dict[str, Any]]) -> list[hosts.Host]:
    """Return the inventory hosts of machines: the one function behind the inventory plugin and ``add_host``.

    Machines that do not run, or have no address yet, give no host: a run could only find them unreachable.
    """
    private_key = definition["access"]["ssh_private_key_file"] or provider(definition["cloud"]).default_private_key(definition)
    known = str(known_hosts_file(definition["name"]))
    return [hosts.machine_host(definition, machine, str(private_key), known) for machine in machines if _answers(definition, machine)]


def _answers(definition: dict[str, Any], machine: dict[str, Any]) -> bool:
    return machine["state"] == "running" and bool(hosts.ssh_address(definition, machine))


def load_fleet(sources: Iterable[str]) -> load.Checked:
    """Load all definitions and fleet files in inventory sources; a second call reads them again only when one has changed.

    :raises DefinitionErrors: with every problem of every file.
    """
    sources = tuple(str(source) for source in sources)
    files, _problems = load.find_files(sources)
    folders = {folder for path in files for folder in (path.parent, load.foundation_folder(path))}
    inherited = [path for folder in folders for name in load.FOLDERS for path in sorted((folder / name).glob("*"))]
    state = tuple((str(path), *_stamp(path)) for path in (*files, *inherited))
    if (sources, state) not in _loaded:
        _loaded[sources, state] = load.check_sources(sources).valid()
    return _loaded[sources, state]


def fleet_of_play(task_vars: Mapping[str, Any]) -> load.Checked:
    """Load the definitions and fleet files of a play's clusters.

    AWX gives jobs an inventory without files: what the definitions were when it was synchronised. They lie in the job's project, too, and
    the fleet files only there.

    :raises DefinitionErrors: with every problem of every file.
    :raises FlotillaError: ``INVENTORY_OF_ANOTHER_PROJECT`` or ``INVENTORY_OUTDATED``.
    """
    checked = load_fleet(task_vars.get("ansible_inventory_sources") or ())
    there = (task_vars.get("groups") or {}).get(hosts.CLUSTERS_GROUP, [])
    if checked.definitions or not there:
        return checked
    shown = [task_vars["hostvars"][host]["flotilla_cluster"] for host in there]
    lost = sorted(str(one["file"]) for one in shown if not Path(one["file"]).exists())
    if lost:
        raise FlotillaError(
            "INVENTORY_OF_ANOTHER_PROJECT",
            f"The inventory is of definitions that this job's project has not: {', '.join(lost[:5])}.",
            "Give the job template the project that the inventory source is read from.",
        )
    checked = load_fleet(sorted({str(load.foundation_folder(Path(one["file"]))) for one in shown}))
    digests = {one["name"]: definition_digest(one) for one in checked.definitions}
    other = sorted(one["name"] for one in shown if digests.get(one["name"]) != definition_digest(one))
    if other:
        raise FlotillaError(
            "INVENTORY_OUTDATED",
            f"The inventory is older than the project: it shows other definitions of {', '.join(other[:10])}.",
            "Synchronise the inventory source, and launch the job again.",
        )
    names = {one["name"] for one in shown}
    return replace(checked, definitions=[one for one in checked.definitions if one["name"] in names])


def _stamp(path: Path) -> tuple[int, int]:
    try:
        status = path.stat()
    except OSError:
        return (0, 0)  # loading says what is wrong
    return (status.st_mtime_ns, status.st_size)
