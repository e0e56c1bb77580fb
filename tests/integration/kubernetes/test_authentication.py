# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who gets into a real kube-apiserver with the authentication file that this collection writes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import control_plane
import pytest
from ansible_collections.flotilla.kubernetes.plugins.filter.authentication_configuration import authentication_configuration
from cryptography.hazmat.primitives.asymmetric import rsa
from oidc_issuer import Issuer


@dataclass
class House:
    """An API server, the issuer that it trusts, and the file that says so."""

    server: control_plane.ApiServer
    issuer: Issuer
    file: Path

    def write(self, **changes) -> None:
        entry = {"issuer_url": self.issuer.url, "audiences": ["kubernetes"], "ca_file": str(self.issuer.authority.file)}
        entry.update(required_claims={"tenant": "ops"}, **changes)
        temporary = self.file.with_suffix(".new")
        temporary.write_text(json.dumps(authentication_configuration([entry])))
        temporary.replace(self.file)

    def enters(self, **claims) -> tuple[str, list[str]] | None:
        """Return user and groups of who comes with a token of these claims; nothing for somebody who is not let in."""
        status, user = self.server.whoami(self.issuer.token(**{"tenant": "ops", **claims}))
        assert status in (201, 401), (status, user)
        return (user["username"], sorted(user["groups"])) if status == 201 else None


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory, programs: Path) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    processes = control_plane.Processes(folder)
    etcd = control_plane.EtcdMembers(
        processes, control_plane.program(control_plane.bundle(folder), "etcd", programs), control_plane.Authority(folder / "etcd-pki")
    )
    issuer = Issuer(control_plane.Authority(folder / "issuer-pki"))
    made = House(None, issuer, folder / "authentication.json")
    made.write()
    try:
        etcd.reserve("m1")
        etcd.start("m1", ("m1",))
        authority = control_plane.Authority(folder / "pki")
        made.server = control_plane.start_api_server(folder, programs, authority, etcd, f"--authentication-config={made.file}")
        # The API server asks the issuer for its keys in the background.
        control_plane.wait_for("the issuer's keys are known", made.enters, explain=lambda: processes.log("kube-apiserver"))
        yield made
    finally:
        processes.end()
        issuer.end()


def test_a_token_of_the_issuer_gets_in_with_its_groups(house: House) -> None:
    assert house.enters() == ("oidc:jane", ["oidc:dev", "oidc:ops", "system:authenticated"])


@pytest.mark.parametrize(
    "claims",
    [
        {"exp": int(time.time()) - 60},
        {"aud": "another-client"},
        {"iss": "https://somebody.example.com"},
        {"tenant": "sales"},
        {"key": rsa.generate_private_key(65537, 2048)},
    ],
    ids=["expired", "audience", "issuer", "required-claim", "foreign-key"],
)
def test_another_token_does_not(house: House, claims) -> None:
    assert house.enters(**claims) is None
    assert house.enters() is not None


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_anonymous_requests_reach_what_they_must(house: House, method) -> None:
    for path in ("/livez", "/readyz", "/healthz", "/readyz?verbose"):
        assert house.server.call("GET", path, anonymous=True)[0] == 200, path
    # Authenticated as nobody, and then refused by RBAC, which kubeadm changes: that is 403. Not authenticated is 401.
    reachable = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
    assert house.server.call(method, reachable, anonymous=True)[0] == 403
    for path in ("/version", "/api", "/api/v1/namespaces", "/openapi/v2", "/metrics", "/api/v1/namespaces/kube-public/configmaps"):
        assert house.server.call(method, path, anonymous=True)[0] == 401, path


def test_a_change_needs_no_restart_and_system_names_stay_out(house: House) -> None:
    assert house.enters(aud="second") is None
    house.write(audiences=["kubernetes", "second"], username_prefix="", groups_prefix="")
    expected = ("jane", ["dev", "ops", "system:authenticated"])
    control_plane.wait_for("the file was read again", lambda: house.enters(aud="second") == expected, 180)
    for claims in ({"sub": "system:admin"}, {"groups": ["dev", "system:masters"]}):
        assert house.enters(**claims) is None
