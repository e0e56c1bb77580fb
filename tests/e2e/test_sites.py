# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A real cluster of one machine at a site with a proxy that asks for a login, a registry behind it and a private certificate authority.

Part of ``make e2e-full``. It uses the cluster name ``test-sites`` and 172.30.251.0/24 (or FLOTILLA_SITES_CLUSTER and
FLOTILLA_SITES_NETWORK) and cleans up after itself.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import outside
import pytest
import web

NAME = os.environ.get("FLOTILLA_SITES_CLUSTER", "test-sites")
NETWORK = os.environ.get("FLOTILLA_SITES_NETWORK", "172.30.251")
PROXY_LOGIN, REGISTRY_LOGIN = ("proxy user", "MARKER-proxy:p@ss"), ("puller", "MARKER-registry:p@ss")
# Names that no name server knows: whatever reaches them came through the proxy.
REGISTRY, IMAGES = "registry.site.test", "images.site.test"
NOWHERE = "203.0.113.1"  # TEST-NET-3 (RFC 5737): never routed
FILES = [
    "/etc/flotilla/proxy.env", "/etc/apt/apt.conf.d/90flotilla-proxy",
    "/etc/systemd/system/containerd.service.d/90-flotilla-proxy.conf", "/etc/systemd/system/kubelet.service.d/90-flotilla-proxy.conf",
    f"/etc/containerd/certs.d/{IMAGES}/hosts.toml",
]  # fmt: skip

pytestmark = pytest.mark.full


@dataclass
class Site:
    """The cluster, its machine and what stands around it."""

    foundation: Path
    authority: Any
    proxy: Any
    gate: Any

    def define(self, **changes: Any) -> None:
        outside.write_definition(
            self.foundation, NAME, control_plane={"count": 1}, pools=[], local={"network_cidr": f"{NETWORK}.0/24"}, **changes
        )

    @property
    def settings(self) -> dict[str, Any]:
        url = f"http://{NETWORK}.1:{self.proxy.port}"
        return {
            "proxy": {"http": url, "https": url},
            "ca_files": [str(self.authority.certificate)],
            "registry_mirrors": [{"registry": IMAGES, "url": f"https://{REGISTRY}:{self.gate.port}"}],
            "dns": {"servers": [f"{NETWORK}.2"], "search": ["site.test"]},
        }

    def apply(self, *options: str) -> outside.Run:
        secrets = {
            "kubernetes_node_proxy_credentials": dict(zip(("username", "password"), PROXY_LOGIN)),
            "containerd_registry_credentials": {f"{REGISTRY}:{self.gate.port}": dict(zip(("username", "password"), REGISTRY_LOGIN))},
        }
        file = self.foundation.parent / "secrets.json"
        file.write_text(json.dumps(secrets), encoding="utf-8")
        return outside.playbook("cluster_apply", self.foundation, "-e", f"@{file}", "--diff", *options)

    def shell(self, script: str) -> tuple[int, str]:
        """Run a script on the machine and return its status and output."""
        done = subprocess.run(
            [*outside.SUDO, "podman", "exec", outside.machines(NAME)[0], "sh", "-c", script],
            capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout + done.stderr

    def present(self) -> list[str]:
        return [path for path in FILES if self.shell(f"test -e {path}")[0] == 0]

    def bypassing(self) -> int:
        """Return how many packets left the machines' network for anywhere but this host, by the kernel's own counter."""
        listed = json.loads(outside.host("nft", "--json", "list", "counters", "table", "inet", f"flotilla_{NAME.replace('-', '_')}"))[
            "nftables"
        ]
        return sum(entry["counter"]["packets"] for entry in listed if entry.get("counter", {}).get("name") == "egress")


def make_image(folder: Path) -> Path:
    """Return an archive of an image with one layer that no machine can have already, as `docker save` writes it."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        _add(tar, "content", os.urandom(1 << 20))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/content"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"]},
    }
    path = folder / "image.tar"
    with tarfile.open(path, mode="w") as tar:
        _add(tar, "layer.tar", layer.getvalue())
        _add(tar, "config.json", json.dumps(config).encode())
        _add(tar, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": ["app:1"], "Layers": ["layer.tar"]}]).encode())
    return path


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    tar.addfile(entry, io.BytesIO(content))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run Debian's registry without TLS and logins on a port of this host only, with one image, and return the port."""
    folder, port = tmp_path_factory.mktemp("registry"), 5999
    config = {
        "version": 0.1,
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    (folder / "config.yml").write_text(json.dumps(config), encoding="utf-8")
    process = subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        copy = [
            "skopeo",
            "copy",
            "--dest-tls-verify=false",
            f"docker-archive:{make_image(folder)}",
            f"docker://127.0.0.1:{port}/app:1",
        ]
        deadline = time.monotonic() + 60
        while subprocess.run(copy, capture_output=True, check=False).returncode:
            assert time.monotonic() < deadline, "the registry does not take the image"
            time.sleep(0.5)
        yield port
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, registry: int) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    authority = web.Authority(folder / "ca")
    gate = web.Gate(("127.0.0.1", registry), authority.issue(REGISTRY), REGISTRY_LOGIN)
    hosts = {REGISTRY: ("127.0.0.1", gate.port)}
    # Not on the machines' own gateway: that is there only when the network is.
    proxy = web.Proxy("0.0.0.0", login=PROXY_LOGIN, hosts=hosts)
    with web.serving(gate), web.serving(proxy):
        made = Site(folder / "foundation", authority, proxy, gate)
        made.define(site=made.settings)
        try:
            yield made
        finally:
            outside.playbook("cluster_delete", made.foundation, "-e", f"flotilla_confirm={NAME}")


def test_a_cluster_comes_up_behind_the_proxy_and_the_second_run_changes_nothing(site: Site) -> None:
    first = site.apply("-vvv")
    assert first.status == 0, first.output[-6000:]
    assert site.present() == FILES
    for path in (FILES[0], FILES[1], FILES[4]):
        assert site.shell(f"stat --format %a:%U {path}")[1].strip() == "600:root", path
    second = site.apply()
    assert (second.status, second.changed) == (0, 0), second.output[-6000:]
    # The control: the diff did show the rest.
    assert "90-flotilla-proxy.conf" in first.output and "EnvironmentFile=" in first.output
    for secret in ("MARKER-proxy", "MARKER-registry", web.basic(*REGISTRY_LOGIN).split()[1]):
        assert secret not in first.output + second.output
    assert site.shell("grep -rh MARKER /etc/flotilla/proxy.env | head -1")[1].strip() != ""


def test_an_image_comes_from_the_mirror_through_the_proxy_and_nothing_bypasses_it(site: Site) -> None:
    before, outside_before = len(site.gate.seen), site.bypassing()
    status, output = site.shell(f"crictl pull {IMAGES}/app:1")
    assert status == 0, output
    pulled = site.gate.seen[before:]
    assert any("/blobs/" in path and answer == 200 for path, answer in pulled) and all(answer in (200, 401) for _path, answer in pulled)
    assert ("CONNECT", f"{REGISTRY}:{site.gate.port}", 200) in site.proxy.seen
    assert site.bypassing() == outside_before
    # The control: what does bypass the proxy is counted.
    site.shell(f"curl --noproxy '*' --max-time 2 http://{NOWHERE}/")
    assert site.bypassing() > outside_before


def test_the_cluster_itself_is_reached_without_the_proxy(site: Site) -> None:
    def ask(url: str) -> str:
        script = f"curl --silent --insecure --max-time 20 --output /dev/null --write-out '%{{http_code}}' {url}"
        return site.shell(f"set -a; . /etc/flotilla/proxy.env; {script}")[1]

    seen = len(site.proxy.seen)
    for address in ("10.96.0.1", f"{NETWORK}.3:6443"):
        # Whatever it answers: the question is the way to it.
        assert ask(f"https://{address}/livez") in ("200", "401", "403"), address
    assert site.proxy.seen[seen:] == []
    # The control: with the same environment another address is asked for at the proxy.
    ask(f"https://{NOWHERE}/")
    assert [target for _method, target, _status in site.proxy.seen[seen:]] == [f"{NOWHERE}:443"]


def test_the_control_plane_knows_no_proxy(site: Site) -> None:
    assert site.shell("grep -rliE '_proxy|MARKER' /etc/kubernetes")[1].strip() == ""
    # The control: containerd does.
    assert "https_proxy" in site.shell("tr '\\0' '\\n' < /proc/$(pidof -s containerd)/environ")[1].lower()


def test_time_comes_from_the_sites_servers_and_the_service_is_off_again_afterwards(site: Site) -> None:
    # A definition of the cloud local may not have it, as the clock is the host's; this way chronyd leaves the clock alone.
    site.shell("echo 'DAEMON_OPTS=\"-x\"' > /etc/default/chrony")
    server = f"{NETWORK}.2"
    run = site.apply("-e", json.dumps({"kubernetes_node_ntp_servers": [server]}))
    assert run.status == 0, run.output[-6000:]
    assert server in site.shell("chronyc -n sources")[1] and site.shell("systemctl is-active chrony")[1].strip() == "active"
    run = site.apply()
    assert run.status == 0, run.output[-6000:]
    assert site.shell("test -e /etc/chrony/sources.d/90-flotilla.sources")[0] != 0
    assert site.shell("systemctl is-active chrony")[1].strip() == "inactive"


def test_what_is_no_longer_set_goes(site: Site) -> None:
    site.define()
    run = site.apply()
    assert run.status == 0 and run.changed > 0, run.output[-6000:]
    assert site.present() == [] and site.shell("find /usr/local/share/ca-certificates /etc/ssl/certs -name 'flotilla*'")[1].strip() == ""
    assert "search site.test" not in site.shell("cat /etc/resolv.conf")[1]
    assert "proxy" not in site.shell("tr '\\0' '\\n' < /proc/$(pidof -s containerd)/environ")[1].lower()
    seen = len(site.proxy.seen)
    assert site.shell(f"crictl rmi {IMAGES}/app:1; crictl pull {IMAGES}/app:1")[0] != 0 and len(site.proxy.seen) == seen
    again = site.apply()
    assert (again.status, again.changed) == (0, 0), again.output[-6000:]
