# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: audit_webhook
short_description: The file in which API servers read where audit events go
version_added: "0.1.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Turns C(security.audit.webhook) of a definition and the secret that belongs to it into the kubeconfig of kube-apiserver's
    C(--audit-webhook-config-file). The result holds the secret.
options:
  _input:
    description: C(server), and C(ca_file) and C(authentication) where they are set.
    type: dict
    required: true
  credentials:
    description:
      - What goes with C(authentication), and nothing else. V(token), the default, needs C(token). V(password) needs C(username) and
        C(password). V(certificate) needs C(client_certificate) and C(client_key), both as PEM text. V(none) needs nothing.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Write where audit events go
  ansible.builtin.copy:
    content: "{{ flotilla_cluster.security.audit.webhook | flotilla.kubernetes.audit_webhook(credentials) | to_json }}"
    dest: /etc/kubernetes/flotilla/audit-webhook.json
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_value:
  description: The kubeconfig.
  type: dict
"""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

VARIABLE = "kubernetes_control_plane_audit_webhook_credentials"
# Key of the variable, and field of a kubeconfig's user.
_FIELDS: dict[str, dict[str, str]] = {
    "token": {"token": "token"},
    "password": {"username": "username", "password": "password"},
    "certificate": {"client_certificate": "client-certificate-data", "client_key": "client-key-data"},
    "none": {},
}


def audit_webhook(webhook: Mapping[str, Any], credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Return the document: https://kubernetes.io/docs/tasks/debug/debug-cluster/audit/#webhook-backend.

    :param credentials: secrets; no error repeats one.
    :raises AnsibleFilterError: the secrets are not those that the webhook asks for, or the file with its certificates can not be read.
    """
    cluster: dict[str, str] = {"server": str(webhook["server"])}
    if webhook.get("ca_file"):
        try:
            authority = Path(webhook["ca_file"]).expanduser().read_bytes()
        except OSError as error:
            raise AnsibleFilterError(f"The certificates {webhook['ca_file']} of security.audit.webhook can not be read: {error}") from error
        if b"-----BEGIN CERTIFICATE-----" not in authority:
            raise AnsibleFilterError(f"{webhook['ca_file']} of security.audit.webhook.ca_file holds no certificate in PEM form.")
        cluster["certificate-authority-data"] = base64.b64encode(authority).decode()
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "audit", "cluster": cluster}],
        "users": [{"name": "kube-apiserver", "user": _user(str(webhook.get("authentication", "token")), credentials)}],
        "contexts": [{"name": "audit", "context": {"cluster": "audit", "user": "kube-apiserver"}}],
        "current-context": "audit",
    }


def _user(kind: str, credentials: Mapping[str, Any]) -> dict[str, str]:
    fields = _FIELDS[kind]
    missing = [key for key in fields if not str(credentials.get(key) or "").strip()]
    unknown = sorted(set(credentials) - set(fields))
    if missing or unknown:
        told = [f"it lacks {', '.join(missing)}"] if missing else []
        told += [f"it has {', '.join(unknown)}, which that does not use"] if unknown else []
        raise AnsibleFilterError(
            f"security.audit.webhook.authentication is {kind}, and the variable {VARIABLE} does not fit: {'; '.join(told)}. "
            "Set it for the control planes, from a vault (docs/security.md)."
        )
    user = {}
    for key, field in fields.items():
        value = str(credentials[key])
        # Tokens are headers; a line's end from a vault would break each request.
        user[field] = base64.b64encode(value.encode()).decode() if field.endswith("-data") else value.strip() if key == "token" else value
    return user


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"audit_webhook": audit_webhook}
