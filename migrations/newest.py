"""Tell whether a database already has the newest schema, without loading Alembic."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final
from urllib.parse import quote

_SQLITE: Final = "sqlite:///"
_VERSIONS: Final = Path(__file__).resolve().parent / "versions"


def has_newest(url: str) -> bool:
    """Compare Alembic's revision in a SQLite file with the newest; False for another revision or another database.

    Alembic and SQLAlchemy take a second to load, which most starts can skip.
    """
    if not url.startswith(_SQLITE):
        return False
    newest = max(path.name.partition("_")[0] for path in _VERSIONS.glob("[0-9]*.py"))
    try:
        with closing(sqlite3.connect(f"file:{quote(url.removeprefix(_SQLITE))}?mode=rw", uri=True)) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.Error:  # no file or no table yet; the migration reports any other error
        return False
    return found == [(newest,)]
