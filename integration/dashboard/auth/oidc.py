"""Sign-in with an OpenID Connect provider. The provider's groups map to roles.

Authlib implements the protocol. Users of the provider are named `oidc:NAME`, which distinguishes them
from users of the configuration. A user without a mapped group is rejected.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import httpx
import structlog
from authlib.integrations.base_client import (
    BaseApp,
    FrameworkIntegration,
    OAuth2Mixin,
    OAuthError,
    OpenIDMixin,
)
from authlib.oauth2.client import OAuth2Client
from flask import redirect, request, session, url_for
from flask_babel import gettext as _
from joserfc.errors import JoseError

from integration.clients.deadline_transport import DeadlineClient, DeadlineTransport
from integration.dashboard.addresses import client_address, local_address
from integration.dashboard.auth.access import provider_fingerprint
from integration.dashboard.auth.roles import anybody
from integration.dashboard.responses import failure
from integration.domain.errors import NotFoundError, UnreadableError
from integration.domain.limits import MAX_ANSWER_BYTES
from integration.domain.roles import Role
from integration.webhooks.providers.bodies import read_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from flask import Response
    from flask.typing import ResponseReturnValue

    from integration.config.models import Oidc
    from integration.dashboard.auth.access import SessionAccess
    from integration.services.container import Services

log = structlog.get_logger("ringback.dashboard")

ANSWER_SECONDS: Final = 5.0
_LONGEST_NAME: Final = 100
_NEXT: Final = "next"
_UNUSABLE_ANSWERS: Final = (
    httpx.HTTPError, httpx.InvalidURL, RuntimeError, KeyError, ValueError, UnreadableError
)  # fmt: skip


class Provider:
    """The sign-in views for the configured identity provider."""

    def __init__(self, people: SessionAccess) -> None:
        self._people = people
        self._made: tuple[Oidc, _Client] | None = None

    def views(self) -> tuple[tuple[str, Callable[..., ResponseReturnValue]], ...]:
        """Return pairs of `METHOD /path` and view."""

        @anybody
        def sign_in_elsewhere(services: Services) -> ResponseReturnValue:
            return self._guarded(services, self._lead)

        @anybody
        def back_from_provider(services: Services) -> ResponseReturnValue:
            return self._guarded(services, self._take)

        return (
            ("GET /sign-in/oidc", sign_in_elsewhere),
            ("GET /sign-in/oidc/back", back_from_provider),
        )

    def _guarded(
        self, services: Services, step: Callable[[Services, Oidc], ResponseReturnValue]
    ) -> ResponseReturnValue:
        oidc = services.config.oidc
        if oidc is None:
            raise NotFoundError("no identity provider is configured")
        try:
            return step(services, oidc)
        except (OAuthError, JoseError) as error:
            log.warning("rejected the response of the identity provider", error=type(error).__name__)
            return _sign_in_failed(
                _("The response of the provider is not valid, or the sign-in took too long. Sign in again.")
            )
        except _UNUSABLE_ANSWERS as error:
            log.error("the identity provider cannot be reached", error=type(error).__name__)
            return _sign_in_failed(
                _("The provider cannot be reached, or its response is not valid. Try again later."), 502
            )

    def _lead(self, services: Services, oidc: Oidc) -> ResponseReturnValue:
        for key in [key for key in session if key.startswith("_state_")]:
            session.pop(key)
        session[_NEXT] = local_address(request.args.get("next"))
        client = self._client(oidc)
        _require_issuer(client, oidc)
        back = f"{services.config.dashboard.public_url}{url_for('dashboard.back_from_provider')}"
        return redirect(client.sign_in_url(back))

    def _take(self, services: Services, oidc: Oidc) -> ResponseReturnValue:
        client = self._client(oidc)
        _require_issuer(client, oidc)
        claims = client.claims()
        name, role = name_of(claims, oidc), role_of(claims, oidc)
        address = client_address(services.config.dashboard)
        if role is None:
            services.audit.note(name, "failed sign-in", address=address)
            return _sign_in_failed(
                _("None of your groups has a role in Ringback. Ask the administrator of Ringback for access.")
            )
        wanted = local_address(session.get(_NEXT))
        self._people.admit(name, role=role, mark=provider_fingerprint(oidc))
        services.audit.note(name, "sign-in", address=address)
        return redirect(wanted, 303)

    def _client(self, oidc: Oidc) -> _Client:
        """Return the Authlib client for these settings. The client caches the provider's metadata."""
        if self._made is None or self._made[0] is not oidc:
            self._made = oidc, _client_of(oidc)
        return self._made[1]


class _Session(OAuth2Client, DeadlineClient):  # type: ignore[misc]  # Authlib has no types.
    """Authlib's OAuth2 client over DeadlineClient. Authlib's own sessions require requests or httpx."""

    oauth_error_class = OAuthError

    def __init__(self, **options: Any) -> None:
        DeadlineClient.__init__(self, DeadlineTransport(body_limit=MAX_ANSWER_BYTES), seconds=ANSWER_SECONDS)
        OAuth2Client.__init__(self, session=self, **options)

    def client_auth(self, auth_method: str) -> httpx.Auth:  # noqa: ARG002  (Authlib's)
        """Return the authentication for the token endpoint (RFC 6749, 2.3.1)."""
        return httpx.BasicAuth(self.client_id, self.client_secret)

    def request(self, *args: Any, withhold_token: bool = True, **options: Any) -> httpx.Response:  # noqa: ARG002  (Authlib's)
        """Send a request without an access token: the metadata, key and token endpoints need none.

        Raise httpx.HTTPError, or UnreadableError for an answer that is not JSON within the limits.
        """
        answer = DeadlineClient.request(self, *args, **options)
        read_json(answer.content)
        return answer


class _Client(OAuth2Mixin, OpenIDMixin, BaseApp):  # type: ignore[misc]  # Authlib has no types.
    """The part of Authlib's Flask client that is used here. The original requires the package requests."""

    client_cls = _Session

    def sign_in_url(self, back: str) -> str:
        """Return the provider's authorization URL. State, nonce and PKCE verifier are kept in the session."""
        authorization: dict[str, str] = self.create_authorization_url(back)
        self.framework.set_state_data(
            session, authorization.pop("state"), {"redirect_uri": back, **authorization}
        )
        return authorization["url"]

    def claims(self) -> Mapping[str, Any]:
        """Return the claims of the ID token after the redirect.

        Raise OAuthError or JoseError for a response that is not valid, and one of `_UNUSABLE_ANSWERS` if
        the provider cannot be reached or sends an unusable answer.
        """
        if "error" in request.args:
            raise OAuthError(error=request.args["error"])
        state = request.args.get("state")
        state_data = self.framework.get_state_data(session, state)
        self.framework.clear_state_data(session, state)
        answer = {"code": request.args.get("code"), "state": state}
        token = self.fetch_access_token(**self._format_state_params(state_data, answer))
        claims: Mapping[str, Any] | None = self.parse_id_token(token, nonce=state_data["nonce"])
        if claims is None:
            raise OAuthError(error="missing_id_token")
        return claims


def _client_of(oidc: Oidc) -> _Client:
    return _Client(
        FrameworkIntegration("oidc"),
        "oidc",
        client_id=oidc.client_id,
        client_secret=oidc.client_secret.get_secret_value(),
        server_metadata_url=f"{oidc.issuer.rstrip('/')}/.well-known/openid-configuration",
        client_kwargs={"scope": oidc.scope, "code_challenge_method": "S256"},
    )


def _require_issuer(client: _Client, oidc: Oidc) -> None:
    """Raise ValueError if the metadata has another issuer or none (OpenID Connect Discovery, 4.3)."""
    issuer = str(client.load_server_metadata().get("issuer", ""))
    if issuer.rstrip("/") != oidc.issuer.rstrip("/"):
        raise ValueError("the issuer in the provider's metadata differs from `issuer` in [oidc]")


def name_of(claims: Mapping[str, Any], oidc: Oidc) -> str:
    """Return `oidc:` and the user's name: the claim set in `name_claim`, else `sub`.

    White space and characters that cannot be printed are left out. The name has at most 100 characters.
    """
    name = str(claims.get(oidc.name_claim) or claims.get("sub") or "")
    return "oidc:" + "".join(c for c in name if c.isprintable() and not c.isspace())[:_LONGEST_NAME]


def role_of(claims: Mapping[str, Any], oidc: Oidc) -> Role | None:
    """Return the highest role of a user's groups, or None if no group has a role."""
    value = claims.get(oidc.role_claim)
    groups = value if isinstance(value, list) else [value]
    roles = [Role(oidc.roles[group]) for group in groups if isinstance(group, str) and group in oidc.roles]
    return max(roles, key=list(Role).index, default=None)


def _sign_in_failed(words: str, status: int = 403) -> Response:
    return failure(status, _("Not signed in"), words)
