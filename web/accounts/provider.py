"""Client of the identity provider: OpenID Connect with Authlib, authorization code flow with PKCE.

`oidc` imports this when first needed, because Authlib and requests take memory that most processes never use.
"""

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import requests
from authlib.integrations.flask_client import FlaskIntegration, FlaskOAuth2App, OAuthError  # type: ignore[import-untyped]
from authlib.oidc.core import CodeIDToken  # type: ignore[import-untyped]
from joserfc.errors import JoseError

from shared.accounts.identities import is_subject
from shared.settings import Settings
from web.accounts.claims import Claims, ProviderAway, SignInRefused, lacks, name_contact
from web.languages.text import _

log = logging.getLogger(__name__)

KEPT_SECONDS: Final = 3600.0
"""How long the discovery document and the keys are cached; keys with a new id are fetched at once."""
_LEEWAY_SECONDS: Final = 60
_MOST_TALKS: Final = 4  # so that a provider that hangs blocks this many threads of the web process, not all
_WAIT_SECONDS: Final = 1.0

# Algorithms that only the provider can sign with. `none` needs no key, and HS256 uses the client secret as one.
_ALGORITHMS: Final = [*(f"{kind}{size}" for kind in ("RS", "PS", "ES") for size in (256, 384, 512)), "Ed25519", "EdDSA"]


@dataclass(frozen=True)
class Question:
    """A sign-in request: the address at the provider, and what is needed to check the answer."""

    url: str
    state: str
    nonce: str
    code_verifier: str


class Provider:
    """Ask one identity provider who somebody is; threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.issuer = settings.oidc_issuer or ""
        self._talks = threading.BoundedSemaphore(_MOST_TALKS)
        self._client: Any = None
        self._client_until = 0.0

    def ask(self, redirect_uri: str) -> Question:
        """Make the address to redirect a person to. Raises ProviderAway."""
        with self._talking():
            made = self._known().create_authorization_url(redirect_uri)
        return Question(made["url"], made["state"], made["nonce"], made["code_verifier"])

    def answer(self, code: str, nonce: str, code_verifier: str, redirect_uri: str) -> Claims:
        """Exchange a code for claims after checking signature, issuer, audience, expiry and nonce.

        Raises ProviderAway, and SignInRefused where the answer cannot be trusted.
        """
        with self._talking():
            client = self._known()
            # A redirect would send the code and the verifier to wherever it points.
            token = client.fetch_access_token(
                redirect_uri=redirect_uri, code=code, code_verifier=code_verifier, allow_redirects=False
            )
            claims = client.parse_id_token(
                token, nonce=nonce, claims_options=self._demands(), claims_cls=CodeIDToken, leeway=_LEEWAY_SECONDS
            )
            if claims is None:
                raise ValueError("the answer holds no ID token")
            _check_subject(claims["sub"])
            return self._complete(client, token, claims)

    def farewell(self, return_to: str) -> str | None:
        """Make the provider's logout address for a person, None where it has none. Raises ProviderAway.

        OpenID Connect RP-Initiated Logout 1.0, without an ID token as a hint: the provider asks the person instead.
        """
        with self._talking():
            client = self._known()
        if not client.server_metadata.get("end_session_endpoint"):
            return None
        address = client.create_logout_url(return_to, client_id=self.settings.oidc_client_id)["url"]
        return str(address)

    def _demands(self) -> dict[str, dict[str, Any]]:
        # Authlib itself accepts another audience where `azp` names this client.
        return {
            "iss": {"essential": True, "value": self.issuer},
            "aud": {"essential": True, "value": self.settings.oidc_client_id},
        }

    def _complete(self, client: Any, token: Any, claims: dict[str, Any]) -> Claims:
        """Add claims that only the userinfo endpoint returns (OpenID Connect Core 1.0, sections 5.3.2 and 5.4)."""
        if not lacks(self.settings, claims) or not client.server_metadata.get("userinfo_endpoint"):
            return dict(claims)
        told = client.userinfo(token=token)
        if told.get("sub") != claims["sub"]:
            raise ValueError("the userinfo endpoint speaks of another person")
        return {**told, **claims}

    @contextmanager
    def _talking(self) -> Iterator[None]:
        """Limit how many threads wait for the provider, and translate its errors."""
        if not self._talks.acquire(timeout=_WAIT_SECONDS):
            raise ProviderAway(_("Too many people are using single sign-on at the moment. Try again in a few seconds."))
        try:
            yield
        except (requests.ConnectionError, requests.Timeout, requests.HTTPError) as error:
            log.warning("The identity provider does not answer: %s", error)
            raise ProviderAway(
                _(
                    "The identity provider does not answer, so single sign-on does not work at the moment. Try again "
                    "in a few minutes, or sign in with a name and a password."
                )
            ) from error
        except OAuthError as error:  # anybody can cause this with an invalid code
            raise self._refuse(error) from error
        except (JoseError, requests.RequestException, ValueError, TypeError, LookupError) as error:
            self._client = None  # the next call fetches document and keys again
            raise self._refuse(error) from error
        finally:
            self._talks.release()

    def _refuse(self, error: Exception) -> SignInRefused:
        log.warning("The answer of the identity provider was refused: %r", error)
        return SignInRefused(
            _(
                "The answer of the identity provider could not be trusted, so nobody was signed in. Try again; if it "
                "happens again, tell %(contact)s.",
                contact=name_contact(self.settings),
            )
        )

    def _known(self) -> Any:
        """Return the client, made from a discovery document that is at most KEPT_SECONDS old."""
        client = self._client  # another thread may reset it meanwhile
        if client is None or time.monotonic() > self._client_until:
            client = self._client = self._discover()
            self._client_until = time.monotonic() + KEPT_SECONDS
        return client

    def _discover(self) -> Any:
        """Fetch the discovery document (OpenID Connect Discovery 1.0, sections 4.2 and 4.3)."""
        address = self.issuer.rstrip("/") + "/.well-known/openid-configuration"
        response = requests.get(address, timeout=self.settings.oidc_seconds)
        response.raise_for_status()
        document = response.json()
        if document["issuer"] != self.issuer:
            raise ValueError(f"the discovery document is of the issuer {document['issuer']!r}, not {self.issuer!r}")
        return self._make_client(document)

    def _make_client(self, document: dict[str, Any]) -> Any:
        secret = self.settings.oidc_client_secret
        # Only these are used: Authlib passes all other members on to requests, where `verify` or `proxies` take effect.
        places = ("jwks_uri", "userinfo_endpoint", "end_session_endpoint")
        return FlaskOAuth2App(
            FlaskIntegration("sso"),
            "sso",
            client_id=self.settings.oidc_client_id,
            client_secret=secret.get_secret_value() if secret else None,
            authorize_url=self._address(document, "authorization_endpoint"),
            access_token_url=self._address(document, "token_endpoint"),
            client_kwargs={
                "scope": self.settings.oidc_scopes,
                "code_challenge_method": "S256",
                "default_timeout": self.settings.oidc_seconds,
                # Authlib considers a token expired 60 s early; Keycloak's last 60 s, and ours is used at once.
                "leeway": 0,
                **_authentication(document, has_secret=secret is not None),
            },
            **{name: self._address(document, name) for name in places if name in document},
            id_token_signing_alg_values_supported=_ALGORITHMS,
        )

    def _address(self, document: dict[str, Any], name: str) -> str:
        address = str(document[name])
        if self.issuer.startswith("https://") and not address.startswith("https://"):
            raise ValueError(f"the discovery document gives {name} without https: {address!r}")
        return address


def _authentication(document: dict[str, Any], *, has_secret: bool) -> dict[str, str]:
    """Choose client authentication: HTTP Basic, the default, unless only the request body is supported."""
    offered = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    only_post = "client_secret_post" in offered and "client_secret_basic" not in offered
    return {"token_endpoint_auth_method": "client_secret_post"} if has_secret and only_post else {}


def _check_subject(subject: Any) -> None:
    if not isinstance(subject, str) or not is_subject(subject):
        raise ValueError(f"the subject of the ID token cannot be used: {subject!r}")
