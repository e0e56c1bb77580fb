# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive of a backup: one file, encrypted on the node that makes it (private to flotilla.kubernetes).

The first line is JSON with the data key, encrypted to the recipient's certificate (CMS). What follows is a compressed tar, encrypted with
that key. A person needs nothing but tar and OpenSSL 3.0 to read it, docs/backup.md says how. It is not CMS as a whole, because OpenSSL
reads all of that into memory before it decrypts.

Python 3.9, standard library and openssl only.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import io
import json
import os
import secrets
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from .._command import memory_file, node_environment, run
from .._errors import FlotillaError

FORMAT = 1
_PIECE = 1 << 20
_PASSPHRASE = "FLOTILLA_RECIPIENT_PASSPHRASE"
_CIPHER = ["-aes-256-ctr", "-pbkdf2", "-md", "sha256", "-iter", "10000"]
# How the data key is encrypted depends on what kind of key the certificate has.
_KEY_OPTIONS = {
    "rsaEncryption": ["-keyopt", "rsa_padding_mode:oaep", "-keyopt", "rsa_oaep_md:sha256"],
    "id-ecPublicKey": ["-keyopt", "ecdh_kdf_md:sha256"],
}
_REMEDY = "Make one: openssl req -x509 -newkey rsa:4096 -days 3650 -keyout recipient.key -out recipient.crt -subj /CN=backup"


@dataclass(frozen=True)
class Content:
    """What goes into an archive under a name: a file that is there, or a text."""

    name: str
    source: Path | bytes


@dataclass(frozen=True)
class Sealed:
    """What a manifest says of an archive."""

    size: int
    sha256: str
    hmac_sha256: str


def recipient(certificate: str) -> dict[str, str]:
    """Return what a certificate (PEM) says of itself: subject, fingerprint, end and algorithm of its key.

    :raises FlotillaError: ``BACKUP_RECIPIENT_UNUSABLE``: it is none, or nothing can be encrypted to its key.
    """
    try:
        fields = run(["openssl", "x509", "-noout", "-subject", "-enddate", "-fingerprint", "-sha256", "-text"], stdin=certificate)
    except FlotillaError as error:
        raise FlotillaError("BACKUP_RECIPIENT_UNUSABLE", "The recipient is no X.509 certificate in PEM form.", _REMEDY, error) from error

    def after(mark: str) -> str:
        return next((line.split(mark, 1)[1].strip() for line in fields.splitlines() if mark in line), "")

    found = {
        "subject": after("subject="),
        "sha256": after("Fingerprint=").replace(":", "").lower(),
        "not_after": after("notAfter="),
        "algorithm": after("Public Key Algorithm: "),
    }
    if found["algorithm"] not in _KEY_OPTIONS:
        raise FlotillaError(
            "BACKUP_RECIPIENT_UNUSABLE",
            f"The recipient's certificate ({found['subject']}) has a key of the kind {found['algorithm']}, to which nothing can be "
            "encrypted; RSA and elliptic curves can.",
            _REMEDY,
        )
    return found


def pack(contents: Iterable[Content], certificate: str, target: Path) -> Sealed:
    """Write an archive that only the recipient can read; nothing of it reaches a disk unencrypted.

    :param certificate: of the recipient, PEM.
    :raises FlotillaError: the certificate is not usable, or the disk is full.
    """
    key = secrets.token_hex(32)
    with memory_file(certificate) as to:
        envelope = _envelope(key, to, recipient(certificate)["algorithm"])
    header = {"format": FORMAT, "cipher": " ".join(_CIPHER), "key": base64.b64encode(envelope).decode()}
    target.touch(mode=0o600)
    with target.open("wb") as file, memory_file(key) as password:
        writer = _Hashed(file, key)
        writer.write(json.dumps(header).encode() + b"\n")
        with _openssl(["-e"], password) as process:
            sink = threading.Thread(target=_pour, args=(process.stdout, writer))
            sink.start()
            try:
                # Level 1: the node has better things to do, and most of what there is to gain is gained.
                with (
                    gzip.GzipFile(fileobj=process.stdin, mode="wb", compresslevel=1) as packed,
                    tarfile.open(fileobj=packed, mode="w|") as tar,
                ):
                    for content in contents:
                        _add(tar, content)
                process.stdin.close()
            finally:
                process.stdin.close()
                sink.join()
        file.flush()
        os.fsync(file.fileno())
        if writer.error:
            raise FlotillaError("BACKUP_NOT_WRITTEN", f"{target} could not be written: {writer.error}.", "Make room on the machine.")
    return Sealed(writer.size, writer.sha256, writer.hmac)


def unpack(archive: Path, key: str, sealed: Sealed, target: Path) -> list[str]:
    """Write what is in an archive into a folder of mode 0700 that is empty, and return the names.

    :param key: the data key, which `open_envelope` returns.
    :raises FlotillaError: ``BACKUP_DAMAGED``: the archive is not the one that was made, or is not whole.
    """
    with archive.open("rb") as file:
        reader = _Hashed(file, key)
        while reader.read(_PIECE):
            pass
        if (reader.size, reader.sha256) != (sealed.size, sealed.sha256) or not hmac.compare_digest(reader.hmac, sealed.hmac_sha256):
            raise _damaged(f"{archive.name} is not the archive that was made.")
        file.seek(0)
        file.readline()
        with memory_file(key) as password, _openssl(["-d"], password) as process:
            source = threading.Thread(target=_pour, args=(file, process.stdin))
            source.start()
            try:
                with tarfile.open(fileobj=process.stdout, mode="r|gz") as tar:
                    return [name for entry in tar for name in _extract(tar, entry, target)]
            except (tarfile.TarError, OSError, EOFError) as error:
                raise _damaged(f"{archive.name} can not be read: {error}.") from error
            finally:
                process.stdout.close()
                source.join()


def header_of(archive: Path) -> dict[str, Any]:
    """Return the first line of an archive.

    :raises FlotillaError: ``BACKUP_DAMAGED``: it is none of ours.
    """
    with archive.open("rb") as file:
        try:
            found = json.loads(file.readline(1 << 20))
            if found["format"] == FORMAT:
                return found
        except (ValueError, KeyError, TypeError):
            pass
    raise _damaged(f"{archive.name} does not begin as a backup does.")


def open_envelope(header: dict[str, Any], private_key: str, passphrase: str = "") -> str:
    """Return the data key of an archive. For the controller: the recipient's private key goes to no machine.

    :param header: what `header_of` returned.
    :param private_key: the recipient's private key, PEM.
    :raises FlotillaError: ``BACKUP_KEY_WRONG``.
    """
    with tempfile.NamedTemporaryFile() as envelope:
        envelope.write(base64.b64decode(header["key"]))
        envelope.flush()
        # The key comes by standard input, so that no file but the user's own ever holds it.
        command = [
            "openssl",
            "cms",
            "-decrypt",
            "-inform",
            "DER",
            "-in",
            envelope.name,
            "-inkey",
            "/dev/stdin",
            "-passin",
            f"env:{_PASSPHRASE}",
        ]
        try:
            return run(command, stdin=private_key, environment={_PASSPHRASE: passphrase}).strip()
        except FlotillaError as error:
            raise FlotillaError(
                "BACKUP_KEY_WRONG",
                "The backup can not be opened with this private key.",
                "Give the key that belongs to the recipient in the backup's manifest, and its passphrase if it has one.",
                error,
            ) from error


def _envelope(key: str, certificate: Path, algorithm: str) -> bytes:
    command = ["openssl", "cms", "-encrypt", "-binary", "-aes-256-gcm", "-outform", "DER", "-recip", str(certificate)]
    done = subprocess.run(
        [*command, *_KEY_OPTIONS[algorithm]], input=key.encode(), capture_output=True, env=node_environment(), check=False
    )
    if done.returncode:
        raise FlotillaError(
            "BACKUP_RECIPIENT_UNUSABLE",
            f"The data key could not be encrypted to the recipient: {done.stderr.decode(errors='replace').strip()[-500:]}",
            "The machine needs OpenSSL 3.0 or newer.",
        )
    return done.stdout


@contextmanager
def _openssl(direction: list[str], password: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = ["openssl", "enc", *direction, *_CIPHER, "-pass", f"file:{password}"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=node_environment()
    ) as process:
        yield process
    if process.returncode and direction == ["-e"]:
        raise FlotillaError("BACKUP_NOT_WRITTEN", f"openssl enc failed with the exit code {process.returncode}.", "Read the machine's log.")


class _Hashed:
    """A file whose bytes are counted and hashed on their way; a write that failed is remembered, and the rest goes nowhere."""

    def __init__(self, file: BinaryIO, key: str) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        # Another key than that of the cipher, from the same secret.
        self._hmac = hmac.new(hashlib.sha256(f"authentication {key}".encode()).digest(), digestmod=hashlib.sha256)
        self.size = 0
        self.error = ""

    def read(self, size: int) -> bytes:
        return self._see(self._file.read(size))

    def write(self, piece: bytes) -> None:
        if not self.error:
            try:
                self._file.write(self._see(piece))
            except OSError as error:
                self.error = str(error.strerror)

    def _see(self, piece: bytes) -> bytes:
        self.size += len(piece)
        self._sha256.update(piece)
        self._hmac.update(piece)
        return piece

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def hmac(self) -> str:
        return self._hmac.hexdigest()


def _pour(source: BinaryIO, target: Any) -> None:
    """Copy everything; who reads no more has its reasons."""
    try:
        while piece := source.read(_PIECE):
            target.write(piece)
    except (BrokenPipeError, ValueError):
        pass
    if isinstance(target, io.BufferedWriter):
        try:
            target.close()
        except BrokenPipeError:
            pass


def _add(tar: tarfile.TarFile, content: Content) -> None:
    entry = tarfile.TarInfo(content.name)
    entry.mode = 0o600
    if isinstance(content.source, bytes):
        entry.size = len(content.source)
        tar.addfile(entry, io.BytesIO(content.source))
        return
    with content.source.open("rb") as file:
        found = os.fstat(file.fileno())
        entry.size, entry.mtime = found.st_size, int(found.st_mtime)
        tar.addfile(entry, file)


def _extract(tar: tarfile.TarFile, entry: tarfile.TarInfo, target: Path) -> Iterator[str]:
    """Whoever has the recipient's certificate can make an archive, so no name is believed to stay in the folder."""
    name = PurePosixPath(entry.name)
    if not entry.isreg() or name.is_absolute() or ".." in name.parts:
        raise _damaged(f"It holds {entry.name}, which no backup of ours does.")
    path = target / name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    source = tar.extractfile(entry)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while source and (piece := source.read(_PIECE)):
            file.write(piece)
    yield str(name)


def _damaged(message: str) -> FlotillaError:
    return FlotillaError("BACKUP_DAMAGED", message, "Choose another backup.")
