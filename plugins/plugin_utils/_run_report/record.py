# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is kept of a task's result: fields that are named here, and no others, so that no secret gets into a report by accident."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

COLLECTION = "flotilla.kubernetes."
HIDDEN = "What it said is hidden, because it may hold secrets (no_log)."
_LONGEST = 4000  # characters of a text

# Fields of a module's result. Names that end with a star stand for every cloud.
_KEPT: dict[str, tuple[str, ...]] = {
    "cluster_health": ("healthy", "findings", "waited"),
    "cluster_versions": ("control_planes", "kubelets"),
    "etcd_defragmentation": ("size_mib", "in_use_mib"),
    "health_checks": ("checks", "failures"),
    "kubeadm_certificates": ("renewed", "restarted"),
    "kubeadm_upgrade": ("versions",),
    "node_drain": ("evicted", "forced", "drained", "reason", "blocked"),
    "node_fence": ("sign",),
    "node_removal": ("evicted", "blocked"),
    "upgrade_preflight": ("findings",),
}
_BACKUP = ("id", "created", "kubernetes_version", "revision", "size", "sha256")
_KINDS = {
    "cluster_health": "gate",
    "drain_plan": "drain",
    "etcd_backup": "backup",
    "health_checks": "check",
    "node_drain": "drain",
    "node_removal": "drain",
    "upgrade_preflight": "preflight",
}
# Results without a change that say something all the same.
_TELLING = frozenset(("backup", "check", "gate", "preflight"))
# They take no part in what happens to a cluster, unless they fail.
_SILENT = frozenset(("add_host", "assert", "debug", "fail", "group_by", "include_role", "include_tasks", "meta", "set_fact", "set_stats"))
SOON = 1.0  # seconds; what takes less and changes nothing is not told

# What must never be shown, whatever a message quotes: https://kubernetes.io/docs/reference/access-authn-authz/bootstrap-tokens/#token-format,
# https://www.rfc-editor.org/rfc/rfc7519#section-3.1, https://www.rfc-editor.org/rfc/rfc7468, https://www.rfc-editor.org/rfc/rfc3986#section-3.2.1.
_ASSIGNED = re.compile(r"(?i)\b([\w-]{0,40}(?:passw(?:or)?d|secret|token|(?:api|private)[_-]?key))(\"?\s*[=:]\s*\"?)[^\s\",;&]+")
_SECRETS = (
    (re.compile(r"-----BEGIN ([A-Z ]*PRIVATE KEY)-----.*?(?:-----END \1-----|\Z)", re.DOTALL), "(a private key)"),
    (re.compile(r"(?i)\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 ***"),
    (re.compile(r"\beyJ[\w-]{5,}\.[\w-]+\.[\w-]*"), "***"),
    (re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"), "***"),
    (re.compile(r"(?i)(\b[a-z][a-z0-9+.-]{0,20}://)[^/\s@]+@"), r"\1***@"),
    (_ASSIGNED, r"\1\2***"),
)


def clean(value: Any) -> Any:
    """Return a value as JSON can carry it: its texts without secrets, and not too long."""
    if isinstance(value, Mapping):
        return {str(name): clean(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [clean(one) for one in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    text = str(value)
    if len(text) > _LONGEST:
        # Not in the middle of a word, which may be a secret that nothing would recognise any more.
        text = text[:_LONGEST].rpartition(" ")[0] + " ..."
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return text


def short(action: str) -> str:
    """Return an action without its collection: ``node_drain``, ``command``."""
    return action.rsplit(".", 1)[-1]


def kind_of(action: str) -> str:
    """Return what sort of step an action is; the page has a colour for each."""
    name = short(action)
    if not action.startswith(COLLECTION) or name.endswith("_info"):
        return "other"
    if name in _KINDS:
        return _KINDS[name]
    if name.endswith("_load_balancer"):
        return "load_balancer"
    return next((kind for kind in ("kubeadm", "etcd") if name.startswith(f"{kind}_")), "other")


def title_of(name: str) -> str:
    """Return the name of a task without its role."""
    return clean(name.rsplit(" : ", 1)[-1].strip() or "a task")


def is_told(action: str, status: str, seconds: float) -> bool:
    """Return whether a result is a step of the report."""
    if status in ("failed", "unreachable"):
        return True
    if short(action) in _SILENT:
        return False
    return status != "ok" or seconds >= SOON or kind_of(action) in _TELLING


def detail_of(action: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a report wants to know of a result; nothing of modules that are not this collection's."""
    if not action.startswith(COLLECTION):
        return {}
    name = short(action)
    kept = {one: clean(fields[one]) for one in _KEPT.get(name, ()) if fields.get(one) is not None}
    if name == "etcd_backup" and isinstance(fields.get("backup"), Mapping):
        kept["backup"] = {one: clean(fields["backup"][one]) for one in _BACKUP if one in fields["backup"]}
        kept["place"] = clean(fields.get("place") or "")
    if name == "cluster_health":
        nodes = [one for one in fields.get("nodes") or () if isinstance(one, Mapping)]
        kept["kubelets"] = {str(one["name"]): str(one.get("version", "")) for one in nodes if "name" in one}
    if name.endswith("_load_balancer"):
        members = [one for one in fields.get("members") or () if isinstance(one, Mapping)]
        kept["members"] = [{key: clean(one[key]) for key in ("id", "state", "health") if key in one} for one in members]
    return kept


def error_of(fields: Mapping[str, Any], hidden: bool) -> dict[str, Any]:
    """Return why a task failed: ``code``, ``message``, ``remedy`` and ``cause`` as far as it says so."""
    if hidden:
        return {"message": HIDDEN}
    failed = next((item for item in _items(fields) if item.get("failed") or item.get("unreachable")), fields)
    if failed.get("_ansible_no_log") or "censored" in failed:
        return {"message": HIDDEN}
    told = {name: clean(failed[name]) for name in ("code", "remedy", "cause") if failed.get(name)}
    message = clean(failed.get("msg") or "It failed without a message.")
    # Errors of this collection end with their remedy, for people who read nothing else.
    if told.get("remedy") and message.endswith(told["remedy"]):
        message = message[: -len(told["remedy"])].strip()
    return {**told, "message": message if isinstance(message, str) else " ".join(map(str, message))}


def _items(fields: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return [item for item in fields.get("results") or () if isinstance(item, Mapping)]
