# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A backup of a cluster, made on one of its control planes (private to flotilla.kubernetes).

A snapshot of etcd that was looked at and tried, and what a control plane needs beside it. It leaves the node only encrypted
(`backup_archive`). Python 3.9, standard library, etcdctl, etcdutl and openssl only.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from .. import _fence
from .._command import run
from .._errors import FlotillaError
from .._files import scratch
from .._state import STATE_DIR
from . import backup_archive, etcd_objects
from .backup_archive import Content
from .client import ApiError, Client
from .etcd import CLIENT_PORT, ETCD_PKI, client_context
from .kubeadm import cluster_settings
from .membership import kubelet_version
from .work import Tell

NAME = "etcd-backup"
FOLDER = STATE_DIR / NAME
# What a control plane is made of, beside etcd. kubeconfigs are left out: kubeadm makes them anew from the certificate authority.
_FILES = (
    "etc/kubernetes/pki",
    "etc/kubernetes/flotilla",
    "etc/kubernetes/manifests",
    "var/lib/kubelet/config.yaml",
    "var/lib/kubelet/kubeadm-flags.env",
)
_ROOM = 256 << 20  # bytes, next to the snapshot and the trial: the write-ahead log of the trial is 64 MiB
_TIMEOUT = 3600.0  # seconds that one command may take; each prints nothing until it ends
_REMEDY = "Read the log of etcd on the control planes ('crictl logs', /var/log/pods)."


@dataclass(frozen=True)
class Request:
    """What a backup is made of.

    :param address: of this machine's API server.
    :param recipient: certificate, PEM.
    :param owner_of: path whose owner may fetch the archive.
    """

    address: str
    recipient: str
    owner_of: str


def look(request: Request) -> dict[str, Any]:
    """Return what can be known before anything is written: ``snapshot_bytes``, ``members`` and the recipient.

    :raises FlotillaError: the member here does not serve, there is not enough room, or the recipient can not be used.
    """
    to = backup_archive.recipient(request.recipient)
    try:
        etcd = _etcd()
        status = json.loads(etcd.request("POST", "/v3/maintenance/status", {}))
        members = json.loads(etcd.request("POST", "/v3/cluster/member/list", {}))["members"]
    except (OSError, ApiError, ValueError) as error:
        raise FlotillaError("ETCD_UNREACHABLE", f"The etcd member on this machine does not answer: {error}.", _REMEDY, error) from error
    if str(status.get("leader", "0")) == "0":
        raise FlotillaError("ETCD_NO_QUORUM", "The etcd member on this machine knows no leader, so its data may be old.", _REMEDY)
    size = int(status["dbSize"])
    FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
    free, needed = shutil.disk_usage(FOLDER).free, 2 * size + _ROOM
    if free < needed:
        raise FlotillaError(
            "BACKUP_NO_ROOM",
            f"{FOLDER} has {free >> 20} MiB free; a snapshot of {size >> 20} MiB and its trial need {needed >> 20} MiB.",
            "Make room on the machine, or defragment etcd.",
        )
    return {"snapshot_bytes": size, "members": len(members), "recipient": to}


def take(request: Request, tell: Tell) -> dict[str, Any]:
    """Make a backup; return ``archive``, where it lies for the owner of ``owner_of`` to fetch, and ``manifest``.

    :raises FlotillaError: something of it is not as it has to be; nothing is left then.
    """
    release()
    found = look(request)
    with scratch(FOLDER, "snapshot") as folder:
        snapshot = folder / "snapshot.db"
        tell(f"saves a snapshot of etcd ({found['snapshot_bytes'] >> 20} MiB)")
        _etcdctl("snapshot", "save", str(snapshot))
        tell("tries the snapshot")
        facts = try_out(snapshot, folder)
        manifest = {
            **{key: facts[key] for key in ("revision", "hash", "etcd_version", "snapshot_bytes")},
            "verified": True,
            "members": found["members"],
            "recipient": found["recipient"],
            **_cluster(request.address),
            "kubelet_version": kubelet_version(),
            "generation": _fence.look().generation,
        }
        tell("counts what it holds")
        manifest["objects"] = _counts(facts["revision"])
        contents = [Content("etcd/snapshot.db", snapshot), *files()]
        manifest["contents"] = sorted(content.name for content in contents)
        tell("encrypts it")
        handover = _handover()
        archive = handover / "archive.backup"
        record = json.dumps(manifest, indent=2, sort_keys=True).encode()
        sealed = backup_archive.pack([*contents, Content("manifest.json", record)], request.recipient, archive)
        owner = Path(request.owner_of).stat()
        for path in (archive, handover):
            os.chown(path, owner.st_uid, owner.st_gid)
    return {"archive": str(archive), "manifest": {**manifest, **asdict(sealed), "format": backup_archive.FORMAT}}


def release() -> bool:
    """Remove the archive that is there to be fetched, also one that nobody came for; return whether there was one."""
    note = FOLDER / "handover"
    try:
        left = Path(note.read_text(encoding="utf-8"))
    except OSError:
        return False
    shutil.rmtree(left, ignore_errors=True)
    note.unlink(missing_ok=True)
    return True


def try_out(snapshot: Path, folder: Path) -> dict[str, Any]:
    """Return what a snapshot says of itself, once its hash was checked and it was restored into a folder that is removed again.

    :raises FlotillaError: ``BACKUP_NOT_RESTORABLE``.
    """
    trial = folder / "trial"
    try:
        said = _status(snapshot)
        # Checks the hash that etcd put behind the data, too.
        _etcdutl("snapshot", "restore", str(snapshot), f"--data-dir={trial}")
        restored = _status(trial / "member/snap/db")
    except FlotillaError as error:
        raise FlotillaError("BACKUP_NOT_RESTORABLE", f"The snapshot can not be restored: {error.message}", _REMEDY, error) from error
    finally:
        shutil.rmtree(trial, ignore_errors=True)
    if restored["revision"] != said["revision"]:
        raise FlotillaError(
            "BACKUP_NOT_RESTORABLE",
            f"The snapshot is of revision {said['revision']}, and what was restored from it is at {restored['revision']}.",
            _REMEDY,
        )
    return {
        "revision": int(said["revision"]),
        "hash": f"{int(said['hash']):08x}",
        "etcd_version": str(said.get("version", "")),
        "snapshot_bytes": snapshot.stat().st_size,
    }


def _counts(revision: int) -> dict[str, int]:
    """Return how many objects of each kind the snapshot holds; where etcd has forgotten that revision meanwhile, how many there are now."""
    try:
        return etcd_objects.counts(_etcd(), revision)
    except FlotillaError:
        # API servers have what is older than five minutes compacted, and a large snapshot may take longer to try.
        return etcd_objects.counts(_etcd())


def _status(database: Path) -> dict[str, Any]:
    return json.loads(_etcdutl("snapshot", "status", str(database), "--write-out=json"))


def _etcdutl(*arguments: str) -> str:
    return run(["etcdutl", *arguments], timeout=_TIMEOUT, code="ETCDUTL_FAILED", remedy=_REMEDY)


def _etcdctl(*arguments: str) -> str:
    pair = f"{ETCD_PKI}/healthcheck-client"
    login = [f"--cacert={ETCD_PKI}/ca.crt", f"--cert={pair}.crt", f"--key={pair}.key"]
    endpoint = f"--endpoints=https://127.0.0.1:{CLIENT_PORT}"
    return run(["etcdctl", endpoint, *login, *arguments], timeout=_TIMEOUT, code="ETCD_SNAPSHOT_FAILED", remedy=_REMEDY)


def _etcd() -> Client:
    return Client("127.0.0.1", CLIENT_PORT, client_context(), timeout=60)


def _cluster(address: str) -> dict[str, str]:
    """Return the version that kubeadm recorded and the uid that tells this cluster from another one of the same name."""
    client = Client.short_lived(address, "flotilla")
    uid = client.get("/api/v1/namespaces/kube-system")["metadata"]["uid"]
    settings = cluster_settings(client)
    return {"cluster_uid": uid, "kubernetes_version": settings["kubernetes_version"], "api_endpoint": settings["api_endpoint"]}


def files(root: Path = Path("/")) -> Iterator[Content]:
    for name in _FILES:
        place = root / name
        for path in sorted(place.rglob("*")) if place.is_dir() else [place]:
            if path.is_file() and not path.is_symlink():
                yield Content(str(path.relative_to(root)), path)


def _handover() -> Path:
    """Return a new folder that somebody without root's rights can be given."""
    folder = Path(tempfile.mkdtemp(prefix="flotilla-backup-", dir="/var/tmp"))
    (FOLDER / "handover").write_text(str(folder), encoding="utf-8")
    return folder
