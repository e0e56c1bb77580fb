#!/usr/bin/python
# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: node_fence
short_description: Let only one run change a node
version_added: "0.1.0"
description:
  - With O(state=taken) the node refuses what earlier runs ask for. A task of theirs that is at work is waited for; a kubeadm that it has
    started goes on, and the next task that needs kubeadm attaches to it.
  - With O(state=released) the node knows that the run ended, so that nobody waits for it.
  - With O(state=looked) nothing happens but the answer, which all states give.
  - A run leaves its mark on a node and nothing else, so no state is reported as a change.
options:
  state:
    description: What to do.
    type: str
    choices: [looked, taken, released]
    default: taken
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Ask who was here
  flotilla.kubernetes.node_fence:
    state: looked
  register: seen

- name: Take the node
  flotilla.kubernetes.node_fence:
    fence: "{{ ({inventory_hostname: seen.sign} | flotilla.kubernetes.run_fence('awx-4711')).fence }}"
"""

RETURN = r"""
sign:
  description: The run that took this node last, its generation, whether it ended, and how many seconds ago it was at work here (C(age)).
  returned: success
  type: dict
  sample: {run: awx-4711, generation: 12, ended: false, age: 3.5}
"""

from dataclasses import asdict

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import _fence
from ..module_utils._errors import FlotillaError


def main() -> None:
    module = AnsibleModule(
        argument_spec={"state": {"type": "str", "choices": ["looked", "taken", "released"], "default": "taken"}, **_fence.ARGUMENTS},
        supports_check_mode=True,
    )
    state, fence = module.params["state"], module.params["fence"]
    try:
        if state != "looked" and fence["run"] and not module.check_mode:
            if state == "taken":
                _fence.take(fence["run"], fence["generation"])
            else:
                _fence.release(fence["run"])
        module.exit_json(changed=False, sign=asdict(_fence.look()))
    except FlotillaError as error:
        module.fail_json(**error.as_result())


if __name__ == "__main__":
    main()
