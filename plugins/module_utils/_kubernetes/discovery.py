# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which resources an API server serves (private to flotilla.kubernetes). Python 3.9, standard library only.

https://kubernetes.io/docs/concepts/overview/kubernetes-api/#discovery-api
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from .client import Client


@dataclass(frozen=True)
class Resource:
    """One kind as an API server serves it.

    :param base: path of its version, such as ``/apis/apps/v1``.
    :param plural: as paths name it.
    """

    base: str
    plural: str
    namespaced: bool

    def list_path(self, selector: str = "") -> str:
        """Return where all objects of the kind are listed, those of all namespaces."""
        return f"{self.base}/{self.plural}" + (f"?labelSelector={quote(selector, safe='')}" if selector else "")

    def path(self, namespace: str, name: str) -> str:
        """Return the path of one object."""
        inside = f"/namespaces/{namespace}" if self.namespaced else ""
        return f"{self.base}{inside}/{self.plural}/{quote(name, safe='')}"


class Discovery:
    """What an API server serves; each version is asked for once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._served: dict[str, dict[str, Resource]] = {}

    def resource(self, api_version: str, kind: str) -> Resource | None:
        """Return how a kind is served in a version, None where it is not."""
        if api_version not in self._served:
            base = f"/apis/{api_version}" if "/" in api_version else f"/api/{api_version}"
            found = self._client.find(base) or {}
            self._served[api_version] = {
                entry["kind"]: Resource(base, entry["name"], entry["namespaced"])
                for entry in found.get("resources", ())
                if "/" not in entry["name"]
            }
        return self._served[api_version].get(kind)

    def preferred(self, group: str, kind: str) -> Resource | None:
        """Return how a kind is served in the version that its group prefers, or in another one; None where it is not."""
        if not group:
            return self.resource("v1", kind)
        found = self._client.find(f"/apis/{group}")
        if not found:
            return None
        versions = [found["preferredVersion"]["groupVersion"], *(entry["groupVersion"] for entry in found["versions"])]
        return next((resource for version in versions if (resource := self.resource(version, kind))), None)

    def forget(self) -> None:
        """Ask again, as there are new kinds."""
        self._served.clear()
