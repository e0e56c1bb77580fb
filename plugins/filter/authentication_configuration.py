# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: authentication_configuration
short_description: The file in which API servers read whom they trust
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Turns the issuers of C(authentication.oidc) into kube-apiserver's C(AuthenticationConfiguration).
  - Anonymous requests are limited to health checks, what joining nodes read, and the discovery of service accounts' issuer. RBAC still
    decides about each of them.
  - A token that claims a name or a group of the cluster's own (C(system:)) is refused, whatever the prefixes are.
options:
  _input:
    description: The issuers.
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Whom API servers trust
  ansible.builtin.debug:
    msg: "{{ flotilla_cluster.authentication.oidc | flotilla.kubernetes.authentication_configuration }}"
"""

RETURN = r"""
_value:
  description: The document.
  type: dict
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

# API servers refuse to take a new list without a restart, so it is the same for everybody:
# https://kubernetes.io/docs/reference/access-authn-authz/authentication/#anonymous-authenticator-configuration
ANONYMOUS_PATHS = (
    "/healthz",
    "/livez",
    "/readyz",
    # kubeadm join reads the cluster's CA here, and checks it against the hashes that it was given.
    "/api/v1/namespaces/kube-public/configmaps/cluster-info",
    "/.well-known/openid-configuration",
    "/openid/v1/jwks",
)


def authentication_configuration(issuers: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Return the document: https://kubernetes.io/docs/reference/config-api/apiserver-config.v1/.

    :raises AnsibleFilterError: the file with an issuer's certificates can not be read.
    """
    return {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AuthenticationConfiguration",
        "anonymous": {"enabled": True, "conditions": [{"path": path} for path in ANONYMOUS_PATHS]},
        "jwt": [_issuer(issuer) for issuer in issuers],
    }


def _issuer(given: dict[str, Any]) -> dict[str, Any]:
    issuer: dict[str, Any] = {"url": given["issuer_url"], "audiences": list(given["audiences"])}
    if len(issuer["audiences"]) > 1:
        issuer["audienceMatchPolicy"] = "MatchAny"
    if given.get("ca_file"):
        try:
            issuer["certificateAuthority"] = Path(given["ca_file"]).expanduser().read_text(encoding="ascii")
        except (OSError, ValueError) as error:
            raise AnsibleFilterError(
                f"The certificates {given['ca_file']} of the issuer {given['issuer_url']} can not be read: {error}"
            ) from error
    return {
        "issuer": issuer,
        "claimValidationRules": [
            {"claim": claim, "requiredValue": value} for claim, value in sorted((given.get("required_claims") or {}).items())
        ],
        "claimMappings": {
            "username": {"claim": given.get("username_claim", "sub"), "prefix": given.get("username_prefix", "oidc:")},
            "groups": {"claim": given.get("groups_claim", "groups"), "prefix": given.get("groups_prefix", "oidc:")},
        },
        "userValidationRules": [
            {"expression": "!user.username.startsWith('system:')", "message": "a user name must not begin with system:"},
            {"expression": "user.groups.all(group, !group.startsWith('system:'))", "message": "a group must not begin with system:"},
        ],
    }


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"authentication_configuration": authentication_configuration}
