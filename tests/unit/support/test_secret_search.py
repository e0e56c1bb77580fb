# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A search that misses a form would pass every run that leaks in that form."""

from __future__ import annotations

import base64
import json
import sys
import textwrap
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "support"))

from secret_search import Search

SECRET = 'p/l+an"te d\\näé%&='
# No blanks at the ends: the search takes them off, as reading a file does.
secrets = st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), min_size=8, max_size=60).filter(
    lambda text: (
        text == text.strip() and len(text.split("\x85")) == 1 and len(text.split()) == len(text.split(" ")) and len(text.encode()) >= 8
    )
)
noise = st.binary(max_size=40)


def found(secret: str, data: bytes) -> set[str]:
    return {finding.form for finding in Search({"it": secret.encode()}).find(data, "here")}


@example(SECRET, b"a", b"z")
@given(secrets, noise, noise)
def test_plain(secret: str, before: bytes, after: bytes) -> None:
    assert "plain" in found(secret, before + secret.encode() + after)


@example(SECRET, b"a", b"z")
@given(secrets, noise, noise)
def test_base64_at_each_alignment_broken_into_lines_and_in_both_alphabets(secret: str, before: bytes, after: bytes) -> None:
    for start in range(3):
        data = before + b"#" * start + secret.encode() + after
        assert "base64" in found(secret, base64.b64encode(data))
        assert "base64" in found(secret, base64.urlsafe_b64encode(data))
        lines = "\n".join(textwrap.wrap(base64.b64encode(data).decode(), 20))
        assert "base64" in found(secret, lines.encode())
        assert "base64" in found(secret, json.dumps({"stdout": lines}).encode())
        assert "base64" in found(secret, json.dumps(json.dumps({"stdout": lines})).encode())


@example(SECRET)
@given(secrets)
def test_url_encoded(secret: str) -> None:
    for encoded in (quote(secret), quote(secret, safe=""), quote_plus(secret)):
        for text in (encoded, encoded.replace("%2F", "%2f"), encoded.lower() if secret == secret.lower() else encoded):
            assert found(secret, f"http://u:{text}@proxy/".encode()), text


@example(SECRET)
@given(secrets)
def test_escaped_for_json_once_and_twice(secret: str) -> None:
    for ascii_only in (True, False):
        once = json.dumps({"password": secret}, ensure_ascii=ascii_only)
        assert found(secret, once.encode())
        assert found(secret, json.dumps({"stdout": once}, ensure_ascii=ascii_only).encode())


@pytest.mark.parametrize("line", [b"abcdefgh" * 8, b"A1b2" * 16])
def test_a_line_of_a_pem_text_is_a_secret_of_its_own(line: bytes) -> None:
    pem = b"-----BEGIN X-----\n" + line + b"\nQUJD\n-----END X-----\n"
    search = Search({"key": pem})
    assert search.find(b"x " + line, "log") and search.find(base64.b64encode(pem), "kubeconfig")
    assert not search.find(b"-----BEGIN X-----\nQUJD", "certificate")


@given(secrets, st.binary(max_size=300))
def test_nothing_is_found_where_it_is_not(secret: str, data: bytes) -> None:
    assert secret.encode() in data or found("another-secret-" + "0123456789" * 3, data) == set()


def test_a_finding_says_what_how_and_where() -> None:
    (finding,) = Search({"join token": b"abcdef.0123456789abcdef"}).find_all([("ps", b"x"), ("log", b"= abcdef.0123456789abcdef")])
    assert str(finding) == "join token (plain) in log"


def test_what_is_too_short_to_be_searched_for_is_refused() -> None:
    with pytest.raises(ValueError, match="too short"):
        Search({"pin": b"1234"})
