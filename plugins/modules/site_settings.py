#!/usr/bin/python

# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: site_settings
short_description: Give a machine the proxy, the certificate authorities, the time servers and the name servers of its site
version_added: "0.2.0"
description:
  - Writes what is set to the files where the operating system looks for it, and makes it look. Files that an earlier run wrote and that are
    no longer wanted are removed. What was never set is left alone.
  - The proxy is for containerd and kubelet (systemd drop-ins with an environment file that only root may read) and for the package manager.
  - A machine with systemd-resolved or NetworkManager gets its name servers through them, another one in C(/etc/resolv.conf), whose former
    content comes back in the end. Time servers go to chrony or systemd-timesyncd, whichever is enabled.
  - Services that must be restarted are marked in C(/var/lib/flotilla/restart-<service>); the roles C(containerd) and C(kubernetes_binaries)
    restart them.
options:
  proxies:
    description: URLs of the proxies, without credentials, by scheme (V(http), V(https)).
    type: dict
    default: {}
  no_proxy:
    description: Hosts, domains, addresses and networks that are reached directly; see P(flotilla.kubernetes.no_proxy#filter).
    type: list
    elements: str
    default: []
  proxy_username:
    description: Login at the proxies.
    type: str
  proxy_password:
    description: Password at the proxies.
    type: str
  certificates:
    description: Certificates to trust, PEM by name. The name becomes part of the file's name.
    type: dict
    default: {}
  ntp_servers:
    description: Time servers.
    type: list
    elements: str
    default: []
  dns_servers:
    description: Addresses of name servers.
    type: list
    elements: str
    default: []
  dns_search:
    description: Domains that short names are looked up in.
    type: list
    elements: str
    default: []
extends_documentation_fragment:
  - flotilla.kubernetes.fence
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
"""

EXAMPLES = r"""
- name: Trust the company's certificate authority and use its time servers
  flotilla.kubernetes.site_settings:
    certificates:
      company: "{{ lookup('ansible.builtin.file', 'company-ca.pem') }}"
    ntp_servers: [time1.example.com, time2.example.com]
"""

RETURN = r"""
written:
  description: Paths of the files that differed.
  returned: always
  type: list
  elements: str
  sample: [/etc/flotilla/proxy.env]
removed:
  description: Paths of the files that are no longer wanted.
  returned: always
  type: list
  elements: str
  sample: []
restarts:
  description: Services that have to be restarted for the change, which their roles do.
  returned: always
  type: list
  elements: str
  sample: [containerd]
renewed:
  description: What was made to read its files again, of V(trust-store), V(time-service) and V(name-service).
  returned: always
  type: list
  elements: str
  sample: [trust-store]
"""

from ..module_utils._config_files import results
from ..module_utils._errors import FlotillaError
from ..module_utils._fenced_module import FencedModule
from ..module_utils._site import Site, SiteSettings


def main() -> None:
    strings = {"type": "list", "elements": "str", "default": []}
    module = FencedModule(
        argument_spec={
            "proxies": {"type": "dict", "default": {}},
            "no_proxy": strings,
            "proxy_username": {"type": "str"},
            "proxy_password": {"type": "str", "no_log": True},
            "certificates": {"type": "dict", "default": {}},
            "ntp_servers": strings,
            "dns_servers": strings,
            "dns_search": strings,
        },
        required_together=[("proxy_username", "proxy_password")],
        supports_check_mode=True,
    )
    given = module.params
    credentials = {"username": given["proxy_username"], "password": given["proxy_password"]} if given["proxy_username"] else {}
    site = Site(
        given["proxies"],
        given["no_proxy"],
        credentials,
        given["certificates"],
        given["ntp_servers"],
        given["dns_servers"],
        given["dns_search"],
    )
    try:
        settings = SiteSettings(site)
        changes = settings.changes()
        due, restarts = settings.due(), settings.restarts()
        if not module.check_mode:
            settings.apply()
    except FlotillaError as error:
        module.fail_json(**error.as_result())
    module.exit_json(changed=bool(changes or due), renewed=due, restarts=restarts, **results(changes))


if __name__ == "__main__":
    main()
