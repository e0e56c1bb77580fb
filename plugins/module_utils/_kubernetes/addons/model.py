# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an add-on of the catalogue says of itself (private to flotilla.kubernetes). Pure; Python 3.9, standard library only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Addon:
    """One add-on: what runs beside Kubernetes because the definition asks for it.

    Its version is in the bundle's catalogue, under its name.

    :param name: as definitions name it, and as its component of the bundle is called.
    :param description: what it does for a cluster, one sentence.
    :param manifests: file in a bundle -> where the Go module of the component has it; empty: its makers publish none, and ours is next to
        the pinned sources, in ``roles/bundle/files/modules/<name>/<version>``.
    :param render: puts the values into the objects of the manifests, in place; may add objects. KeyError, TypeError or ValueError: they are
        no manifests of this add-on's.
    :param values: what users may set: JSON schema of each, with its default.
    :param required: those of the values that have none.
    :param images: image as the released manifests name it -> as the bundle does; ``{version}`` is that of the component.
    :param since: the oldest minor of Kubernetes that its makers support, empty where they say none.
    :param without_cloud: whether it is for clusters whose cloud has no such service of its own.
    """

    name: str
    description: str
    manifests: Mapping[str, str]
    render: Callable[[list[dict[str, Any]], Mapping[str, Any]], None]
    values: Mapping[str, Any] = field(default_factory=dict)
    required: tuple[str, ...] = ()
    images: Mapping[str, str] = field(default_factory=dict)
    since: str = ""
    without_cloud: bool = False
