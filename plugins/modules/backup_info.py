#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: backup_info
short_description: List the backups of a cluster
version_added: "0.1.0"
description:
  - Reads the manifests in a store, newest first, and chooses one. It changes nothing.
  - Runs on the controller as an action; there is nothing to run on a machine.
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
    description: Id of the backup to choose, or V(latest) for the newest one that is good. Fails when there is none.
    type: str
  occasion:
    description: Choose among the backups that were made for this only.
    type: str
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Which backups are there?
  flotilla.kubernetes.backup_info:
    cluster: "{{ flotilla_cluster.name }}"
    store: "{{ flotilla_cluster.backup_store }}"
  register: backups
"""

RETURN = r"""
backups:
  description: The manifests, newest first, each with C(whole), whether its archive is there in full length.
  returned: success
  type: list
  elements: dict
chosen:
  description: The one that O(backup) asked for.
  returned: with O(backup)
  type: dict
place:
  description: Where they are kept, for people.
  returned: success
  type: str
  sample: the bucket backups
age:
  description: Seconds since the newest good one was made.
  returned: when there is one
  type: int
  sample: 3600
"""
