# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Real runs of ansible-inventory and ansible-playbook on definition files; podman is a script that lists what the test wants."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleParserError
from ansible.inventory.data import InventoryData
from ansible.parsing.dataloader import DataLoader
from ansible_collections.flotilla.kubernetes.plugins.inventory import cluster
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _fleet

COLLECTIONS = Path(cluster.__file__).absolute().parents[5]
COLLECTION = Path(cluster.__file__).absolute().parents[2]
PROGRAMS = Path(sys.executable).parent

real_ansible = pytest.mark.skipif(
    not (PROGRAMS / "ansible-inventory").exists(), reason="ansible-core is not in the environment of this Python"
)

DEFINITION = """\
plugin: flotilla.kubernetes.cluster
schema: 1
name: {name}
cloud: local
kubernetes_version: "1.36.3"
control_plane: {{count: 1}}
pools: [{{name: web-a, count: 1}}]
local: {{network_cidr: 172.30.{third}.0/24}}
"""
CLASS = "plugin: flotilla.kubernetes.cluster\nschema: 1\nkind: cluster_class\nimage: {family: debian-13}\n"
PROFILE = "plugin: flotilla.kubernetes.cluster\nschema: 1\nkind: network_profile\nnetwork: {pod_cidrs: [10.200.0.0/16]}\n"


def container(cluster_name, pool, role, address, host_key="ssh-ed25519 AAAA", zone="local", state="running"):
    name = f"{cluster_name}-{pool}-0123abcd"
    labels = {"cluster": cluster_name, "pool": pool, "role": role, "zone": zone, "address": address, "host-key": host_key}
    return {
        "Id": "0" * 64,
        "Names": [name],
        "State": state,
        "StartedAt": 1_700_000_000,
        "Networks": [f"flotilla-{cluster_name}"],
        "Labels": {f"flotilla-{key}": value for key, value in {**labels, "uid": "u", "foundation": "lab", "spec-hash": "v1-0"}.items()},
    }


@pytest.fixture
def lab(tmp_path):
    """A foundation with two clusters and everything else that such a folder may hold."""
    files = {
        "clusters/a-b.yml": DEFINITION.format(name="a-b", third=1),
        "clusters/small.yaml": "---\n# a comment\n" + DEFINITION.format(name="small", third=2),
        "cluster_classes/plain.yml": CLASS,
        "network_profiles/plain.yml": PROFILE,
        "group_vars/all.yml": "from_the_foundation: true\n",
        "group_vars/flotilla_clusters.yml": "from_the_group: true\n",
    }
    for name, text in files.items():
        path = tmp_path / "lab" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return tmp_path / "lab"


@pytest.fixture
def ansible(tmp_path):
    """Return a function that runs one of Ansible's programs; ``containers`` is what podman lists, a text is its failure."""

    def run(program, *arguments, containers=(), environment=None):
        folder = tmp_path / "programs"
        folder.mkdir(exist_ok=True)
        answer = tmp_path / "containers.json"
        answer.write_text(containers if isinstance(containers, str) else json.dumps(list(containers)))
        fails = isinstance(containers, str)
        # Lists by cluster, as podman does; a cluster stands in the filter label=flotilla-cluster=<name>.
        script = f"""#!{sys.executable}
import json, sys
text = open({str(answer)!r}).read()
if {fails!r}:
    sys.exit(text)
wanted = [word.split("=")[-1] for word in sys.argv if word.startswith("label=flotilla-cluster=")]
print(json.dumps([entry for entry in json.loads(text) if not wanted or entry["Labels"]["flotilla-cluster"] in wanted]))
"""
        for name, text in {"podman": script, "sudo": '#!/bin/sh\nwhile [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n'}.items():
            (folder / name).write_text(text)
            (folder / name).chmod(0o755)
        (folder / "ansible.cfg").write_text("[defaults]\n")
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("ANSIBLE_", "FLOTILLA_"))}
        done = subprocess.run(
            [str(PROGRAMS / program), *map(str, arguments)],
            cwd=tmp_path,
            env={
                **clean,
                "PATH": f"{folder}:{clean['PATH']}",
                "HOME": str(tmp_path),
                "ANSIBLE_COLLECTIONS_PATH": str(COLLECTIONS),
                "ANSIBLE_CONFIG": str(folder / "ansible.cfg"),
                "ANSIBLE_NOCOLOR": "1",
                "FLOTILLA_CACHE": str(tmp_path / "cache"),
                "COLUMNS": "1000",
                **(environment or {}),
            },
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout, done.stderr

    return run


def graph(*names):
    """Return what ``ansible-inventory --graph`` prints for clusters without machines."""
    hosts = "".join(f"  |  |--{name}.cluster\n" for name in names)
    return f"@all:\n  |--@ungrouped:\n  |--@flotilla_clusters:\n{hosts}"


@real_ansible
def test_a_folder_gives_its_clusters_and_nothing_else(ansible, lab):
    assert ansible("ansible-inventory", "-i", lab, "--graph") == (0, graph("a-b", "small"), "")


@real_ansible
def test_a_file_gives_one_cluster_and_several_sources_the_fleet(ansible, lab, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "third.yml").write_text(DEFINITION.format(name="third", third=3))
    assert ansible("ansible-inventory", "-i", lab / "clusters/a-b.yml", "--graph") == (0, graph("a-b"), "")
    # The same file twice is no collision.
    arguments = ("-i", lab, "-i", other, "-i", lab / "clusters/a-b.yml")
    assert ansible("ansible-inventory", *arguments, "--graph") == (0, graph("a-b", "small", "third"), "")


@real_ansible
def test_machines_that_run_are_hosts_in_our_groups_only(ansible, lab):
    containers = [
        container("small", "control-plane", "control_plane", "172.30.2.10"),
        container("small", "web-a", "worker", "172.30.2.11", zone="z.1"),
        container("small", "gone", "worker", "172.30.2.12", state="exited"),
    ]
    status, output, _errors = ansible("ansible-inventory", "-i", lab / "clusters/small.yaml", "--list", containers=containers)
    assert status == 0
    found = json.loads(output)
    variables = found.pop("_meta")["hostvars"]
    assert {group: part.get("hosts", []) for group, part in found.items() if group != "all"} == {
        "flotilla_clusters": ["small.cluster"],
        "flotilla": ["small-control-plane-0123abcd", "small-web-a-0123abcd"],
        "cluster_small": ["small-control-plane-0123abcd", "small-web-a-0123abcd"],
        "cluster_small__control_plane": ["small-control-plane-0123abcd"],
        "cluster_small__pool_web_a": ["small-web-a-0123abcd"],
        "zone_local": ["small-control-plane-0123abcd"],
        "zone_z_1": ["small-web-a-0123abcd"],
        "cloud_local": ["small-control-plane-0123abcd", "small-web-a-0123abcd"],
    }
    assert variables["small-web-a-0123abcd"]["ansible_port"] == 22
    # A boolean: AWX compares strings of core 2.19, which arrive wrapped, with its enabled value and disables every host.
    assert all(host["flotilla_enabled"] is True for host in variables.values())
    assert {host["flotilla_cluster"]["control_plane"]["count"] for host in variables.values()} == {1}
    assert not [name for name in variables["small.cluster"] if name.startswith("ansible_")]


@real_ansible
def test_values_of_a_cloud_are_never_templates(ansible, lab, tmp_path):
    touched = tmp_path / "touched"
    attack = "{{ lookup('pipe', 'touch " + str(touched) + "') }}"
    other_delimiters = f"#jinja2:variable_start_string:'[[',variable_end_string:']]'\n[[ lookup('pipe', 'touch {touched}') ]]"
    containers = [
        container("small", "web-a", "worker", "172.30.2.11", host_key=attack, zone=attack),
        container("small", "control-plane", "control_plane", "172.30.2.10", host_key=other_delimiters),
    ]
    playbook = tmp_path / "show.yml"
    show = {"ansible.builtin.debug": {"msg": "{{ hostvars[item].flotilla_machine.host_key }}"}, "loop": "{{ groups.flotilla }}"}
    playbook.write_text(yaml.safe_dump([{"hosts": "flotilla_clusters", "connection": "local", "gather_facts": False, "tasks": [show]}]))
    status, output, errors = ansible("ansible-playbook", "-i", lab / "clusters/small.yaml", playbook, containers=containers)
    assert (status, errors.count("ERROR")) == (0, 0)
    assert "lookup('pipe'" in output
    assert not touched.exists()


@real_ansible
def test_a_machine_that_joins_a_run_is_the_host_that_the_next_run_finds(ansible, lab, tmp_path):
    containers = [
        container("small", "control-plane", "control_plane", "172.30.2.10"),
        container("small", "web-a", "worker", "172.30.2.11", host_key="ssh-ed25519 {{ 1 }}"),
    ]
    machines = [
        {
            "id": entry["Names"][0],
            "name": entry["Names"][0],
            "cluster": "small",
            "pool": entry["Labels"]["flotilla-pool"],
            "role": entry["Labels"]["flotilla-role"],
            "zone": "local",
            "state": "running",
            "addresses": {"private": entry["Labels"]["flotilla-address"], "public": None},
            "host_key": entry["Labels"]["flotilla-host-key"],
            "spec_hash": "v1-0",
            "uid": "u",
            "ssh_address": "",
            "ssh_port": 22,
            "generation": "",
            "image": "",
            "reason": "",
        }
        for entry in containers
    ]
    (tmp_path / "machines.json").write_text(json.dumps(machines))
    join = {"ansible.builtin.include_role": {"name": "flotilla.kubernetes.infrastructure", "tasks_from": "access"}}
    dump = {
        "ansible.builtin.copy": {
            "dest": "{{ playbook_dir }}/{{ file }}",
            "mode": "0600",
            "content": "{{ dict(names | zip(names | map('extract', hostvars) | map('dict2items') "
            "| map('selectattr', 'key', 'match', wanted) | map('items2dict'))) | to_json }}",
        },
        "vars": {"wanted": "ansible_(host|port|user|connection|ssh_)|flotilla_|group_names$", "names": "{{ groups.flotilla | sort }}"},
    }
    play = {"hosts": "flotilla_clusters", "connection": "local", "gather_facts": False}
    play["vars"] = {"ansible_python_interpreter": "{{ ansible_playbook_python }}"}
    read = {"ansible.builtin.set_fact": {"flotilla_machines": "{{ lookup('file', playbook_dir ~ '/machines.json') | from_json }}"}}
    (tmp_path / "join.yml").write_text(yaml.safe_dump([{**play, "tasks": [read, join, dump]}]))
    (tmp_path / "find.yml").write_text(yaml.safe_dump([{**play, "tasks": [dump]}]))
    source = ("-i", lab / "clusters/small.yaml")
    status, output, errors = ansible("ansible-playbook", *source, "join.yml", "-e", "file=joined.json")
    assert status == 0, output + errors
    status, output, errors = ansible("ansible-playbook", *source, "find.yml", "-e", "file=found.json", containers=containers)
    assert status == 0, output + errors
    found = json.loads((tmp_path / "found.json").read_text())
    joined = json.loads((tmp_path / "joined.json").read_text())
    for host in joined.values():
        host["ansible_port"] = int(host["ansible_port"])  # ansible-core before 2.19 hands a number to add_host as text
    assert joined == found
    assert found["small-web-a-0123abcd"]["group_names"] == [
        "cloud_local",
        "cluster_small",
        "cluster_small__pool_web_a",
        "flotilla",
        "zone_local",
    ]
    assert (tmp_path / "cache/known_hosts/small").read_text() == "172.30.2.10 ssh-ed25519 AAAA\n172.30.2.11 ssh-ed25519 {{ 1 }}\n"


def test_add_host_names_every_variable_of_a_machine():
    """`add_host` takes no dictionary of variables, so the role lists them; a variable that is missing there would be lost in silence."""
    definition = {"name": "demo", "cloud": "local", "access": {"ssh_user": "x"}}
    machine = {"name": "m", "role": "worker", "pool": "p", "zone": "z", "addresses": {"private": "10.0.0.1"}}
    variables = cluster.hosts.machine_host(definition, machine, "/key", "/known").variables
    tasks = yaml.safe_load((COLLECTION / "roles/infrastructure/tasks/access.yml").read_text())
    added = next(task["ansible.builtin.add_host"] for task in tasks if "ansible.builtin.add_host" in task)
    expected = {name: "{{ item.variables." + name + " }}" for name in variables}
    assert added == {"name": "{{ item.name }}", "groups": "{{ item.groups }}", **expected}


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def unknown_key(lab):
    change(lab / "clusters/a-b.yml", "control_plane: {count: 1}", "control_plane: {cuont: 1}")
    return 'a-b.yml:6: control_plane.cuont: unknown key; did you mean "count"?'


def bad_yaml(lab):
    change(lab / "clusters/a-b.yml", "name: a-b", "name: [a-b")
    return "a-b.yml:4: is not valid YAML: expected ',' or ']', but got ':'."


def two_files_with_errors(lab):
    unknown_key(lab)
    change(lab / "clusters/small.yaml", "count: 1", "count: 2")
    return "small.yaml:8: control_plane.count: is 2; allowed: 1, 3, 5 or 7"


def same_name(lab):
    change(lab / "clusters/small.yaml", "name: small", "name: a-b")
    return "small.yaml:5: name: is a-b, as in lab/clusters/a-b.yml; names are unique in the fleet."


def no_plugin_line(lab):
    change(lab / "clusters/a-b.yml", "plugin: flotilla.kubernetes.cluster\n", "")
    return 'a-b.yml:1: plugin: is in clusters/ but is no definition: its first line must be "plugin: flotilla.kubernetes.cluster".'


def bad_class(lab):
    change(lab / "cluster_classes/plain.yml", "debian-13", "debian-31")
    return 'plain.yml:4: image.family: is debian-31; allowed: debian-13. Did you mean "debian-13"?'


def empty_folder(lab):
    for path in sorted(lab.rglob("*.y*ml")):
        path.unlink()
    return f"There is no cluster definition in {lab}."


def no_folder(lab):
    lab.rename(lab.with_name("away"))
    return "lab: does not exist."


@real_ansible
@pytest.mark.parametrize(
    "damage", [unknown_key, bad_yaml, two_files_with_errors, same_name, no_plugin_line, bad_class, empty_folder, no_folder]
)
def test_a_playbook_fails_where_ansible_alone_would_be_green(ansible, lab, damage):
    message = damage(lab)
    status, output, errors = ansible("ansible-playbook", "-i", lab, "flotilla.kubernetes.validate")
    assert status not in (0, 2), output
    assert "TASK" not in output
    # Ansible repeats the errors of a source as warnings before; the last word is ours. Older releases break lines.
    said = " ".join(errors[errors.index("lookup plugin 'flotilla.kubernetes.targets") :].split())
    assert " ".join(message.split()) in said


@real_ansible
def test_validate_names_every_cluster(ansible, lab):
    status, output, errors = ansible("ansible-playbook", "-i", lab, "flotilla.kubernetes.validate")
    assert (status, errors) == (0, "")
    assert "a-b: Kubernetes 1.36.3 on local" in output
    assert "small: Kubernetes 1.36.3 on local" in output


@real_ansible
def test_a_cloud_that_does_not_answer_fails_the_source_and_gives_no_host(ansible, lab):
    strict = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    status, output, errors = ansible("ansible-inventory", "-i", lab, "--graph", containers="no podman today", environment=strict)
    assert status != 0
    assert "no podman today" in errors or "podman" in errors
    status, output, errors = ansible("ansible-inventory", "-i", lab, "--graph", containers="no podman today")
    assert "cluster" not in output
    status, output, errors = ansible("ansible-playbook", "-i", lab, "flotilla.kubernetes.cluster_status", containers="no podman today")
    assert status not in (0, 2)
    assert "The inventory has no host for the cluster a-b, small, whose definition is valid:" in " ".join(errors.split())


@real_ansible
def test_validate_needs_no_cloud_and_writes_a_report(ansible, lab, tmp_path):
    arguments = ("-i", lab, "flotilla.kubernetes.validate", "-e", f"flotilla_report={tmp_path}/new/report.json")
    status, output, errors = ansible("ansible-playbook", *arguments, containers="no podman today")
    assert (status, errors) == (0, "")
    report = json.loads((tmp_path / "new/report.json").read_text())
    assert (report["valid"], report["errors"]) == (True, [])
    assert [entry["name"] for entry in report["clusters"]] == ["a-b", "small"]
    assert len(report["files"]) == 4  # class and profile, too
    messages = [two_files_with_errors(lab), bad_class(lab)]
    status, output, errors = ansible("ansible-playbook", *arguments)
    assert status not in (0, 2)
    assert all(message in " ".join(errors.split()) for message in messages)
    report = json.loads((tmp_path / "new/report.json").read_text())
    assert report["valid"] is False
    assert {Path(error["file"]).name for error in report["errors"]} == {"a-b.yml", "small.yaml", "plain.yml"}
    assert {"file", "line", "path", "message", "value", "allowed", "suggestion"} == set(report["errors"][0])


@real_ansible
def test_validate_takes_single_files_of_every_kind_and_none_that_is_not_there(ansible, lab):
    files = ("-i", lab / "cluster_classes/plain.yml", "-i", lab / "clusters/small.yaml")
    status, output, errors = ansible("ansible-playbook", *files, "flotilla.kubernetes.validate")
    assert (status, errors) == (0, "")
    assert "small: Kubernetes 1.36.3 on local" in output
    status, output, errors = ansible("ansible-playbook", *files[:2], "flotilla.kubernetes.validate")
    assert (status, errors.count("WARNING"), "provided hosts list is empty" in errors) == (0, 1, True)  # a class has no host
    status, output, errors = ansible("ansible-playbook", *files, "-i", lab / "clusters/x.yml", "flotilla.kubernetes.validate")
    assert status not in (0, 2)
    assert "x.yml: does not exist." in errors


@real_ansible
def test_the_last_answer_stands_in_for_a_cloud_that_is_away_if_the_user_wants_it(ansible, lab):
    source, loose = ("-i", lab / "clusters/small.yaml"), {"FLOTILLA_STRICT": "false"}
    containers = [container("small", "control-plane", "control_plane", "172.30.2.10")]
    listing = ("ansible-inventory", *source, "--list")
    assert "172.30.2.10" not in ansible(*listing, containers="away", environment=loose)[1]  # nothing was kept yet
    status, output, _errors = ansible(*listing, containers=containers, environment=loose)
    assert "flotilla_stale" not in output
    status, output, errors = ansible(*listing, containers="away", environment=loose)
    variables = json.loads(output)["_meta"]["hostvars"]
    assert (status, {name: found["flotilla_stale"] for name, found in variables.items()}) == (
        0,
        {"small.cluster": True, "small-control-plane-0123abcd": True},
    )
    assert [*variables["small.cluster"]["flotilla_control_planes"]] == ["small-control-plane-0123abcd"]
    assert "The machines of the cluster small are those of 20" in " ".join(errors.split())
    assert "172.30.2.10" not in ansible(*listing, containers="away")[1]  # strict, as it is by default
    status, output, errors = ansible("ansible-playbook", *source, "flotilla.kubernetes.cluster_apply", containers="away", environment=loose)
    assert status not in (0, 2)
    assert "The inventory is not up to date, and this playbook makes or removes machines: small (of 20" in " ".join(errors.split())
    change(lab / "clusters/small.yaml", "172.30.2.0", "172.30.3.0")
    assert "172.30.2.10" not in ansible(*listing, containers="away", environment=loose)[1]  # an answer to another question


@real_ansible
def test_awx_never_gets_what_is_out_of_date(ansible, lab):
    containers = [container("small", "control-plane", "control_plane", "172.30.2.10")]
    awx = {"AWX_PRIVATE_DATA_DIR": "/runner", "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "true"}
    source = ("-i", lab / "clusters/small.yaml", "--list")
    status, output, _errors = ansible("ansible-inventory", *source, containers=containers, environment=awx)
    assert (status, "172.30.2.10" in output) == (0, True)
    loose = {**awx, "FLOTILLA_STRICT": "false"}
    status, output, errors = ansible("ansible-inventory", *source, containers=containers, environment=loose)
    assert status != 0
    assert "The inventory option strict is false" in " ".join(errors.split())


@real_ansible
def test_the_inventory_cache_saves_the_read_until_it_is_flushed(ansible, lab, tmp_path):
    source = ("-i", lab / "clusters/small.yaml")
    cached = {
        "ANSIBLE_INVENTORY_CACHE": "true",
        "ANSIBLE_INVENTORY_CACHE_PLUGIN": "jsonfile",
        "ANSIBLE_INVENTORY_CACHE_CONNECTION": str(tmp_path / "kept"),
    }
    first, second = (container("small", "control-plane", "control_plane", f"172.30.2.{last}") for last in (10, 11))
    for containers, options, environment, wanted in [
        ([first], (), cached, "172.30.2.10"),
        ([second], (), cached, "172.30.2.10"),
        ("away", (), cached, "172.30.2.10"),
        ([second], (), {}, "172.30.2.11"),
        ([second], ("--flush-cache",), cached, "172.30.2.11"),
        ([first], (), cached, "172.30.2.11"),
    ]:
        status, output, errors = ansible("ansible-inventory", *source, "--list", *options, containers=containers, environment=environment)
        # Core 2.19 shows texts of inventory plugins as {"__ansible_unsafe": text}.
        hostvars = json.loads(output, object_hook=lambda found: found.get("__ansible_unsafe", found))["_meta"]["hostvars"]
        assert (status, hostvars["small-control-plane-0123abcd"]["ansible_host"]) == (0, wanted), errors


@real_ansible
def test_the_hosts_of_clusters_can_be_hidden(ansible, lab):
    status, output, errors = ansible("ansible-inventory", "-i", lab, "--graph", environment={"FLOTILLA_HIDE_CLUSTER_HOSTS": "1"})
    assert (status, output, errors) == (0, "@all:\n  |--@ungrouped:\n", "")


# ---- the plugin itself, in this process


class Cloud:
    machines: list = []
    reads: list = []

    @classmethod
    def observe_machines(cls, definition):
        cls.reads.append(definition["name"])
        return cls.machines

    @staticmethod
    def default_private_key(_definition):
        return "/key"


@pytest.fixture
def parse(monkeypatch):
    """Return a function that parses a file into an inventory."""
    monkeypatch.setattr(_fleet, "provider", lambda _cloud: Cloud)
    monkeypatch.setattr(_fleet, "FAILURES", {})
    monkeypatch.setattr(_fleet, "STALE", {})
    monkeypatch.setattr(Cloud, "reads", [])
    monkeypatch.setattr(cluster.InventoryModule, "set_options", lambda *_arguments, **_more: None)
    monkeypatch.setattr(cluster.InventoryModule, "get_option", lambda _self, name: name == "strict")

    def parse_file(path, data=None):
        plugin, data = cluster.InventoryModule(), data or InventoryData()
        assert plugin.verify_file(str(path))
        plugin.parse(data, DataLoader(), str(path))
        return data

    return parse_file


def test_an_error_is_remembered_for_the_playbook_and_leaves_the_inventory_as_it_was(parse, lab):
    data = parse(lab / "clusters/a-b.yml")
    change(lab / "clusters/small.yaml", "name: small", "name: a-b")
    with pytest.raises(AnsibleParserError, match="name: is a-b, as in .*a-b.yml; names are unique in the fleet"):
        parse(lab / "clusters/small.yaml", data)
    assert list(data.hosts) == ["a-b.cluster"]
    assert list(_fleet.FAILURES) == [str(lab / "clusters/small.yaml")]


def test_a_cluster_costs_one_read(parse, lab):
    data = parse(lab / "clusters/a-b.yml")
    parse(lab / "cluster_classes/plain.yml", data)
    parse(lab / "clusters/small.yaml", data)
    parse(lab / "clusters/a-b.yml", data)  # once more, through another -i
    assert Cloud.reads == ["a-b", "small"]


def test_a_class_gives_no_host_and_is_checked(parse, lab):
    assert list(parse(lab / "cluster_classes/plain.yml").hosts) == []
    change(lab / "cluster_classes/plain.yml", "debian-13", "x")
    with pytest.raises(AnsibleParserError, match=r"plain\.yml:4: image\.family: is x; allowed: debian-13"):
        parse(lab / "cluster_classes/plain.yml")


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("a.yml", "plugin: flotilla.kubernetes.cluster\nname: [", True),
        ("a.yaml", "---\n# x\n'plugin': \"flotilla.kubernetes.cluster\"  # x\n", True),
        ("a.json", "plugin: flotilla.kubernetes.cluster\n", False),
        ("a.yml", "plugin: flotilla.kubernetes.cluster2\n", False),
        ("a.yml", "x:\n  plugin: flotilla.kubernetes.cluster\n", False),
        ("a.yml", "all: {}\n", False),
    ],
)
def test_only_definitions_are_taken(tmp_path, name, text, wanted):
    (tmp_path / name).write_text(text)
    assert cluster.InventoryModule().verify_file(str(tmp_path / name)) is wanted
    assert cluster.InventoryModule().verify_file(str(tmp_path / "missing.yml")) is False
