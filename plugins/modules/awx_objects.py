#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: awx_objects
short_description: Make the objects of a fleet on AWX
version_added: "0.1.0"
description:
  - Makes the objects that P(flotilla.kubernetes.awx_objects#filter) returned on an AWX, Tower or automation controller, or brings them up
    to date, in the order in which they need each other. Each is made by its module of the collection awx.awx.
  - Runs on the controller of Ansible as an action; modules of awx.awx run on the task's host.
  - Fails with what the controller said, without the secrets that it was sent.
options:
  objects:
    description: Lists of objects, as infra.aap_configuration names them.
    type: dict
    required: true
  secrets:
    description:
      - C(inputs) of credentials and C(notification_configuration) of notification templates, by their names.
      - A credential that is not named here is expected on the controller and left alone.
    type: dict
    default: {}
  kinds:
    description: Only objects of these kinds, by the names of modules of awx.awx. All if not given.
    type: list
    elements: str
  new:
    description: RV(new) of an earlier task, for check mode.
    type: dict
    default: {}
extends_documentation_fragment: [flotilla.kubernetes.awx]
attributes:
  check_mode:
    support: full
    description: Tells what would be made and what would be brought up to date.
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Make them
  flotilla.kubernetes.awx_objects:
    objects: "{{ objects }}"
"""

RETURN = r"""
objects:
  description: Every object that was looked at.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: The module of awx.awx.
      type: str
      sample: job_template
    name:
      description: What people call it.
      type: str
      sample: flotilla upgrade
    changed:
      description: Whether it was made or changed.
      type: bool
new:
  description: In check mode what is not there yet, by kind.
  returned: success
  type: dict
"""

# There is nothing here: the action of the same name does the work.
