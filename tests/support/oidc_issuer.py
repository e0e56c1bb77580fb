# Copyright: (c) 2026, the flotilla.kubernetes authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A tiny issuer of OpenID Connect tokens: discovery and keys over HTTPS, tokens signed with RS256."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
import time
from typing import Any

from control_plane import Authority, encoded
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa


class Issuer:
    """An issuer on ``address``, until `end`."""

    def __init__(self, authority: Authority, address: str = "127.0.0.1") -> None:
        self.authority = authority
        self._key = rsa.generate_private_key(65537, 2048)
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                document = issuer.documents().get(self.path)
                body = json.dumps(document or {}).encode()
                self.send_response(200 if document else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((address, 0), Handler)
        pair = authority.issue("issuer", "issuer")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{pair}.crt", f"{pair}.key")
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://{address}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def documents(self) -> dict[str, Any]:
        numbers = self._key.public_key().public_numbers()
        key = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "one"}
        for name, number in (("n", numbers.n), ("e", numbers.e)):
            key[name] = encoded(number.to_bytes((number.bit_length() + 7) // 8, "big"))
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.url,
                "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize",
                "response_types_supported": ["id_token"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": ["RS256"],
            },
            "/keys": {"keys": [key]},
        }

    def token(self, key: rsa.RSAPrivateKey | None = None, **claims: Any) -> str:
        """Return a token that is good, as far as ``claims`` and ``key`` do not change that."""
        now = int(time.time())
        content = {
            "iss": self.url,
            "aud": "kubernetes",
            "sub": "jane",
            "iat": now - 5,
            "exp": now + 600,
            "groups": ["dev", "ops"],
            **claims,
        }
        signed = ".".join(encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT", "kid": "one"}, content))
        return f"{signed}.{encoded((key or self._key).sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"
