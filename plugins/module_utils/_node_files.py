# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a role puts on a node: files and images of a bundle, configuration, and the services that use them (private to flotilla.kubernetes).

Python 3.9, standard library only.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ._config_files import ConfigFile, ConfigFiles, results
from ._installed import BroughtFiles, ImportedImages, InstalledFiles
from ._restart import Restart
from ._service import RESTART, Service


class NodeFiles:
    """The difference between what a node has and what it should have, and how it goes away."""

    def __init__(self, params: dict[str, Any]) -> None:
        """
        :param params: of the module `node_files`.
        :raises FlotillaError: something of it can not be read.
        """
        self._files, self._images = params["bundle_files"], params["images"]
        self._ahead = params["ahead"]
        self._installed, self._imported, self._brought = InstalledFiles(), ImportedImages(), BroughtFiles()
        self._to_bring = self._files_to_bring()
        self._missing_files = [entry["key"] for entry in self._to_bring] if self._ahead else self._installed.missing(self._files)
        # Asks containerd, which not every machine has.
        self._missing_images = self._imported.missing(self._images) if self._images else []
        self._configuration = ConfigFiles(params["owner"], _config_files(params))
        self._changes = self._configuration.changes()
        self._restart = bool(self._missing_files) or any(change.tag for change in self._changes)
        self._services = [(one, Service(one["name"], Restart(one["name"]), reload=one["reload"])) for one in params["services"]]
        self._steps = self._due()
        self._held = (
            [one["name"] for (one, _service), steps in zip(self._services, self._steps) if RESTART in steps] if params["hold"] else []
        )
        if self._held:
            self._ahead, self._changes, self._steps = True, [], []
            self._missing_files = [entry["key"] for entry in self._to_bring]

    def to_bring(self) -> list[dict[str, str]]:
        """Return ``key``, ``path`` and ``sha256`` of each file of the bundle that the node lacks."""
        images = [{"key": image["name"], **image} for image in self._images if image["name"] in self._missing_images]
        return self._to_bring + images

    def apply(self, staged: dict[str, str]) -> None:
        """Put everything in place, or keep it for later.

        :param staged: where on the node each of `to_bring` lies, by its key.
        :raises FlotillaError: what arrived is not what was sent, or the node refuses something.
        """
        if self._ahead:
            for entry in self._files:
                if entry["dest"] in staged:
                    self._brought.add(Path(staged[entry["dest"]]), entry["sha256"], entry["dest"])
        else:
            self._install(staged)
        if self._missing_images:
            self._imported.add([image for image in self._images if image["name"] in self._missing_images], staged)

    def _files_to_bring(self) -> list[dict[str, str]]:
        dests = self._installed.to_bring(self._files)
        lacking = [entry for entry in self._files if entry["dest"] in dests and not self._brought.has(entry["sha256"])]
        return [{"key": entry["dest"], **entry} for entry in lacking]

    def _install(self, staged: dict[str, str]) -> None:
        here = {entry["dest"]: str(self._brought.path(entry["sha256"])) for entry in self._files if self._brought.has(entry["sha256"])}
        for _one, service in self._services if self._restart else ():
            service.owe()
        if self._missing_files:
            self._installed.install([entry for entry in self._files if entry["dest"] in self._missing_files], {**here, **staged})
        self._configuration.apply(self._changes)
        if self._missing_files or self._changes:
            # Once more: a service that is new on this node has been put there by the lines above.
            self._steps = self._due()
        for (_one, service), steps in zip(self._services, self._steps):
            service.apply(steps)

    def result(self) -> dict[str, Any]:
        """Return what the module says about the difference."""
        shown = results(self._changes)
        steps = [f"{one['name']} {step}" for (one, _service), due in zip(self._services, self._steps) for step in due]
        for title, lines in (("files", self._missing_files), ("images", self._missing_images), ("services", steps)):
            if lines:
                after = "".join(f"{line}\n" for line in lines)
                shown["diff"].append({"before_header": title, "after_header": title, "before": "", "after": after})
        changed = bool(self._missing_files or self._missing_images or self._changes or steps)
        return {
            "changed": changed,
            "installed": self._missing_files,
            "imported": self._missing_images,
            "service_steps": steps,
            "held": self._held,
            **shown,
        }

    def _due(self) -> list[list[str]]:
        return [service.due(one["running"], self._restart or one["restart"]) for one, service in self._services]


def _config_files(params: dict[str, Any]) -> list[ConfigFile]:
    return [
        ConfigFile(
            Path(entry["dest"]),
            entry["content"],
            int(entry["mode"], 8),
            secret=kind == "secret_files",
            tag="restart" if entry["restart"] else "",
        )
        for kind in ("files", "secret_files")
        for entry in params[kind]
    ]
