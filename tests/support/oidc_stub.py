"""An identity provider on this machine: discovery, keys, a code for whoever comes, ID tokens.

It checks what a provider checks (client, redirect, code used once, PKCE) and lies where a test tells it to.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
import threading
import time
from urllib.parse import urlencode

from flask import Flask, redirect, request
from joserfc import jwt
from joserfc.jwk import RSAKey
from werkzeug.serving import make_server

CLIENT_ID, CLIENT_SECRET = "ringback-client", "secret-of-the-ringback-client"


class OidcStub:
    """`claims` are told of whoever comes; `lies` are laid over the ID token, `issuer` over the discovery."""

    def __init__(self):
        self.claims = {"sub": "u-1", "email": "ana@example.com", "groups": ["callcentre"]}
        self.lies = {}
        self.issuer_told = None
        self.key = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
        self.signing_key = self.key
        self._codes = {}
        app = Flask("oidc-stub")
        app.get("/.well-known/openid-configuration")(self._discovery)
        app.get("/jwks")(lambda: {"keys": [self.key.as_dict(private=False)]})
        app.get("/authorize")(self._authorize)
        app.post("/token")(self._token)
        self._server = make_server("127.0.0.1", 0, app, threaded=True)
        self.url = f"http://127.0.0.1:{self._server.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _discovery(self):
        return {
            "issuer": self.issuer_told or self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def _authorize(self):
        asked = request.args
        if asked["client_id"] != CLIENT_ID or asked["code_challenge_method"] != "S256":
            return "no", 400
        code = secrets.token_urlsafe()
        self._codes[code] = dict(asked)
        return redirect(f"{asked['redirect_uri']}?{urlencode({'code': code, 'state': asked['state']})}")

    def _token(self):
        asked = self._codes.pop(request.form["code"], None)
        given = request.authorization
        if asked is None or (given.username, given.password) != (CLIENT_ID, CLIENT_SECRET):
            return {"error": "invalid_grant"}, 400
        digest = hashlib.sha256(request.form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        if (challenge, request.form["redirect_uri"]) != (asked["code_challenge"], asked["redirect_uri"]):
            return {"error": "invalid_grant"}, 400
        return {"access_token": "x", "token_type": "Bearer", "id_token": self._id_token(asked)}

    def _id_token(self, asked):
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"],
            **self.claims, **self.lies,
        }  # fmt: skip
        return jwt.encode({"alg": "RS256", "kid": "k1"}, claims, self.signing_key)
