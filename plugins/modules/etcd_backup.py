#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: etcd_backup
short_description: Keep an encrypted backup of a cluster's etcd and of what a control plane is made of
version_added: "0.1.0"
description:
  - Runs on a control plane that serves. It takes a snapshot of etcd, checks its hash, tries to restore it, packs it with the PKI, the
    encryption configuration, the manifests of the static pods and the configuration of kubeadm and kubelet, and encrypts all of that to the
    recipient's certificate. Nothing leaves the machine that is not encrypted.
  - The archive comes to the controller, and from there to the store, with a manifest beside it that says in plain words what it is. It is
    there once it was read back and has the right hash. Then the backups that retention lets go are removed.
  - A run that is killed leaves nothing that looks like a backup; the next one cleans up after it. Each run makes a new backup.
options:
  cluster:
    description: Name of the cluster, under which the store keeps its backups.
    type: str
    required: true
  store:
    description:
      - Where the backups are kept, as C(backup_store) of a cluster definition says it, with one of C(directory), C(ssh) and C(s3), with
        C(recipient), the path of a certificate, and maybe with C(retention).
    type: dict
    required: true
  occasion:
    description: What the backup is made for. The newest one of each occasion is never removed.
    type: str
    choices: [manual, scheduled, before-upgrade, before-rotation, before-restore]
    default: manual
  recipient:
    description: The certificate itself. Set by the action plugin.
    type: str
  owner_of:
    description: A path whose owner may fetch the archive from the machine. Set by the action plugin.
    type: str
  stage:
    description: What part of the work is done now. Set by the action plugin.
    type: str
    choices: [take, release]
    default: take
  progress_token:
    description: Where the slice of work before this one stopped. Set by the action plugin.
    type: str
requirements:
  - OpenSSL 3.0 or newer, etcdctl and etcdutl on the machine
  - boto3 on the controller, for S3
extends_documentation_fragment:
  - flotilla.kubernetes.api_server.address
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Make a backup
  flotilla.kubernetes.etcd_backup:
    cluster: payments
    address: 10.0.0.11
    store:
      s3: {bucket: backups, prefix: kubernetes, region: eu-west-1}
      recipient: /etc/flotilla/backup.crt
      retention: {last: 7, daily: 7, weekly: 4}
  become: true
"""

RETURN = r"""
backup:
  description: The manifest of the backup; in check mode only what is known before.
  returned: success
  type: dict
  contains:
    id: {description: "Its name in the store; it begins with the time.", type: str, returned: success, sample: 20261123T040000Z-1a2b3c4d}
    created: {description: "When it was made, UTC.", type: str, returned: success, sample: "2026-11-23T04:00:00Z"}
    kubernetes_version: {description: Version of the control plane., type: str, returned: success, sample: 1.36.3}
    revision: {description: "Revision of etcd that it holds.", type: int, returned: success, sample: 48213}
    objects: {description: "How many objects of each kind it holds.", type: dict, returned: success, sample: {"secrets": 12}}
    size: {description: "Length of the archive in bytes.", type: int, returned: success, sample: 5338356}
    sha256: {description: "SHA-256 of the archive.", type: str, returned: success}
place:
  description: Where it is kept, for people.
  returned: success
  type: str
  sample: the bucket backups
removed:
  description: Ids of older backups that retention let go; in check mode those that would go now.
  returned: success
  type: list
  elements: str
  sample: []
"""

from ansible.module_utils.basic import AnsibleModule

from ..module_utils._errors import FlotillaError
from ..module_utils._kubernetes import etcd_backup
from ..module_utils._kubernetes.own_api_server import ADDRESS
from ..module_utils._kubernetes.work import advance


def main() -> None:
    module = AnsibleModule(
        argument_spec={
            "cluster": {"type": "str", "required": True},
            **ADDRESS,
            "store": {"type": "dict", "required": True},
            "occasion": {
                "type": "str",
                "choices": ["manual", "scheduled", "before-upgrade", "before-rotation", "before-restore"],
                "default": "manual",
            },
            "recipient": {"type": "str"},
            "owner_of": {"type": "str"},
            "stage": {"type": "str", "choices": ["take", "release"], "default": "take"},
            "progress_token": {"type": "str", "no_log": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    request = etcd_backup.Request(params["address"], params["recipient"] or "", params["owner_of"] or "")
    try:
        if params["stage"] == "release":
            module.exit_json(changed=etcd_backup.release())
        if module.check_mode:
            module.exit_json(changed=True, manifest=etcd_backup.look(request))
        answer = advance(etcd_backup.NAME, lambda tell: etcd_backup.take(request, tell), params["progress_token"])
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=True, **answer)


if __name__ == "__main__":
    main()
