# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Backups in a bucket of S3 or of a service that speaks its language (private to flotilla.kubernetes).

The one place beside the cloud AWS that imports boto3: a cluster anywhere may keep its backups there.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from .._errors import FlotillaError
from .store import LEFT_BEHIND, PIECE, Progress, Store, Stored

_GONE = ("NoSuchKey", "404", "NotFound")


class S3(Store):
    """A bucket with a prefix. An object is there as a whole or not at all by S3's own promise."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        region: str | None = None,
        endpoint_url: str | None = None,
        storage_class: str | None = None,
    ) -> None:
        """:raises FlotillaError: boto3 is missing, or the AWS configuration is not usable."""
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        self._extra = {"StorageClass": storage_class} if storage_class else {}
        self.title = f"the bucket {bucket}" + (f" at {endpoint_url}" if endpoint_url else "")
        try:
            import boto3
            import boto3.exceptions
            import botocore.exceptions
            from botocore.config import Config
        except ImportError as error:
            raise FlotillaError(
                "AWS_SDK_MISSING",
                "The Python that runs this has no boto3, which backup_store.s3 needs.",
                "Install it there: python -m pip install boto3",
                cause=error,
            ) from error
        self._refusal = botocore.exceptions.ClientError
        self._failure = (botocore.exceptions.BotoCoreError, boto3.exceptions.Boto3Error)
        with self._clear("connecting"):
            # Services that are not AWS refuse checksums that they do not know. What counts is read back anyway.
            config = Config(
                retries={"mode": "standard", "max_attempts": 5},
                connect_timeout=10,
                read_timeout=60,
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            )
            session = boto3.session.Session(region_name=region)
            # A service of one's own needs no region, but the signature does.
            place = session.region_name or ("us-east-1" if endpoint_url else None)
            self._client = session.client("s3", region_name=place, endpoint_url=endpoint_url, config=config)

    def put(self, source: Path, name: str, sha256: str, progress: Progress) -> None:
        with self._clear(f"writing {name}"):
            counted = _Counted(progress)
            self._client.upload_file(str(source), self._bucket, self._key(name), ExtraArgs=self._extra, Callback=counted)
            digest = hashlib.sha256()
            for piece in self._pieces(name):
                digest.update(piece)
            if digest.hexdigest() != sha256:
                self._client.delete_object(Bucket=self._bucket, Key=self._key(name))
                raise self.damaged(name)

    def get(self, name: str, destination: Path, progress: Progress) -> None:
        done = 0
        with self._clear(f"reading {name}", name):
            descriptor = os.open(destination, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as writer:
                for piece in self._pieces(name):
                    writer.write(piece)
                    done += len(piece)
                    progress(done)

    def files(self, folder: str) -> list[Stored]:
        with self._clear(f"listing {folder}"):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._key(f"{folder}/"))
            found = [(entry["Key"][len(self._prefix) :], entry["Size"]) for page in pages for entry in page.get("Contents", ())]
        return [Stored(name, size) for name, size in sorted(found) if "/" not in name[len(folder) + 1 :]]

    def delete(self, name: str) -> None:
        with self._clear(f"deleting {name}"):
            self._client.delete_object(Bucket=self._bucket, Key=self._key(name))

    def tidy(self, folder: str) -> None:
        """Uploads that did not end cost money and show nowhere."""
        with self._clear(f"tidying {folder}"):
            pages = self._client.get_paginator("list_multipart_uploads").paginate(Bucket=self._bucket, Prefix=self._key(f"{folder}/"))
            for upload in [upload for page in pages for upload in page.get("Uploads", ())]:
                if upload["Initiated"].timestamp() < time.time() - LEFT_BEHIND:
                    self._client.abort_multipart_upload(Bucket=self._bucket, Key=upload["Key"], UploadId=upload["UploadId"])

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            with suppress(_Gone), self._clear(f"reading {name}", name):
                found[name] = b"".join(self._pieces(name))
        return found

    def _key(self, name: str) -> str:
        return f"{self._prefix}{name}"

    def _pieces(self, name: str) -> Iterator[bytes]:
        body = self._client.get_object(Bucket=self._bucket, Key=self._key(name))["Body"]
        with body:
            yield from body.iter_chunks(PIECE)

    @contextmanager
    def _clear(self, doing: str, name: str = "") -> Iterator[None]:
        try:
            yield
        except self._refusal as error:
            said = error.response.get("Error", {})
            if name and str(said.get("Code")) in _GONE:
                raise _Gone.of(self.missing(name)) from error
            raise self.refused(doing, f"{said.get('Code')}: {said.get('Message')}") from error
        except self._failure as error:
            # The transfers of boto3 hide an answer of the service behind an error of their own.
            if isinstance(error.__context__, self._refusal):
                raise self.refused(doing, error.__context__) from error
            refused = self.refused(doing, error)
            refused.code = "BACKUP_STORE_UNREACHABLE"
            raise refused from error
        except OSError as error:
            raise self.refused(doing, error) from error


class _Gone(FlotillaError):
    """Said of an object that is not there."""

    @classmethod
    def of(cls, error: FlotillaError) -> _Gone:
        return cls(error.code, error.message, error.remedy)


class _Counted:
    """boto3 tells how much more was sent, from several threads."""

    def __init__(self, progress: Any) -> None:
        self._progress, self._done = progress, 0

    def __call__(self, more: int) -> None:
        self._done += more
        self._progress(self._done)
