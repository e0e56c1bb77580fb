# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time of the controller for each cluster of a fleet_status, and whether that grows with the fleet.

The clusters are simulated (`fleet_nodes`): connections are real SSH with keys, and the real module runs at their other end, but what it
asks there is no real API server. Whatever runs at the other end is no process of the controller and is not counted; ssh is, and so are
those of its processes that stay for the next task. The inventory is of machines that exist already, so no cloud is asked.

The floor is what any playbook takes to run one module on a machine of each cluster, by the same connections and forks: Ansible's own cost.

FLOTILLA_BENCH_FLEET=5,10,20 measures other sizes, for work on the benchmark itself.
"""

from __future__ import annotations

import os
import resource
import tempfile
from pathlib import Path

import fleet_nodes
import outside
from report import Figure

SIZES = "10,50,100"
SECONDS = 0.2
GROWTH = 1.25
OVER_FLOOR = 2.0
FORKS = "20"
FLOOR = """\
- name: Ask a control plane of each cluster for nothing
  hosts: "{{ lookup('flotilla.kubernetes.targets', 'cluster', of='all') }}"
  connection: local
  gather_facts: false
  tasks:
    - name: Ask it
      ansible.builtin.ping:
      delegate_to: "{{ groups[flotilla_cluster.name | flotilla.kubernetes.control_plane_group] | first }}"
      become: true
"""


def measure(folder: Path) -> list[Figure]:
    """Return figures for the largest fleet, and how much more a further cluster costs there than in a small one."""
    assert not fleet_nodes.missing(), fleet_nodes.missing()
    sizes = [int(size) for size in os.environ.get("FLOTILLA_BENCH_FLEET", SIZES).split(",")]
    floors, costs = {}, {}
    for size in sizes:
        floors[size], costs[size] = _fleet(folder, size)
    small, middle, largest = sorted(costs)
    # What Ansible costs without any cluster is in the first figures, and no part of the last one.
    further = [(costs[more] - costs[less]) / (more - less) for less, more in ((small, middle), (middle, largest))]
    told = ", ".join(f"{size} clusters {cost:.1f} s" for size, cost in costs.items())
    details = {"seconds": costs, "floor": floors, "a further cluster": further}
    reference = f"a further cluster after {middle} to one after {small}: {further[1]:.3f} s to {further[0]:.3f} s"
    floor = f"{largest} clusters: {costs[largest]:.1f} s to {floors[largest]:.1f} s for one module that does nothing in each"
    return [
        Figure("fleet-status", costs[largest] / largest, SECONDS, "s", f"CPU of the controller per cluster; {told}", details),
        Figure("fleet-status-floor", costs[largest] / floors[largest], OVER_FLOOR, reference=floor, details=details),
        Figure("fleet-status-growth", further[1] / further[0], GROWTH, reference=reference, details=details),
    ]


def _fleet(folder: Path, size: int) -> tuple[float, float]:
    """Return the CPU seconds of the floor and of a status over so many clusters."""
    with tempfile.TemporaryDirectory(dir=folder) as name, fleet_nodes.Fleet(Path(name), size) as fleet:
        floor = fleet.folder / "floor.yml"
        floor.write_text(FLOOR, encoding="utf-8")
        floored, _output = _spent(fleet, folder / f"floor-{size}.log", str(floor))
        report = ["-e", f"flotilla_report={folder / f'status-{size}.json'}"]
        used, output = _spent(fleet, folder / f"status-{size}.log", "flotilla.kubernetes.fleet_status", *report)
        assert f"{size} clusters: {size} healthy" in output, output[-5000:]
        return floored, used


def _spent(fleet: fleet_nodes.Fleet, log: Path, playbook: str, *options: str) -> tuple[float, str]:
    """Return the CPU seconds of a playbook over a fleet, and what it printed."""
    sources = [word for foundation in ("lab", "shop") for word in ("-i", str(fleet.folder / foundation))]
    # Each has connections of its own.
    connections = fleet.folder / log.stem.partition("-")[0]
    environment = {"FLOTILLA_CACHE": str(fleet.folder / "cache"), "ANSIBLE_SSH_CONTROL_PATH_DIR": str(connections), "ANSIBLE_FORKS": FORKS}
    before = _used()
    run = outside.command("ansible-playbook", *sources, playbook, *options, environment=environment)
    used = _used() - before + _masters(connections)
    log.write_text(run.output, encoding="utf-8")
    assert run.status == 0, run.output[-5000:]
    return used, run.output


def _used() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _masters(control_paths: Path) -> float:
    """Return the CPU seconds of the ssh processes that stay for a while, which nobody waits for."""
    total = 0.0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if str(control_paths).encode() in (path / "cmdline").read_bytes():
                fields = (path / "stat").read_text().rpartition(")")[2].split()
                total += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except OSError:
            continue
    return total
