#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: cluster_report
short_description: Print what a cluster is, for people
version_added: "0.1.0"
description:
  - Prints a table of the nodes, the API endpoint, the path of the kubeconfig, findings if any, and the commands to try next. Changes
    nothing.
  - Runs on the controller as an action; there is nothing to run on a machine.
options:
  cluster:
    description: The merged, validated cluster definition.
    type: dict
    required: true
  endpoint:
    description: The API endpoint, with C(host) and C(port).
    type: dict
  nodes:
    description: The nodes, as M(flotilla.kubernetes.cluster_health) returns them. None means that the cluster is not there.
    type: list
    elements: dict
  findings:
    description: The findings, as M(flotilla.kubernetes.cluster_health) returns them.
    type: list
    elements: dict
  rotation:
    description: Certificate authorities whose rotation is under way, as M(flotilla.kubernetes.cluster_health) returns them.
    type: list
    elements: str
  backups:
    description: The backups, as M(flotilla.kubernetes.backup_info) returns them; also what it said when it failed.
    type: dict
  neighbours:
    description:
      - Names of the machines of each other cluster of the foundation. Those of a cluster without a definition in the foundation's folder
        are listed, and so are definitions without machines.
    type: dict
  policies:
    description: What M(flotilla.kubernetes.cluster_policies) found in check mode; also what it said when it failed.
    type: dict
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Show the cluster
  flotilla.kubernetes.cluster_report:
    cluster: "{{ flotilla_cluster }}"
    endpoint: "{{ flotilla_api_endpoint }}"
    nodes: "{{ flotilla_health.nodes }}"
"""

RETURN = r"""
lines:
  description: What was printed.
  returned: always
  type: list
  elements: str
"""
