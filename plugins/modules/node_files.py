#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_files
short_description: Bring files, container images and configuration to a machine, and have services run with them
version_added: "0.1.0"
description:
  - Copies those files and image archives of a bundle on the controller that the machine does not have, checks their SHA-256 on the machine,
    and puts each file in place at once, so that a running program keeps its old file and a lost connection leaves no half file. Images go
    into the namespace of containerd that Kubernetes uses; nothing is pulled from a registry.
  - Writes each configuration file that differs, atomically, and makes the folders that it needs.
  - All in one task, because a task costs more than most of this. A machine that has everything is asked once.
  - With O(owner), files that an earlier run wrote for the same owner, and that are no longer listed, are removed.
options:
  bundle:
    description: The bundle's directory on the controller. Needed with O(bundle_files) and O(images).
    type: str
  bundle_files:
    description: Which files of the bundle go where.
    type: list
    elements: dict
    default: []
    suboptions:
      path:
        description: Path inside the bundle.
        type: str
        required: true
      dest:
        description: Absolute path on the machine.
        type: str
        required: true
      sha256:
        description: SHA-256 of the content, as the manifest of the bundle has it.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0755"
  images:
    description: The container images, as the manifest of the bundle lists them. They are imported last; containerd has to run by then.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Full name with tag.
        type: str
        required: true
      path:
        description: Path of the archive inside the bundle.
        type: str
        required: true
      sha256:
        description: SHA-256 of the archive.
        type: str
        required: true
  files:
    description: Configuration files, with their content.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Absolute path on the machine.
        type: str
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0644"
      restart:
        description: Whether a change of this file needs the restart of O(services).
        type: bool
        default: true
  secret_files:
    description: Files whose content is shown nowhere, neither in diffs nor in output.
    type: list
    elements: dict
    default: []
    suboptions:
      dest:
        description: Absolute path on the machine.
        type: str
        required: true
      content:
        description: The whole content.
        type: str
        required: true
      mode:
        description: Permissions, octal.
        type: str
        default: "0600"
      restart:
        description: Whether a change of this file needs the restart of O(services).
        type: bool
        default: true
  owner:
    description: Name under which the machine remembers these files in C(/var/lib/flotilla). Without it nothing is ever removed.
    type: str
  ahead:
    description:
      - Whether to bring O(bundle_files) only as far as the machine's own store and O(images) into containerd, and to change nothing that
        runs. The same task without it then puts everything in its place without bringing anything.
    type: bool
    default: false
  hold:
    description:
      - Whether a service that runs is left as it is where it would be restarted. Then only what O(ahead) allows is done, and RV(held)
        names the service; the same task without it does the rest. For machines that must not restart something all at once. Check mode
        predicts the rest, too.
    type: bool
    default: false
  services:
    description:
      - Services that use these files. Each is enabled, so that it starts at boot, and restarted when one of O(bundle_files) has changed, or
        one of O(files) and O(secret_files) that says so.
      - A restart that is due is remembered in C(/var/lib/flotilla/restart-<name>) until it is done, so a killed run does not lose it.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: Name of the unit.
        type: str
        required: true
      running:
        description: Whether the service has to run. Without it, one that does not run is left so.
        type: bool
        default: true
      restart:
        description: Whether something else that the service reads has changed, so that it needs a restart for that.
        type: bool
        default: false
      reload:
        description: Whether the service is told to read its files again instead of being restarted.
        type: bool
        default: false
extends_documentation_fragment:
  - flotilla.kubernetes.delivery
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Point crictl to containerd
  flotilla.kubernetes.node_files:
    files:
      - dest: /etc/crictl.yaml
        content: |
          runtime-endpoint: unix:///run/containerd/containerd.sock

- name: Install and configure containerd, and have it run
  flotilla.kubernetes.node_files:
    bundle: "{{ flotilla_bundle.directory }}"
    bundle_files:
      - path: bin/amd64/containerd
        dest: /usr/local/bin/containerd
        sha256: "{{ containerd_sha256 }}"
    files:
      - dest: /etc/containerd/config.toml
        content: "{{ lookup('ansible.builtin.template', 'config.toml.j2') }}"
    services: [{name: containerd}]

- name: Import what the node runs
  flotilla.kubernetes.node_files:
    bundle: "{{ flotilla_bundle.directory }}"
    images: "{{ images_of_this_node }}"
"""

RETURN = r"""
installed:
  description: Destinations of O(bundle_files) that were not there, or had another content or mode.
  returned: always
  type: list
  elements: str
  sample: [/usr/local/bin/kubectl]
imported:
  description: Names of O(images) that containerd did not have, or had from another archive.
  returned: always
  type: list
  elements: str
  sample: ["registry.k8s.io/pause:3.10.2"]
written:
  description: Paths of O(files) and O(secret_files) that differed.
  returned: always
  type: list
  elements: str
  sample: [/etc/crictl.yaml]
removed:
  description: Paths of the files that were removed because they are no longer listed.
  returned: always
  type: list
  elements: str
  sample: []
service_steps:
  description: What each service needed, its name and V(enabled), V(started), V(restarted) or V(reloaded).
  returned: always
  type: list
  elements: str
  sample: [containerd restarted]
held:
  description: The services for whose sake something was left undone, because of O(hold).
  returned: always
  type: list
  elements: str
  sample: []
"""

from typing import Any

from ..module_utils._delivered import ARGUMENTS, between
from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._installed import forget_staged
from ..module_utils._node_files import NodeFiles


class QuietModule(FencedModule):
    """A module whose call is not written to the machine's log.

    Ansible masks secrets there only where they stand as they are; in the text of a list the lines of a file are escaped.
    """

    def _log_invocation(self) -> None:
        pass


def converge(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do what the stage asks for and return the module's result, with what the action plugin is to know besides."""
    if params["remote_tmp"] and not check_mode:
        forget_staged(params["remote_tmp"])
    wanted = NodeFiles({**params, "hold": params["hold"] and not check_mode})
    to_bring = wanted.to_bring()
    staged, answer = between(params, to_bring)
    arrived = params["stage"] in ("fetch", "finish") and answer.get("finished", True)
    if not check_mode and (arrived or (params["stage"] == "inspect" and not to_bring)):
        wanted.apply(staged)
    sources = {entry["key"]: {"path": entry["path"], "sha256": entry["sha256"]} for entry in to_bring}
    return {**wanted.result(), "sources": sources, **answer}


def main() -> None:
    module = QuietModule(
        argument_spec={
            "bundle": {"type": "str"},
            "bundle_files": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "path": {"type": "str", "required": True},
                    "dest": {"type": "str", "required": True},
                    "sha256": {"type": "str", "required": True},
                    "mode": {"type": "str", "default": "0755"},
                },
            },
            "images": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "path": {"type": "str", "required": True},
                    "sha256": {"type": "str", "required": True},
                },
            },
            "files": {"type": "list", "elements": "dict", "default": [], "options": _options(secret=False)},
            "secret_files": {"type": "list", "elements": "dict", "default": [], "no_log": False, "options": _options(secret=True)},
            "owner": {"type": "str"},
            "ahead": {"type": "bool", "default": False},
            "hold": {"type": "bool", "default": False},
            "services": {
                "type": "list",
                "elements": "dict",
                "default": [],
                "options": {
                    "name": {"type": "str", "required": True},
                    "running": {"type": "bool", "default": True},
                    "restart": {"type": "bool", "default": False},
                    "reload": {"type": "bool", "default": False},
                },
            },
            **ARGUMENTS,
        },
        supports_check_mode=True,
    )
    if not module.params["bundle"] and (module.params["bundle_files"] or module.params["images"]):
        module.fail_json(msg="bundle_files and images come from a bundle: set bundle to its directory on the controller.")
    if module.params["ahead"] and any(module.params[name] for name in ("files", "secret_files", "services")):
        module.fail_json(msg="With ahead=true only bundle_files and images are brought: leave out files, secret_files and services.")
    try:
        module.exit_json(**converge(module.params, module.check_mode))
    except FlotillaError as error:
        module.fail_json(**error.as_result())


def _options(secret: bool) -> dict[str, Any]:
    return {
        "dest": {"type": "str", "required": True},
        "content": {"type": "str", "required": True, "no_log": secret},
        "mode": {"type": "str", "default": "0600" if secret else "0644"},
        "restart": {"type": "bool", "default": True},
    }


if __name__ == "__main__":
    main()
