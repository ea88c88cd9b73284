"""Trust the headers of as many reverse proxies as the setting says, and of none by default."""

import re
from collections.abc import Callable, Iterable
from typing import Any, Final

from flask import Flask, request
from flask.sessions import SecureCookieSessionInterface
from werkzeug.exceptions import BadRequest
from werkzeug.middleware.proxy_fix import ProxyFix

_PREFIX: Final = re.compile(r"(/[\w.~-]+)*", re.ASCII)
"""A path of plain names. Two leading slashes would make links point to another host."""

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]


def install(app: Flask, proxies: int) -> None:
    """Trust so many proxies, each of which appends to X-Forwarded-For and sets Proto, Host and Prefix."""
    app.session_interface = _Sessions()
    if proxies:
        inner = _clean_prefix(app.wsgi_app)
        app.wsgi_app = ProxyFix(inner, proxies, proxies, proxies, x_prefix=proxies)  # type: ignore[method-assign]


def _clean_prefix(application: Application) -> Application:
    """Refuse a prefix that is no plain path, before it is used in any answer."""

    def answer(environ: Environ, start_response: Any) -> Iterable[bytes]:
        prefix = str(environ["SCRIPT_NAME"]).rstrip("/")
        if not _PREFIX.fullmatch(prefix):
            refusal = BadRequest("The proxy in front sent an X-Forwarded-Prefix that is no plain path such as /pneumo.")
            return refusal(environ, start_response)
        environ["SCRIPT_NAME"] = prefix
        return application(environ, start_response)

    return answer


def cookie_path() -> str:
    """Return the path of this installation's cookies, which hides them from other services of the host."""
    return request.root_path or "/"


class _Sessions(SecureCookieSessionInterface):
    """Limit the session cookie to this installation's path."""

    def get_cookie_path(self, _app: Flask) -> str:
        return cookie_path()

    def get_cookie_name(self, app: Flask) -> str:
        # A __Host- cookie must apply to the whole host; with a path browsers would refuse it (RFC 6265bis, 4.1.3).
        name = super().get_cookie_name(app)
        return name.replace("__Host-", "__Secure-") if request.root_path else name
