#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: haproxy_servers
short_description: Tell HAProxy on a machine which API servers get connections
version_added: "0.1.0"
description:
  - Takes API servers out of the running HAProxy that P(flotilla.kubernetes.haproxy_configuration#filter) configured, and brings all others
    back in. Those that are out get no new connections, and keep those that are open until the API server ends them.
  - HAProxy forgets it when it starts or reloads. Then the health of the API servers alone decides.
  - A machine on which HAProxy does not run is left alone.
options:
  drained:
    description: Names of the servers that get no new connections. Names that HAProxy does not know are passed over.
    type: list
    elements: str
    default: []
  socket:
    description: HAProxy's administration socket.
    type: path
    default: /run/haproxy/admin.sock
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
seealso:
  - plugin: flotilla.kubernetes.haproxy_configuration
    plugin_type: filter
"""

EXAMPLES = r"""
- name: Send nothing to an API server that is about to restart
  flotilla.kubernetes.haproxy_servers:
    drained: [control-plane-1]

- name: Send requests to all again
  flotilla.kubernetes.haproxy_servers:
"""

RETURN = r"""
servers:
  description: Health of each server, C(healthy), C(unhealthy), C(drained) or C(unknown), as it was before.
  returned: success
  type: dict
  sample: {control-plane-1: healthy}
"""

import socket
from pathlib import Path

from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._haproxy import SOCKET, parse_stat, switch

_TIMEOUT = 10.0  # seconds


def ask(path: Path, command: str) -> str:
    """Return what HAProxy answers; nothing where it does not run.

    :raises OSError: it runs, and does not answer.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_TIMEOUT)
        try:
            connection.connect(str(path))
        except (FileNotFoundError, ConnectionRefusedError):
            return ""
        connection.sendall(f"{command}\n".encode())
        answer = b""
        while part := connection.recv(65536):
            answer += part
    return answer.decode("utf-8", "replace").strip()


def converge(path: Path, drained: list[str], check_mode: bool) -> dict[str, object]:
    """Return the module's result.

    :raises FlotillaError: ``HAPROXY_COMMAND``: HAProxy refused it.
    :raises OSError: it does not answer.
    """
    servers = parse_stat(ask(path, "show stat"))
    leave = sorted(name for name, server in servers.items() if name in drained and not server.disabled)
    come = sorted(name for name, server in servers.items() if name not in drained and server.disabled)
    for commands in [] if check_mode else switch(leave, come, leave_open=True):
        answer = ask(path, "; ".join(commands)) if commands else ""
        if answer:
            raise FlotillaError("HAPROXY_COMMAND", "HAProxy refused a command.", "Read 'journalctl -u haproxy' on the machine.", answer)
    return {"changed": bool(leave or come), "servers": {name: server.health for name, server in servers.items()}}


def main() -> None:
    module = FencedModule(
        argument_spec={
            "drained": {"type": "list", "elements": "str", "default": []},
            "socket": {"type": "path", "default": SOCKET},
        },
        supports_check_mode=True,
    )
    try:
        result = converge(Path(module.params["socket"]), module.params["drained"], module.check_mode)
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    except OSError as error:
        silent = FlotillaError(
            "HAPROXY_SILENT",
            f"HAProxy does not answer at {module.params['socket']}: {error}.",
            "Read 'journalctl -u haproxy' on the machine, and restart it.",
            error,
        )
        module.fail_json(**silent.as_result())
    module.exit_json(**result)


if __name__ == "__main__":
    main()
