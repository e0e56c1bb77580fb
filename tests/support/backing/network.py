# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The network of a backing: one bridge for all of a cloud's network, so that nothing between its machines is masqueraded.

The host is the router at the network's first address, as in the clouds.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from backing.podman import Failed, Host, archive, listed, podman, run, runtime

RESOLVER = "resolver"
_CONFIG = """\
no-resolv
no-hosts
addn-hosts=/etc/backing/hosts
bind-interfaces
listen-address={address}
user=root
local-ttl=5
# Nothing leaves this host: what is not of the network does not exist.
local=/#/
"""
# The label and its form are those of the local cloud: who comes first remembers, who goes last restores.
_SETTINGS_LABEL = "flotilla-host-settings"
_MINIMUM = {"fs.inotify.max_user_instances": 8192, "fs.inotify.max_user_watches": 524288}
# podman sets the first, and kubelet the others, on the kernel that all nodes share.
_CHANGED = ("net.ipv4.ip_forward", "vm.overcommit_memory", "kernel.panic", "kernel.panic_on_oops", "kernel.keys.root_maxkeys",
            "kernel.keys.root_maxbytes")  # fmt: skip
_MODULES = ("br_netfilter", "overlay", "vxlan", "nf_conntrack")


def mac(address: str) -> str:
    """Return the hardware address that goes with an address, so that nobody remembers another one after a restart."""
    return "02:f2:" + ":".join(f"{part:02x}" for part in IPv4Address(address).packed)


class Network:
    """:param image: in which dnsmasq is."""

    def __init__(self, host: Host, image: str) -> None:
        self.host = host
        self.image = image
        self.name = f"backing-{host.name}"
        self._hosts: dict[str, tuple[str, ...]] | None = None

    def ensure(self, cidr: IPv4Network, resolver_address: str) -> None:
        """Make bridge and resolver where they are not there."""
        own = next((entry for entry in listed("network", "ls") if entry["name"] == self.name), None)
        if own and own["subnets"][0]["subnet"] != str(cidr):
            self.remove()
            own = None
        if not own:
            for module in _MODULES:
                run("modprobe", module, check=False)
            labels = [*self.host.labels("network", self.name), f"--label={_SETTINGS_LABEL}={_format(_originals())}"]
            podman("network", "create", "--disable-dns", "--subnet", str(cidr), "--gateway", str(cidr[1]), *labels, self.name)
        for key, least in _MINIMUM.items():
            if int(_setting(key)) < least:
                run("sysctl", "--quiet", "--write", f"{key}={least}")
        resolver = self.host.containers(RESOLVER).get(RESOLVER)
        if resolver and not resolver.running:
            self.host.remove([resolver.name], [])
            resolver = None
        if not resolver:
            self._start_resolver(resolver_address)

    def _start_resolver(self, address: str) -> None:
        name = f"{self.host.name}-{RESOLVER}"
        podman(
            *runtime(), "create", "--name", name, "--ulimit", "nofile=20000:20000", "--ulimit", "nproc=30000:30000",
            "--cap-add", "NET_ADMIN", "--network", self.name, "--ip", address, "--mac-address", mac(address), "--no-hosts",
            *self.host.labels(RESOLVER, RESOLVER), self.image, "dnsmasq", "--keep-in-foreground", "--conf-file=/etc/backing/dnsmasq.conf",
        )  # fmt: skip
        files = {"etc/backing/dnsmasq.conf": (0o644, _CONFIG.format(address=address)), "etc/backing/hosts": (0o644, "")}
        podman("cp", "-", f"{name}:/", data=archive(files))
        podman("start", name)
        self._hosts = None

    def answer(self, hosts: dict[str, tuple[str, ...]]) -> None:
        """Let the resolver know these names, and no others."""
        if hosts == self._hosts:
            return
        text = "".join(f"{address} {name}\n" for name, addresses in sorted(hosts.items()) for address in addresses)
        # In place, because a new file would be another one for the process that has it open; then dnsmasq reads it again.
        script = "cat > /etc/backing/hosts && kill -HUP 1"
        podman("exec", "--interactive", f"{self.host.name}-{RESOLVER}", "sh", "-c", script, data=text.encode())
        self._hosts = hosts

    def remove(self) -> None:
        """Remove the bridge, and give the host its settings back where nobody else needs them."""
        everything = listed("network", "ls")
        own = next((entry for entry in everything if entry["name"] == self.name), None)
        resolver = self.host.containers(RESOLVER).get(RESOLVER)
        self.host.remove([resolver.name] if resolver else [], [])
        if not own:
            return
        podman("network", "rm", self.name)
        others = [entry for entry in everything if entry is not own and _SETTINGS_LABEL in (entry.get("labels") or {})]
        if not others:
            for key, value in _parse((own.get("labels") or {}).get(_SETTINGS_LABEL, "")).items():
                if _setting(key) != value:
                    run("sysctl", "--quiet", "--write", f"{key}={value}")


def _setting(key: str) -> str:
    return Path("/proc/sys", key.replace(".", "/")).read_text(encoding="ascii").strip()


def _originals() -> dict[str, str]:
    for entry in listed("network", "ls"):
        text = (entry.get("labels") or {}).get(_SETTINGS_LABEL)
        if text:
            return _parse(text)
    return {key: _setting(key) for key in (*_MINIMUM, *_CHANGED) if Path("/proc/sys", key.replace(".", "/")).exists()}


def _parse(text: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in text.split())


def _format(settings: dict[str, str]) -> str:
    if any(" " in value for value in settings.values()):
        raise Failed(f"a setting has more than one value: {settings}")
    return " ".join(f"{key}={value}" for key, value in sorted(settings.items()))
