#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: known_hosts
short_description: Keep the SSH host keys of a cluster's machines on the controller
version_added: "0.1.0"
description:
  - Writes the file of known hosts that the connections to a cluster's machines use, with the keys that its cloud has recorded, so that the
    first connection is already a checked one and a changed key is refused.
  - Runs on the controller as an action; there is nothing to run on a machine.
options:
  cluster:
    description: Name of the cluster.
    type: str
    required: true
  machines:
    description: The machines as a C(*_machines) module returns them. Those without a recorded key are left out.
    type: list
    elements: dict
  state:
    description: Whether the file is to be there.
    type: str
    choices: [present, absent]
    default: present
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Know the machines
  flotilla.kubernetes.known_hosts:
    cluster: "{{ flotilla_cluster.name }}"
    machines: "{{ flotilla_machines }}"
"""

RETURN = r"""
path:
  description: The file.
  returned: always
  type: str
  sample: /home/jane/.cache/flotilla/known_hosts/demo
"""
