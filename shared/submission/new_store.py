"""Create the image store on a first start only: later an empty place means that the store is unavailable."""

from sqlalchemy import exists, select

from shared.db import Database
from shared.store.store import Store
from shared.tables import Image


def create_if_new(database: Database, store: Store) -> None:
    """Create the image store where there is none and the database has no image that could be in it.

    If it has one, the store is unavailable and nothing is created in its place: images written under an unmounted
    network share would be hidden once it is mounted. Raises StoreAway, and what the database raises.
    """
    if not store.is_new():
        return
    with database.read() as session:
        is_first_start = not session.scalar(select(exists().where(Image.id.is_not(None))))
    if is_first_start:
        store.create()
