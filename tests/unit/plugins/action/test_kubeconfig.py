# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Kubeconfigs of people: the key stays on the controller, what is good stays, what is not allowed is refused before anything is asked."""

from __future__ import annotations

import stat
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from ansible_collections.flotilla.kubernetes.plugins.action import kubeconfig as action
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError
from ansible_collections.flotilla.kubernetes.plugins.module_utils._kubernetes.duration import parse_duration
from ansible_collections.flotilla.kubernetes.plugins.plugin_utils import _kubeconfig
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SERVER = "https://10.0.0.3:6443"


class Authority:
    """A cluster's certificate authority; it signs what it is asked for, ``early`` seconds ago."""

    def __init__(self, early: float = 0, cap: float = 1e9) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubernetes")])
        self.early, self.cap = early, cap
        self.pem = self._sign(self.name, self.key.public_key(), 10 * 365 * 86400)

    def _sign(self, subject, public_key, seconds: float) -> str:
        begin = datetime.now(timezone.utc) - timedelta(seconds=self.early)
        builder = x509.CertificateBuilder().subject_name(subject).issuer_name(self.name).public_key(public_key).serial_number(1)
        made = builder.not_valid_before(begin).not_valid_after(begin + timedelta(seconds=seconds)).sign(self.key, hashes.SHA256())
        return made.public_bytes(serialization.Encoding.PEM).decode()

    def answer(self, request: str, seconds: float) -> str:
        asked = x509.load_pem_x509_csr(request.encode())
        assert asked.is_signature_valid
        return self._sign(asked.subject, asked.public_key(), min(seconds, self.cap))


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Return a function that runs the action; ``keep.sent`` has what went to the control plane."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(action.ActionBase, "run", lambda self, tmp=None, task_vars=None: {})
    sent = []

    def run(authority: Authority, check_mode: bool = False, **more):
        def execute(module_args, task_vars):
            sent.append(module_args)
            if "request" in module_args:
                return {"certificate": authority.answer(module_args["request"], parse_duration(module_args["ttl"], "ttl"))}
            return {"server": SERVER, "ca": authority.pem}

        made = object.__new__(action.ActionModule)
        arguments = {"cluster": "demo", "address": "10.0.0.11", "user": "jane", "groups": "dev, ops", "ttl": "8h", **more}
        made._task = SimpleNamespace(args=arguments, check_mode=check_mode)
        made._execute_module = execute
        return made.run(None, {})

    run.sent = sent
    run.path = tmp_path / ".kube/flotilla/demo.jane.conf"
    return run


def test_makes_a_private_file_whose_key_never_travels(keep) -> None:
    result = keep(Authority())
    assert result["changed"] and result["path"] == str(keep.path) and result["groups"] == ["dev", "ops"]
    assert stat.S_IMODE(keep.path.stat().st_mode) == 0o600 and stat.S_IMODE(keep.path.parent.stat().st_mode) == 0o700
    content = yaml.safe_load(keep.path.read_text())
    assert content["clusters"][0]["cluster"]["server"] == SERVER and content["current-context"] == "jane@demo"
    key = content["users"][0]["user"]["client-key-data"]
    assert key and "PRIVATE KEY" not in str(keep.sent) and key not in str(keep.sent) and key not in str(result)
    assert keep.path.read_text().startswith(f"# Valid until {result['valid_until']};")


def test_stays_while_it_is_good(keep) -> None:
    authority = Authority()
    keep(authority)
    before = keep.path.read_bytes()
    result = keep(authority)
    assert result["changed"] is False and keep.path.read_bytes() == before
    assert [sorted(arguments) for arguments in keep.sent].count(["address", "cluster", "user"]) == 2, "a file that is good costs one call"


@pytest.mark.parametrize(
    "change",
    [{"groups": ["dev"]}, {"server": "https://10.0.0.4:6443"}, {"ttl": "1h"}, {"ttl": "48h"}],
    ids=["groups", "server", "shorter", "longer"],
)
def test_is_renewed_when_something_differs(keep, change) -> None:
    authority = Authority()
    keep(authority)
    before = keep.path.read_bytes()
    assert keep(authority, check_mode=True, **change)["changed"] and keep.path.read_bytes() == before
    assert keep(authority, **change)["changed"] and keep.path.read_bytes() != before
    assert keep(authority, **change)["changed"] is False


def test_is_renewed_for_another_certificate_authority(keep) -> None:
    keep(Authority())
    assert keep(Authority())["changed"] is True


@pytest.mark.parametrize(("early", "stays"), [(5 * 3600, True), (6 * 3600, False), (9 * 3600, False)])
def test_is_renewed_when_less_than_a_third_of_its_time_is_left(keep, early, stays) -> None:
    authority = Authority(early)
    keep(authority)
    assert keep(authority)["changed"] is not stays


def test_an_open_file_is_closed(keep) -> None:
    authority = Authority()
    keep(authority)
    keep.path.chmod(0o644)
    assert keep(authority)["changed"] and stat.S_IMODE(keep.path.stat().st_mode) == 0o600


def test_a_file_that_does_not_work_is_replaced(keep) -> None:
    keep.path.parent.mkdir(parents=True)
    keep.path.write_text("clusters: []\n")
    result = keep(Authority())
    assert result["changed"] and result["diff"]["before"] == {}


def test_a_cluster_that_signs_for_less_is_named(keep) -> None:
    assert "less than 8h" in keep(Authority(cap=3600))["warnings"][0]


def test_check_mode_and_diff_show_no_secret(keep) -> None:
    result = keep(Authority(), check_mode=True)
    assert result["changed"] and not keep.path.exists()
    assert result["diff"]["after"] == {"user": "jane", "groups": ["dev", "ops"], "server": SERVER, "valid_until": "8h from now"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"groups": ["system:masters"]}, "KUBECONFIG_SUPERUSERS"),
        ({"groups": ["system:masters"], "allow_system": True}, "KUBECONFIG_SUPERUSERS"),
        ({"groups": ["system:nodes"]}, "KUBECONFIG_SYSTEM_NAME"),
        ({"user": "system:admin"}, "KUBECONFIG_SYSTEM_NAME"),
        ({"user": " "}, "KUBECONFIG_NAME_INVALID"),
        ({"user": "j" * 65}, "KUBECONFIG_NAME_INVALID"),
        ({"ttl": "5m"}, "KUBECONFIG_TTL_OUT_OF_RANGE"),
        ({"ttl": "721h"}, "KUBECONFIG_TTL_OUT_OF_RANGE"),
        ({"ttl": "8"}, "DURATION_INVALID"),
        ({"ttl": ""}, "DURATION_INVALID"),
    ],
)
def test_what_is_not_allowed_is_refused_before_anything_is_asked(keep, arguments, code) -> None:
    result = keep(Authority(), **arguments)
    assert result["failed"] and result["code"] == code
    assert keep.sent == []


def test_a_system_name_is_possible_on_purpose(keep) -> None:
    assert keep(Authority(), groups=["system:monitoring"], allow_system=True)["groups"] == ["system:monitoring"]


def test_absent_removes_those_of_the_cluster_only(keep) -> None:
    folder = keep.path.parent
    folder.mkdir(parents=True)
    for name in ("demo.conf", "demo.jane.conf", "demo-2.conf", "demo-2.jane.conf"):
        (folder / name).touch()
    assert keep(Authority(), check_mode=True, state="absent")["changed"] and (folder / "demo.conf").exists()
    assert sorted(keep(Authority(), state="absent")["removed"]) == [str(folder / "demo.conf"), str(folder / "demo.jane.conf")]
    assert sorted(path.name for path in folder.iterdir()) == ["demo-2.conf", "demo-2.jane.conf"]
    assert keep(Authority(), state="absent")["changed"] is False


def test_users_do_not_share_a_file() -> None:
    paths = {action.kubeconfig_path("demo", user) for user in ("", "a:b", "a_b", "a/b", "../b", "jane@example.com")}
    assert len(paths) == 6 and {path.parent for path in paths} == {action.kubeconfig_path("demo").parent}


def test_durations() -> None:
    assert [parse_duration(text, "x") for text in ("90s", "10m", "8h", "1h30m", "1h0m5s")] == [90, 600, 28800, 5400, 3605]
    for text in ("", "h", "1d", "1m1h", "-1h", "1.5h"):
        with pytest.raises(FlotillaError):
            parse_duration(text, "x")
    assert [_kubeconfig.format_duration(seconds) for seconds in (45, 130, 600, 28800, 5400)] == ["45s", "2m10s", "10m", "8h", "1h30m"]
