"""Give views the services of their application."""

from flask import current_app

from shared.submission.services import Services

EXTENSION = "pneumoscreen"


def services() -> Services:
    """Return the services of the application that serves this request."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Services)  # noqa: S101  # narrows the type of Flask's untyped dictionary
    return found
