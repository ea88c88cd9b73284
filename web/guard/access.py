"""Access control: every view declares who may call it, and only this module enforces it.

A role determines what its account may do; a token allows no more than that, and only within its scopes.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from flask import Flask, Response, current_app, flash, g, redirect, request, url_for
from sqlalchemy import ColumnElement, true
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Unauthorized

from shared.errors import PneumoScreenError
from shared.tables import Job, Role, Scope, User
from web.base.problems import Refused, prefers_problem
from web.http.problem_codes import ProblemCode
from web.languages.text import _

View = TypeVar("View", bound=Callable[..., Any])

SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
SUBMITTERS: Final = (Role.TECHNICIAN, Role.ADMIN)
"""The roles that may send images; readers only read."""
REVIEWERS: Final = (Role.READER, Role.ADMIN)
"""The roles that may review images."""

_API: Final = "/api/"
_STATIC: Final = "static"


class UnguardedView(PneumoScreenError):
    """Say which view does not declare who may call it."""


@dataclass(frozen=True)
class Access:
    """Who may call a view."""

    is_open: bool = False
    roles: tuple[Role, ...] = ()
    """Empty allows any role."""
    scope: Scope | None = None
    """The scope a token needs; without one the API's default applies, and all else is for browsers only."""


def requires(*roles: Role, scope: Scope | None = None) -> Callable[[View], View]:
    """Allow only signed-in accounts and, where roles are named, only those roles.

    Tokens give access to the API: reading requires the scope `read`, changes `submit`, and views for admins only
    `admin`. A view outside the API is for browsers only, unless it names the `scope` that a token needs.
    """
    return _mark(Access(roles=roles, scope=scope))


def open_to_all(view: View) -> View:
    """Allow everybody, signed in or not."""
    return _mark(Access(is_open=True))(view)


def _mark(access: Access) -> Callable[[View], View]:
    def mark(view: View) -> View:
        view.access = access  # type: ignore[attr-defined]  # functions accept attributes
        return view

    return mark


def asked_by_script(view: View) -> View:
    """Mark a view that an open page asks for again and again: nobody need be there, so no session lasts by it."""
    view.asked_by_script = True  # type: ignore[attr-defined]  # functions accept attributes
    return view


def install(app: Flask) -> None:
    """Enforce the views' access rules, after authentication."""
    app.before_request(_enforce)
    app.context_processor(lambda: {"may_submit": may_submit})


def check_views(app: Flask) -> None:
    """Raise UnguardedView where a view does not say who may call it."""
    for endpoint, view in app.view_functions.items():
        if endpoint != _STATIC and not isinstance(getattr(view, "access", None), Access):
            raise UnguardedView(
                f"The view {endpoint} does not say who may call it. Mark it @requires() or @open_to_all."
            )


def _enforce() -> Response | None:
    endpoint = request.endpoint
    if endpoint is None or endpoint == _STATIC or request.method == "OPTIONS":
        return None
    access: Access = vars(current_app.view_functions[endpoint])["access"]  # check_views has verified it
    if access.is_open:
        return None
    if g.user is None:
        return _ask_to_sign_in(access)
    if access.roles and g.user.role not in access.roles:
        raise Refused(
            ProblemCode.ROLE,
            _(
                "This needs the role %(roles)s; your role is %(role)s.",
                roles=_join(access.roles),
                role=g.user.role,
            ),
        )
    if g.by_token:
        _check_scope(_needed_scope(access))
    return None


def _join(roles: tuple[Role, ...]) -> str:
    if len(roles) == 1:
        return roles[0]
    return _("%(first)s or %(last)s", first=", ".join(roles[:-1]), last=roles[-1])


def _needed_scope(access: Access) -> Scope | None:
    if access.scope is not None or not request.path.startswith(_API):
        return access.scope
    if access.roles == (Role.ADMIN,):
        return Scope.ADMIN
    return Scope.READ if request.method in SAFE_METHODS else Scope.SUBMIT


def _check_scope(needed: Scope | None) -> None:
    if needed is None:
        raise Refused(ProblemCode.SCOPE, "A token opens the API alone. Sign in with a browser for this.")
    if needed not in g.scopes:
        held = " ".join(sorted(g.scopes))
        raise Refused(
            ProblemCode.SCOPE,
            f"This needs a token with the scope {needed}; yours has: {held}. Make another on the page Account.",
        )


def _ask_to_sign_in(access: Access) -> Response:
    # A script that fetches a piece of a page must not get the sign-in page in its place.
    is_navigation = request.headers.get("Sec-Fetch-Mode", "navigate") == "navigate"
    # What a token opens, programs ask for as well, and few of them say which media types they take.
    g.is_program = access.scope is not None and "text/html" not in request.headers.get("Accept", "")
    if g.by_token or prefers_problem() or not is_navigation:
        # RFC 9110, section 11.6.1: a 401 names the scheme.
        scheme = WWWAuthenticate("bearer", {"realm": "PneumoScreen"})
        raise Unauthorized("Sign in, or send a token: 'Authorization: Bearer psc_...'.", www_authenticate=scheme)
    if g.session_has_ended:
        flash(_("Your session has ended. Sign in again."), "info")
    target = request.full_path.rstrip("?") if request.method == "GET" else None
    return see_other(url_for("auth.sign_in", next=target if target != "/" else None))


def see_other(address: str) -> Response:
    """Send a browser on to another page."""
    response = redirect(address, 303)
    assert isinstance(response, Response)  # noqa: S101  # Flask's own redirect gives Flask's own Response
    return response


def may_submit(user: User | None) -> bool:
    """Tell whether an account may send images."""
    return user is not None and user.role in SUBMITTERS


def may_see(viewer: User) -> ColumnElement[bool]:
    """Match the jobs that an account may see: technicians their own, readers and admins all."""
    return true() if sees_all(viewer) else Job.created_by_id == viewer.id


def sees_all(viewer: User) -> bool:
    """Tell whether an account may see the jobs of others."""
    return viewer.role is not Role.TECHNICIAN


def may_change(user: User, job: Job) -> bool:
    """Tell whether an account may change a job: its sender and admins may; readers never, not even as sender."""
    return may_submit(user) and (user.role is Role.ADMIN or job.created_by_id == user.id)
