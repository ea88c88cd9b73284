"""The web application: doors, API and pages, put together from their parts."""

from datetime import timedelta

from flask import Flask
from werkzeug.middleware.proxy_fix import ProxyFix

from shared.db import Database
from shared.errors import PneumoScreenError
from shared.queue import Doorbell, make_doorbell
from shared.settings import MIB, NO_SECRET_KEY, Settings
from shared.storage import Store, open_store
from web import (
    access,
    account,
    api,
    audit,
    auth,
    films,
    health,
    identity,
    linking,
    oidc,
    problems,
    samples,
    security,
    throttle,
    users,
)
from web.pages import blueprints as pages
from web.parts import EXTENSION, Parts

# Everything but an upload is a small form or a small JSON object; uploads stream and count for themselves.
MOST_FORM_BYTES = 1 * MIB


class SecretKeyMissing(PneumoScreenError):
    """Say which setting signs the sessions."""


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    store: Store | None = None,
    doorbell: Doorbell | None = None,
) -> Flask:
    """Build the application; raise SecretKeyMissing where nothing signs its sessions.

    Parts that are not given are made from the settings.
    """
    app = Flask(__name__)
    app.config.from_mapping(_configuration(settings))
    app.extensions[EXTENSION] = Parts(
        settings,
        database or Database(settings.database),
        store or open_store(settings),
        doorbell or make_doorbell(settings),
    )
    problems.install(app)
    health.install(app)
    security.check_hosts(app, settings)
    identity.install(app)
    access.install(app)
    throttle.read_limits(settings.sign_in_limit)
    for module in (auth, account, users, audit, api, films, samples, health):
        app.register_blueprint(module.blueprint)
    if settings.oidc_issuer is not None:
        oidc.install(app)
        app.register_blueprint(linking.blueprint)
    for blueprint in pages:
        app.register_blueprint(blueprint)
    access.check_views(app)
    security.install(app, settings)
    if settings.trusted_proxies:
        count = settings.trusted_proxies
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=count, x_proto=count, x_host=count)  # type: ignore[method-assign]
    return app


def _configuration(settings: Settings) -> dict[str, object]:
    if settings.secret_key is None:
        raise SecretKeyMissing(NO_SECRET_KEY)
    return {
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "MAX_CONTENT_LENGTH": MOST_FORM_BYTES,
        # Behind TLS the prefix has browsers refuse the cookie from any other host (RFC 6265bis, section 4.1.3.2).
        "SESSION_COOKIE_NAME": "__Host-pneumoscreen" if settings.secure_cookies else "pneumoscreen",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.secure_cookies,
        "SESSION_REFRESH_EACH_REQUEST": False,
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=settings.session_hours),
        # An upload may take longer than the hour that Flask-WTF gives a token; the session's own end bounds it.
        "WTF_CSRF_TIME_LIMIT": None,
        "WTF_CSRF_CHECK_DEFAULT": False,
    }
