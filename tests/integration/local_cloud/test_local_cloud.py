# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local cloud against the real podman of this host, through its modules, judged from outside.

Needs root or sudo, podman, nftables and a Debian mirror (or a node image from an earlier run). Run it on its own:
``pytest tests/integration/local_cloud``. It uses the cluster name ``test-lct`` and 172.30.250.0/24 and cleans up after itself.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds import provider
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.local import probes
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.local.session import Session
from ansible_collections.flotilla.kubernetes.plugins.modules import haproxy_servers

ROOT = Path(__file__).parents[3]
SESSION = Session()
NAME = "test-lct"
TABLE = "flotilla_test_lct"
MACHINES = ("test-lct-control-plane-", "test-lct-workers-")
FOREIGN = "test-lct-workers-deadbeef"
OUTSIDE = "203.0.113.1"  # TEST-NET-3 (RFC 5737): never routed, so a leak would reach nobody


def definition(**changes):
    base = {
        "schema": 1,
        "name": NAME,
        "foundation": "local-cloud-test",
        "cloud": "local",
        "kubernetes_version": "1.36.3",
        "control_plane": {"count": 1, "machine": {}, "zones": ["local"], "labels": {}, "taints": []},
        "pools": [{"name": "workers", "count": 2, "machine": {}, "zones": ["local"], "labels": {}, "taints": []}],
        "image": {"family": "debian-13"},
        "network": {"pod_cidrs": ["10.244.0.0/16"], "service_cidrs": ["10.96.0.0/12"], "plugin": "flannel"},
        "api_endpoint": {"port": 6443},
        "access": {"ssh_user": "flotilla", "ssh_private_key_file": None},
        "bundle": {"source": "modules", "directory": None},
        "local": {"network_cidr": "172.30.250.0/24", "egress": "deny"},
    }
    return {**base, **changes}


def workers(count):
    return {"pools": [{**definition()["pools"][0], "count": count}]}


def command(module, arguments, *options):
    ansible = Path(sys.executable).parent / "ansible"
    text = json.dumps({key: value for key, value in arguments.items() if value is not None})
    return [
        str(ansible), "localhost", "-i", "localhost,", "-c", "local", "-m", f"flotilla.kubernetes.{module}", "-a", text,
        "-e", f"ansible_python_interpreter={sys.executable}", *options,
    ]  # fmt: skip


ENVIRONMENT = {
    **os.environ,
    "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "collection"),
    "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
    "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
    "ANSIBLE_STDOUT_CALLBACK": "ansible.builtin.minimal",
    "ANSIBLE_NOCOLOR": "1",
}


def run(module, cluster=None, check=False, **arguments):
    """Run a module the way a user does and return its result, failed or not."""
    argv = command(module, {"cluster": cluster or definition(), **arguments}, *(["--check"] if check else []))
    done = subprocess.run(argv, env=ENVIRONMENT, capture_output=True, text=True, timeout=900, check=False)
    start = done.stdout.find(" => {")
    assert start >= 0, done.stdout + done.stderr
    return json.JSONDecoder().raw_decode(done.stdout[start + 4 :])[0]


def ok(module, cluster=None, check=False, **arguments):
    result = run(module, cluster, check, **arguments)
    assert not result.get("failed") and "code" not in result, result
    return result


def refused(code, module, cluster=None, **arguments):
    result = run(module, cluster, **arguments)
    assert result.get("code") == code, result
    return result


def lines(*argv):
    return sorted(line for line in SESSION.run(list(argv)).stdout.splitlines() if line.strip())


def host_view():
    """Return everything of the host that a deleted cluster must have left as it was.

    Settings and interfaces belong to the whole host: they are only looked at while no other cluster of the local cloud is on it.
    """
    networks = [line for line in lines("podman", "network", "ls", "--format", "{{.Name}}") if line.startswith("flotilla-")]
    view = {
        "containers": [line for line in lines("podman", "ps", "--all", "--format", "{{.Names}}") if NAME in line],
        "volumes": [line for line in lines("podman", "volume", "ls", "--quiet") if line.startswith(f"{NAME}-")],
        "networks": [line for line in networks if NAME in line],
        # podman keeps the tables ip filter and ip nat from its first network on.
        "tables": [line for line in lines("nft", "list", "tables") if TABLE in line],
    }
    if not ALONE:
        return view
    patterns = ("fs.inotify", "kernel.pid_max", "kernel.core_pattern", "kernel.printk", "vm", "net.ipv4.conf.all", "net.ipv4.ip_forward")
    view["settings"] = {pattern: lines("sysctl", "--all", "--pattern", f"^{pattern.replace('.', '[.]')}") for pattern in patterns}
    view["links"] = sorted(link["ifname"] for link in json.loads(SESSION.run(["ip", "-json", "link"]).stdout))
    return view


ALONE = not [
    name for name in lines("podman", "network", "ls", "--format", "{{.Name}}") if name.startswith("flotilla-") and NAME not in name
]


def container_ids():
    return lines("podman", "ps", "--all", "--no-trunc", "--filter", f"label=flotilla-cluster={NAME}", "--format", "{{.ID}} {{.StartedAt}}")


def machine_ssh(machine, *remote, login="flotilla"):
    """Run a command on a machine the way the roles will: with the host key that the cloud reported, and no other."""
    known = Path(os.environ.get("TMPDIR", "/tmp"), f"known-hosts-{NAME}-{os.getpid()}")  # noqa: S108
    known.write_text(f"{machine['addresses']['private']} {machine['host_key']}\n")
    try:
        return subprocess.run(
            [
                "ssh", "-i", provider("local").default_private_key(definition()), "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                "-o", "StrictHostKeyChecking=yes", "-o", f"UserKnownHostsFile={known}", "-o", "ConnectTimeout=10",
                f"{login}@{machine['addresses']['private']}", *remote,
            ],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        known.unlink()


def egress():
    return ok("local_network")["network"]["egress"]


def remove_everything():
    """Remove what a failed test left, through podman itself, so that a broken module can not keep it alive."""
    labelled = ["--filter", f"label=flotilla-cluster={NAME}"]
    found = SESSION.run(["podman", "ps", "--all", "--quiet", *labelled]).stdout.split()
    if found:
        SESSION.run(["podman", "rm", "--force", "--time", "0", *found])
    volumes = SESSION.run(["podman", "volume", "ls", "--quiet", *labelled]).stdout.split()
    if volumes:
        SESSION.run(["podman", "volume", "rm", *volumes])
    run("local_network", state="absent")


@pytest.fixture(scope="module", autouse=True)
def host():
    """Start from nothing, and in the end compare the host with what it was."""
    remove_everything()
    before = host_view()
    yield before
    remove_everything()


@pytest.fixture(scope="module")
def network(host):
    return ok("local_network")


@pytest.fixture(scope="module")
def machines(network):
    return ok("local_machines")["machines"]


def test_check_mode_on_nothing_predicts_and_changes_nothing(host):
    network = ok("local_network", check=True)
    balancer = ok("local_load_balancer", check=True)
    machines = ok("local_machines", check=True)
    assert network["changed"] and balancer["changed"] and machines["changed"]
    assert network["network"]["resolver"] == "172.30.250.2" and balancer["endpoint"] == {"host": "172.30.250.3", "port": 6443}
    assert [step["action"] for step in machines["steps"]] == ["create"] * 3
    assert machines["machines"] == []
    assert host_view() == host


def test_taken_cidr_is_refused_and_nothing_changed(host):
    own = json.loads(SESSION.run(["ip", "-json", "-4", "route"]).stdout)
    taken = next(route["dst"] for route in own if "/" in route["dst"])
    result = refused("LOCAL_NETWORK_CIDR_TAKEN", "local_network", definition(local={"network_cidr": taken, "egress": "deny"}))
    assert taken in result["msg"] and result["suggestion"] in result["remedy"]
    assert host_view() == host


def test_machines_and_load_balancer_need_the_network_first(host):
    refused("LOCAL_NETWORK_MISSING", "local_machines")
    refused("LOCAL_NETWORK_MISSING", "local_load_balancer")
    assert host_view() == host


def test_network_answers_names_and_time(network):
    address = network["network"]["resolver"]
    assert probes.name_answer(address, "www.example.com") == 3, "NXDOMAIN was expected for a name from outside"
    assert probes.time_answer(address) is not None
    assert network["network"]["egress"] == {"policy": "deny", "packets": 0, "bytes": 0, "host_packets": 0}


def test_network_again_changes_nothing(network):
    ids = container_ids()
    again = ok("local_network")
    assert not again["changed"] and again["network"] == network["network"]
    assert container_ids() == ids


def test_egress_policy_changes_in_place(network):
    ids = container_ids()
    predicted = ok("local_network", definition(local={**definition()["local"], "egress": "allow"}), check=True)
    assert predicted["changed"] and ok("local_network")["changed"] is False
    allowed = ok("local_network", definition(local={**definition()["local"], "egress": "allow"}))
    assert allowed["changed"] and allowed["network"]["egress"]["policy"] == "allow"
    # With either policy packets for Services are dropped, uncounted; what is counted is dropped with `deny` only.
    assert 'counter name "egress" drop' not in SESSION.run(["nft", "list", "table", "inet", TABLE]).stdout
    assert ok("local_network")["changed"], "back to deny"
    assert 'counter name "egress" drop' in SESSION.run(["nft", "list", "table", "inet", TABLE]).stdout
    assert container_ids() == ids


def test_lost_egress_rules_come_back(network):
    SESSION.run(["nft", "delete", "table", "inet", TABLE])
    assert ok("local_network", check=True)["changed"]
    assert ok("local_network")["changed"]
    assert not ok("local_network")["changed"]


def test_another_cidr_for_an_existing_network_is_refused(network):
    ids = container_ids()
    refused("LOCAL_NETWORK_CIDR_CHANGED", "local_network", definition(local={"network_cidr": "172.30.251.0/24", "egress": "deny"}))
    assert container_ids() == ids


def test_machines_are_made_as_check_mode_said(network):
    predicted = ok("local_machines", check=True)
    started = time.monotonic()
    made = ok("local_machines")
    assert time.monotonic() - started < 60
    assert made["changed"] and len(made["machines"]) == 3
    assert [step["action"] for step in predicted["steps"]] == [step["action"] for step in made["steps"]]
    assert {machine["name"] for machine in made["machines"]} == {
        machine.name for machine in provider("local").observe_machines(definition())
    }
    names = {name for name in lines("podman", "ps", "--format", "{{.Names}}") if name.startswith(MACHINES)}
    assert names == {machine["name"] for machine in made["machines"]}


def test_machines_again_change_nothing(machines):
    ids = container_ids()
    again = ok("local_machines")
    assert not again["changed"] and {step["action"] for step in again["steps"]} == {"keep"}
    assert container_ids() == ids


def test_machine_takes_ssh_with_the_reported_host_key_and_sudo(machines):
    done = machine_ssh(machines[0], "sudo", "cat", "/etc/resolv.conf")
    assert done.returncode == 0 and done.stdout.split() == ["nameserver", "172.30.250.2"], done
    assert len({machine["host_key"] for machine in machines}) == 3
    wrong = {**machines[0], "host_key": machines[1]["host_key"]}
    assert machine_ssh(wrong, "true").returncode == 255, "another host key has to be refused"
    assert len({machine_ssh(machine, "cat", "/etc/machine-id").stdout for machine in machines}) == 3


def test_machine_has_no_failed_unit_and_reaches_its_neighbour(machines):
    assert machine_ssh(machines[0], "systemctl", "is-system-running", "--wait").stdout.strip() == "running"
    neighbour = machines[1]["addresses"]["private"]
    before = egress()
    assert machine_ssh(machines[0], "sudo", "ping", "-c", "3", "-i", "0.2", "-W", "2", neighbour).returncode == 0
    assert egress() == before, "what stays on the network is not egress"


def test_what_leaves_is_dropped_and_counted(machines):
    before = egress()
    assert machine_ssh(machines[0], "sudo", "ping", "-c", "1", "-W", "1", OUTSIDE).returncode != 0
    after = egress()
    assert after["packets"] == before["packets"] + 1
    done = machine_ssh(machines[0], "curl", "-sS", "-m", "2", "http://172.30.250.1:22/")
    assert done.returncode != 0 and egress()["host_packets"] > before["host_packets"]


def test_machine_survives_a_reboot(machines):
    machine = machines[-1]
    assert machine_ssh(machine, "sudo", "touch", "/var/lib/kubelet/keep", "/etc/keep").returncode == 0
    mac = machine_ssh(machine, "cat", "/sys/class/net/eth0/address").stdout
    SESSION.run(["podman", "restart", "--time", "0", machine["name"]])
    assert probes.wait(lambda: probes.ssh_banner(machine["addresses"]["private"]), 60)
    assert machine_ssh(machine, "cat", "/sys/class/net/eth0/address").stdout == mac != "", "its neighbours still know the former one"
    assert machine_ssh(machine, "sudo", "ls", "/var/lib/kubelet/keep", "/etc/keep").returncode == 0
    assert not ok("local_machines")["changed"]


def test_stopped_machine_is_started(machines):
    name = machines[-1]["name"]
    SESSION.run(["podman", "stop", "--time", "0", name])
    steps = {step["machine"]: step["action"] for step in ok("local_machines", check=True)["steps"]}
    assert steps[name] == "start"
    result = ok("local_machines")
    assert result["changed"] and result["machines"] == machines


def test_services_come_back_after_a_reboot_of_the_host(network, machines):
    SESSION.run(["podman", "stop", "--time", "0", "flotilla-test-lct-services"])
    assert ok("local_network")["changed"]
    assert probes.name_answer("172.30.250.2", "www.example.com") == 3
    assert not ok("local_network")["changed"]


def test_machine_deleted_by_hand_is_made_anew_and_the_others_stay(machines):
    victim = machines[-1]["name"]
    SESSION.run(["podman", "rm", "--force", "--time", "0", victim])
    predicted = ok("local_machines", check=True)
    assert [step["action"] for step in predicted["steps"]].count("create") == 1
    result = ok("local_machines")
    names = {machine["name"] for machine in result["machines"]}
    assert len(names) == 3 and names >= {machine["name"] for machine in machines[:-1]}
    volumes = lines("podman", "volume", "ls", "--quiet", "--filter", "label=flotilla-cluster=test-lct")
    assert {volume.rsplit("-", 1)[0] for volume in volumes} == names, "the old machine's disks are gone, every machine has its own"


@pytest.mark.parametrize(
    ("moment", "volumes", "created", "running"),
    [("disks made", 1, 0, 0), ("container made, not started", 3, 1, 0), ("first of two started", 3, 1, 1), ("second begun", 4, 1, 1)],
)
def test_killed_run_leaves_no_duplicate_and_no_orphan(machines, moment, volumes, created, running):
    """A real SIGKILL to the whole process group, at moments that podman itself shows, of a run that makes two machines."""
    refused("MACHINES_BRAKE", "local_machines", definition(**workers(1)))
    ok("local_machines", definition(**workers(1)), removal="now")

    def counts():
        labelled = ["--filter", f"label=flotilla-cluster={NAME}"]
        return (
            len(lines("podman", "volume", "ls", "--quiet", *labelled)),
            len(lines("podman", "ps", "--all", "--quiet", *labelled, "--filter", "name=^test-lct-")),
            len(lines("podman", "ps", "--quiet", *labelled, "--filter", "name=^test-lct-")),
        )

    start = counts()
    process = subprocess.Popen(
        command("local_machines", {"cluster": definition(**workers(3))}),
        env=ENVIRONMENT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wanted = (start[0] + volumes, start[1] + created, start[2] + running)
    reached = probes.wait(lambda: all(have >= want for have, want in zip(counts(), wanted)), 60, 0.01)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert reached, moment
    result = ok("local_machines", definition(**workers(3)))
    assert len(result["machines"]) == 4 and {machine["state"] for machine in result["machines"]} == {"running"}
    assert not ok("local_machines", definition(**workers(3)))["changed"]
    listed = lines("podman", "ps", "--all", "--format", "{{.Names}}")
    assert sum(1 for name in listed if name.startswith(MACHINES)) == 4
    assert all(machine_ssh(machine, "sudo", "true").returncode == 0 for machine in result["machines"])
    ok("local_machines", definition(**workers(2)), removal="now")


def test_brake_holds_and_consent_releases_it(machines):
    ids = container_ids()
    result = refused("MACHINES_BRAKE", "local_machines", definition(**workers(0)))
    assert "2 of 2 in pool workers" in result["msg"]
    assert container_ids() == ids
    ok("local_machines", definition(**workers(0)), removal="now")
    assert len(ok("local_machines")["machines"]) == 3


def test_load_balancer_follows_its_members(machines):
    members = [{"id": machine["id"], "address": machine["addresses"]["private"]} for machine in machines[:2]]
    first = ok("local_load_balancer")
    assert first["changed"] and first["members"] == []
    assert not ok("local_load_balancer")["changed"]
    ids = container_ids()
    assert ok("local_load_balancer", check=True, members=members)["changed"]
    both = ok("local_load_balancer", members=members)
    assert both["changed"] and {member["health"] for member in both["members"]} == {"unhealthy"}, "nothing listens there yet"
    assert not ok("local_load_balancer", members=members)["changed"]
    drained = ok("local_load_balancer", members=[members[0], {**members[1], "state": "drained"}], drain_timeout=1)
    health = {member["id"]: member["health"] for member in drained["members"]}
    assert drained["changed"] and health[members[1]["id"]] == "drained"
    SESSION.run(["podman", "restart", "--time", "0", "flotilla-test-lct-api"])
    time.sleep(2)
    again = ok("local_load_balancer", members=[members[0], {**members[1], "state": "drained"}])
    assert not again["changed"] and again["members"][1]["health"] in ("drained", "unhealthy")
    assert ok("local_load_balancer", members=members)["changed"]
    assert [line.split()[0] for line in container_ids()] == [line.split()[0] for line in ids], "members change without a new container"


STAND_IN = """
import http.server, os, ssl
os.chdir("/root/www")
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain("/root/c.pem", "/root/k.pem")
server = http.server.ThreadingHTTPServer(("", 6443), http.server.SimpleHTTPRequestHandler)
server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
server.serve_forever()
"""


@pytest.fixture(scope="module")
def stand_in(machines):
    """An API server on one machine, as far as a load balancer sees it: HTTPS with /readyz."""
    machine = ok("local_machines")["machines"][0]
    script = (
        "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=test -days 1 -keyout /root/k.pem -out /root/c.pem 2>/dev/null; "
        f"mkdir -p /root/www; echo ok > /root/www/readyz; printf %s {shlex.quote(STAND_IN)} > /root/stand_in.py; "
        "systemd-run --quiet --unit standin python3 /root/stand_in.py"
    )
    assert machine_ssh(machine, f"sudo sh -c {shlex.quote(script)}").returncode == 0
    return machine


def balanced(members, first):
    """Return whether the load balancer says so of the first of two members; nothing listens on the other one."""
    found = ok("local_load_balancer", members=members)["members"]
    return {item["id"]: item["health"] for item in found} == {members[0]["id"]: first, members[1]["id"]: "unhealthy"}


def ask(path):
    url = f"https://172.30.250.3:6443/{path}"
    return subprocess.run(["curl", "-ksS", "-m", "5", url], capture_output=True, text=True, check=False).stdout.strip()


def test_load_balancer_passes_connections_to_the_healthy_member_only(stand_in):
    members = [{"id": item["id"], "address": item["addresses"]["private"]} for item in ok("local_machines")["machines"][:2]]
    assert probes.wait(lambda: balanced(members, "healthy"), 20)
    assert ask("readyz") == "ok"
    # It says that it is dead and still listens: a last resort, but none when it is out of service.
    assert machine_ssh(stand_in, "sudo mv /root/www/readyz /root/www/other").returncode == 0
    assert probes.wait(lambda: balanced(members, "unhealthy"), 20)
    assert ask("other") == "ok"
    ok("local_load_balancer", members=[{**members[0], "state": "drained"}, members[1]], drain_timeout=1)
    assert ask("other") == ""
    assert machine_ssh(stand_in, "sudo mv /root/www/other /root/www/readyz").returncode == 0
    assert probes.wait(lambda: balanced(members, "healthy"), 20)


@pytest.mark.parametrize("close", [False, True])
def test_open_connections_of_a_drained_member_are_its_own_to_end_where_that_is_asked_for(stand_in, close):
    members = [{"id": item["id"], "address": item["addresses"]["private"]} for item in ok("local_machines")["machines"][:2]]
    assert probes.wait(lambda: balanced(members, "healthy"), 20)
    with socket.create_connection(("172.30.250.3", 6443), timeout=5) as kept:
        ok("local_load_balancer", members=[{**members[0], "state": "drained"}, members[1]], drain_timeout=1, close=close)
        assert machine_ssh(stand_in, "sudo mv /root/www/readyz /root/www/other").returncode == 0
        try:
            ended = kept.recv(1) == b""
        except TimeoutError:
            ended = False
        assert machine_ssh(stand_in, "sudo mv /root/www/other /root/www/readyz").returncode == 0
        assert ended == close
    assert probes.wait(lambda: balanced(members, "healthy"), 20)


def test_haproxy_is_told_on_its_own_machine_who_serves(stand_in):
    members = [{"id": item["id"], "address": item["addresses"]["private"]} for item in ok("local_machines")["machines"][:2]]
    first = members[0]["id"]
    assert probes.wait(lambda: balanced(members, "healthy"), 20)
    process = SESSION.run(["podman", "inspect", "--format", "{{.State.Pid}}", "flotilla-test-lct-api"]).stdout.strip()
    path = Path(f"/proc/{process}/root/run/haproxy/admin.sock")
    assert haproxy_servers.converge(path, [first], check_mode=True)["changed"] and ask("readyz") == "ok"
    with socket.create_connection(("172.30.250.3", 6443), timeout=5) as kept:
        assert haproxy_servers.converge(path, [first, "unknown"], check_mode=False)["changed"]
        again = haproxy_servers.converge(path, [first], check_mode=False)
        assert not again["changed"] and again["servers"][first] == "drained"
        assert ask("readyz") == "", "the other one has no API server"
        with pytest.raises(TimeoutError):
            kept.recv(1)
    assert haproxy_servers.converge(path, [], check_mode=False)["changed"]
    assert probes.wait(lambda: ask("readyz") == "ok", 20)
    assert not haproxy_servers.converge(path, [], check_mode=False)["changed"]
    assert haproxy_servers.converge(Path("/run/nothing.sock"), [first], check_mode=False) == {"changed": False, "servers": {}}


def test_foreign_machine_under_our_name_is_refused_and_left_alone(machines):
    SESSION.run(
        [
            "podman", "create", "--name", FOREIGN, "--label", f"flotilla-cluster={NAME}", "--label", "flotilla-role=worker",
            "--label", "flotilla-pool=workers", "--label", "flotilla-uid=someone-else", "--label", "flotilla-foundation=local-cloud-test",
            "--network", "none", lines("podman", "images", "--format", "{{.Repository}}:{{.Tag}}", "localhost/flotilla-node")[0],
        ]
    )  # fmt: skip
    try:
        ids = container_ids()
        for module in ("local_machines", "local_network"):
            refused("CLUSTER_FOREIGN_UID", module)
            refused("CLUSTER_FOREIGN_UID", module, state="absent")
        assert container_ids() == ids
    finally:
        SESSION.run(["podman", "rm", "--force", FOREIGN])
    refused("CLUSTER_FOREIGN_FOUNDATION", "local_network", definition(foundation="another"))
    refused("CLUSTER_FOREIGN_FOUNDATION", "local_machines", definition(foundation="another"), state="absent")


def test_network_in_use_is_not_removed(machines):
    result = refused("LOCAL_NETWORK_IN_USE", "local_network", state="absent")
    assert any(name.startswith("test-lct-control-plane-") for name in result["containers"])


def test_delete_leaves_nothing_and_can_be_repeated(host, machines):
    ok("local_load_balancer")
    for module in ("local_machines", "local_load_balancer", "local_network"):
        before = container_ids()
        assert ok(module, check=True, state="absent")["changed"]
        assert container_ids() == before
        assert ok(module, state="absent")["changed"]
        assert not ok(module, state="absent")["changed"]
        assert not ok(module, check=True, state="absent")["changed"]
    assert host_view() == host
