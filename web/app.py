"""The web application, assembled from its parts: sign-in, API and pages."""

import logging
from datetime import timedelta
from pathlib import Path
from typing import Final

from flask import Flask
from sqlalchemy.exc import SQLAlchemyError

from shared.db import Database
from shared.errors import PneumoScreenError, StoreAway, StoreFull
from shared.languages.catalogs import TRANSLATIONS
from shared.queue.tickets import TicketSender
from shared.settings import MIB, NO_SECRET_KEY, Settings
from shared.store.store import Store
from shared.submission.new_store import create_if_new
from shared.submission.services import Services, open_services
from web.accounts import account, linking, oidc, sign_in, throttle, users
from web.accounts import emails as account_emails
from web.api import arguments, views
from web.api import models as models_api
from web.api import patients as patients_api
from web.api import reviews as reviews_api
from web.audit import page as audit_page
from web.base import conflicts, problems
from web.base.services import EXTENSION
from web.frame import frame, guide, notices
from web.guard import access, identity, security
from web.history import page as history_page
from web.http import proxies, static_files
from web.images import page as images_page
from web.images import pictures, pixels
from web.images import review_routes as images_review_routes
from web.jobs import page as jobs_page
from web.languages import languages
from web.messages import emails as emails_page
from web.messages import webhooks as webhooks_page
from web.models import activation, comparison
from web.models import page as models_page
from web.quality import page as quality_page
from web.reports import page as reports_page
from web.uploads import page as uploads_page
from web.uploads import samples
from web.watch import health
from web.watch import page as watch_page
from web.worklist import page as worklist_page
from web.worklist import views as worklist_views

log = logging.getLogger(__name__)

STATIC = Path(__file__).with_name("static")
# Everything but an upload is a small form or a small JSON object; uploads are streamed and have their own limit.
MOST_FORM_BYTES = 1 * MIB

_ACCOUNTS_AND_API: Final = (
    sign_in,
    account,
    account_emails,
    users,
    audit_page,
    views,
    reviews_api,
    patients_api,
    models_api,
    pictures,
    pixels,
    samples,
    health,
)
_PAGES: Final = (
    frame,
    notices,
    uploads_page,
    jobs_page,
    history_page,
    images_page,
    images_review_routes,
    reports_page,
    guide,
    watch_page,
    webhooks_page,
    emails_page,
    worklist_page,
    worklist_views,
    quality_page,
    models_page,
    activation,
    comparison,
)


class SecretKeyMissing(PneumoScreenError):
    """Say that the key that signs sessions is not set."""


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    store: Store | None = None,
    ticket_sender: TicketSender | None = None,
    translations: Path = TRANSLATIONS,
) -> Flask:
    """Build the application; raise SecretKeyMissing or CatalogMissing where it lacks one.

    Parts that are not given are made from the settings.
    """
    app = Flask(__name__, static_folder=None)
    app.config.from_mapping(_configuration(settings))
    app.extensions[EXTENSION] = open_services(settings, database=database, store=store, tickets=ticket_sender)
    _create_store(app.extensions[EXTENSION])
    static_files.install(app, STATIC, languages.install(app, translations))
    problems.install(app)
    health.install(app)
    security.check_hosts(app, settings)
    identity.install(app)
    access.install(app)
    arguments.install(app)
    throttle.read_limits(settings.sign_in_limit)
    _register_views(app, settings)
    access.check_views(app)
    conflicts.install(app)
    security.install(app, settings)
    proxies.install(app, settings.trusted_proxies)
    return app


def _register_views(app: Flask, settings: Settings) -> None:
    """Register the views of every part, including single sign-on where it is configured."""
    for module in _ACCOUNTS_AND_API:
        app.register_blueprint(module.blueprint)
    if settings.oidc_issuer is not None:
        oidc.install(app)
        app.register_blueprint(linking.blueprint)
    for module in _PAGES:
        app.register_blueprint(module.blueprint)


def _create_store(services: Services) -> None:
    """Create the image store on a first start; an unreachable one is tried again before uploads and health checks."""
    try:
        create_if_new(services.database, services.store)
    except (StoreAway, StoreFull, SQLAlchemyError) as error:
        log.warning("The image store was not looked at: %s", str(error).splitlines()[0])


def _configuration(settings: Settings) -> dict[str, object]:
    if settings.secret_key is None:
        raise SecretKeyMissing(NO_SECRET_KEY)
    return {
        "SECRET_KEY": settings.secret_key.get_secret_value(),
        "MAX_CONTENT_LENGTH": MOST_FORM_BYTES,
        # Behind TLS the prefix makes browsers refuse the cookie from any other host (RFC 6265bis, section 4.1.3.2).
        "SESSION_COOKIE_NAME": "__Host-pneumoscreen" if settings.secure_cookies else "pneumoscreen",
        "SESSION_COOKIE_HTTPONLY": True,
        "SESSION_COOKIE_SAMESITE": "Lax",
        "SESSION_COOKIE_SECURE": settings.secure_cookies,
        "SESSION_REFRESH_EACH_REQUEST": False,
        "PERMANENT_SESSION_LIFETIME": timedelta(hours=settings.session_hours),
        # An upload may take longer than the hour that Flask-WTF's tokens last; the session's own end limits it.
        "WTF_CSRF_TIME_LIMIT": None,
        "WTF_CSRF_CHECK_DEFAULT": False,
    }
