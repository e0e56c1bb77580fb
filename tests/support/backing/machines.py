# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Machines of a backing: node containers that boot with the real cloud-init and the machine's own user data."""

from __future__ import annotations

import json
from typing import Any

from backing.network import mac
from backing.picture import Instance
from backing.podman import Host, archive, podman, runtime

MACHINE = "machine"
VOLUMES = {"containerd": "/var/lib/containerd", "kubelet": "/var/lib/kubelet", "etcd": "/var/lib/etcd"}
# The network is podman's. No JSON: a shell script looks for the first of these lines before cloud-init itself reads them.
# https://docs.cloud-init.io/en/latest/reference/datasources/nocloud.html
_CLOUD_INIT = """\
datasource_list: [NoCloud]
manage_etc_hosts: true
network: {config: disabled}
"""
_SEED = "var/lib/cloud/seed/nocloud"


class Machines:
    def __init__(self, host: Host, image: str, network: str) -> None:
        self.host = host
        self.image = image
        self.network = network

    def create(self, instance: Instance, user_data: bytes, resolver: str) -> None:
        """Make a machine and switch it on."""
        name, labels = f"{self.host.name}-{instance.id}", self.host.labels(MACHINE, instance.id)
        volumes = {f"{name}-{part}": folder for part, folder in VOLUMES.items()}
        for volume in volumes:
            podman("volume", "create", *labels, volume)
        podman(
            *runtime(), "create", "--name", name, "--hostname", "localhost", *labels,
            # As the local cloud starts its machines, for the reasons that are given there.
            "--privileged", "--systemd=false", "--env", "container=podman", "--cgroupns=private", "--tmpfs", "/run",
            "--tmpfs", "/run/lock", "--tmpfs", "/tmp", "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=30000:30000",
            "--pids-limit", "-1", "--network", self.network, "--ip", instance.address, "--mac-address", mac(instance.address),
            "--dns", resolver, "--dns-search", ".", "--no-hosts", *(f"--volume={key}:{folder}" for key, folder in volumes.items()),
            self.image, "/sbin/init",
        )  # fmt: skip
        meta_data = {"instance-id": instance.id, "local-hostname": instance.hostname}
        files: dict[str, tuple[int, Any]] = {
            f"{_SEED}/meta-data": (0o600, json.dumps(meta_data)),
            f"{_SEED}/user-data": (0o600, user_data),
            "etc/cloud/cloud.cfg.d/99-backing.cfg": (0o644, _CLOUD_INIT),
        }
        podman("cp", "-", f"{name}:/", data=archive(files))
        self.start(name)

    @staticmethod
    def start(container: str) -> None:
        podman("start", container, timeout=120)

    @staticmethod
    def take(container: str, addresses: tuple[str, ...]) -> None:
        """Have a machine take these addresses for its own and no others, by routes such as Google's guest agent makes.

        https://github.com/GoogleCloudPlatform/guest-agent#network
        """
        # In a cloud nobody asks a machine by ARP for the address of a balancer.
        quiet = "echo 1 > /proc/sys/net/ipv4/conf/eth0/arp_ignore"
        routes = "ip route flush table local proto 66; for one in $ADDRESSES; do ip route add local $one/32 dev eth0 proto 66; done"
        podman("exec", "--env", f"ADDRESSES={' '.join(addresses)}", container, "sh", "-ec", f"{quiet}; {routes}")

    @staticmethod
    def stop(container: str) -> None:
        # systemd gets time to stop what runs, as a cloud gives it; then the power goes.
        podman("stop", "--time", "30", container, timeout=120)
