#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_restore
short_description: Lay out a backup on the machine that is to be the first control plane again
version_added: "0.1.0"
description:
  - Brings a backup from its store to a machine, opens and checks it there and tries its snapshot. Nothing that runs is touched.
  - While it lies there, M(flotilla.kubernetes.kubeadm_init) on this machine begins with it and starts no other cluster, and removes it when
    the control plane serves.
  - The recipient's private key opens the backup's data key on the controller and goes nowhere. What the backup holds is decrypted on the
    machine only, below C(/var/lib/flotilla), for root.
  - Running it again lays the backup out anew.
options:
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  store:
    description: Where the backups are kept, as C(backup_store) of a cluster definition says it.
    type: dict
    required: true
  backup:
    description: Id of the backup, or V(latest) for the newest one that is good.
    type: str
    default: latest
  node_name:
    description: Name of the machine's Node.
    type: str
    required: true
  address:
    description: The machine's own address, on which its etcd member and API server will listen.
    type: str
    required: true
  private_key_file:
    description: File on the controller with the recipient's private key (PEM). Either this or O(private_key).
    type: path
  private_key:
    description: The recipient's private key itself (PEM), e.g. from a vault.
    type: str
  passphrase:
    description: Passphrase of the private key, if it has one.
    type: str
  archive:
    description: Where the archive lies on the machine. Set by the action plugin.
    type: str
  key:
    description: The archive's data key. Set by the action plugin.
    type: str
  manifest:
    description: What the archive has to be. Set by the action plugin.
    type: dict
  progress_token:
    description: Where the slice of work before this one stopped. Set by the action plugin.
    type: str
requirements:
  - OpenSSL 3.0 or newer on the controller and on the machine, etcdutl on the machine
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Begin the cluster with its newest backup
  flotilla.kubernetes.etcd_restore:
    cluster: payments
    store: "{{ flotilla_cluster.backup_store }}"
    node_name: payments-control-plane-0a1b2c3d
    address: 10.0.0.11
    private_key_file: /media/safe/backup.key
  become: true
"""

RETURN = r"""
backup:
  description: The manifest of the backup, as M(flotilla.kubernetes.etcd_backup) returned it.
  returned: success
  type: dict
revision:
  description: Revision of etcd that it holds.
  returned: success
  type: int
  sample: 48213
"""

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._kubernetes import etcd_restore
from ..module_utils._kubernetes.backup_archive import Sealed
from ..module_utils._kubernetes.membership import step_at_work
from ..module_utils._kubernetes.work import advance


def main() -> None:
    module = FencedModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            "store": {"type": "dict", "required": True},
            "backup": {"type": "str", "default": "latest"},
            "node_name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "private_key_file": {"type": "path", "no_log": False},
            "private_key": {"type": "str", "no_log": True},
            "passphrase": {"type": "str", "no_log": True},
            "archive": {"type": "str"},
            "key": {"type": "str", "no_log": True},
            "manifest": {"type": "dict"},
            "progress_token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    manifest = params["manifest"] or {}
    if module.check_mode or not manifest:
        module.exit_json(changed=True)
    request = etcd_restore.Request(
        params["archive"],
        params["key"],
        Sealed(int(manifest["size"]), manifest["sha256"], manifest["hmac_sha256"]),
        int(manifest["revision"]),
        params["node_name"],
        params["address"],
    )
    try:
        if not params["progress_token"] and step_at_work():
            raise FlotillaError(
                "KUBEADM_BUSY",
                "A kubeadm that an earlier run started still works on this machine.",
                "Wait for its end, or run cluster_apply, which attaches to it.",
            )
        answer = advance(etcd_restore.NAME, lambda tell: etcd_restore.stage(request, tell), params["progress_token"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=True, **answer)


if __name__ == "__main__":
    main()
