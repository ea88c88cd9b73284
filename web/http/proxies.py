"""What is believed of reverse proxies in front: as many as the setting says, and nothing where it says none."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface
from werkzeug.exceptions import BadRequest
from werkzeug.middleware.proxy_fix import ProxyFix

_PREFIX: Final = re.compile(r"(/[\w.~-]+)*", re.ASCII)
"""A path of plain names. One that began with two slashes would lead links to another host."""

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]


def install(app: Flask, proxies: int) -> None:
    """Believe so many proxies, each of which appends to X-Forwarded-For and sets Proto, Host and Prefix."""
    app.session_interface = _Sessions()
    if proxies:
        inner = _clean_prefix(app.wsgi_app)
        app.wsgi_app = ProxyFix(inner, proxies, proxies, proxies, x_prefix=proxies)  # type: ignore[method-assign]


def _clean_prefix(application: Application) -> Application:
    """Refuse a prefix that is no plain path, before anything is answered with it."""

    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        prefix = str(environ["SCRIPT_NAME"]).rstrip("/")
        if not _PREFIX.fullmatch(prefix):
            refusal = BadRequest("The proxy in front sent an X-Forwarded-Prefix that is no plain path such as /pneumo.")
            return refusal(environ, start_response)
        environ["SCRIPT_NAME"] = prefix
        return application(environ, start_response)

    return answer


def cookie_path() -> str:
    """Return the path that a cookie of this installation is for: what else the host serves does not get it."""
    return request.root_path or "/"


class _Sessions(SecureCookieSessionInterface):
    """Keep the session's cookie to the path below which this is served."""

    def get_cookie_path(self, _app: Flask) -> str:
        return cookie_path()

    def get_cookie_name(self, app: Flask) -> str:
        # A cookie named __Host- is for the whole host; below a path browsers would refuse it (RFC 6265bis, 4.1.3).
        name = super().get_cookie_name(app)
        return name.replace("__Host-", "__Secure-") if request.root_path else name
