#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: os_updates
short_description: Update the packages of a machine, and say whether it has to boot again
version_added: "0.1.0"
description:
  - With C(apt-get) or C(dnf) themselves, so that a machine needs no Python library of theirs. Packages are updated that are installed; what
    they newly need comes along, and nothing is removed.
  - What a person changed in a configuration file stays. An update that was interrupted is brought to its end first.
options:
  state:
    description: With V(looked) nothing happens but the answer, which both states give.
    type: str
    choices: [looked, updated]
    default: looked
  refresh:
    description: Whether to read anew what the package sources have. Not in check mode.
    type: bool
    default: false
  security_only:
    description: Whether only updates from a source for security count.
    type: bool
    default: false
  exclude:
    description: Patterns of packages that do not count, as the shell has them. Those that a person held back never do.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: See what has updates
  flotilla.kubernetes.os_updates:
    refresh: true
    exclude: ["kube*", "containerd*"]
  register: found

- name: Update it
  flotilla.kubernetes.os_updates:
    state: updated
    exclude: ["kube*", "containerd*"]
  register: updated
"""

RETURN = r"""
packages:
  description: Packages that have updates; with O(state=updated) those that were updated.
  returned: success
  type: list
  elements: str
  sample: [openssl, libssl3]
security:
  description: Those of them for whose security the update is.
  returned: success
  type: list
  elements: str
  sample: [openssl, libssl3]
reboot:
  description: Why the machine has to boot again now, after the updates that were made; empty when it has not.
  returned: success
  type: str
  sample: linux-image-amd64 asks for it
"""

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._os_updates import install, manager, reboot_reason, refresh, updates, wanted


def main() -> None:
    module = FencedModule(
        argument_spec={
            "state": {"type": "str", "choices": ["looked", "updated"], "default": "looked"},
            "refresh": {"type": "bool", "default": False},
            "security_only": {"type": "bool", "default": False},
            "exclude": {"type": "list", "elements": "str", "default": []},
        },
        supports_check_mode=True,
    )
    params = module.params
    try:
        program = manager()
        if params["refresh"] and not module.check_mode:
            refresh(program)
        found = wanted(updates(program), params["security_only"], params["exclude"])
        names = [one.name for one in found]
        changed = params["state"] == "updated" and bool(found)
        if changed and not module.check_mode:
            install(program, names)
        reboot = reboot_reason()
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    lines = "".join(f"{one.name} {one.version}\n" for one in found)
    diff = {"diff": {"before": "", "after": lines, "after_header": "updated packages"}} if changed else {}
    module.exit_json(changed=changed, packages=names, security=[one.name for one in found if one.security], reboot=reboot, **diff)


if __name__ == "__main__":
    main()
