# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What tests need to run playbooks as a person does and to look at the host from outside.

Imports nothing of plugins/, so that a test judges the product by what it did.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
SUDO = [] if os.geteuid() == 0 else ["sudo", "--non-interactive"]


@dataclass(frozen=True)
class Run:
    """A playbook that ended."""

    status: int
    output: str
    seconds: float = 0.0

    @property
    def changed(self) -> int:
        return sum(int(number) for number in re.findall(r"\bchanged=(\d+)", self.recap))

    @property
    def recap(self) -> str:
        return self.output[self.output.rfind("PLAY RECAP") :]


def playbook(name: str, inventory: Path, *options: str, environment: dict[str, str] | None = None, timeout: float = 2400) -> Run:
    """Run a playbook of the collection by its full name and return how it ended.

    :param timeout: seconds, generous: it only ends what hangs.
    """
    return command(
        "ansible-playbook", "-i", str(inventory), f"flotilla.kubernetes.{name}", *options, environment=environment, timeout=timeout
    )


def command(program: str, *arguments: str, environment: dict[str, str] | None = None, timeout: float = 2400) -> Run:
    """Run one of Ansible's programs in the repository and return how it ended."""
    began = time.monotonic()
    done = subprocess.run(
        [str(BIN / program), *arguments],
        cwd=ROOT,
        env={**playbook_environment(), **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=timeout,
        check=False,
    )
    return Run(done.returncode, done.stdout, time.monotonic() - began)


def start(name: str, inventory: Path, *options: str, output: IO[Any] | int = subprocess.PIPE) -> subprocess.Popen[str]:
    """Start a playbook of the collection, with a group of processes of its own; all that it prints goes to ``output``."""
    return subprocess.Popen(
        [str(BIN / "ansible-playbook"), "-i", str(inventory), f"flotilla.kubernetes.{name}", *options],
        cwd=ROOT, env=playbook_environment(), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        text=True, errors="replace", start_new_session=True,
    )  # fmt: skip


def playbook_environment() -> dict[str, str]:
    """Return the environment of such a command: what it prints is for tests to read."""
    return {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}


def fact_cache(folder: Path) -> dict[str, str]:
    """Return what makes Ansible keep facts in ``folder``, as AWX does."""
    return {"ANSIBLE_CACHE_PLUGIN": "ansible.builtin.jsonfile", "ANSIBLE_CACHE_PLUGIN_CONNECTION": str(folder)}


def host(*argv: str, check: bool = True, stdin: Path | None = None) -> str:
    """Run a command of the host as root and return what it printed."""
    with open(stdin or os.devnull, "rb") as source:
        done = subprocess.run([*SUDO, *argv], stdin=source, capture_output=True, timeout=600, check=False)
    assert not check or done.returncode == 0, f"{' '.join(argv)}: {done.stderr.decode(errors='replace')}"
    return done.stdout.decode(errors="replace")


def write_definition(folder: Path, cluster: str, **changes: Any) -> Path:
    """Write a small valid definition with ``changes`` into the foundation ``folder`` and return its path."""
    definition = {
        "plugin": "flotilla.kubernetes.cluster",
        "schema": 1,
        "name": cluster,
        "cloud": "local",
        "kubernetes_version": "1.36.3",
        "control_plane": {"count": 1},
        "pools": [{"name": "workers", "count": 1}],
        **changes,
    }
    path = folder / "clusters" / f"{cluster}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(definition, sort_keys=False), encoding="utf-8")
    return path


def cache() -> Path:
    """Return the folder with bundles and keys."""
    return Path(os.environ.get("FLOTILLA_CACHE") or Path.home() / ".cache/flotilla")


def containers(cluster: str) -> dict[str, str]:
    """Return the id of each container of a cluster by name, running or not."""
    listed = json.loads(host("podman", "ps", "--all", "--format", "json", "--filter", f"label=flotilla-cluster={cluster}"))
    return {entry["Names"][0]: entry["Id"] for entry in listed}


def machines(cluster: str, pool: str = "") -> list[str]:
    """Return the names of a cluster's machines."""
    return sorted(name for name in containers(cluster) if name.startswith(f"{cluster}-{pool}"))


def shell(machine: str, script: str, check: bool = True) -> str:
    """Run a script of the shell on a machine of the local cloud and return what it printed."""
    return host("podman", "exec", machine, "sh", "-c", script, check=check)


def address(machine: str) -> str:
    """Return the address of a machine of the local cloud."""
    return host("podman", "inspect", "--format", '{{index .Config.Labels "flotilla-address"}}', machine).strip()


def static_pods(machine: str) -> dict[str, str]:
    """Return the process id and its start, in ticks, of each component that runs on a control plane."""
    components = "etcd kube-apiserver kube-controller-manager kube-scheduler"
    script = "for one in {}; do for pid in $(pidof $one); do echo $one $pid $(cut -d ' ' -f 22 /proc/$pid/stat); done; done"
    lines = shell(machine, script.format(components)).splitlines()
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines}


def digests(container: str, paths: Iterable[str]) -> str:
    """Return the SHA-256 of every file under ``paths`` of a container, a line each."""
    script = f"find {' '.join(paths)} -type f -exec sha256sum {{}} + | sort -k 2"
    return host("podman", "exec", container, "sh", "-c", script)


def _processor_times() -> list[int]:
    return [int(word) for word in Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]]


@dataclass
class Processors:
    """What became of the time of the host's processors since this was made: shares from 0 to 1."""

    began: list[int] = field(default_factory=_processor_times)

    # The order is that of https://www.kernel.org/doc/html/latest/filesystems/proc.html.
    def idle(self) -> float:
        return self._share(3) + self._share(4)

    def stolen(self) -> float:
        """Return how much other machines of the same hardware had."""
        return self._share(7)

    def _share(self, column: int) -> float:
        spent = [after - before for before, after in zip(self.began, _processor_times(), strict=True)]
        return spent[column] / max(1, sum(spent))


def idle(seconds: float) -> float:
    """Return the share of the next seconds in which the host's processors have nothing to do."""
    processors = Processors()
    time.sleep(seconds)
    return processors.idle()


def left_of(cluster: str) -> dict[str, list[str]]:
    """Return everything on this host that belongs to a cluster, by kind."""

    def named(*argv: str, part: str = cluster) -> list[str]:
        return sorted(line for line in host(*argv).splitlines() if part in line)

    home = Path.home()
    return {
        "containers": named("podman", "ps", "--all", "--format", "{{.Names}}"),
        "volumes": named("podman", "volume", "ls", "--quiet"),
        "networks": named("podman", "network", "ls", "--format", "{{.Name}}"),
        "nft tables": named("nft", "list", "tables", part=f"flotilla_{cluster.replace('-', '_')}"),
        "files": [str(path) for path in (home / f".kube/flotilla/{cluster}.conf", cache() / "known_hosts" / cluster) if path.exists()],
    }


def settings() -> dict[str, str]:
    """Return the kernel parameters of the host that clusters could change."""
    kernel = "pid_max|core_pattern|printk|panic|keys.root_max"
    wanted = f"^(fs.inotify|kernel.({kernel})|vm.|net.ipv4.ip_forward|net.ipv4.conf.all)"
    lines = host("sysctl", "--all", "--pattern", wanted).splitlines()
    volatile = ("vm.stat", "vm.drop_caches")
    return dict(line.split(" = ", 1) for line in lines if " = " in line and not line.startswith(volatile))
