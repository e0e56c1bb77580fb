# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The local cloud against a stand-in for the host's commands: decisions, check mode, interruption at every command, deletion."""

from __future__ import annotations

import copy
import dataclasses
import json
import re
import subprocess
import threading
from pathlib import Path

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _clouds
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.local import (
    containers,
    host,
    image,
    layout,
    load_balancer,
    locking,
    machines,
    network,
    probes,
)
from ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.local.session import Session
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._machines.decision import Wish

DEFINITION = {
    "name": "demo",
    "foundation": "local",
    "image": {"family": "debian-13"},
    "control_plane": {"count": 1, "machine": {}, "zones": ["local"]},
    "pools": [{"name": "workers", "count": 2, "machine": {}, "zones": ["local"]}],
    "network": {"pod_cidrs": ["10.244.0.0/16"], "service_cidrs": ["10.96.0.0/12"]},
    "api_endpoint": {"port": 6443},
    "access": {"ssh_user": "flotilla", "ssh_private_key_file": None},
    "local": {"network_cidr": "172.30.86.0/24", "egress": "deny"},
}


def changed(**changes):
    return {**copy.deepcopy(DEFINITION), **changes}


class Killed(BaseException):
    """Stands for SIGKILL: nothing of ours may catch it."""


class FakeHost:
    """Answers the commands of the local cloud from memory, as podman 4.3, nftables 1.0 and iproute2 do.

    :param kill_after: number of changing commands after which the run is killed: the last one took effect, its answer is lost.
    """

    QUERIES = {"ls", "ps", "info", "exists", "logs", "list", "exec"}

    def __init__(self):
        self.networks, self.containers, self.volumes, self.tables, self.settings = {}, {}, {}, {}, {}
        self.images, self.routes, self.free = set(), [{"dst": "default", "dev": "eth0"}], 100 * host.GIB
        self.changes, self.kill_after, self.backend = [], None, "netavark"

    def execute(self, command, **options):
        if Path(command[0]).name == "sh":  # the copy into a container, around which a folder comes and goes
            command = ["podman", "cp", "-", f"{command[-1]}:/"]
        program, arguments = Path(command[0]).name, command[1:]
        words = [word for word in arguments if word not in ("--runtime", "runc", "--json", "-json", "-4")]
        reply = getattr(self, f"do_{program.replace('-', '_')}")(words, options.get("input") or b"")
        code, out = reply if isinstance(reply, tuple) else (0, reply or "")
        # ssh-keygen works on the controller, modprobe is a dry run here: neither changes the host.
        verb = words[1] if program == "podman" and words[0] in ("network", "volume", "image") else words[0]
        if program in ("podman", "nft", "sysctl") and verb not in self.QUERIES:
            self.changes.append(" ".join([program, *words[:2]]))
            if self.kill_after is not None and len(self.changes) >= self.kill_after:
                raise Killed
        return subprocess.CompletedProcess(command, code, out.encode(), b"" if not code else (out or "no").encode())

    @staticmethod
    def pick(words, option):
        pairs = [word.split("=", 1)[1] for word in words if word.startswith(option + "=")]
        return pairs + [value for key, value in zip(words, words[1:]) if key == option]

    def labels(self, words):
        return dict(label.split("=", 1) for label in self.pick(words, "--label"))

    def matching(self, items, words):
        wanted = [text.split("=", 2)[1:] for text in self.pick(words, "--filter")]
        return [name for name, item in items.items() if all(item["labels"].get(key) == value for key, value in wanted)]

    def do_podman(self, words, data):
        return getattr(self, "podman_" + words[0])(words[1:], data)

    def podman_network(self, words, _data):
        if words[0] == "ls":
            return json.dumps(
                [
                    {"name": name, "network_interface": item["bridge"], "labels": item["labels"], "subnets": [{"subnet": item["cidr"]}]}
                    for name, item in self.networks.items()
                ]
            )
        if words[0] == "create":
            bridge = f"podman{len(self.networks) + 1}"
            self.networks[words[-1]] = {"labels": self.labels(words), "cidr": self.pick(words, "--subnet")[0], "bridge": bridge}
            return ""
        assert not [name for name, item in self.containers.items() if item["network"] == words[-1]], "podman: network is being used"
        del self.networks[words[-1]]
        return ""

    def podman_ps(self, words, _data):
        names = self.matching(self.containers, words)
        entries = [(name, self.containers[name]) for name in names]
        return json.dumps([{"Names": [n], "State": c["state"], "Labels": c["labels"], "Networks": [c["network"]]} for n, c in entries])

    def podman_create(self, words, _data):
        name = self.pick(words, "--name")[0]
        assert name not in self.containers, "podman: name in use"
        address = self.pick(words, "--ip")[0]
        assert address not in [c["address"] for c in self.containers.values()], "podman: address in use"
        volumes = [v.split(":")[0] for v in self.pick(words, "--volume") if not v.startswith("/")]
        assert set(volumes) <= set(self.volumes), "a volume that podman makes itself has no label"
        assert self.pick(words, "--network")[0] in self.networks and words[-1] in self.images
        self.containers[name] = {
            "state": "created", "labels": self.labels(words), "network": self.pick(words, "--network")[0], "address": address, "files": b"",
            "mac": self.pick(words, "--mac-address")[0],
        }  # fmt: skip
        return ""

    def podman_cp(self, words, data):
        self.containers[words[1].split(":")[0]]["files"] = data
        return ""

    def podman_start(self, words, _data):
        self.containers[words[0]]["state"] = "running"
        return ""

    def podman_rm(self, words, _data):
        for word in words:
            self.containers.pop(word, None)
        return ""

    def podman_volume(self, words, _data):
        if words[0] == "ls":
            return json.dumps([{"Name": n, "Labels": self.volumes[n]["labels"]} for n in self.matching(self.volumes, words)])
        if words[0] == "create":
            assert words[-1] not in self.volumes, "podman: volume exists"
            self.volumes[words[-1]] = {"labels": self.labels(words)}
            return ""
        missing = [word for word in words[1:] if self.volumes.pop(word, None) is None]
        return (1, f"Error: no such volume {missing[0]}") if missing else ""

    def podman_image(self, words, _data):
        return (0 if words[1] in self.images else 1, "")

    def podman_import(self, words, _data):
        self.images.add(words[-1])
        return ""

    def podman_info(self, words, _data):
        if "NetworkBackend" in words[-1]:
            return self.backend
        return "/var/lib/containers/storage\n"

    def podman_logs(self, _words, _data):
        return "console output"

    def podman_exec(self, words, data):
        words = [word for word in words if word != "--interactive"]
        item = self.containers[words[0]]
        if words[1] == "cat":
            return item.get("configs") or tar_text(item["files"], "flotilla/dnsmasq.conf") + tar_text(item["files"], "flotilla/chrony.conf")
        if words[1] == "journalctl":
            return "the journal"
        self.changes.append("podman exec")
        if "dnsmasq" in words[-1]:
            item["configs"] = data.decode()
        elif "chrony" in words[-1]:
            item["configs"] += data.decode()
        return ""

    def do_nft(self, words, data):
        if words[0] == "list":
            chains = self.tables.get(words[-1])
            return (1, "") if chains is None else json.dumps({"nftables": [{"chain": {"name": name}} for name in chains]})
        if words[0] == "delete":
            del self.tables[words[-1]]
            return ""
        script = data.decode()
        self.tables[re.search(r"^table inet (\S+)", script, re.MULTILINE)[1]] = re.findall(r"^    chain (\S+)", script, re.MULTILINE)
        return ""

    def do_ip(self, words, _data):
        return "[]" if "link" in words else json.dumps(self.routes)

    def do_df(self, _words, _data):
        return f"Avail\n{self.free}\n"

    def do_sysctl(self, words, _data):
        self.settings.update(word.split("=", 1) for word in words if "=" in word)
        return ""

    def do_modprobe(self, _words, _data):
        return ""

    def do_mmdebstrap(self, _words, _data):
        return ""

    def do_apt_get(self, _words, _data):
        return ""

    def do_ssh_keygen(self, words, _data):
        path = Path(self.pick(words, "-f")[0])
        path.write_text("private\n")
        Path(f"{path}.pub").write_text(f"ssh-ed25519 AAAA{len(self.containers)} comment\n")
        return ""


def tar_text(data, path):
    import io
    import tarfile

    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return tar.extractfile(f"etc/{path}").read().decode()


@pytest.fixture
def fake(monkeypatch, tmp_path):
    world = FakeHost()
    world.settings = {"fs.inotify.max_user_instances": "128", "fs.inotify.max_user_watches": "1000", "net.ipv4.ip_forward": "0"}
    world.settings.update(dict.fromkeys(host.KUBELET_SETTINGS, "0"))
    monkeypatch.setenv("FLOTILLA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(Session, "find", lambda self, program: f"/usr/bin/{program}")
    monkeypatch.setattr(host, "read_setting", lambda key: world.settings[key])
    monkeypatch.setattr(host, "missing_features", list)
    monkeypatch.setattr(host, "memory_warning", lambda roles: "")
    monkeypatch.setattr(host, "resolver_texts", lambda: ["nameserver 192.0.2.53\n"])
    monkeypatch.setattr(image, "KEYRING", str(tmp_path))
    monkeypatch.setattr(probes, "ssh_banner", lambda *_arguments: True)
    monkeypatch.setattr(probes, "name_answer", lambda *_arguments: 3)
    monkeypatch.setattr(probes, "time_answer", lambda *_arguments: 10)
    return world


@pytest.fixture
def session(fake):
    return Session(fake.execute, uid=0)


def present(session):
    network.present(session, DEFINITION)
    return machines.present(session, DEFINITION, wait_timeout=5)


def absent(session):
    machines.absent(session, DEFINITION)
    load_balancer.absent(session, DEFINITION)
    network.absent(session, DEFINITION)


def test_create_then_nothing_to_do(fake, session):
    first = present(session)
    assert first.changed and len(first.value["machines"]) == 3
    assert sorted(item["addresses"]["private"] for item in first.value["machines"]) == ["172.30.86.10", "172.30.86.11", "172.30.86.12"]
    assert all(re.fullmatch(r"demo-(control-plane|workers)-[0-9a-f]{8}", item["name"]) for item in first.value["machines"])
    fake.changes.clear()
    assert not network.present(session, DEFINITION).changed
    again = machines.present(session, DEFINITION, wait_timeout=5)
    assert not again.changed and {step["action"] for step in again.value["steps"]} == {"keep"}
    assert fake.changes == []


def test_one_machine_per_core_boots_at_a_time(fake, session, monkeypatch):
    both, lock, now, most = threading.Barrier(2), threading.Lock(), [], []

    def wait(_session, name, *_more):
        with lock:
            now.append(name)
            most.append(len(now))
            first = len(most) <= 2
        if first:
            both.wait(10)  # fails unless two wait at once
        with lock:
            now.remove(name)

    monkeypatch.setattr(machines.os, "cpu_count", lambda: 2)
    monkeypatch.setattr(machines, "_wait", wait)
    present(session)
    assert len(most) == 3 and max(most) == 2


def test_after_a_machine_that_can_not_be_made_no_other_is_begun(fake, session, monkeypatch):
    begun = []

    def create(_session, _definition, _place, _uid, _step, name, *_more):
        begun.append(name)
        raise FlotillaError("LOCAL_CONTAINER", "no", "none")

    monkeypatch.setattr(machines.os, "cpu_count", lambda: 1)
    monkeypatch.setattr(machines, "_create", create)
    with pytest.raises(FlotillaError):
        present(session)
    assert len(begun) == 1


def test_check_mode_changes_nothing_and_predicts(fake, session):
    assert network.present(session, DEFINITION, True).changed
    predicted = machines.present(session, DEFINITION, wait_timeout=5, check_mode=True)
    assert (
        predicted.changed and [step["action"] for step in predicted.value["steps"]] == ["create"] * 3 and predicted.value["machines"] == []
    )
    assert load_balancer.present(session, DEFINITION, [], check_mode=True).value["endpoint"] == {"host": "172.30.86.3", "port": 6443}
    assert fake.changes == []
    network.present(session, DEFINITION)
    fake.changes.clear()
    predicted = machines.present(session, DEFINITION, wait_timeout=5, check_mode=True)
    assert fake.changes == []
    made = machines.present(session, DEFINITION, wait_timeout=5)
    assert predicted.after == made.after, "with the network there, check mode even knows the names"
    assert [(m["name"], m["role"], m["addresses"]) for m in sorted(predicted.value["planned"], key=lambda m: m["name"])] == [
        (m["name"], m["role"], m["addresses"]) for m in made.value["machines"]
    ]
    assert made.value["planned"] == []
    fake.changes.clear()
    assert machines.absent(session, DEFINITION, check_mode=True).changed
    assert fake.changes == []


def test_observing_shows_also_what_can_not_be_planned(fake, session):
    present(session)
    fewer = {**DEFINITION, "pools": []}
    with pytest.raises(FlotillaError, match="would lose"):
        machines.present(session, fewer, wait_timeout=5, check_mode=True)
    fake.changes.clear()
    assert len(machines.observed(session, fewer).value["machines"]) == 3
    assert load_balancer.observed(session, fewer).value == {}
    assert fake.changes == []


def test_a_run_killed_at_any_command_converges_without_duplicate_or_orphan(fake, session):
    present(session)
    total = len(fake.changes)
    assert total > 15, "network, services and three machines take more commands than that"
    absent(session)
    assert not fake.containers and not fake.volumes
    for moment in range(1, total + 1):
        fake.images.clear()
        fake.changes.clear()
        fake.kill_after = moment
        with pytest.raises(Killed):
            present(session)
        fake.kill_after = None
        result = present(session)
        names = [item["name"] for item in result.value["machines"]]
        assert len(names) == 3 and {item["state"] for item in result.value["machines"]} == {"running"}, moment
        assert {volume.rsplit("-", 1)[0] for volume in fake.volumes} == set(names) and len(fake.volumes) == 9, moment
        assert len(fake.containers) == 4 and all(item["files"] for item in fake.containers.values()), moment
        assert not network.present(session, DEFINITION).changed, moment
        absent(session)
        assert (fake.containers, fake.volumes, fake.networks, fake.tables) == ({}, {}, {}, {}), moment


def test_a_deletion_killed_at_any_command_converges(fake, session):
    original = dict(fake.settings)
    present(session)
    fake.changes.clear()
    absent(session)
    total = len(fake.changes)
    assert fake.settings == original
    for moment in range(1, total + 1):
        present(session)
        fake.changes.clear()
        fake.kill_after = moment
        with pytest.raises(Killed):
            absent(session)
        fake.kill_after = None
        absent(session)
        assert (fake.containers, fake.volumes, fake.networks, fake.tables, fake.settings) == ({}, {}, {}, {}, original), moment
    fake.changes.clear()
    absent(session)
    assert fake.changes == []


def test_settings_go_back_with_the_last_network_only(fake, session):
    original = dict(fake.settings)
    other = changed(name="other", local={"network_cidr": "172.30.87.0/24", "egress": "allow"})
    network.present(session, DEFINITION)
    assert fake.settings["fs.inotify.max_user_instances"] == "8192"
    fake.settings.update(host.KUBELET_SETTINGS)  # what kubelet does in a machine
    network.present(session, other)
    network.absent(session, DEFINITION)
    assert fake.settings["fs.inotify.max_user_instances"] == "8192", "another cluster still needs it"
    network.absent(session, other)
    assert fake.settings == original


def test_stopped_machines_are_started(fake, session):
    present(session)
    for item in fake.containers.values():
        item["state"] = "exited"
    fake.tables.clear()
    result = present(session)
    assert [step["action"] for step in result.value["steps"]] == ["start"] * 3
    assert {item["state"] for item in fake.containers.values()} == {"running"} and fake.tables
    assert {item["state"] for item in result.value["machines"]} == {"running"}


def test_egress_policy_and_resolvers_change_in_place(fake, session):
    network.present(session, DEFINITION)
    result = network.present(session, changed(local={**DEFINITION["local"], "egress": "allow"}))
    assert result.changed and result.before["egress"] == "deny" and result.after["egress"] == "allow"
    assert "server=192.0.2.53" in fake.containers["flotilla-demo-services"]["configs"]
    assert fake.tables["flotilla_demo"] == ["forward_v2_allow_podman1", "input_v2_allow_podman1"]
    assert len(fake.containers) == 1


def test_unreachable_machine_is_named_with_its_journal_and_the_others_are_kept(fake, session, monkeypatch):
    monkeypatch.setattr(probes, "ssh_banner", lambda address, *_arguments: address != "172.30.86.11")
    network.present(session, DEFINITION)
    with pytest.raises(FlotillaError) as caught:
        machines.present(session, DEFINITION, wait_timeout=0)
    assert caught.value.code == "LOCAL_NOT_READY" and len(caught.value.details["failed"]) == 1
    assert "the journal" in str(caught.value.cause) and len(fake.containers) == 4


@pytest.mark.parametrize(
    ("code", "mutate", "definition"),
    [
        ("LOCAL_NETWORK_CIDR_TAKEN", lambda w: w.routes.append({"dst": "172.30.0.0/16", "dev": "wg0"}), DEFINITION),
        ("LOCAL_PODMAN_BACKEND", lambda w: setattr(w, "backend", "cni"), DEFINITION),
        ("LOCAL_DISK_SPACE", lambda w: setattr(w, "free", 3 * host.GIB), DEFINITION),
        ("LOCAL_IMAGE_FAMILY", lambda w: None, changed(image={"family": "debian-11"})),
        ("LOCAL_NETWORK_CIDR", lambda w: None, changed(local={"network_cidr": "172.30.86.0/30"})),
        ("LOCAL_NETWORK_CIDR", lambda w: None, changed(local={"network_cidr": "fd00::/64"})),
        ("LOCAL_NETWORK_CIDR", lambda w: None, changed(local={})),
    ],
)
def test_refused_before_anything_changed(fake, session, code, mutate, definition):
    mutate(fake)
    with pytest.raises(FlotillaError) as caught:
        network.present(session, definition)
    assert caught.value.code == code and caught.value.remedy
    assert fake.changes == []


def test_another_foundation_or_uid_is_refused_everywhere(fake, session):
    present(session)
    fake.changes.clear()
    other = changed(foundation="another")
    for call in (
        lambda: network.present(session, other),
        lambda: network.absent(session, other),
        lambda: machines.present(session, other, wait_timeout=1),
        lambda: machines.absent(session, other),
        lambda: load_balancer.present(session, other, []),
        lambda: load_balancer.absent(session, other),
        lambda: machines.observe_machines(other, session),
    ):
        with pytest.raises(FlotillaError) as caught:
            call()
        assert caught.value.code == "CLUSTER_FOREIGN_FOUNDATION"
    victim = next(name for name in fake.containers if "workers" in name)
    fake.containers[victim]["labels"]["flotilla-uid"] = "someone else"
    for call in (lambda: network.present(session, DEFINITION), lambda: machines.absent(session, DEFINITION)):
        with pytest.raises(FlotillaError) as caught:
            call()
        assert caught.value.code == "CLUSTER_FOREIGN_UID" and victim in str(caught.value)
    assert fake.changes == []


def test_brake_and_network_in_use(fake, session):
    present(session)
    fake.changes.clear()
    none = changed(pools=[])
    with pytest.raises(FlotillaError) as caught:
        machines.present(session, none, wait_timeout=1)
    assert caught.value.code == "MACHINES_BRAKE"
    with pytest.raises(FlotillaError) as caught:
        network.absent(session, DEFINITION)
    assert caught.value.code == "LOCAL_NETWORK_IN_USE" and len(caught.value.details["containers"]) == 3
    assert fake.changes == []
    assert len(machines.present(session, none, wait_timeout=1, wish=Wish("now")).value["machines"]) == 1


def test_what_serves_leaves_when_its_caller_has_drained_it(fake, session):
    present(session)
    fewer = changed(pools=[{**DEFINITION["pools"][0], "count": 1}])
    fake.changes.clear()

    deferred = machines.present(session, fewer, wait_timeout=5, wish=Wish("defer"))
    assert fake.changes == [] and not deferred.changed and len(deferred.value["machines"]) == 3
    (leaving,) = deferred.value["leaving"]
    assert deferred.value["consented"] == [leaving["id"]]
    (step,) = [step for step in deferred.value["steps"] if step["action"] == "delete"]
    assert step["machine"] == leaving["name"]

    assert machines.absent(session, fewer, ids=[leaving["id"]], check_mode=True).changed and fake.changes == []
    result = machines.absent(session, fewer, ids=[leaving["id"]])
    assert [machine["id"] for machine in result.value["machines"]] == sorted(
        {item["id"] for item in deferred.value["machines"]} - {leaving["id"]}
    )
    assert leaving["id"] not in fake.containers and not [volume for volume in fake.volumes if volume.startswith(leaving["id"])]
    fake.changes.clear()
    assert not machines.absent(session, fewer, ids=[leaving["id"]]).changed and fake.changes == []
    with pytest.raises(FlotillaError) as caught:
        machines.absent(session, changed(name="other"), ids=sorted(fake.containers))
    assert caught.value.code == "MACHINES_FOREIGN" and fake.changes == []
    assert not machines.present(session, fewer, wait_timeout=5, wish=Wish("defer")).changed


def test_a_successor_is_made_before_the_machine_that_it_replaces_leaves(fake, session):
    made = present(session).value["machines"]
    victim = next(machine["id"] for machine in made if machine["role"] == "worker")
    wish = Wish("defer", replace=(victim,))
    first = machines.present(session, DEFINITION, wait_timeout=5, wish=wish)
    assert first.changed and len(first.value["machines"]) == 4 and first.value["leaving"] == []
    second = machines.present(session, DEFINITION, wait_timeout=5, wish=wish)
    assert not second.changed and [machine["id"] for machine in second.value["leaving"]] == [victim]
    machines.absent(session, DEFINITION, ids=[victim])
    third = machines.present(session, DEFINITION, wait_timeout=5, wish=wish)
    assert not third.changed and third.value["leaving"] == [] and len(third.value["machines"]) == 3


def test_private_host_key_and_login_are_in_the_machine_and_nowhere_else(fake, session, tmp_path):
    present(session)
    item = next(item for name, item in fake.containers.items() if "workers" in name)
    assert tar_text(item["files"], "ssh/ssh_host_ed25519_key") == "private\n"
    assert tar_text(item["files"], "flotilla/login") == "flotilla\n"
    assert "private" not in json.dumps(item["labels"]) and item["labels"]["flotilla-host-key"].startswith("ssh-ed25519 ")
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == [
        "demo.lock", "id_ed25519", "id_ed25519.pub", "image.lock",
    ]  # fmt: skip


@pytest.mark.parametrize("user", ["Root", "a b", "x" * 33, "-x", "a:b"])
def test_login_that_useradd_would_not_take_is_refused(user):
    with pytest.raises(FlotillaError, match="ssh_user"):
        machines.login_user(changed(access={"ssh_user": user}))


def test_missing_key_of_the_user_is_refused(fake, session, tmp_path):
    network.present(session, DEFINITION)
    with pytest.raises(FlotillaError) as caught:
        machines.present(session, changed(access={"ssh_user": "ops", "ssh_private_key_file": str(tmp_path / "none")}), wait_timeout=1)
    assert caught.value.code == "LOCAL_SSH_KEY"


def test_a_second_run_waits_for_the_first_and_then_says_so(fake, session, monkeypatch):
    monkeypatch.setattr(locking, "LOCK_TIMEOUT", 0)
    with locking.hold(DEFINITION, False):
        for call in (network.present, network.absent, machines.absent, load_balancer.absent):
            with pytest.raises(FlotillaError) as caught:
                call(session, DEFINITION)
            assert caught.value.code == "LOCAL_BUSY"
        assert network.present(session, DEFINITION, True).changed, "check mode reads all the same"
    assert network.present(session, DEFINITION).changed


def test_provider_knows_its_clouds():
    assert _clouds.provider("local") is machines
    with pytest.raises(FlotillaError, match="elsewhere"):
        _clouds.provider("elsewhere")


# ---- session


def run_with(code=0, out=b"", err=b"", uid=1000):
    seen = []

    def execute(command, **_options):
        seen.append(command)
        return subprocess.CompletedProcess(command, code, out, err)

    return Session(execute, uid=uid), seen


def test_root_is_used_through_sudo_without_a_prompt(monkeypatch):
    monkeypatch.setattr(Session, "find", lambda self, program: f"/usr/bin/{program}")
    for name in ("http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    session, seen = run_with()
    session.run(["podman", "ps"])
    session.run(["ip", "route"], root=False)
    assert seen[0] == ["/usr/bin/sudo", "-n", "timeout", "--kill-after=5", "120", "/usr/bin/podman", "ps"]
    assert seen[1] == ["/usr/bin/ip", "route"]
    root, seen = run_with(uid=0)
    root.run(["podman", "ps"])
    assert seen == [["/usr/bin/podman", "ps"]]
    monkeypatch.setenv("https_proxy", "http://proxy.invalid")
    session, seen = run_with()
    session.run(["mmdebstrap"])
    assert "--preserve-env=https_proxy" in seen[0]


def test_sudo_that_wants_a_password_is_told_apart(monkeypatch):
    monkeypatch.setattr(Session, "find", lambda self, program: f"/usr/bin/{program}")
    session, _seen = run_with(1, err=b"sudo: a password is required\n")
    with pytest.raises(FlotillaError) as caught:
        session.run(["podman", "ps"], check=False)
    assert caught.value.code == "LOCAL_ROOT_NEEDED"


def test_missing_programs_name_their_packages(monkeypatch):
    monkeypatch.setattr(Session, "find", lambda self, program: None)
    with pytest.raises(FlotillaError) as caught:
        Session(uid=0).require("podman", "nft")
    assert caught.value.code == "LOCAL_PROGRAM_MISSING" and "apt-get install nftables podman" in caught.value.remedy


def test_failed_and_hanging_commands_are_translated(monkeypatch):
    monkeypatch.setattr(Session, "find", lambda self, program: f"/usr/bin/{program}")
    session, _seen = run_with(125, err=b"Error: no space left", uid=0)
    with pytest.raises(FlotillaError) as caught:
        session.run(["podman", "create"], code="X", message="It failed.", remedy="Do this.")
    assert (caught.value.code, str(caught.value), caught.value.cause) == ("X", "It failed. Do this.", "Error: no space left")

    def hang(command, **options):
        raise subprocess.TimeoutExpired(command, options["timeout"])

    with pytest.raises(FlotillaError) as caught:
        Session(hang, uid=0).run(["podman", "ps"], timeout=3)
    assert caught.value.code == "LOCAL_COMMAND_TIMEOUT"


@pytest.mark.parametrize(("unified", "options"), [(True, []), (False, ["--runtime", "runc"])])
def test_runtime_for_the_cgroup_hierarchy(monkeypatch, unified, options):
    monkeypatch.setattr("ansible_collections.flotilla.kubernetes.plugins.module_utils._clouds.local.session.on_cgroup_v2", lambda: unified)
    monkeypatch.setattr(Session, "find", lambda self, program: f"/usr/bin/{program}")
    assert Session(uid=0).runtime_options() == options


# ---- layout

PLACE = layout.layout(DEFINITION)


def test_addresses_and_names():
    assert (PLACE.gateway, PLACE.services_address, PLACE.load_balancer_address) == ("172.30.86.1", "172.30.86.2", "172.30.86.3")
    assert layout.layout(changed(name="a-b")).table == "flotilla_a_b"
    assert PLACE.free_address(set()) == "172.30.86.10"
    assert PLACE.free_address({"172.30.86.10", "172.30.86.12"}) == "172.30.86.11"
    small = layout.layout(changed(local={"network_cidr": "172.30.86.0/28"}))
    with pytest.raises(FlotillaError) as caught:
        small.free_address({f"172.30.86.{number}" for number in range(10, 15)})
    assert caught.value.code == "LOCAL_NETWORK_FULL"


def test_mac_follows_the_address(fake, session):
    assert layout.mac("172.30.86.10") == "02:f1:ac:1e:56:0a"
    present(session)
    assert all(item["mac"] == layout.mac(item["address"]) for item in fake.containers.values()), "or neighbours lose a restarted machine"


def test_taken_names_what_takes_it_and_the_suggestion_is_free():
    routes = [{"dst": "default", "dev": "eth0"}, {"dst": "172.30.0.0/17", "dev": "wg0"}]
    networks = [{"name": "podman", "subnets": [{"subnet": "10.88.0.0/16"}]}, {"name": "six", "subnets": [{"subnet": "fd00::/64"}]}]
    assert "wg0" in layout.taken_by(PLACE.cidr, routes, networks)
    assert layout.taken_by(PLACE.cidr, routes[:1], networks) == ""
    suggestion = layout.free_cidr(PLACE.cidr, routes, networks, ["172.30.128.0/17", "10.0.0.0/14"])
    assert suggestion == "10.4.0.0/24"


def test_host_settings_survive_the_label():
    settings = {"a.b": "1", "c": "2"}
    assert layout.parse_settings(layout.format_settings(settings)) == settings


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["nameserver 192.0.2.1\nnameserver 192.0.2.2\n"], ["192.0.2.1", "192.0.2.2"]),
        (["nameserver 127.0.0.53\noptions edns0\n", "nameserver 192.0.2.3\n"], ["192.0.2.3"]),
        (["nameserver fe80::1%eth0\nnameserver nonsense\n"], []),
        (["# nameserver 192.0.2.1\n"], []),
        ([], []),
    ],
)
def test_upstream_resolvers(texts, found):
    assert layout.upstream_resolvers(texts) == found


def test_resolver_is_closed_without_upstreams_only():
    assert "local=/#/" in layout.resolver_config(PLACE, [])
    opened = layout.resolver_config(PLACE, ["192.0.2.1"])
    assert "local=/#/" not in opened and "server=192.0.2.1" in opened


@pytest.mark.parametrize(("policy", "drops"), [("deny", 2), ("allow", 0)])
def test_egress_rules(policy, drops):
    rules = layout.egress_rules(PLACE, policy, "podman1", ["forward_old"])
    assert rules.count(" drop") == drops + 1 and 'oifname != "podman1" counter name egress' in rules
    assert rules.index("delete chain inet flotilla_demo forward_old") < rules.index("table inet flotilla_demo {")
    chains = tuple(re.findall(r"chain (\S+) \{", rules))
    assert layout.Table(chains).matches(policy, "podman1") and not layout.Table(chains).matches(policy, "podman2")


def test_packets_for_services_are_dropped_before_they_are_counted():
    place = dataclasses.replace(PLACE, service_cidrs=("10.96.0.0/12", "fd00::/108"))
    lines = [line.strip() for line in layout.egress_rules(place, "allow", "podman1", []).splitlines() if "oifname" in line]
    assert lines == [
        'iifname "podman1" oifname != "podman1" ip daddr 10.96.0.0/12 drop',
        'iifname "podman1" oifname != "podman1" ip6 daddr fd00::/108 drop',
        'iifname "podman1" oifname != "podman1" counter name egress',
    ]


def test_table_counters_from_nft():
    text = json.dumps(
        {
            "nftables": [
                {"counter": {"name": "egress", "packets": 3, "bytes": 252}},
                {"counter": {"name": "host", "packets": 1, "bytes": 60}},
                {"chain": {"name": "input_x"}},
                {"chain": {"name": "forward_x"}},
            ]
        }
    )
    assert layout.Table.from_json(text) == layout.Table(("forward_x", "input_x"), 3, 252, 1)
    assert layout.Table.from_json("") == layout.Table()


# ---- host


def test_settings_to_restore():
    originals = {"fs.inotify.max_user_instances": "128", "fs.inotify.max_user_watches": "999999", host.FORWARDING: "0"}
    current = {"fs.inotify.max_user_instances": "8192", "fs.inotify.max_user_watches": "999999", host.FORWARDING: "1"}
    assert host.settings_to_restore(originals, current, bridges=False) == {"fs.inotify.max_user_instances": "128", host.FORWARDING: "0"}
    assert host.FORWARDING not in host.settings_to_restore(originals, current, bridges=True)
    somebody = {**current, "fs.inotify.max_user_instances": "16384"}
    assert "fs.inotify.max_user_instances" not in host.settings_to_restore(originals, somebody, bridges=False)


def test_memory_warning():
    text = "MemTotal: 8000000 kB\nMemAvailable: 1048576 kB\n"
    assert host.memory_warning(["control_plane"], text) == ""
    assert "1024 MiB" in host.memory_warning(["control_plane", "worker", "worker"], text)


def test_kernel_feature_that_can_not_be_loaded(monkeypatch):
    monkeypatch.setattr(Session, "find", lambda self, program: f"/usr/bin/{program}")
    session, seen = run_with(1, err=b"modprobe: FATAL: Module vxlan not found.", uid=0)
    with pytest.raises(FlotillaError) as caught:
        host.load_modules(session, ["vxlan"], dry_run=True)
    assert caught.value.code == "LOCAL_KERNEL_FEATURE" and "vxlan" in str(caught.value) and "--dry-run" in seen[0]


# ---- image


def test_image_name_follows_the_recipe(monkeypatch):
    name = image.image_name("debian-13")
    assert re.fullmatch(r"localhost/flotilla-node:debian-13-[0-9a-f]{12}", name) and image.image_name("debian-13") == name
    assert image.image_name("debian-12") != name
    monkeypatch.setattr(image, "PACKAGES", (*image.PACKAGES, "strace"))
    assert image.image_name("debian-13") != name


@pytest.mark.parametrize(
    ("distribution", "answer", "expected"),
    [
        ("debian", "http://mirror.invalid/debian-security/ http://mirror.invalid/debian/", "http://mirror.invalid/debian"),
        ("debian", "file:/srv/debian", ""),
        ("ubuntu", "http://mirror.invalid/debian", ""),
    ],
)
def test_mirror_is_the_hosts_own(monkeypatch, distribution, answer, expected):
    monkeypatch.setattr(Session, "find", lambda self, program: f"/usr/bin/{program}")
    monkeypatch.setattr(image.platform, "freedesktop_os_release", lambda: {"ID": distribution}, raising=False)
    session, _seen = run_with(out="\n".join(answer.split()).encode())
    assert image.mirror(session) == expected


def test_archive_has_modes_links_and_parents():
    import io
    import tarfile

    data = image.archive({"a/b/c": (0o600, "x")}, {"a/l": "/dev/null"})
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        found = {entry.name: (entry.type, entry.mode, entry.linkname) for entry in tar}
    assert found["a"][0] == tarfile.DIRTYPE and found["a/b"][0] == tarfile.DIRTYPE
    assert found["a/b/c"][1] == 0o600 and found["a/l"] == (tarfile.SYMTYPE, 0o644, "/dev/null")


# ---- load balancer

MEMBERS = load_balancer.to_members(
    [{"id": "b", "address": "172.30.86.11", "state": "drained"}, {"id": "a", "address": "172.30.86.10", "state": "active"}]
)


def test_load_balancer_config_says_members_in_order_and_can_be_read_back():
    assert "bind :8443" in load_balancer.render(8443, MEMBERS) and ":8443" not in load_balancer.render(8443, MEMBERS).split("bind :8443")[1]
    config = load_balancer.render(6443, MEMBERS)
    assert [member.id for member in MEMBERS] == ["a", "b"]
    assert load_balancer.parse_members(config) == MEMBERS
    assert "option httpchk GET /readyz" in config and "on-marked-down shutdown-sessions" in config and "bind :6443" in config


def test_only_a_changed_state_needs_no_reload():
    config = load_balancer.render(6443, MEMBERS)
    active = load_balancer.render(6443, [load_balancer.Member(member.id, member.address) for member in MEMBERS])
    assert config != active and load_balancer.same_but_states(config, active)
    assert not load_balancer.same_but_states(config, load_balancer.render(6443, MEMBERS[:1]))
    assert not load_balancer.same_but_states(config, load_balancer.render(7443, MEMBERS))


@pytest.mark.parametrize(
    "items",
    [
        [{"id": "a b", "address": "172.30.86.10"}],
        [{"id": "a", "address": "172.30.86.10 check"}],
        [{"id": "a", "address": "172.30.86.10"}, {"id": "a", "address": "172.30.86.11"}],
    ],
)
def test_members_that_haproxy_would_not_take(items):
    with pytest.raises(FlotillaError) as caught:
        load_balancer.to_members(items)
    assert caught.value.code == "LOCAL_LOAD_BALANCER_MEMBER"


def test_container_states():
    def state(word):
        return machines._state(containers.Container("x", word, {}, ()))

    assert [state(word) for word in ("running", "exited", "paused", "created", "configured", "dead")] == [
        "running", "stopped", "stopped", "incomplete", "incomplete", "dead",
    ]  # fmt: skip


def test_machines_of_other_clusters_of_the_foundation_are_found(fake, session):
    present(session)
    assert machines.neighbours(session, DEFINITION) == {}
    other = machines.neighbours(session, changed(name="other"))
    assert list(other) == ["demo"] and len(other["demo"]) == 3
    assert machines.neighbours(session, changed(name="other", foundation="elsewhere")) == {}
