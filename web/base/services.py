"""What every view works with: the services of the application that it belongs to."""

from flask import current_app

from shared.submission.services import Services

EXTENSION = "pneumoscreen"


def services() -> Services:
    """Return the services of the application that serves this request."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Services)  # noqa: S101  # narrows the type of Flask's untyped dictionary
    return found
