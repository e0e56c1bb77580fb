# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The secrets of the run that made the cluster turn up nowhere, and one planted leak of each kind is found."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import leaks
import outside
import pytest
import watch_host
from conftest import NAME, Cluster
from secret_search import Search

MARKER = "leak/of+a%secret&0123456789"


@pytest.fixture(scope="module")
def secrets(cluster: Cluster) -> dict[str, bytes]:
    """Return what nobody may see, by name: inputs of people, what kubeadm used for a moment, and what the cluster keeps."""
    found = leaks.planted()
    for kind, values in cluster.watched.join_secrets.items():
        found.update({f"{kind} {number}": value.encode() for number, value in enumerate(values)})
    for machine in outside.machines(NAME, "control-plane"):
        found.update({f"{path} of {machine}": key for path, key in leaks.keys_of(machine).items()})
    return found


@pytest.fixture(scope="module")
def search(secrets: dict[str, bytes]) -> Search:
    return Search(secrets)


@pytest.fixture(scope="module")
def control() -> Search:
    return Search({"planted leak": MARKER.encode()})


def test_every_kind_of_secret_is_searched_for(secrets: dict[str, bytes]) -> None:
    for part in (*leaks.PLANTED, "join token", "certificate key", "pki/ca.key", "etcd/ca.key", "sa.key", "admin.conf", "encryption key"):
        assert any(part in name for name in secrets), part


def test_the_output_of_the_run_holds_none(cluster: Cluster, search: Search) -> None:
    assert "flotilla.kubernetes.kubernetes_join : Join]" in cluster.first_run.output and "EXEC" in cluster.first_run.output, (
        "the loud output"
    )
    assert search.find(cluster.first_run.output.encode(), "output of -vvv") == []


@pytest.mark.parametrize(
    "text",
    [MARKER, f"xy{MARKER}", quote(MARKER, safe=""), base64.b64encode(MARKER.encode()).decode(), json.dumps({"stdout": MARKER + '"'})],
    ids=["plain", "after_others", "url_encoded", "base64", "json"],
)
def test_a_leak_into_a_return_value_would_be_found(tmp_path: Path, control: Search, text: str) -> None:
    leak = leaks.write_private(tmp_path / "leak.json", json.dumps({"leak": text}))
    shown = outside.command(
        "ansible", "localhost", "-i", "localhost,", "-c", "local", "-vvv", "-m", "ansible.builtin.debug", "-a", "var=leak", "-e", f"@{leak}"
    )
    assert control.find(shown.output.encode(), "output"), shown.output


def test_no_process_showed_one(cluster: Cluster, search: Search, secrets: dict[str, bytes]) -> None:
    assert any(b"kubeadm\0join" in command for command in cluster.watched.commands), "processes of machines were seen"
    assert search.find_all(("command line " + command[:80].decode(errors="replace"), command) for command in cluster.watched.commands) == []
    # A proxy's login is in the environment of the services that use the proxy, for there is no other way to tell them; only root reads it.
    others = Search({name: value for name, value in secrets.items() if name != "kubernetes_node_proxy_credentials"})
    assert others.find_all(("environment " + one[:80].decode(errors="replace"), one) for one in cluster.watched.environments) == []


def test_a_process_that_shows_one_would_be_seen(control: Search) -> None:
    machine = outside.machines(NAME, "workers")[0]
    with watch_host.watching(outside.SUDO) as watched:
        time.sleep(1)
        outside.host("podman", "exec", machine, "sleep", "0.6", check=False)
        outside.host("podman", "exec", machine, "sh", "-c", "sleep 0.6; true", MARKER)
        subprocess.run([sys.executable, "-c", "import time; time.sleep(0.6)"], env={"PASSWORD": MARKER}, check=True)
    assert control.find_all(("command line", command) for command in watched.commands)
    assert control.find_all(("environment", environment) for environment in watched.environments)


def test_no_log_of_a_machine_holds_one(search: Search) -> None:
    for machine in outside.machines(NAME):
        places = list(leaks.logs(machine))
        assert any("kubeadm" in where for where, _content in places), "the logs of kubeadm were read"
        assert search.find_all(places) == []


def test_a_leak_into_a_log_would_be_found(control: Search) -> None:
    machine = outside.machines(NAME, "workers")[0]
    outside.host("podman", "exec", machine, "logger", MARKER)
    outside.host("podman", "exec", machine, "sh", "-c", f"umask 077; echo '{MARKER}' > /var/log/leak.log")
    try:
        found = {finding.where.split(" ")[0] for finding in control.find_all(leaks.logs(machine))}
        assert found == {"journal", "var/log/leak.log"}
    finally:
        outside.host("podman", "exec", machine, "rm", "/var/log/leak.log")


def test_no_file_that_others_may_read_holds_one(cluster: Cluster, search: Search) -> None:
    for machine in outside.machines(NAME):
        places = list(leaks.readable_by_others(machine))
        assert any(where.startswith("etc/containerd/config.toml") for where, _content in places), "files of a machine were read"
        assert search.find_all(places) == []
    mine = [cluster.foundation, outside.cache(), Path.home() / ".kube", Path.home() / ".ansible", Path("/tmp"), Path("/var/tmp")]
    assert search.find_all(leaks.readable_on_controller([path for path in mine if path.exists()], cluster.vault)) == []


def test_the_fact_cache_holds_none(cluster: Cluster, search: Search) -> None:
    files = [path for path in cluster.facts.rglob("*") if path.is_file()]
    assert search.find_all((str(path), path.read_bytes()) for path in files) == []


def test_the_reports_of_the_runs_hold_none(cluster: Cluster, search: Search) -> None:
    files = [path for path in (outside.cache() / "reports" / cluster.name).rglob("*") if path.is_file()]
    assert {"journal.jsonl", "report.html", "report.json", "report.xml"} <= {path.name for path in files}
    assert search.find_all((str(path), path.read_bytes()) for path in files) == []


def test_a_leak_into_a_file_or_a_fact_would_be_found(cluster: Cluster, tmp_path: Path, control: Search) -> None:
    machine = outside.machines(NAME, "workers")[0]
    outside.host("podman", "exec", machine, "sh", "-c", f"echo '{MARKER}' > /etc/leak; install -m 0600 /etc/leak /etc/no-leak")
    try:
        assert {finding.where for finding in control.find_all(leaks.readable_by_others(machine))} == {f"etc/leak on {machine}"}
    finally:
        outside.host("podman", "exec", machine, "rm", "/etc/leak", "/etc/no-leak")
    folder = Path(outside.host("mktemp", "--directory").strip())
    try:
        outside.host("sh", "-c", f"chmod 0755 {folder}; echo '{MARKER}' > {folder}/leak; chmod 0644 {folder}/leak")
        assert control.find_all(leaks.readable_on_controller([folder], cluster.vault))
        outside.host("chmod", "0700", str(folder))
        assert not control.find_all(leaks.readable_on_controller([folder], cluster.vault)), "nobody else gets into a closed folder"
    finally:
        outside.host("rm", "-rf", str(folder))
    leak = leaks.write_private(tmp_path / "leak.json", json.dumps({"leak": MARKER}))
    outside.command(
        "ansible", "localhost", "-i", "localhost,", "-c", "local", "-m", "ansible.builtin.set_fact", "-a", "fact={{ leak }} cacheable=true",
        "-e", f"@{leak}", environment=outside.fact_cache(tmp_path / "facts"),
    )  # fmt: skip
    assert control.find_all((str(path), path.read_bytes()) for path in (tmp_path / "facts").rglob("*") if path.is_file())
