"""Whether blind second reading, a setting, holds for who looks."""

from flask import g, has_app_context

from shared.reviews.blind import reads_blind
from shared.tables import User
from web.base.services import services


def hides_from(viewer: User) -> bool:
    """Tell whether what others said of an image is kept from an account; outside an application there is no setting."""
    return has_app_context() and services().settings.blind_second_reading and reads_blind(viewer)


def blind_reader() -> User | None:
    """Return the account of this request where it reads blind."""
    user: User = g.user
    return user if hides_from(user) else None
