# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three clusters and the controller that upgrades them: each job's playbook runs by ansible-runner in AWX's layout. What a cluster
answers is simulated, by one file of tasks, and so is the work in one cluster; nothing else is."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import outside
import yaml

from . import runs, server, site

NAMES = ("c0", "c1", "c2")
OLD, NEW = "1.36.2", "1.36.3"
# Instead of playbooks/tasks/look_at_cluster.yml, and of the look at its health.
LOOK = """
- name: See
  ansible.builtin.set_fact:
    flotilla_versions: {oldest: "{{ __is }}", control_planes: {}, kubelets: {}, interrupted: []}
    flotilla_upgrade_hops: "{{ [] if __is == __wanted else [{'version': __wanted, 'workers': true}] }}"
    flotilla_preflight: {findings: []}
  vars:
    __wanted: "{{ flotilla_cluster.kubernetes_version }}"
    __is: "{{ (lookup('ansible.builtin.file', lookup('ansible.builtin.env', 'FLOTILLA_TEST_WORLD')) | from_json)[flotilla_cluster.name] }}"
"""
HEALTHY = """
- name: It is healthy
  ansible.builtin.set_fact:
    flotilla_health: {healthy: true, nodes: [], findings: []}
"""


class World:
    """A project with three clusters, one of them a canary, and a controller whose jobs run in it.

    :param python: of the environment with Ansible and ansible-runner that runs the jobs.
    """

    def __init__(self, folder: Path, python: str = sys.executable) -> None:
        self.folder = folder
        self.python = python
        self.project = folder / "project"
        shutil.copytree(outside.ROOT / "playbooks", self.project / "playbooks", ignore=shutil.ignore_patterns("__pycache__"))
        (self.project / "playbooks/tasks/look_at_cluster.yml").write_text(LOOK, encoding="utf-8")
        (self.project / "playbooks/tasks/health.yml").write_text(HEALTHY, encoding="utf-8")
        (self.project / "playbooks/tasks/judge.yml").write_text(HEALTHY, encoding="utf-8")
        foundation = self.project / "inventories/production"
        for number, name in enumerate(NAMES):
            outside.write_definition(
                foundation,
                name,
                cloud="existing",
                kubernetes_version=NEW,
                labels={"stage": "canary" if number == 0 else "other"},
                access={"ssh_user": "ops"},
                pools=[{"name": "workers"}],
                api_endpoint={"provider": "external", "address": f"192.0.2.{number + 150}"},
                existing={
                    "host_keys": "accept_new",
                    "machines": [
                        {"address": f"192.0.2.{number + 50}", "role": "control_plane"},
                        {"address": f"192.0.2.{number + 100}", "pool": "workers"},
                    ],
                },
            )
        waves = [{"name": "canaries", "clusters": {"labels": {"stage": "canary"}}, "canary": True}, {"name": "rest"}]
        head = {"plugin": "flotilla.kubernetes.cluster", "schema": 1, "kind": "fleet", "max_clusters_in_flight": 2, "waves": waves}
        (foundation / "fleet.yml").write_text(yaml.safe_dump(head, sort_keys=False), encoding="utf-8")
        self.is_now(dict.fromkeys(NAMES, OLD))
        self.fails: set[str] = set()
        self.upgraded: list[str] = []
        self.backed_up: list[str] = []
        self.runs: dict[int, runs.Run] = {}
        self.order: list[str] = []
        self.controller: server.Controller
        self.hosts = runs.inventory(self.project, foundation, site.environment(), python)

    def is_now(self, versions: Mapping[str, str]) -> None:
        (self.folder / "world.json").write_text(json.dumps(versions), encoding="utf-8")

    def outcome(self, job: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
        """Run the playbook of a job; the work in one cluster is a line in a file."""
        number, variables = job["id"], json.loads(job["extra_vars"])
        cluster = variables.get("flotilla_cluster_name")
        if not job["playbook"]:
            return "successful", {}
        if job["playbook"].endswith("cluster_backup.yml"):
            self.backed_up.append(cluster)
            return "successful", {}
        if job["playbook"].endswith("awx_upgrade.yml"):
            self.upgraded.append(cluster)
            if cluster in self.fails:
                return "failed", {}
            self.is_now({**json.loads((self.folder / "world.json").read_text()), cluster: NEW})
            return "successful", {}
        if number not in self.runs:
            self.order.append(job["name"])
            environment = site.environment(**self.controller.environment, FLOTILLA_TEST_WORLD=str(self.folder / "world.json"))
            variables = {**variables, "flotilla_interval": 0.2, "ansible_python_interpreter": self.python, "awx_job_id": number}
            options = ["--check"] if job["job_type"] == "check" else []
            folder = self.folder / f"job-{number}"
            self.runs[number] = runs.Run(
                folder, self.project, self.hosts, job["playbook"], variables, environment, *options, python=self.python
            )
        return self.runs[number].ended()

    def end(self, job: dict[str, Any], also: Callable[[], object] = lambda: None) -> str:
        """Wait for the end of a workflow and return its status."""
        until = time.monotonic() + 240
        while job["status"] == "running":
            assert time.monotonic() < until, self.logs()
            also()
            with self.controller.lock:
                self.controller.jobs.go_on()
            time.sleep(0.1)
        return str(job["status"])

    def decide(self, approve: bool) -> None:
        for job in self.controller.jobs.of("workflow_approvals"):
            if job["status"] == "running":
                self.controller.jobs.decide(job["id"], approve)

    def logs(self) -> str:
        return "\n".join(run.log[-3000:] for run in self.runs.values())


@contextmanager
def world(folder: Path, filled: bool = True, python: str = sys.executable, **changes: Any) -> Iterator[World]:
    """Make a world.

    :param filled: whether its controller has the objects of the role, with ``changes``.
    """
    it = World(folder, python)
    with server.controller(it.project, it.outcome) as controller:
        it.controller = controller
        if filled:
            site.fill(controller.store, **changes)
        yield it


def launch(it: World, **answers: Any) -> dict[str, Any]:
    template = it.controller.store.named("workflow_job_templates", "flotilla upgrade production")
    return it.controller.jobs.launch("workflow_job_templates", template["id"], {"extra_vars": {"kubernetes_version": NEW, **answers}})
