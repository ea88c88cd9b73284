"""Find candidate screenings by what orders no list: a part of a file name by its trigrams, a reader's reviews."""

import json
import uuid
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Uuid, bindparam, column, func, select, table, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session
from sqlalchemy.types import Text

from shared.tables import Image, Review, Screening, User

SHORTEST: Final = 3
"""Characters of a trigram; shorter texts are in too many names."""
MOST_NAMED: Final = 6000
"""More screenings than this are not read from the index: the list itself finds them soon enough."""

_MOST_MILLISECONDS: Final = 150
"""PostgreSQL collects all entries of a text before it returns the first: half a million in this time."""
_COMMON: Final = 0.05
"""Share of all names above which a trigram filters little and has a long list to read."""
_CANCELLED: Final = "57014"  # query_canceled (postgresql.org/docs/current/errcodes-appendix.html)
_NAMES: Final = table("screening_names", column("screening_id", Uuid()), column("file_name", Text()))


def find_named(session: Session, part: str) -> list[uuid.UUID] | None:
    """Return the ids of screenings whose file name contains a text, in any order, with possibly a few others.

    None where the index cannot help: the text is too short or in too many names, or there is no index.
    """
    if len(part) < SHORTEST:
        return None
    is_sqlite = session.get_bind().dialect.name == "sqlite"
    found = _find_in_sqlite(session, part) if is_sqlite else _find_in_postgresql(session, part)
    return found if found is not None and len(found) <= MOST_NAMED else None


def find_reviewed(session: Session, *by: ColumnElement[bool]) -> list[uuid.UUID] | None:
    """Return the ids of screenings whose images such an account has reviewed, withdrawn or not; None for too many."""
    by_them = select(Review.image_sha256).where(Review.user_id.in_(select(User.id).where(*by)))
    # After years a reader has a hundred thousand reviews: their index shows that without reading any image.
    reviews = session.scalar(select(func.count()).select_from(by_them.limit(MOST_NAMED + 1).subquery())) or 0
    if reviews > MOST_NAMED:
        return None
    query = select(Screening.id).join(Image, Image.id == Screening.image_id).where(Image.sha256.in_(by_them))
    found = list(session.scalars(query.limit(MOST_NAMED + 1)))
    return found if len(found) <= MOST_NAMED else None


def among(ids: Sequence[uuid.UUID], is_sqlite: bool) -> ColumnElement[bool]:
    """Match these screenings; as one parameter, because thousands of them take as long to bind as to look up."""
    if is_sqlite:
        listed = func.json_each(json.dumps([key.hex for key in ids])).table_valued("value")
        return Screening.id.in_(select(listed.c.value))
    return Screening.id == func.any(bindparam(None, list(ids), type_=ARRAY(Uuid())))


def _find_in_postgresql(session: Session, part: str) -> list[uuid.UUID] | None:
    trigrams = _find_rare_trigrams(session, part)
    has_all = func.file_name_trigrams(_NAMES.c.file_name).op("@>")(bindparam(None, trigrams, type_=ARRAY(Text())))
    query = select(_NAMES.c.screening_id).where(has_all, _NAMES.c.file_name.icontains(part, autoescape=True))
    savepoint = session.begin_nested()
    try:
        # A sequential scan would be chosen for a text common by statistics, and read all rows if it is not.
        session.execute(text(f"SET LOCAL statement_timeout = {_MOST_MILLISECONDS}; SET LOCAL enable_seqscan = off"))
        return list(session.scalars(query.limit(MOST_NAMED + 1)))
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) != _CANCELLED:
            raise
        return None
    finally:
        savepoint.rollback()  # also reverts the settings


def _find_rare_trigrams(session: Session, part: str) -> list[str]:
    """Return the trigrams of a text to search by: those that few names have, else the rarest.

    PostgreSQL would read the list of each: for ten million names those of `.jpeg` and the like took 200 ms, all others
    9. Its statistics list the common ones (pg_stats, most_common_elems); without statistics all trigrams are used.
    PostgreSQL splits the text as it did the names: lower case depends on the database's locale.
    """
    known = text(
        "SELECT wanted.trigram, max(common.frequency) AS frequency "
        "FROM unnest(file_name_trigrams(:part)) AS wanted (trigram) LEFT JOIN (pg_stats CROSS JOIN "
        "unnest(most_common_elems::text::text[], most_common_elem_freqs) AS s (element, frequency)) AS common "
        "ON common.element = wanted.trigram AND common.tablename = 'ix_screening_names_trigrams' "
        "AND common.schemaname = ANY (current_schemas(false)) GROUP BY wanted.trigram"
    )
    frequency = {row.trigram: row.frequency or 0.0 for row in session.execute(known, {"part": part})}
    rare = [trigram for trigram in sorted(frequency) if frequency[trigram] <= _COMMON]
    return rare or [min(sorted(frequency), key=frequency.__getitem__)]


def _find_in_sqlite(session: Session, part: str) -> list[uuid.UUID] | None:
    if not session.scalar(text("SELECT 1 FROM sqlite_master WHERE name = 'screening_names'")):
        return None
    phrase = '"' + part.replace('"', '""') + '"'
    query: Any = text(
        "SELECT s.id FROM screening_names AS n JOIN screenings AS s ON s.rowid = n.rowid "
        "WHERE screening_names MATCH :phrase LIMIT :most"
    ).columns(id=Uuid())
    return list(session.scalars(query, {"phrase": phrase, "most": MOST_NAMED + 1}))
