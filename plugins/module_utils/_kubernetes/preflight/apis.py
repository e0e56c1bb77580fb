# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who uses which version of which API (private to flotilla.kubernetes).

An API is named ``group/version/resource`` (``v1/pods`` in the core group), as in the tables of minors. None of the reads here asks for an
API that is about to go: that would count as a use of it. Python 3.9, standard library only.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Collection, Iterator
from typing import Any

from ..client import ApiError, Client

DEPRECATED_METRIC = "apiserver_requested_deprecated_apis"
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
# Helm 3 keeps each release in a Secret, or in a ConfigMap where it was told so.
HELM_RECORDS = ("secrets", "configmaps")
_GZIP = b"\x1f\x8b"
_PROTOBUF = b"k8s\x00"
_PAGE = 200


def requested(metrics: str) -> list[str]:
    """Return the deprecated APIs that an API server was asked for since it started, from the text of its ``/metrics``.

    https://kubernetes.io/blog/2020/09/03/warnings/#metrics
    """
    found = set()
    for labels in re.findall(rf"^{DEPRECATED_METRIC}\{{(.*)\}} [1-9]", metrics, re.MULTILINE):
        values = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        found.add("/".join(filter(None, (values.get("group"), values.get("version"), values.get("resource")))))
    return sorted(found)


def stored(etcd: Client, apis: Collection[str], prefix: str = "/registry") -> list[dict[str, Any]]:
    """Return which of ``apis`` objects lie in etcd as, with their number and the key of one.

    The API server can only tell which version it would write today, so etcd itself is read. What is encrypted there is not seen.

    :param etcd: client of one member.
    """
    counts: dict[tuple[str, str], dict[str, Any]] = {}
    for (group, resource), versions in _resources(apis).items():
        # Kubernetes' own resources have no group in their keys, but for a few.
        for folder in (f"{prefix}/{resource}/", f"{prefix}/{group}/{resource}/"):
            for key, value in _range(etcd, folder):
                api_version, kind = type_of(value)
                if api_version in versions:
                    entry = counts.setdefault((api_version, kind), {"api": api_version, "kind": kind, "count": 0, "example": key})
                    entry["count"] += 1
    return [entry for _type, entry in sorted(counts.items())]


def _resources(apis: Collection[str]) -> dict[tuple[str, str], set[str]]:
    """Return group and resource -> its apiVersions among ``apis``."""
    found: dict[tuple[str, str], set[str]] = {}
    for name in sorted(apis):
        api_version, _slash, resource = name.rpartition("/")
        found.setdefault((api_version.rpartition("/")[0], resource), set()).add(api_version)
    return found


def _range(etcd: Client, folder: str) -> Iterator[tuple[str, bytes]]:
    """Yield keys and values below ``folder``; https://etcd.io/docs/v3.6/dev-guide/api_grpc_gateway/."""
    start, end = folder.encode(), folder[:-1].encode() + b"0"  # the character after the slash
    while True:
        body = {"key": base64.b64encode(start).decode(), "range_end": base64.b64encode(end).decode(), "limit": _PAGE}
        page = json.loads(etcd.request("POST", "/v3/kv/range", body))
        for entry in page.get("kvs", []):
            key = base64.b64decode(entry["key"])
            yield key.decode("utf-8", "replace"), base64.b64decode(entry.get("value", ""))
            start = key + b"\x00"
        if not page.get("more"):
            return


def type_of(value: bytes) -> tuple[str, str]:
    """Return apiVersion and kind of a stored object, or nothing where it is encrypted.

    https://kubernetes.io/docs/reference/using-api/api-concepts/#protobuf-encoding
    """
    if value.startswith(_PROTOBUF):
        # message Unknown {TypeMeta typeMeta = 1;}, message TypeMeta {string apiVersion = 1; string kind = 2;}: short strings, so that a
        # length is one byte.
        message = value[len(_PROTOBUF) :]
        body = message[2 : 2 + int.from_bytes(message[1:2], "big")]
        fields = {}
        while len(body) > 2:
            fields[body[0]], body = body[2 : 2 + body[1]].decode("utf-8", "replace"), body[2 + body[1] :]
        return fields.get(0x0A, ""), fields.get(0x12, "")
    if value.startswith(b"{"):
        try:
            found = json.loads(value)
            return str(found.get("apiVersion", "")), str(found.get("kind", ""))
        except ValueError:
            pass
    return "", ""


def written(client: Client, apis: Collection[str]) -> list[dict[str, Any]]:
    """Return objects that were last written through one of ``apis``, with who did so.

    The API server notes per field manager through which version it wrote, and kubectl keeps what it was given.
    """
    found = []
    for (group, resource), versions in _resources(apis).items():
        path = _staying(client, group, resource, versions)
        for item in client.items(path) if path else ():
            metadata = item["metadata"]
            managers = {entry.get("apiVersion"): entry.get("manager", "") for entry in metadata.get("managedFields", [])}
            try:
                applied = json.loads(metadata.get("annotations", {}).get(LAST_APPLIED) or "{}")
            except ValueError:
                applied = {}
            managers.update({applied["apiVersion"]: "kubectl apply"} if applied.get("apiVersion") else {})
            for version in sorted(versions & set(managers)):
                found.append(
                    {
                        "api": f"{version}/{resource}",
                        "resource": resource,
                        "namespace": metadata.get("namespace", ""),
                        "name": metadata["name"],
                        "manager": managers[version],
                    }
                )
    return found


def _staying(client: Client, group: str, resource: str, going: Collection[str]) -> str:
    """Return the path of a resource in a version that is served and not among ``going``, or nothing."""
    if not group:
        return f"/api/v1/{resource}"
    try:
        served = client.get(f"/apis/{group}")
        for version in [served["preferredVersion"]["groupVersion"], *(one["groupVersion"] for one in served["versions"])]:
            if version not in going and any(one["name"] == resource for one in client.get(f"/apis/{version}")["resources"]):
                return f"/apis/{version}/{resource}"
    except ApiError as error:
        if error.status != 404:
            raise
    return ""


def helm_releases(client: Client) -> list[dict[str, Any]]:
    """Return namespace, name and the kinds (``apiVersion Kind``) of the manifest of each deployed Helm release."""
    found = []
    for kind in HELM_RECORDS:
        for record in client.items(f"/api/v1/{kind}?labelSelector=owner%3Dhelm,status%3Ddeployed"):
            metadata, data = record["metadata"], record.get("data", {}).get("release", "")
            manifest = helm_manifest(data if kind == "configmaps" else base64.b64decode(data))
            found.append(
                {
                    "namespace": metadata["namespace"],
                    "name": metadata.get("labels", {}).get("name", metadata["name"]),
                    "kinds": sorted(f"{api_version} {name}" for api_version, name in kinds_of(manifest)),
                }
            )
    return found


def helm_manifest(record: str | bytes) -> str:
    """Return the manifest in the record of a release, or nothing where it can not be read: base64 around JSON, mostly compressed."""
    try:
        content = base64.b64decode(record)
        if content.startswith(_GZIP):
            content = zlib.decompress(content, wbits=31)
        return str(json.loads(content).get("manifest", ""))
    except (ValueError, binascii.Error, zlib.error, AttributeError):
        return ""


def kinds_of(manifest: str) -> set[tuple[str, str]]:
    """Return apiVersion and kind of each document of a YAML stream as Helm renders it; nodes have no YAML reader."""
    found = set()
    for document in re.split(r"^---.*$", manifest, flags=re.MULTILINE):
        fields = dict(re.findall(r"^[\"']?(apiVersion|kind)[\"']?:[ \t]*[\"']?([\w./-]+)", document, re.MULTILINE))
        if len(fields) == 2:
            found.add((fields["apiVersion"], fields["kind"]))
    return found
