# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: haproxy_configuration
short_description: HAProxy's configuration in front of API servers
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Gives the text of C(haproxy.cfg) that sends connections to every API server whose C(/readyz) answers with 200.
positional: port
options:
  _input:
    description: Addresses of the API servers, by any name.
    type: dict
    required: true
  port:
    description: TCP port that HAProxy listens on.
    type: int
    required: true
"""

EXAMPLES = r"""
- name: Configure HAProxy
  ansible.builtin.copy:
    content: "{{ {'a': '10.0.0.11', 'b': '10.0.0.12', 'c': '10.0.0.13'} | flotilla.kubernetes.haproxy_configuration(8443) }}"
    dest: /etc/haproxy/haproxy.cfg
    mode: "0644"
"""

RETURN = r"""
_value:
  description: The whole file.
  type: str
"""

from typing import Any, Callable

from ansible.errors import AnsibleFilterError
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _haproxy


def haproxy_configuration(servers: dict[str, str], port: int | str) -> str:
    """Return haproxy.cfg for API servers (name -> address)."""
    if not isinstance(servers, dict) or not servers:
        raise AnsibleFilterError("flotilla.kubernetes.haproxy_configuration needs the addresses of one API server or more.")
    return _haproxy.render(int(port), [(name, address, "") for name, address in sorted(servers.items())])


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"haproxy_configuration": haproxy_configuration}
