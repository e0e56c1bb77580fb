# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tests of fetching files, from real servers on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flotilla.kubernetes.plugins.module_utils import _fetch, _seed_server
from ansible_collections.flotilla.kubernetes.plugins.module_utils._errors import FlotillaError

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "support"))
web = pytest.importorskip("web", reason="an installed collection has no test servers")

CONTENT = os.urandom(3 << 20)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
LOGIN = ("user", "p@ss:word")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return web.Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def certificate(authority: Any) -> tuple[Path, Path]:
    return authority.issue("127.0.0.1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "bundle/bin").mkdir(parents=True)
    (tmp_path / "bundle/bin/kubectl").write_bytes(CONTENT)
    return tmp_path / "bundle"


@pytest.fixture
def incoming(tmp_path: Path) -> _fetch.Incoming:
    return _fetch.Incoming(tmp_path / "incoming")


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_fetch, "_pause", lambda _seconds: None)


def fetch(incoming: _fetch.Incoming, origin: _fetch.Origin, sha256: str = SHA256, seconds: float = 60) -> Path | None:
    return incoming.fetch(origin, "bin/kubectl", sha256, time.monotonic() + seconds)


def failure(incoming: _fetch.Incoming, origin: _fetch.Origin) -> FlotillaError:
    with pytest.raises(FlotillaError) as caught:
        fetch(incoming, origin)
    return caught.value


@pytest.mark.parametrize("ranges", [True, False])
def test_a_lost_connection_is_taken_up_where_it_was_lost(folder: Path, incoming: _fetch.Incoming, ranges: bool) -> None:
    losses = [1 << 20, 1 << 20]

    def lose(_path: str, content: bytes) -> bytes:
        return content[: losses.pop()] if losses else content

    with web.serving(web.WebServer(folder, ranges=ranges, spoil=lose)) as server:
        path = fetch(incoming, _fetch.Origin(f"http://127.0.0.1:{server.port}/"))
        assert path and path.read_bytes() == CONTENT and path.stat().st_mode & 0o777 == 0o600
        assert [asked for _path, _status, asked in server.requests] == ["", f"bytes={1 << 20}-", f"bytes={(2 if ranges else 1) << 20}-"]
        # The control: without ranges the beginning is sent again.
        assert (server.sent == len(CONTENT)) is ranges


def test_when_time_is_over_the_next_call_goes_on(folder: Path, incoming: _fetch.Incoming) -> None:
    with web.serving(web.WebServer(folder)) as server:
        origin = _fetch.Origin(f"http://127.0.0.1:{server.port}")
        calls = 0
        while not fetch(incoming, origin, seconds=0):
            calls += 1
            assert calls < 10
        assert calls == 2 and incoming.received == len(CONTENT)


def test_a_server_without_ranges_is_not_cut_into_slices(folder: Path, incoming: _fetch.Incoming) -> None:
    with web.serving(web.WebServer(folder, ranges=False)) as server:
        origin = _fetch.Origin(f"http://127.0.0.1:{server.port}")
        assert fetch(incoming, origin, seconds=0) is None
        assert fetch(incoming, origin, seconds=0) is not None


def test_another_content_is_never_handed_on(folder: Path, tmp_path: Path, incoming: _fetch.Incoming) -> None:
    with web.serving(web.WebServer(folder, spoil=lambda _path, content: b"X" + content[1:])) as server:
        error = failure(incoming, _fetch.Origin(f"http://127.0.0.1:{server.port}"))
        assert error.code == "BUNDLE_FILE_CORRUPT" and "bin/kubectl" in str(error) and len(server.requests) == 2
    assert list((tmp_path / "incoming").iterdir()) == []


def test_a_part_of_an_older_version_is_thrown_away(folder: Path, tmp_path: Path, incoming: _fetch.Incoming) -> None:
    (tmp_path / "incoming").mkdir()
    for old in (b"old", os.urandom(len(CONTENT)), os.urandom(len(CONTENT) + 1)):
        (tmp_path / f"incoming/{SHA256}.part").write_bytes(old)
        with web.serving(web.WebServer(folder)) as server:
            path = fetch(incoming, _fetch.Origin(f"http://127.0.0.1:{server.port}"))
        assert path and path.read_bytes() == CONTENT
        path.unlink()


def test_a_private_authority_and_a_login(folder: Path, incoming: _fetch.Incoming, authority: Any, certificate: tuple[Path, Path]) -> None:
    trusted = authority.certificate.read_text()
    with web.serving(web.WebServer(folder, login=LOGIN, tls=certificate)) as server:
        url = f"https://127.0.0.1:{server.port}"
        assert failure(incoming, _fetch.Origin(url, username="user", password="p@ss:word")).code == "BUNDLE_SOURCE_UNTRUSTED"
        refused = failure(incoming, _fetch.Origin(url, trusted))
        assert refused.code == "BUNDLE_SOURCE_REFUSED" and "401" in str(refused) and "bundle_delivery_credentials" in refused.remedy
        wrong_name = failure(incoming, _fetch.Origin(url.replace("127.0.0.1", "localhost"), trusted))
        assert wrong_name.code == "BUNDLE_SOURCE_UNTRUSTED"
        for only_ca in (True, False):
            path = fetch(incoming, _fetch.Origin(url, trusted, only_ca, username="user", password="p@ss:word"))
            assert path and path.read_bytes() == CONTENT
            path.unlink()


@pytest.mark.parametrize("tls", [True, False])
def test_a_proxy_with_a_login_is_used_but_not_for_what_is_reached_directly(
    folder: Path, incoming: _fetch.Incoming, authority: Any, certificate: tuple[Path, Path], tls: bool
) -> None:
    with (
        web.serving(web.WebServer(folder, tls=certificate if tls else None)) as server,
        web.serving(web.Proxy(login=LOGIN)) as proxy,
    ):
        scheme = "https" if tls else "http"
        url, trusted = f"{scheme}://127.0.0.1:{server.port}", authority.certificate.read_text()
        through = {scheme: f"http://user:p%40ss%3Aword@127.0.0.1:{proxy.port}", "no_proxy": ["10.0.0.0/8"]}
        path = fetch(incoming, _fetch.Origin(url, trusted, proxies=through))
        assert path and [status for _method, _target, status in proxy.seen] == [200]
        path.unlink()
        assert fetch(incoming, _fetch.Origin(url, trusted, proxies={**through, "no_proxy": ["127.0.0.0/8"]}))
        assert len(proxy.seen) == 1 and len(server.requests) == 2


def test_a_proxy_that_refuses_us_is_named(folder: Path, incoming: _fetch.Incoming) -> None:
    with web.serving(web.WebServer(folder)) as server, web.serving(web.Proxy(login=LOGIN)) as proxy:
        through = {"http": f"http://127.0.0.1:{proxy.port}"}
        error = failure(incoming, _fetch.Origin(f"http://127.0.0.1:{server.port}", proxies=through))
        assert "407" in str(error) and "kubernetes_node_proxy_credentials" in error.remedy and server.requests == []


def test_what_is_not_there_and_who_does_not_answer_are_told_apart(folder: Path, incoming: _fetch.Incoming) -> None:
    (folder / "bin/kubectl").unlink()
    with web.serving(web.WebServer(folder)) as server:
        url = f"http://127.0.0.1:{server.port}"
        missing = failure(incoming, _fetch.Origin(url))
        assert missing.code == "BUNDLE_SOURCE_REFUSED" and "404" in str(missing) and len(server.requests) == 1
    assert failure(incoming, _fetch.Origin(url)).code == "BUNDLE_SOURCE_UNREACHABLE"


@pytest.mark.parametrize(
    ("host", "rules", "direct"),
    [
        ("web.example.com", [".example.com"], True),
        ("example.com", [".example.com"], False),
        ("example.com", ["example.com"], True),
        ("web.example.com", ["example.com"], True),
        ("badexample.com", ["example.com"], False),
        ("10.97.0.1", ["10.96.0.0/12"], True),
        ("10.112.0.1", ["10.96.0.0/12"], False),
        ("::1", ["::1"], True),
        ("web", ["*"], True),
        ("web", ["", "10.0.0.0/8"], False),
    ],
)
def test_what_no_proxy_means(host: str, rules: list[str], direct: bool) -> None:
    assert _fetch.goes_direct(host, rules) is direct


@pytest.fixture
def seed(tmp_path: Path, authority: Any, certificate: tuple[Path, Path]) -> Iterator[tuple[str, threading.Thread, dict[str, Any]]]:
    """Run the server of the delivery `seed` and give its URL."""
    spool, run_dir = tmp_path / "spool", tmp_path / "run"
    spool.mkdir()
    run_dir.mkdir()
    (spool / SHA256).write_bytes(CONTENT)
    (tmp_path / "secret").write_text("not for you")
    config = {
        "folder": str(spool), "token_digest": _fetch.token_digest("token"), "certificate": str(certificate[0]), "key": str(certificate[1]),
        "address": "127.0.0.1", "port_file": str(tmp_path / "port"), "idle_seconds": 30, "remove": [str(spool), str(run_dir)],
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    thread = threading.Thread(target=_seed_server.main, args=(str(tmp_path / "config.json"),), daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not ((tmp_path / "port").exists() and (tmp_path / "port").read_text()):
        assert time.monotonic() < deadline
        time.monotonic()
    yield f"https://127.0.0.1:{(tmp_path / 'port').read_text()}", thread, config


def test_a_node_hands_on_to_whoever_has_the_token_and_ends_when_told(seed: Any, authority: Any, incoming: _fetch.Incoming) -> None:
    url, thread, config = seed
    origin = _fetch.Origin(url, authority.certificate.read_text(), only_ca=True, token="token")
    stranger = _fetch.Origin(url, authority.certificate.read_text(), only_ca=True, token="guessed")
    deadline = time.monotonic() + 60
    for name in (SHA256, "../secret"):
        with pytest.raises(FlotillaError) as caught:
            incoming.fetch(stranger, name, SHA256, deadline)
        assert "403" in str(caught.value)
    with pytest.raises(FlotillaError) as caught:
        incoming.fetch(origin, "../secret", SHA256, deadline)
    assert "404" in str(caught.value)
    path = incoming.fetch(origin, SHA256, SHA256, deadline)
    assert path and path.read_bytes() == CONTENT
    for who, alive in ((stranger, True), (origin, False)):
        connection, _target, _headers = _fetch.connect(who, f"{url}/")
        connection.request("DELETE", "/", headers=who.headers())
        connection.getresponse().read()
        thread.join(5 if not alive else 0.5)
        assert thread.is_alive() is alive
    assert not any(Path(folder).exists() for folder in config["remove"])
