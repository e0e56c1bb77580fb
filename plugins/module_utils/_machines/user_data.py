# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a new machine is told at its first boot, the same in every cloud (private to flotilla.kubernetes). Pure.

It makes the login and nothing else: all the rest is Ansible's, where check mode shows it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence


def user_data(user: str, public_keys: Sequence[str]) -> str:
    """Return the cloud-init configuration (JSON is YAML) that lets ``user`` in with these keys, and nobody with a password.

    https://docs.cloud-init.io/en/latest/reference/modules.html#users-and-groups
    """
    login = {
        "name": user,
        "lock_passwd": True,
        "shell": "/bin/bash",
        "sudo": "ALL=(ALL) NOPASSWD:ALL",
        "ssh_authorized_keys": sorted(set(public_keys)),
    }
    return "#cloud-config\n" + json.dumps({"disable_root": True, "ssh_pwauth": False, "users": [login]}, sort_keys=True) + "\n"
