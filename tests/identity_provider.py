"""A small OpenID provider on loopback: the real protocol over real HTTP, and faults one by one."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

CLIENT_ID = "pneumoscreen"
CLIENT_SECRET = "a secret for tests only, of 32 characters"
JSON = "application/json"


@dataclass
class Grant:
    """What a code stands for."""

    redirect_uri: str
    code_challenge: str
    nonce: str


@dataclass
class IdentityProvider:
    """Signs in one person, without asking; what it gets wrong is set by the test."""

    url: str
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "1f0c-tina", "preferred_username": "tina"})
    claims: dict[str, Any] = field(default_factory=dict)
    """Claims of the ID token that are wrong on purpose; None leaves one out."""
    document: dict[str, Any] = field(default_factory=dict)
    """Members of the discovery document that are wrong on purpose; None leaves one out."""
    userinfo: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, tuple[int, str, bytes]] = field(default_factory=dict)
    """Answers by path instead of the right ones: status, media type, body."""
    signed_by: str = "its key"
    refuses: str | None = None
    """The error that people come back with instead of a code."""
    delay: float = 0.0
    keys: list[RSAKey] = field(default_factory=lambda: [RSAKey.generate_key(2048, {"kid": "first"})])
    grants: dict[str, Grant] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Every request: its path and its fields."""

    def turn_keys(self, kid: str = "second") -> None:
        """Sign with a new key from now on."""
        self.keys.insert(0, RSAKey.generate_key(2048, {"kid": kid}))

    def count(self, path: str) -> int:
        return [asked for asked, _ in self.asked].count(path)

    # ------------------------------------------------------------ endpoints

    def discover(self) -> dict[str, Any]:
        names = {
            "authorization_endpoint": "authorize",
            "token_endpoint": "token",
            "jwks_uri": "keys",
            "userinfo_endpoint": "userinfo",
            "end_session_endpoint": "logout",
        }
        right = {
            "issuer": self.url,
            **{name: f"{self.url}/{path}" for name, path in names.items()},
            "id_token_signing_alg_values_supported": ["RS256"],
        }
        return _without_none({**right, **self.document})

    def authorize(self, query: dict[str, str]) -> str:
        """Check the request as RFC 6749 and RFC 7636 ask, and return where the person goes."""
        assert query["client_id"] == CLIENT_ID
        assert query["response_type"] == "code"
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        back: dict[str, str] = {"state": query["state"]}
        if self.refuses:
            back["error"] = self.refuses
        else:
            back["code"] = secrets.token_urlsafe(16)
            self.grants[back["code"]] = Grant(query["redirect_uri"], query["code_challenge"], query["nonce"])
        return f"{query['redirect_uri']}?{urlencode(back)}"

    def exchange(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        """Give tokens for a code, once, to who knows the secret and the verifier."""
        expected = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        posted = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if authorization != f"Basic {expected}" and not posted:
            return 401, {"error": "invalid_client"}
        grant = self.grants.pop(form["code"], None)
        challenge = _base64(hashlib.sha256(form["code_verifier"].encode()).digest())
        if grant is None or form["redirect_uri"] != grant.redirect_uri or challenge != grant.code_challenge:
            return 400, {"error": "invalid_grant"}
        tokens = {
            "access_token": "opaque",
            "token_type": "Bearer",
            "expires_in": 60,
            "id_token": self.sign(grant.nonce),
        }
        return 200, tokens

    def sign(self, nonce: str) -> str:
        moment = int(time.time())
        right = {"iss": self.url, "aud": CLIENT_ID, "exp": moment + 60, "iat": moment, "nonce": nonce, **self.person}
        claims = _without_none({**right, **self.claims})
        header = {"alg": "RS256", "kid": self.keys[0].kid}
        match self.signed_by:
            case "another key":
                return jwt.encode(header, claims, RSAKey.generate_key(2048))
            case "none":
                return f"{_encode({**header, 'alg': 'none'})}.{_encode(claims)}."
            case "the client secret":
                return _seal({**header, "alg": "HS256"}, claims, CLIENT_SECRET.encode())
            case "the public key as a secret":
                return _seal({**header, "alg": "HS256"}, claims, self.keys[0].as_pem(private=False))
            case "nobody":
                return "this is no token"
            case _:
                return jwt.encode(header, claims, self.keys[0])


def _seal(header: dict[str, Any], claims: dict[str, Any], secret: bytes) -> str:
    signed = f"{_encode(header)}.{_encode(claims)}"
    return f"{signed}.{_base64(hmac.digest(secret, signed.encode(), 'sha256'))}"


def _encode(value: dict[str, Any]) -> str:
    return _base64(json.dumps(value).encode())


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


class _Handler(BaseHTTPRequestHandler):
    provider: IdentityProvider

    def do_GET(self) -> None:
        place = urlsplit(self.path)
        query = dict(parse_qsl(place.query))
        if self._note_and_fail(place.path, query):
            return
        match place.path:
            case "/.well-known/openid-configuration":
                self._send_json(200, self.provider.discover())
            case "/keys":
                self._send_json(200, KeySet(self.provider.keys).as_dict(private=False))
            case "/authorize":
                self._send(302, JSON, b"", Location=self.provider.authorize(query))
            case "/userinfo":
                assert self.headers["Authorization"] == "Bearer opaque"
                self._send_json(200, {"sub": self.provider.person["sub"], **self.provider.userinfo})
            case _:
                self._send(200, "text/html", b"<title>Provider</title>Goodbye.")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"] or 0)).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        if not self._note_and_fail(self.path, form):
            self._send_json(*self.provider.exchange(form, self.headers.get("Authorization", "")))

    def _note_and_fail(self, path: str, fields: dict[str, str]) -> bool:
        self.provider.asked.append((path, fields))
        time.sleep(self.provider.delay)
        if path not in self.provider.faults:
            return False
        status, kind, body = self.provider.faults[path]
        self._send(status, kind, body, Location=body.decode() if status in {302, 307} else "")
        return True

    def _send_json(self, status: int, value: object) -> None:
        self._send(status, JSON, json.dumps(value).encode())

    def _send(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: object) -> None:
        """Leave the tests' output to the tests."""


@contextmanager
def serving() -> Iterator[IdentityProvider]:
    """Run a provider for as long as it is used."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.RequestHandlerClass = type("Handler", (_Handler,), {"provider": IdentityProvider(_url(server))})
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server.RequestHandlerClass.provider
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _url(server: ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}"
