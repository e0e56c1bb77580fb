# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: registry_hosts
short_description: Turn registry mirrors and credentials into the files that containerd reads
version_added: "0.2.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Returns the files below C(/etc/containerd/certs.d) for M(flotilla.kubernetes.node_files), one C(hosts.toml) per registry,
    see U(https://github.com/containerd/containerd/blob/main/docs/hosts.md). containerd reads them at each pull, so it needs no restart.
  - Credentials become a header of C(hosts.toml). containerd sends it to the mirror and, where the mirror wants tokens, to its token server.
    The section C(registry.configs) of containerd's own configuration is deprecated and would turn off its present way of pulling.
options:
  _input:
    description: Entries as in C(site.registry_mirrors) of a cluster definition.
    type: list
    elements: dict
    required: true
  credentials:
    description:
      - C(username) and C(password) by host, with the port if the URL has one.
      - Credentials of a host that is no mirror are for the registry of that name itself.
    type: dict
    default: {}
  certificates:
    description: The content of each C(ca_file), by its path.
    type: dict
    default: {}
positional: credentials, certificates
"""

EXAMPLES = r"""
- name: Show the files
  ansible.builtin.debug:
    msg: "{{ [{'registry': 'docker.io', 'url': 'https://mirror.example.com'}] | flotilla.kubernetes.registry_hosts }}"
"""

RETURN = r"""
_value:
  description: C(files) and C(secret_files) as M(flotilla.kubernetes.node_files) takes them; secret is what holds credentials.
  type: dict
"""

import base64
import hashlib
import json
from collections.abc import Sequence
from typing import Any, Callable
from urllib.parse import urlsplit

from ansible.errors import AnsibleFilterError

FOLDER = "/etc/containerd/certs.d"
# Its name in images is not its address.
_ADDRESSES = {"docker.io": "registry-1.docker.io"}


def registry_hosts(
    mirrors: Sequence[dict[str, Any]],
    credentials: dict[str, dict[str, str]] | None = None,
    certificates: dict[str, str] | None = None,
) -> dict[str, list[dict[str, Any]]]:
    """Return the files, registries in the order in which they are named first.

    :raises AnsibleFilterError: a password would be sent over plain HTTP, or the credentials of a host are not complete.
    """
    credentials, certificates = credentials or {}, certificates or {}
    by_registry: dict[str, list[dict[str, Any]]] = {}
    for mirror in mirrors:
        by_registry.setdefault(mirror["registry"], []).append(mirror)
    mirror_hosts = {urlsplit(mirror["url"]).netloc for mirror in mirrors}
    for host in credentials:
        if host not in mirror_hosts:
            itself = {"registry": host, "url": f"https://{_ADDRESSES.get(host, host)}", "credentials": host}
            by_registry.setdefault(host, []).append(itself)
    files: dict[str, list[dict[str, Any]]] = {"files": [], "secret_files": []}
    for registry, entries in by_registry.items():
        # containerd writes a port as _5000_ in the folder's name: a colon is not allowed in every file system.
        name, colon, port = registry.rpartition(":")
        folder = f"{FOLDER}/{name}_{port}_" if colon else f"{FOLDER}/{registry}"
        parts, secret = ["# Written by the Ansible role flotilla.kubernetes.containerd.\n"], False
        for entry in entries:
            login = credentials.get(entry.get("credentials", urlsplit(entry["url"]).netloc))
            lines = [f"[host.{json.dumps(entry['url'])}]", '  capabilities = ["pull", "resolve"]']
            if entry.get("override_path"):
                lines.append("  override_path = true")
            if entry.get("ca_file"):
                text = certificates[entry["ca_file"]]
                path = f"{folder}/ca-{hashlib.sha256(text.encode()).hexdigest()[:16]}.pem"
                entry_file = {"dest": path, "content": text if text.endswith("\n") else f"{text}\n", "restart": False}
                if entry_file not in files["files"]:
                    files["files"].append(entry_file)
                lines.append(f"  ca = {json.dumps(path)}")
            if login:
                secret = True
                lines += [f"  [host.{json.dumps(entry['url'])}.header]", f"    Authorization = {json.dumps(_basic(entry['url'], login))}"]
            parts.append("\n".join(lines) + "\n")
        files["secret_files" if secret else "files"].append({"dest": f"{folder}/hosts.toml", "content": "\n".join(parts), "restart": False})
    return files


def _basic(url: str, login: dict[str, str]) -> str:
    """Return the header's value, see RFC 7617."""
    host = urlsplit(url).netloc
    if not url.startswith("https://"):
        raise AnsibleFilterError(f"The registry {host} has credentials, but its URL is {url}: they would be sent unencrypted. Use https.")
    if not login.get("username") or not login.get("password"):
        raise AnsibleFilterError(f"The credentials of the registry {host} need a username and a password.")
    return "Basic " + base64.b64encode(f"{login['username']}:{login['password']}".encode()).decode()


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"registry_hosts": registry_hosts}
