# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of the gate that looks at the certificates of kubelets, against servers with TLS."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes import gates


def certificate(folder: Path, name: str, address: str) -> Path:
    """A certificate and its key in one file."""
    path = folder / f"{name}.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=IP:{address}", "-keyout", str(path), "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


@pytest.fixture
def serve() -> Iterator[Any]:
    servers = []

    def start(pair: Path | None) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        servers.append(listener)

        def answer() -> None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            if pair:
                context.load_cert_chain(pair)
            try:
                with context.wrap_socket(listener.accept()[0], server_side=True):
                    pass
            except OSError:
                pass

        threading.Thread(target=answer, daemon=True).start()
        return listener.getsockname()[1]

    yield start
    for listener in servers:
        listener.close()


def test_only_a_certificate_of_the_cluster_for_this_address_is_good(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, serve: Any) -> None:
    good, foreign = certificate(tmp_path, "good", "127.0.0.1"), certificate(tmp_path, "foreign", "127.0.0.1")
    other = certificate(tmp_path, "other", "192.0.2.9")
    (tmp_path / "ca.crt").write_text(Path(f"{good}.crt").read_text() + Path(f"{other}.crt").read_text())
    monkeypatch.setattr(gates, "CA_FILE", str(tmp_path / "ca.crt"))
    assert gates.kubelet_certificate_problem("127.0.0.1", serve(good)) == ""
    assert "verify failed" in gates.kubelet_certificate_problem("127.0.0.1", serve(foreign))
    assert "IP address mismatch" in gates.kubelet_certificate_problem("127.0.0.1", serve(other))
    # A kubelet whose request waits answers, but has no certificate to show.
    assert gates.kubelet_certificate_problem("127.0.0.1", serve(None)) != ""


class Fake:
    def __init__(self, recorded: str) -> None:
        self.recorded = recorded

    def get(self, path: str) -> dict[str, Any]:
        return {"data": {"kubelet": self.recorded}}

    def items(self, path: str) -> list[dict[str, Any]]:
        return [
            {"metadata": {"name": name}, "status": {"addresses": [{"type": "InternalIP", "address": address}]}}
            for name, address in (("cp", "192.0.2.1"), ("w", "192.0.2.2"), ("stranger", "192.0.2.3"))
        ]


@pytest.mark.parametrize(
    ("recorded", "found"),
    [
        ("rotateCertificates: true\nserverTLSBootstrap: true\n", ["node/w"]),
        # In a cluster of an earlier release every kubelet signs its own, and nobody promised more.
        ("rotateCertificates: true\n", []),
    ],
)
def test_the_gate_names_the_nodes(recorded: str, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gates, "kubelet_certificate_problem", lambda address: "" if address == "192.0.2.1" else "self-signed")
    expected = gates.Expectation(frozenset({"cp", "w"}), {"cp": "192.0.2.1"})
    findings = gates.examine(Fake(recorded), expected, ["kubelet_certificates"])
    assert [finding.object for finding in findings] == found
    assert {finding.code for finding in findings} <= {"KUBELET_CERTIFICATE"}
