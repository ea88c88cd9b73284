"""Tell whether blind second reading, a setting, applies to the viewer."""

from flask import g, has_app_context

from shared.reviews.blind import reads_blind
from shared.tables import User
from web.base.services import services


def hides_from(viewer: User) -> bool:
    """Tell whether others' reviews of an image are hidden from an account; False outside an application."""
    return has_app_context() and services().settings.blind_second_reading and reads_blind(viewer)


def blind_reader() -> User | None:
    """Return the account of this request if it reads blind."""
    user: User = g.user
    return user if hides_from(user) else None
