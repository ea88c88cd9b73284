"""Create the image store on a first start, and only then: later an empty place means that the store is away."""

from sqlalchemy import exists, select

from shared.db import Database
from shared.store.store import Store
from shared.tables import Image


def create_if_new(database: Database, store: Store) -> None:
    """Create the image store where there is none and the database names no image that could be in it.

    Where it names one, the store is away and nothing is made in its place: a network share that is not mounted would
    get images that nobody finds once it is. Raises StoreAway, and what the database raises.
    """
    if not store.is_new():
        return
    with database.read() as session:
        is_first_start = not session.scalar(select(exists().where(Image.id.is_not(None))))
    if is_first_start:
        store.create()
