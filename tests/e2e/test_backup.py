# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A cluster with 10,000 objects loses its control plane and comes back from a backup: `make e2e-backup`."""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import os
import re
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import outside
import pytest
import secret_search
import yaml
from backup_store import BackupStore
from conftest import Cluster, wait_for

OBJECTS = 10_000
SECRETS = 2_000
PHRASE = "the-quick-brown-fox-jumps-over"
AHEAD = 1_000_000_000

pytestmark = pytest.mark.long


class Api:
    """The API as kubectl reaches it, over kept connections: kubectl itself would take an hour for so many objects."""

    def __init__(self, kubeconfig: Path, folder: Path) -> None:
        config = yaml.safe_load(kubeconfig.read_text(encoding="utf-8"))
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        files = {}
        for name, data in {
            "ca": cluster["certificate-authority-data"],
            "crt": user["client-certificate-data"],
            "key": user["client-key-data"],
        }.items():
            files[name] = folder / name
            files[name].write_bytes(base64.b64decode(data))
        self._context = ssl.create_default_context(cafile=files["ca"])
        self._context.load_cert_chain(files["crt"], files["key"])
        self._host = urlsplit(cluster["server"]).netloc

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection(self._host, context=self._context, timeout=60)

    def call(self, method: str, path: str, body: Any = None, connection: http.client.HTTPSConnection | None = None) -> tuple[int, Any]:
        connection = connection or self.connect()
        connection.request(method, path, json.dumps(body) if body else None, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read() or b"null")

    def items(self, path: str) -> Iterator[dict[str, Any]]:
        more = ""
        while True:
            status, page = self.call("GET", f"{path}?limit=2000{more}")
            assert status == 200, page
            yield from page["items"]
            if not page["metadata"].get("continue"):
                return
            more = f"&continue={page['metadata']['continue']}"

    def fill(self) -> None:
        def part(numbers: range) -> None:
            connection = self.connect()
            for number in numbers:
                kind, field = ("secrets", "stringData") if number < SECRETS else ("configmaps", "data")
                body = {"metadata": {"name": f"object-{number}"}, field: {"value": f"{PHRASE}-{number}"}}
                status, answer = self.call("POST", f"/api/v1/namespaces/many/{kind}", body, connection)
                assert status == 201, answer

        assert self.call("POST", "/api/v1/namespaces", {"metadata": {"name": "many"}})[0] == 201
        step = OBJECTS // 8
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(part, [range(first, first + step) for first in range(0, OBJECTS, step)]))

    def digest(self) -> dict[str, str]:
        """Return what tells whether every object is the same one: kind/name -> uid and hash of its data."""
        found = {}
        for kind in ("secrets", "configmaps"):
            for entry in self.items(f"/api/v1/namespaces/many/{kind}"):
                if entry["metadata"]["name"].startswith("object-"):
                    data = hashlib.sha256(json.dumps(entry["data"], sort_keys=True).encode()).hexdigest()
                    found[f"{kind}/{entry['metadata']['name']}"] = f"{entry['metadata']['uid']} {data}"
        return found


@dataclass
class World:
    cluster: Cluster
    folder: Path
    store: BackupStore
    control_planes: int

    @property
    def name(self) -> str:
        return self.cluster.name

    def api(self) -> Api:
        return Api(self.cluster.kubeconfig, self.folder)

    def backup(self, *options: str) -> outside.Run:
        return self.cluster.play("cluster_backup", *options)

    def restore(self, *options: str) -> outside.Run:
        return self.cluster.play("cluster_restore", *self.store.unlocked, *options)

    def worker(self) -> dict[str, str]:
        """Return what an installation anew would change of the worker."""
        (machine,) = outside.machines(self.name, "workers")
        files = "/etc/kubernetes/kubelet.conf /usr/local/bin/kubelet"
        script = f"stat -c '%i %Y' {files}; cat /etc/machine-id; readlink /var/lib/kubelet/pki/kubelet-client-current.pem"
        return {"container": outside.containers(self.name)[machine], "files": outside.host("podman", "exec", machine, "sh", "-c", script)}

    def destroy_control_plane(self) -> None:
        for machine in outside.machines(self.name, "control-plane"):
            mounts = json.loads(outside.host("podman", "inspect", "--format", "{{json .Mounts}}", machine))
            outside.host("podman", "rm", "--force", "--time", "0", machine)
            for mount in mounts:
                if mount["Type"] == "volume":
                    outside.host("podman", "volume", "rm", "--force", mount["Name"], check=False)
        assert outside.machines(self.name, "control-plane") == []

    def on_disk(self, key: str) -> str:
        """Return the value of a key as etcd has it."""
        machine = outside.machines(self.name, "control-plane")[0]
        pki = "/etc/kubernetes/pki/etcd"
        flags = f"--cacert={pki}/ca.crt --cert={pki}/healthcheck-client.crt --key={pki}/healthcheck-client.key"
        return outside.host("podman", "exec", machine, "sh", "-c", f"etcdctl {flags} get --print-value-only {key} | head -c 40 | cat -v")


@pytest.fixture(scope="module", params=[1, 3], ids=["one", "three"])
def world(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with made(f"test-backup-{request.param}", tmp_path_factory, control_plane={"count": request.param}) as world:
        yield world


@contextmanager
def made(name: str, tmp_path_factory: pytest.TempPathFactory, **definition: Any) -> Iterator[World]:
    """Give a cluster with a place for backups."""
    foundation, folder = tmp_path_factory.mktemp("backup"), tmp_path_factory.mktemp("recipient")
    store = BackupStore.make(name, folder)
    outside.write_definition(foundation, name, **definition, local={"network_cidr": "172.30.231.0/24"}, backup_store=store.section)
    vault = folder / "vault.json"
    vault.write_text("{}", encoding="utf-8")
    if any(outside.left_of(name).values()):
        outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={name}")
    applied = outside.playbook("cluster_apply", foundation)
    assert applied.status == 0, applied.output[-6000:]
    cluster = Cluster(foundation, name, applied, {}, None, foundation, vault)
    try:
        yield World(cluster, folder, store, definition.get("control_plane", {}).get("count", 1))
    finally:
        if not os.environ.get("FLOTILLA_KEEP"):
            deleted = outside.playbook("cluster_delete", foundation, "-e", f"flotilla_confirm={name}")
            assert deleted.status == 0 and not any(outside.left_of(name).values()), deleted.output[-3000:]
            store.remove()


def test_everything_that_the_backup_holds_comes_back(world: World) -> None:
    cluster = world.cluster
    deploy(world)
    api = world.api()
    api.fill()
    before = api.digest()
    assert len(before) == OBJECTS
    assert "k8s:enc:secretbox" in world.on_disk("/registry/secrets/many/object-0"), "Secrets are encrypted at rest"

    predicted = world.backup("--check")
    assert predicted.status == 0 and "A backup would go to" in predicted.output, predicted.output[-3000:]
    assert world.store.manifests() == []
    taken = world.backup()
    assert taken.status == 0, taken.output[-3000:]
    (manifest,) = world.store.manifests()
    assert (manifest["objects"]["secrets"] >= SECRETS, manifest["members"], manifest["verified"]) == (True, world.control_planes, True)
    nothing_plain_is_in(world)

    _status, later = api.call("POST", "/api/v1/namespaces/many/configmaps", {"metadata": {"name": "written-after"}})
    api.call("DELETE", "/api/v1/namespaces/many/secrets/object-1")
    seen = later["metadata"]["resourceVersion"]
    worker = world.worker()
    pods = {pod["metadata"]["uid"]: containers_of(pod) for pod in cluster.get("pods", "--selector=app=web")}

    shown = world.restore("--check")
    assert shown.status == 0 and re.search(r"configmaps: 1 created", shown.output), shown.output[-3000:]
    # Tokens of nodes that join expire meanwhile, so there may be more.
    assert re.search(r"secrets: .*[1-9] deleted", shown.output), shown.output[-3000:]
    refused = world.restore("-e", "flotilla_confirm=somebody-else")
    assert refused.status != 0 and "was not restored, because nobody confirmed it" in refused.output
    assert api.call("GET", "/api/v1/namespaces/many/configmaps/written-after")[0] == 200, "so far nothing happened"

    world.destroy_control_plane()
    empty = cluster.play("cluster_apply")
    assert empty.status != 0 and "of which no control plane is left" in empty.output, empty.output[-3000:]
    restored = world.restore("-e", f"flotilla_confirm={world.name}")
    assert restored.status == 0, restored.output[-6000:]

    api = world.api()
    assert api.digest() == before
    assert api.call("GET", "/api/v1/namespaces/many/configmaps/written-after")[0] == 404
    assert "k8s:enc:secretbox" in world.on_disk("/registry/secrets/many/object-0")
    status, answer = api.call("GET", f"/api/v1/namespaces/many/configmaps?watch=1&timeoutSeconds=5&resourceVersion={seen}")
    assert (status, answer.get("code", answer.get("object", {}).get("code"))) in ((410, 410), (200, 410)), "who watches has to read anew"
    assert int(api.call("GET", "/api/v1/namespaces/many/configmaps?limit=1")[1]["metadata"]["resourceVersion"]) > AHEAD
    assert world.worker() == worker, "the worker is the one that it was"
    nodes = {node["metadata"]["name"] for node in cluster.get("nodes")}
    assert nodes == set(outside.machines(world.name, "control-plane") + outside.machines(world.name, "workers"))
    running = {pod["metadata"]["uid"]: containers_of(pod) for pod in cluster.get("pods", "--selector=app=web")}
    assert running == pods, "pods ran on"
    again = cluster.play("cluster_apply")
    assert (again.status, again.changed) == (0, 0), again.output[-3000:]
    nothing_is_left_on_the_nodes(world)

    # The cluster works: what is scaled comes up on the worker.
    cluster.kubectl("scale", "deployment", "web", "--replicas=3")
    wait_for("a third pod", lambda: len([pod for pod in cluster.get("pods", "--selector=app=web") if ready(pod)]) == 3)


def test_a_cluster_that_serves_goes_back_and_its_present_is_kept(world: World) -> None:
    api = world.api()
    api.call("POST", "/api/v1/namespaces", {"metadata": {"name": "many"}})
    if not world.store.manifests():
        assert world.backup().status == 0
    assert api.call("POST", "/api/v1/namespaces/many/configmaps", {"metadata": {"name": "written-much-later"}})[0] == 201
    known = {manifest["id"] for manifest in world.store.manifests()}
    first = next(iter(known))
    restored = world.restore("-e", f"flotilla_confirm={world.name}", "-e", f"flotilla_backup_id={first}")
    assert restored.status == 0, restored.output[-6000:]
    assert world.api().call("GET", "/api/v1/namespaces/many/configmaps/written-much-later")[0] == 404
    (kept,) = [manifest for manifest in world.store.manifests() if manifest["id"] not in known]
    assert kept["occasion"] == "before-restore"
    restored = world.restore(
        "-e", f"flotilla_confirm={world.name}", "-e", f"flotilla_backup_id={kept['id']}", "-e", "flotilla_backup_first=false"
    )
    assert restored.status == 0, restored.output[-6000:]
    assert world.api().call("GET", "/api/v1/namespaces/many/configmaps/written-much-later")[0] == 200


def test_backups_go_to_a_host_by_ssh(world: World, tmp_path: Path) -> None:
    """The host is the worker, whose SSH server is a real one; its key is in a file of this test's own."""
    (worker,) = outside.machines(world.name, "workers")
    address = outside.address(worker)
    known = outside.cache() / "known_hosts" / world.name
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "ssh").write_text(f'#!/bin/sh\nexec {shutil.which("ssh")} -o UserKnownHostsFile={known} "$@"\n', encoding="utf-8")
    (programs / "ssh").chmod(0o755)
    path = world.cluster.foundation / "clusters" / f"{world.name}.yml"
    definition = yaml.safe_load(path.read_text(encoding="utf-8"))
    key = outside.cache() / "local/ssh/id_ed25519"
    definition["backup_store"].pop("directory")
    definition["backup_store"]["ssh"] = {
        "host": address,
        "user": "flotilla",
        "path": "/home/flotilla/backups",
        "private_key_file": str(key),
    }
    text = path.read_text(encoding="utf-8")
    path.write_text(yaml.safe_dump(definition, sort_keys=False), encoding="utf-8")
    try:
        taken = world.backup()
        taken = world.cluster.play("cluster_backup", environment={"PATH": f"{programs}:{os.environ['PATH']}"})
        assert taken.status == 0, taken.output[-3000:]
        listed = outside.host("podman", "exec", worker, "ls", f"/home/flotilla/backups/{world.name}").split()
        assert [name.rpartition(".")[2] for name in sorted(listed)] == ["backup", "json"]
    finally:
        path.write_text(text, encoding="utf-8")


def deploy(world: World) -> None:
    """Have two pods of an image that the machines have."""
    manifest = json.loads((world.cluster.bundle / "manifest.json").read_text(encoding="utf-8"))
    world.cluster.kubectl("create", "deployment", "web", f"--image={manifest['pause_image']}", "--replicas=2")
    wait_for("two pods", lambda: len([pod for pod in world.cluster.get("pods", "--selector=app=web") if ready(pod)]) == 2)


def containers_of(pod: dict[str, Any]) -> list[str]:
    return [status["containerID"] for status in pod["status"]["containerStatuses"]]


def ready(pod: dict[str, Any]) -> bool:
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in pod["status"].get("conditions", ()))


def nothing_plain_is_in(world: World) -> None:
    """Neither in the store, nor in what a backup leaves on the node and on the controller."""
    machine = outside.machines(world.name, "control-plane")[0]
    secrets = {
        "a ConfigMap": f"{PHRASE}-{OBJECTS - 1}".encode(),
        "the CA's key": outside.host("podman", "exec", machine, "cat", "/etc/kubernetes/pki/ca.key").encode(),
        "the key of Secrets": re.search(
            r'"secret": "([^"]+)"', outside.host("podman", "exec", machine, "cat", "/etc/kubernetes/flotilla/encryption.json")
        )[1].encode(),
    }
    search = secret_search.Search(secrets)
    stored = [(str(path), path.read_bytes()) for path in world.store.folder.rglob("*") if path.is_file()]
    assert len(stored) == 2 and search.find_all(stored) == []
    assert list((outside.cache() / "backups").glob("transfer-*")) == []
    left = outside.host(
        "podman",
        "exec",
        machine,
        "sh",
        "-c",
        "ls -d /var/tmp/flotilla-backup-* /var/lib/flotilla/etcd-backup/snapshot-* 2>/dev/null || true",
    )
    assert left.split() == []
    # The positive control: opened by hand, the archive has them all.
    (archive,) = world.store.folder.rglob("*.backup")
    script = f"""
        head -n 1 {archive} | python3 -c 'import base64, json, sys; print(json.load(sys.stdin)["key"])' | base64 -d >envelope
        openssl cms -decrypt -inform DER -in envelope -inkey {world.store.key} -out data.key
        tail -n +2 {archive} | openssl enc -d -aes-256-ctr -pbkdf2 -md sha256 -iter 10000 -pass file:data.key | tar -xz
    """
    opened = world.folder / "opened"
    opened.mkdir()
    subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=opened, check=True)
    found = {finding.secret for finding in search.find_all((str(path), path.read_bytes()) for path in opened.rglob("*") if path.is_file())}
    shutil.rmtree(opened)
    assert found == set(secrets)


def nothing_is_left_on_the_nodes(world: World) -> None:
    for machine in outside.machines(world.name, "control-plane"):
        found = outside.host(
            "podman",
            "exec",
            machine,
            "sh",
            "-c",
            "ls -d /var/lib/flotilla/restore /var/lib/flotilla/etcd-restore/unpack-* 2>/dev/null || true",
        )
        assert found.split() == [], machine
