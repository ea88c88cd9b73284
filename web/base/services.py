"""What every view works with: settings, database, store and doorbell."""

from dataclasses import dataclass

from flask import current_app

from shared.db import Database
from shared.queue.tickets import Doorbell
from shared.settings import Settings
from shared.store.store import Store

EXTENSION = "pneumoscreen"


@dataclass(frozen=True)
class Parts:
    """Hold what one application was built from."""

    settings: Settings
    database: Database
    store: Store
    doorbell: Doorbell


def parts() -> Parts:
    """Return the parts of the application that serves this request."""
    found = current_app.extensions[EXTENSION]
    assert isinstance(found, Parts)  # noqa: S101  # narrows the type of Flask's untyped dictionary
    return found
