"""The services of a process that accepts submissions, by any protocol."""

from dataclasses import dataclass

from shared.database_limits import limits_of
from shared.db import Database
from shared.queue.tickets import TicketSender, make_ticket_sender
from shared.settings import Settings
from shared.store.store import Store, open_store
from shared.submission.capacity import Capacity


@dataclass(frozen=True)
class Services:
    """Settings, database, store and ticket sender of a process, opened once, and recent measurements of them."""

    settings: Settings
    database: Database
    store: Store
    tickets: TicketSender
    capacity: Capacity


def open_services(
    settings: Settings,
    *,
    database: Database | None = None,
    store: Store | None = None,
    tickets: TicketSender | None = None,
) -> Services:
    """Open the services of the settings; those given as arguments are used instead."""
    database = database or Database(settings.database, limits=limits_of(settings))
    return Services(
        settings,
        database,
        store or open_store(settings),
        tickets or make_ticket_sender(settings),
        Capacity(settings, database),
    )
