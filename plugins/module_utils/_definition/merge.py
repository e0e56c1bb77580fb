# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inheritance: network profile < cluster class < cluster (private to flotilla.kubernetes)."""

from __future__ import annotations

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.tree import Node

_BY_NAME = ("pools", "namespaces", "roles", "role_bindings", "cluster_roles", "cluster_role_bindings", "own")
# One thing that may be said in several ways: a file that says it in its own way does not mean the inherited one as well.
_CHOICES = ("image", "vpc", "machines", "load_balancer", "backup_store")


def merge(base: Node, over: Node, key: str = "") -> Node:
    """Return ``base`` with what ``over`` says: mappings merge, pools, policies and add-ons of one's own merge by name in the order of
    ``base``, other lists are replaced.

    :param key: where the two stand, for the keys whose mappings are a choice and do not merge.
    """
    if key in _CHOICES and over.value:
        return over
    if isinstance(base.value, dict) and isinstance(over.value, dict):
        merged = dict(base.value)
        for name, node in over.value.items():
            merged[name] = merge(merged[name], node, name) if name in merged else node
        return Node(merged, over.file, over.line)
    if key in _BY_NAME and isinstance(base.value, list) and isinstance(over.value, list):
        return Node(_merge_by_name(base.value, over.value), over.file, over.line)
    return over


def _merge_by_name(base: list[Node], over: list[Node]) -> list[Node]:
    merged = list(base)
    index = {}
    for place, item in enumerate(base):
        index.setdefault(_name(item), place)
    used = set()
    for item in over:
        name = _name(item)
        # A name that stands twice in one file stays twice, so that the rule about unique names sees it.
        if name is not None and name in index and name not in used:
            merged[index[name]] = merge(merged[index[name]], item)
            used.add(name)
        else:
            merged.append(item)
    return merged


def _name(item: Node) -> str | None:
    node = item.get("name") if isinstance(item.value, dict) else None
    return node.value if node is not None and isinstance(node.value, str) else None
