# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What kubeadm is configured with is compared with what its version takes, on the controller (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import tables


class CheckedDocuments(ActionBase):
    """Stands in front of an action plugin whose module takes kubeadm documents as ``config``."""

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the module, or a failure before it was run if the version does not take the configuration."""
        try:
            warnings = check(self._task.args.get("config"))
        except FlotillaError as error:
            return {"failed": True, "changed": False, **error.as_result()}
        result = super().run(tmp, task_vars)
        if warnings:
            result["warnings"] = [*result.get("warnings", ()), *warnings]
        return result


def check(documents: Any) -> list[str]:
    """Compare kubeadm documents with what their Kubernetes version takes, and return what it takes but calls deprecated.

    Without this, an API server or kubelet that does not know an argument ends at once, and kubeadm waits for it for minutes.

    :raises FlotillaError: ``KUBEADM_CONFIGURATION_REFUSED``, with everything that the version does not take.
    """
    documents = [document for document in documents if isinstance(document, dict)] if isinstance(documents, list) else []
    versions = [document["kubernetesVersion"] for document in documents if document.get("kubernetesVersion")]
    if not versions or tables.minor_of(str(versions[0])) not in tables.minors():
        return []  # a version of a bundle that the user made: nothing is known of it
    found = tables.kubeadm_documents(documents, str(versions[0]))
    refused = [f"{place}: {finding}" for place, finding in found if finding.fatal]
    if refused:
        raise FlotillaError(
            "KUBEADM_CONFIGURATION_REFUSED",
            f"Kubernetes {tables.minor_of(str(versions[0]))} does not take this kubeadm configuration. {' '.join(refused)}",
            "Change the arguments, feature gates or configuration that the variables of the role kubernetes_control_plane add.",
            details={"findings": refused},
        )
    return [f"{place}: {finding}" for place, finding in found]
