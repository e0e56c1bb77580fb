# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The schema of `backup_store` (private to flotilla.kubernetes)."""

from __future__ import annotations

from typing import Any

from ansible_collections.flotilla.kubernetes.plugins.module_utils._definition.schema_parts import DURATION, mapping, pattern

KINDS = ("directory", "ssh", "s3")
"""Ways to keep backups, of which a definition takes one."""

_FOLDER = {"type": "string", "pattern": pattern("[/~][^\\n]*"), "x-allowed": "an absolute path or one that begins with ~"}


def _kept(description: str, default: int, minimum: int = 0) -> dict[str, Any]:
    return {"type": "integer", "minimum": minimum, "maximum": 1000, "description": description, "default": default}


BACKUP_STORE = mapping(
    {
        "directory": mapping(
            {"path": {**_FOLDER, "description": "The directory: on a disk that outlives the controller, e.g. a mounted share."}},
            "Keep backups in a directory of the controller.",
            required=("path",),
        ),
        "ssh": mapping(
            {
                "host": {
                    "type": "string",
                    "maxLength": 253,
                    "pattern": pattern("[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?"),
                    "x-allowed": "a host name or IP address",
                    "description": "The host; its key has to be in your known_hosts files. It has a shell, `cat`, `sha256sum` and `find`.",
                },
                "port": {"type": "integer", "minimum": 1, "maximum": 65535, "description": "TCP port of its SSH server.", "default": 22},
                "user": {
                    "type": "string",
                    "maxLength": 32,
                    "pattern": pattern("[a-z_][-a-z0-9_]*"),
                    "x-allowed": "a Unix user name",
                    "description": "Login there.",
                },
                "path": {
                    "type": "string",
                    "pattern": pattern("/[^\\n]*"),
                    "x-allowed": "an absolute path",
                    "description": "Directory there.",
                },
                "private_key_file": {
                    "type": ["string", "null"],
                    "pattern": pattern("[/~][^\\n]*"),
                    "x-allowed": "an absolute path or one that begins with ~",
                    "default": None,
                    "description": "Private key for it on the controller; `null`: your SSH configuration decides.",
                },
            },
            "Keep backups on a host that is reached by SSH from the controller.",
            required=("host", "user", "path"),
        ),
        "s3": mapping(
            {
                "bucket": {
                    "type": "string",
                    "pattern": pattern("[a-z0-9][-a-z0-9.]{1,61}[a-z0-9]"),
                    "x-allowed": "the name of a bucket",
                    "description": "The bucket, which exists.",
                },
                "prefix": {
                    "type": "string",
                    "pattern": pattern("([A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)?"),
                    "x-allowed": "a path without slashes at its ends, such as backups/kubernetes",
                    "description": "What names in the bucket begin with; a slash follows.",
                    "default": "",
                },
                "region": {
                    "type": ["string", "null"],
                    "pattern": pattern("[a-z0-9][-a-z0-9]*"),
                    "x-allowed": "a region such as eu-west-1",
                    "description": "The bucket's region; `null`: that of your AWS configuration.",
                    "default": None,
                },
                "endpoint_url": {
                    "type": ["string", "null"],
                    "pattern": pattern("https?://[^\\s@?#]+"),
                    "x-allowed": "a URL without user and password such as https://objects.example.com",
                    "description": "Endpoint of an S3-compatible service; `null`: AWS.",
                    "default": None,
                },
                "storage_class": {
                    "type": ["string", "null"],
                    "pattern": pattern("[A-Z0-9_]+"),
                    "x-allowed": "a storage class such as STANDARD_IA",
                    "description": "Storage class of backups; `null`: the bucket's. Not one that has to be thawed before it is read.",
                    "default": None,
                },
            },
            "Keep backups in a bucket of S3, or of a service that speaks its language. Credentials come from the usual chain of the AWS "
            "SDK on the controller, never from here.",
            required=("bucket",),
        ),
        "recipient": {
            "type": "string",
            "minLength": 1,
            "pattern": pattern("[^\\n]+"),
            "x-allowed": "a file's path",
            "description": "File with the X.509 certificate (PEM; RSA or elliptic curve) that backups are encrypted to, relative to the "
            "file that names it. Its private key is needed to restore only: keep it elsewhere.",
        },
        "retention": mapping(
            {
                "last": _kept("How many of the newest backups are kept.", 7, 1),
                "daily": _kept("Of how many days the newest backup is kept, too.", 7),
                "weekly": _kept("Of how many weeks.", 4),
                "monthly": _kept("Of how many months.", 0),
            },
            "Which backups stay when a new one has been made. The newest one of each occasion (by hand, before an upgrade, before a "
            "restore) always does.",
            default={},
        ),
        "max_age": {
            **DURATION,
            "type": ["string", "null"],
            "x-allowed": "a duration such as 26h",
            "description": "How old the newest backup may be before `cluster_status` says so; `null`: any age.",
            "default": None,
        },
    },
    "Where `cluster_backup` keeps backups, in one of three ways, and whom they are encrypted to ([backup](backup.md)). What a class says "
    "here is not mixed with what a cluster says.",
    required=("recipient",),
)
