# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules that change a node, or wait for it, as part of a run (private to flotilla.kubernetes). Python 3.9, standard library only."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule

from ._errors import FlotillaError
from ._fence import ARGUMENTS, hold


class FencedModule(AnsibleModule):
    """A module with the parameter ``fence``, which fails when a later run took the node, and which no run takes it from while it works."""

    def __init__(self, argument_spec: dict[str, Any], **more: Any) -> None:
        super().__init__(argument_spec={**argument_spec, **ARGUMENTS}, **more)
        try:
            hold(self.params["fence"], self.check_mode)
        except FlotillaError as error:
            self.fail_json(**error.as_result())
