"""An identity provider of our own, strict where a provider must be (secret, redirect, PKCE, a code counts once), and as
hostile as a test wants: what it says, how it signs and what it serves can be changed."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT, SECRET = "schoolgate", "the-clients-own-secret"

Claims = dict[str, Any]
Sign = Callable[["Idp", Claims], str]
Answer = tuple[int, dict[str, str], bytes]


def signed(idp: Idp, claims: Claims) -> str:
    """As an honest provider does."""
    return jwt.encode({"alg": "RS256", "kid": idp.kid}, claims, idp.key)


@dataclass
class Idp:
    """`person` holds the claims about whoever is signed in at the provider."""

    url: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048))
    kid: str = "k1"
    client_secret: str = SECRET
    person: Claims = field(default_factory=dict)
    change: Callable[[Claims], Claims] = lambda claims: claims
    sign: Sign = signed
    document: Claims = field(default_factory=dict)  # over the discovery document's own
    serve: dict[str, Callable[[], Answer]] = field(default_factory=dict)  # path -> instead of the honest answer
    forgives: bool = False  # a code counts again and again
    asked: list[str] = field(default_factory=list)  # paths
    codes: dict[str, dict[str, str]] = field(default_factory=dict)
    secrets: list[str] = field(default_factory=list)  # what went over the wire and must stay between the two

    def honest(self) -> None:
        """Back to normal."""
        fresh = Idp(key=self.key)
        for name in ("kid", "person", "change", "sign", "document", "serve", "forgives", "asked", "codes", "secrets"):
            setattr(self, name, getattr(fresh, name))

    def jwks(self) -> bytes:
        public = self.key.as_dict(private=False)
        return json.dumps({"keys": [{**public, "kid": self.kid, "use": "sig"}]}).encode()

    def discovery(self) -> bytes:
        found = {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }
        return json.dumps({**found, **self.document}).encode()

    def authorize(self, query: dict[str, str]) -> Answer:
        code = secrets.token_urlsafe(16)
        self.codes[code] = query
        back = urlencode({"code": code, "state": query["state"]})
        return 302, {"Location": f"{query['redirect_uri']}?{back}"}, b""

    def token(self, form: dict[str, str]) -> Answer:
        self.secrets += [form[name] for name in ("code", "code_verifier", "client_secret") if name in form]
        began = self.codes.get(form.get("code", ""))
        if began is not None and not self.forgives:
            del self.codes[form["code"]]
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (form.get("client_id"), form.get("client_secret")) != (CLIENT, self.client_secret):
            return 401, {}, b'{"error": "invalid_client"}'
        if began is None or began["redirect_uri"] != form.get("redirect_uri") or began["code_challenge"] != challenge:
            return 400, {}, b'{"error": "invalid_grant"}'
        assert began["code_challenge_method"] == "S256"
        now = int(time.time())
        claims = {"iss": self.url, "aud": CLIENT, "sub": "1", "iat": now, "exp": now + 300, "nonce": began["nonce"]}
        token = self.sign(self, self.change({**claims, **self.person}))
        self.secrets += [token, began["nonce"], began["state"]]
        return 200, {}, json.dumps({"access_token": "x", "token_type": "Bearer", "id_token": token}).encode()

    def answer(self, method: str, path: str, query: dict[str, str], form: dict[str, str]) -> Answer:
        self.asked.append(path)
        if path in self.serve:
            return self.serve[path]()
        if path == "/.well-known/openid-configuration":
            return 200, {}, self.discovery()
        if path == "/jwks":
            return 200, {}, self.jwks()
        if path == "/authorize":
            return self.authorize(query)
        return self.token(form) if (method, path) == ("POST", "/token") else (404, {}, b"{}")


class Drip(bytes):
    """A body that is sent a byte at a time, for as long as somebody listens."""


@contextmanager
def running() -> Iterator[Idp]:
    """The provider on a port of loopback."""
    idp = Idp()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

        def _flat(self, text: str) -> dict[str, str]:
            return {name: values[0] for name, values in parse_qs(text, keep_blank_values=True).items()}

        def _answer(self) -> None:
            parts = urlsplit(self.path)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            status, headers, body = idp.answer(self.command, parts.path, self._flat(parts.query), self._flat(sent))
            try:
                self.send_response(status)
                for name, value in {"Content-Type": "application/json", **headers}.items():
                    self.send_header(name, value)
                if not isinstance(body, Drip):
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                while isinstance(body, Drip) and not stopping.wait(0.01):
                    self.wfile.write(b" ")
                self.wfile.write(body)
            except OSError:
                pass  # nobody listens any more

        do_GET = do_POST = _answer

    stopping = threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    idp.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield idp
    finally:
        stopping.set()
        server.shutdown()
        thread.join(20)
        server.server_close()
