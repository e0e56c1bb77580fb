#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_changes
short_description: Count what was written to a cluster since a backup
version_added: "0.1.0"
description:
  - Runs on a control plane that serves, reads keys of etcd only, and changes nothing.
  - A restore from the backup would lose what it counts.
options:
  revision:
    description: Revision of etcd in the backup.
    type: int
    required: true
  objects:
    description: How many objects of each kind the backup holds.
    type: dict
    required: true
  cluster_uid:
    description: Uid of the cluster that the backup is of. Nothing is counted in another cluster of the same name, which is said instead.
    type: str
    required: true
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: What would a restore lose?
  flotilla.kubernetes.etcd_changes:
    revision: "{{ backup.revision }}"
    objects: "{{ backup.objects }}"
    cluster_uid: "{{ backup.cluster_uid }}"
    address: 10.0.0.11
"""

RETURN = r"""
writes:
  description: How many revisions etcd went on since; each is one write, those of leases and heartbeats included.
  returned: when it is the same cluster and was not restored since
  type: int
  sample: 8121
changes:
  description: Kind of object -> C(created), C(changed) and C(deleted).
  returned: when it is the same cluster
  type: dict
  sample: {"pods": {"created": 3, "changed": 12, "deleted": 0}}
lines:
  description: The same for people.
  returned: success
  type: list
  elements: str
"""

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes import etcd_objects
from ..module_utils._kubernetes.client import Client
from ..module_utils._kubernetes.etcd import CLIENT_PORT, client_context
from ..module_utils._kubernetes.own_api_server import ADDRESS

# What is written all the time, and whose loss nobody notices.
_NOISE = ("events", "leases", "masterleases", "endpointslices", "endpoints")


def lines_of(changes: dict[str, dict[str, int]]) -> list[str]:
    """Return the numbers for people: first what they made, last what makes itself."""
    shown = []
    for kind in sorted(changes, key=lambda kind: (kind.split(".")[0] in _NOISE, kind)):
        numbers = [f"{number} {what}" for what, number in changes[kind].items() if number]
        shown.append(f"  {kind}: {', '.join(numbers)}")
    return shown


def run(params: dict[str, Any], etcd: Client, uid: str) -> dict[str, Any]:
    """Return the module's result.

    :param uid: of the cluster that runs here.
    """
    now = etcd_objects.revision(etcd)
    if uid != params["cluster_uid"]:
        return {"changed": False, "lines": [f"Another cluster of this name runs here; all of it would be lost ({now} writes)."]}
    changes = etcd_objects.changes(etcd, params["revision"], {kind: int(number) for kind, number in params["objects"].items()})
    writes = now - params["revision"]
    if writes >= etcd_objects.RESTORED_AHEAD:
        # A restore lets revisions go on much further, so their number says nothing.
        return {"changed": False, "changes": changes, "lines": ["The cluster was restored since.", *lines_of(changes)]}
    return {"changed": False, "writes": writes, "changes": changes, "lines": [f"{writes} writes since would be lost.", *lines_of(changes)]}


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "revision": {"type": "int", "required": True},
            "objects": {"type": "dict", "required": True},
            "cluster_uid": {"type": "str", "required": True},
            **ADDRESS,
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        uid = Client.short_lived(params["address"], "flotilla").get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
        result = run(params, Client("127.0.0.1", CLIENT_PORT, client_context(), timeout=60), uid)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        module.fail_json(msg=f"etcd or the API server on this machine could not be asked: {error}.")
    module.exit_json(**result)


if __name__ == "__main__":
    main()
