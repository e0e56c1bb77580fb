# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """How modules reach a controller, as those of awx.awx do."""

    DOCUMENTATION = r"""
options:
  controller_host:
    description: URL of the controller. C(CONTROLLER_HOST) if not given, and likewise for the others.
    type: str
  controller_username:
    description: Login.
    type: str
  controller_password:
    description: Password of the login.
    type: str
  controller_oauthtoken:
    description: Token, instead of login and password.
    type: raw
  validate_certs:
    description: Whether the controller's certificate has to be valid. C(CONTROLLER_VERIFY_SSL) if not given.
    type: bool
  request_timeout:
    description: Seconds that a request may take.
    type: float
requirements:
  - the collection awx.awx 24.6.1 or newer
"""
