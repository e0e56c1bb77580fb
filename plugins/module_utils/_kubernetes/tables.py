# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each minor of Kubernetes knows: flags, feature gates, admission plugins, configuration, APIs (private to flotilla.kubernetes).

``minors/<minor>.json`` is written by ``tools/kubernetes-tables`` from the code of that minor; nobody edits it. The tables are read on
the controller only: files that are not Python do not travel with a module to a machine.

What a user asks for is compared with one version and gives findings. "Removed" is said of what an older table of ours knows, so that the
answer to a typing error differs from the answer to an argument that an upgrade leaves behind.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from .._errors import FlotillaError

# Not "tables": Ansible's importer takes a folder for the package before it looks for the file of that name.
FOLDER = Path(__file__).resolve().parent / "minors"

# Those that take arguments from a user. kubeadm has feature gates of its own, too; etcd is no part of Kubernetes.
COMPONENTS = ("kube-apiserver", "kube-controller-manager", "kube-proxy", "kube-scheduler", "kubelet")

UNKNOWN, REMOVED, LOCKED, DEPRECATED = "unknown", "removed", "locked", "deprecated"


@dataclass(frozen=True, order=True)
class Finding:
    """One thing that a version does not take, or will not take for long.

    :param subject: what it is about, as a user writes it: ``--profiling``, ``SomeGate``, ``policy/v1beta1 PodDisruptionBudget``.
    :param kind: `UNKNOWN`, `REMOVED` and `LOCKED` keep a component from starting (or a manifest from being applied); `DEPRECATED` does not.
    :param message: what is wrong and what to do; a sentence without the subject.
    :param suggestion: what to write in its place, if that is known.
    """

    subject: str
    kind: str
    message: str
    suggestion: str = ""

    @property
    def fatal(self) -> bool:
        """Return whether the component would refuse it."""
        return self.kind != DEPRECATED

    def __str__(self) -> str:
        return f"{self.subject} {self.message}"


@dataclass(frozen=True)
class Table:
    """One minor, in the shape of its file."""

    version: str
    minor: str
    flags: Mapping[str, Mapping[str, Mapping[str, Any]]]
    feature_gates: Mapping[str, Mapping[str, Any]]
    admission_plugins: Mapping[str, bool]
    configuration: Mapping[str, frozenset[str]]
    apis: Mapping[str, Mapping[str, Any]]
    removed_kinds: Mapping[str, Mapping[str, Any]]

    def gates(self, component: str) -> dict[str, Mapping[str, Any]]:
        """Return the feature gates of a component."""
        return {
            name: {**gate, "default": gate.get("defaults", {}).get(component, gate["default"])}
            for name, gate in self.feature_gates.items()
            if component in gate.get("components", COMPONENTS)
        }

    def kinds(self) -> dict[str, Mapping[str, Any]]:
        """Return what is served, by ``apiVersion Kind``."""
        return {f"{name.rpartition('/')[0]} {api['kind']}": api for name, api in self.apis.items()}

    def groups(self) -> set[str]:
        """Return Kubernetes' own API groups; the core group is ``""``."""
        return {_group(name.rpartition("/")[0]) for name in self.apis}


def minors() -> list[str]:
    """Return the minors that have a table, oldest first."""
    return sorted((path.stem for path in FOLDER.glob("*.json")), key=_numbers)


def minor_of(version: str) -> str:
    """Return ``1.36`` of ``1.36.3``, ``v1.36.3`` or ``1.36``."""
    return ".".join(version.lstrip("v").split(".")[:2])


def table(version: str) -> Table:
    """Return the table of a version's minor.

    :param version: a version or a minor.
    :raises FlotillaError: ``KUBERNETES_MINOR_UNKNOWN``, naming the known minors.
    """
    minor, known = minor_of(version), minors()
    if minor not in known:
        raise FlotillaError(
            "KUBERNETES_MINOR_UNKNOWN",
            f"What Kubernetes {minor} knows is not in this release of flotilla.kubernetes (known: {', '.join(known)}).",
            "Use a version of a known minor, or a newer release of the collection.",
            details={"known": known},
        )
    return _read(minor)


@cache
def _read(minor: str) -> Table:
    data = json.loads((FOLDER / f"{minor}.json").read_text(encoding="utf-8"))
    configuration = {name: frozenset(paths) for name, paths in data.pop("configuration").items()}
    return Table(minor=minor, configuration=configuration, **data)


def _others(minor: str) -> Iterator[Table]:
    """Yield the other tables: older ones first, the newest of them in front, then newer ones."""
    known = minors()
    for other in [*reversed([known for known in known if later(minor, known)]), *(known for known in known if later(known, minor))]:
        yield _read(other)


def _absent(what: str, name: str, there: Table, names: Callable[[Table], Collection[str]]) -> Finding:
    """Return the finding for a name that a minor does not know.

    :param what: e.g. ``flag of kubelet``.
    :param names: gives those that a table has.
    """
    for other in _others(there.minor):
        if name in names(other) and later(there.minor, other.minor):
            return Finding(name, REMOVED, f"is no {what} in Kubernetes {there.minor} any more ({other.minor} has it); remove it.")
        if name in names(other):
            return Finding(name, UNKNOWN, f"is no {what} in Kubernetes {there.minor} yet ({other.minor} has it); remove it.")
    guess = next(iter(get_close_matches(name, names(there), n=1, cutoff=0.75)), "")
    return Finding(name, UNKNOWN, f"is no {what} in Kubernetes {there.minor}; {f'did you mean {guess}?' if guess else 'remove it.'}", guess)


def arguments(component: str, given: Mapping[str, Any], version: str) -> list[Finding]:
    """Check the arguments of a component: its flags, and the values of those that list feature gates and admission plugins.

    :param component: one of `COMPONENTS`.
    :param given: flag without dashes -> value.
    :raises FlotillaError: ``KUBERNETES_MINOR_UNKNOWN``.
    """
    there = table(version)
    flags, found = there.flags[component], []
    for written, value in given.items():
        # As the components do: --audit_log_path is --audit-log-path.
        name = written.replace("_", "-")
        if name not in flags:
            found.append(
                _absent(f"flag of {component}", f"--{name}", there, lambda other: [f"--{flag}" for flag in other.flags[component]])
            )
            continue
        reason = flags[name].get("deprecated")
        if reason:
            found.append(Finding(f"--{name}", DEPRECATED, f"is deprecated in Kubernetes {there.minor}: {reason.rstrip('.')}."))
        if name == "feature-gates":
            found += feature_gates(component, _pairs(value), version)
        elif name in ("enable-admission-plugins", "disable-admission-plugins"):
            found += admission_plugins(str(value).split(","), version)
    return found


def feature_gates(component: str, given: Mapping[str, bool], version: str) -> list[Finding]:
    """Check feature gates that are set for a component, ``kubeadm`` included.

    :raises FlotillaError: ``KUBERNETES_MINOR_UNKNOWN``.
    """
    there = table(version)
    gates, found = there.gates(component), []
    for name, value in given.items():
        if name not in gates:
            found.append(_absent(f"feature gate of {component}", name, there, lambda other: other.gates(component)))
            continue
        gate = gates[name]
        state = f"is {str(gate['default']).lower()} in Kubernetes {there.minor} ({gate['stage']})"
        if gate.get("locked") and value != gate["default"]:
            found.append(Finding(name, LOCKED, f"{state} and can not be changed any more; remove it."))
        elif gate.get("locked"):
            found.append(Finding(name, DEPRECATED, f"{state} anyway and will go away; remove it."))
        elif gate["stage"] == "DEPRECATED":
            found.append(Finding(name, DEPRECATED, f"is deprecated in Kubernetes {there.minor} and will go away; do without it."))
    return found


def admission_plugins(given: Iterable[str], version: str) -> list[Finding]:
    """Check names of admission plugins.

    :raises FlotillaError: ``KUBERNETES_MINOR_UNKNOWN``.
    """
    there, found = table(version), []
    for name in filter(None, (name.strip() for name in given)):
        if name not in there.admission_plugins:
            found.append(_absent("admission plugin", name, there, lambda other: other.admission_plugins))
    return found


def configuration(document: Mapping[str, Any], version: str) -> list[Finding]:
    """Check the fields of a KubeletConfiguration or KubeProxyConfiguration, and its feature gates.

    Both are read strictly: one unknown field, and the component does not start. A document of another kind gives no finding.

    :raises FlotillaError: ``KUBERNETES_MINOR_UNKNOWN``.
    """
    there = table(version)
    kind = f"{document.get('apiVersion')} {document.get('kind')}"
    component = {"KubeletConfiguration": "kubelet", "KubeProxyConfiguration": "kube-proxy"}.get(str(document.get("kind")), "")
    if kind not in there.configuration:
        return []
    fields, found = there.configuration[kind], []
    for path in _unknown_fields(document, fields):
        found.append(_absent(f"field of {document['kind']}", path, there, lambda other: other.configuration.get(kind, frozenset())))
    return found + feature_gates(component, _mapping(document.get("featureGates")), version)


def kubeadm_documents(documents: Iterable[Mapping[str, Any]], version: str) -> list[tuple[str, Finding]]:
    """Check the documents of a kubeadm configuration file: arguments, feature gates, and the configurations that it holds.

    https://kubernetes.io/docs/reference/config-api/kubeadm-config.v1beta4/

    :return: pairs of a place, such as ``ClusterConfiguration.apiServer.extraArgs``, and what is found there.
    :raises FlotillaError: ``KUBERNETES_MINOR_UNKNOWN``.
    """
    found: list[tuple[str, Finding]] = []
    for document in documents:
        kind = str(document.get("kind"))
        for (part, field), component in _KUBEADM_ARGUMENTS.items():
            given = _mapping(document.get(part)).get(field)
            listed = [_mapping(each) for each in given] if isinstance(given, list) else []
            named = {str(each["name"]): each.get("value", "") for each in listed if "name" in each}
            found += [(f"{kind}.{part}.{field}", finding) for finding in arguments(component, named, version)]
        if kind == "ClusterConfiguration":
            gates = feature_gates("kubeadm", _mapping(document.get("featureGates")), version)
            found += [(f"{kind}.featureGates", finding) for finding in gates]
        found += [(kind, finding) for finding in configuration(document, version)]
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a mapping as it is, and an empty one for what has another shape: that is for kubeadm to refuse."""
    return value if isinstance(value, Mapping) else {}


_KUBEADM_ARGUMENTS = {
    ("apiServer", "extraArgs"): "kube-apiserver",
    ("controllerManager", "extraArgs"): "kube-controller-manager",
    ("scheduler", "extraArgs"): "kube-scheduler",
    ("nodeRegistration", "kubeletExtraArgs"): "kubelet",
}


def manifests(kinds: Iterable[tuple[str, str]], version: str) -> list[Finding]:
    """Check what manifests ask for.

    Groups that Kubernetes does not have itself are left alone: they may come from CustomResourceDefinitions.

    :param kinds: pairs of ``apiVersion`` and ``kind``.
    :raises FlotillaError: ``KUBERNETES_MINOR_UNKNOWN``.
    """
    there, found = table(version), []
    served = there.kinds()
    for api_version, kind in sorted(set(kinds)):
        name = f"{api_version} {kind}"
        life = served.get(name) or there.removed_kinds.get(name) or _seen_elsewhere(name, there)
        replacement = _replacement(name, life or {}, there)
        instead = f"; use {replacement}" if replacement else ""
        if name in served:
            if _has_come(served[name].get("deprecated"), there.minor):
                since = served[name]["deprecated"]
                found.append(Finding(name, DEPRECATED, f"is deprecated since Kubernetes {since}{instead}.", replacement))
        elif life and later(life.get("introduced", "0.0"), there.minor):
            found.append(Finding(name, UNKNOWN, f"is not served by Kubernetes {there.minor} yet; {life['introduced']} brings it."))
        elif life:
            since = f"since Kubernetes {life['removed']}" if _has_come(life.get("removed"), there.minor) else f"by Kubernetes {there.minor}"
            found.append(Finding(name, REMOVED, f"is not served {since}{instead}.", replacement))
        elif _group(api_version) in there.groups() and api_version not in {name.rpartition("/")[0] for name in there.apis}:
            message = f"is not served: Kubernetes {there.minor} has no version {api_version} of this group{instead}."
            found.append(Finding(name, UNKNOWN, message, replacement))
    return found


def removed_flags(component: str, old: str, new: str) -> list[str]:
    """Return the flags of a component that one version has and a later one has not."""
    return sorted(set(table(old).flags[component]) - set(table(new).flags[component]))


def removed_feature_gates(component: str, old: str, new: str) -> list[str]:
    """Return the feature gates of a component that one version has and a later one has not."""
    return sorted(set(table(old).gates(component)) - set(table(new).gates(component)))


def locked_feature_gates(component: str, old: str, new: str) -> dict[str, bool]:
    """Return the feature gates that could be set in one version and can not in a later one, with the value they have there."""
    before, after = table(old).gates(component), table(new).gates(component)
    return {
        name: bool(gate["default"])
        for name, gate in sorted(after.items())
        if gate.get("locked") and name in before and not before[name].get("locked")
    }


def removed_apis(old: str, new: str) -> dict[str, str]:
    """Return the APIs that one version serves and a later one does not.

    :return: ``apiVersion/resource`` -> ``apiVersion Kind`` that takes its place, or ``""``.
    """
    before, after = table(old), table(new)
    return {name: _replacement(_kind(name, before), before.apis[name], after) for name in sorted(set(before.apis) - set(after.apis))}


def deprecated_apis(version: str) -> dict[str, str]:
    """Return the APIs that a version still serves but calls deprecated, in the shape of `removed_apis`."""
    there = table(version)
    return {
        name: _replacement(_kind(name, there), api, there)
        for name, api in sorted(there.apis.items())
        if _has_come(api.get("deprecated"), there.minor)
    }


def _kind(name: str, there: Table) -> str:
    """Return ``policy/v1 PodDisruptionBudget`` of ``policy/v1/poddisruptionbudgets``."""
    return f"{name.rpartition('/')[0]} {there.apis[name]['kind']}"


def _group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def _replacement(name: str, life: Mapping[str, Any], there: Table) -> str:
    """Return the served kind that the code names as the replacement, else the most stable version of the same kind; or nothing."""
    served, named = there.kinds(), life.get("replacement", "")
    while named not in served and named in there.removed_kinds:
        # What took its place then is gone as well by now.
        named = there.removed_kinds[named].get("replacement", "")
    if named in served:
        return str(named)
    api_version, _space, kind = name.partition(" ")
    same = [other for other in served if other.endswith(f" {kind}") and _group(other) == _group(api_version)]
    best = max(same, key=_stability, default="")
    # Of two that are both deprecated, the less stable one is no way out.
    return "" if best == name or name in served and _stability(best) < _stability(name) else best


def _stability(name: str) -> tuple[bool, bool, str]:
    return "alpha" not in name, "beta" not in name, name


def _seen_elsewhere(name: str, there: Table) -> Mapping[str, Any] | None:
    return next((kinds[name] for other in _others(there.minor) if name in (kinds := other.kinds())), None)


def _unknown_fields(value: Any, fields: frozenset[str], prefix: str = "") -> Iterator[str]:
    if isinstance(value, list):
        for item in value:
            yield from _unknown_fields(item, fields, f"{prefix}[]")
    elif isinstance(value, Mapping):
        below = f"{prefix}." if prefix else ""
        # A map such as evictionHard has keys that are no fields.
        if prefix and not any(field.startswith(below) for field in fields):
            return
        for key, part in value.items():
            path = f"{below}{key}"
            if path in fields:
                yield from _unknown_fields(part, fields, path)
            else:
                yield path


def _pairs(value: Any) -> dict[str, bool]:
    """Return the value of --feature-gates, such as ``A=true,kube:B=false``; gates of extension servers are left out."""
    pairs = [pair.strip().partition("=") for pair in str(value).split(",") if pair.strip()]
    split = [(*name.rpartition(":")[::2], text) for name, _equals, text in pairs]
    return {name: text.lower() in ("1", "t", "true") for registry, name, text in split if registry in ("", "kube")}


def _has_come(minor: str | None, at: str) -> bool:
    return minor is not None and not later(minor, at)


def later(minor: str, than: str) -> bool:
    """Return whether a minor such as ``1.10`` is later than another."""
    return _numbers(minor) > _numbers(than)


def _numbers(minor: str) -> tuple[int, ...]:
    return tuple(int(part) for part in minor.split("."))
