# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: addons
short_description: Read the objects of a cluster's add-ons
version_added: "0.2.0"
author:
  - flotilla.kubernetes authors (@flotilla-kubernetes)
description:
  - Reads the manifests of add-ons, those of the users' own from where the definition says, the others from the bundle, and puts their
    values in.
options:
  _terms:
    description: Section C(addons) of a cluster definition, one or more, of which each gives its own add-ons.
    type: list
    elements: dict
    required: true
  bundle:
    description: The bundle, with C(directory) and C(manifest), as the role P(flotilla.kubernetes.bundle#role) leaves it.
    type: dict
    required: true
"""

EXAMPLES = r"""
- name: Install them
  flotilla.kubernetes.cluster_addons:
    address: 10.0.0.11
    addons: "{{ query('flotilla.kubernetes.addons', flotilla_cluster.addons, bundle=flotilla_bundle) }}"
"""

RETURN = r"""
_list:
  description: O(flotilla.kubernetes.cluster_addons#module:addons) of M(flotilla.kubernetes.cluster_addons).
  type: list
  elements: dict
"""

import hashlib
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleLookupError
from ansible.plugins.lookup import LookupBase

from ..filter.addon_names import addon_names
from ..module_utils._kubernetes.addons.table import ADDONS, OWN
from ..module_utils._kubernetes.released import opened


class LookupModule(LookupBase):
    """The lookup's plugin."""

    def run(self, terms: list[Any], variables: dict[str, Any] | None = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        bundle = self.get_option("bundle")
        found = []
        for section in terms:
            found += [_of_bundle(name, section[name], bundle) for name in addon_names(section)]
            found += [_own(entry) for entry in section.get(OWN, ()) if entry.get("enabled", True)]
        return found


def _own(entry: dict[str, Any]) -> dict[str, Any]:
    """Return an add-on of the users' own.

    :raises AnsibleLookupError: a file can not be read, or is no YAML.
    """
    try:
        texts = [Path(name).read_text(encoding="utf-8") for name in entry["manifests"]]
        objects = [item for text in texts for item in yaml.safe_load_all(text) if item]
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise AnsibleLookupError(f"The manifests of the add-on {entry['name']} can not be used: {error}") from error
    digest = hashlib.sha256("\n".join(texts).encode()).hexdigest()[:12]
    return {"name": entry["name"], "version": entry.get("version") or digest, "objects": objects}


def _of_bundle(name: str, entry: dict[str, Any], bundle: dict[str, Any]) -> dict[str, Any]:
    """Return one add-on with the objects that it has with its values.

    :raises AnsibleLookupError: the bundle lacks it, or its files are no manifests of it.
    """
    manifest = bundle.get("manifest") or {}
    files = [file["path"] for file in manifest.get("files", ()) if file["kind"] == "addon" and file["path"].startswith(f"addons/{name}/")]
    if not files:
        raise AnsibleLookupError(
            f"The bundle {bundle.get('directory')} has no add-on {name}. Make it again with bundle_build: the definition asks for it now."
        )
    addon = ADDONS[name]
    values = {key: part["default"] for key, part in addon.values.items() if "default" in part} | (entry.get("values") or {})
    try:
        texts = [(Path(bundle["directory"]) / path).read_text(encoding="utf-8") for path in files]
        objects = [item for text in texts for item in opened(yaml.safe_load_all(text))]
        addon.render(objects, values)
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError) as error:
        raise AnsibleLookupError(
            f"The add-on {name} of the bundle {bundle['directory']} can not be used ({error!r}). Make it again with bundle_build and "
            "bundle_rebuild=true."
        ) from error
    return {"name": name, "version": manifest["components"][name], "objects": objects}
