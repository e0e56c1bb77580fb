# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Three real machines of one zone get a bundle of which the controller sends each file once.

Uses the cluster name and the network of test_sites.py and cleans up after itself.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import outside
import pytest

pytestmark = pytest.mark.full

NAME = os.environ.get("FLOTILLA_SITES_CLUSTER", "test-sites")
NETWORK = os.environ.get("FLOTILLA_SITES_NETWORK", "172.30.251")
# What a machine has of a bundle, besides the packages of its image.
CLEAN = (
    "for image in $(ctr -n k8s.io images ls -q); do ctr -n k8s.io images rm $image; done; systemctl stop containerd; "
    "rm -rf /usr/local/bin/* /opt/cni/bin/* /var/lib/flotilla/files.json /var/lib/flotilla/images.json"
)


@pytest.fixture(scope="module")
def foundation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("seed")
    outside.write_definition(
        folder,
        NAME,
        pools=[{"name": "workers", "count": 2}],
        local={"network_cidr": f"{NETWORK}.0/24", "egress": "deny"},
        bundle={"delivery": {"method": "seed"}},
    )
    yield folder
    outside.playbook("cluster_delete", folder, "-e", f"flotilla_confirm={NAME}")


def start(foundation: Path) -> subprocess.Popen[str]:
    command = [str(outside.BIN / "ansible-playbook"), "-v", "-i", str(foundation), str(Path(__file__).with_name("nodes.yml"))]
    environment = {**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.default"}
    return subprocess.Popen(
        command, cwd=outside.ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, start_new_session=True,
    )  # fmt: skip


def finished(foundation: Path) -> str:
    run = start(foundation)
    output, _none = run.communicate(timeout=1800)
    assert run.returncode == 0, output[-6000:]
    return output


def on_each(script: str) -> list[str]:
    return [outside.host("podman", "exec", name, "sh", "-c", script, check=False).strip() for name in outside.machines(NAME)]


def sent() -> int:
    """Return the bytes that this host has sent into the machines' network, by the kernel's own counter; machines' own are not in it."""
    (network,) = json.loads(outside.host("podman", "network", "inspect", f"flotilla-{NAME}"))
    bridge = network["network_interface"]
    return int(Path(f"/sys/class/net/{bridge}/statistics/tx_bytes").read_text(encoding="ascii"))


def figures(output: str, name: str) -> int:
    return sum(int(number) for number in re.findall(rf'"{name}": (\d+)', output))


LEFT = "systemctl is-active flotilla-seed; ls -d /var/lib/flotilla/seed /run/flotilla-seed /var/lib/flotilla/incoming/* 2>/dev/null"


def test_the_controller_sends_each_file_once_and_no_server_stays(foundation: Path) -> None:
    finished(foundation)
    on_each(CLEAN)
    before = sent()
    output = finished(foundation)
    on_wire, pushed, fetched = sent() - before, figures(output, "pushed_bytes"), figures(output, "fetched_bytes")
    print(f"sent by the controller {on_wire >> 20} MiB, files pushed {pushed >> 20} MiB, fetched from each other {fetched >> 20} MiB")
    # The rest of a run (modules, answers) is small; workers have nothing that the control plane has not.
    assert pushed <= on_wire < pushed * 1.1 + (20 << 20)
    assert fetched > pushed / 2 and "does not get" not in output
    assert on_each(LEFT) == ["inactive"] * 3
    again = finished(foundation)
    assert re.findall(r"\bchanged=([1-9]\d*)", again) == []


def test_a_killed_run_is_finished_by_the_next_and_its_server_ends(foundation: Path) -> None:
    on_each(CLEAN)
    run = start(foundation)
    deadline = time.monotonic() + 900
    while "active" not in on_each("systemctl is-active flotilla-seed"):
        assert run.poll() is None and time.monotonic() < deadline, "no machine began to hand on"
        time.sleep(0.1)
    os.killpg(run.pid, signal.SIGKILL)
    run.communicate()
    assert "active" in on_each("systemctl is-active flotilla-seed")  # the control: it outlives the run
    assert "RuntimeMaxUSec=1h" in "\n".join(on_each("systemctl show flotilla-seed --property=RuntimeMaxUSec"))
    finished(foundation)
    on_each("systemctl stop flotilla-seed")
    assert on_each(LEFT) == ["inactive"] * 3
    versions = on_each("kubelet --version")
    assert len(set(versions)) == 1 and versions[0].startswith("Kubernetes v")
