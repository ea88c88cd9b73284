"""Search file names by their trigrams: an index of its own in each database.

Rules: one change that can be said in one line; portable to SQLite and PostgreSQL (batch_alter_table); downgrade works;
no import of tables or other code of ours, because a migration must mean the same for ever; add a column as nullable or
with a server default; never read or rewrite a large table in one statement.

PostgreSQL keeps the names in a table of their own: in `screenings` each move of a row would write its index entries
again. The trigrams are an array, whose GIN operators every PostgreSQL has; pg_trgm is an extension that a server may
lack. SQLite keeps an FTS5 table without content over `screenings`; builds without FTS5 go without.

Revision: 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

_POSTGRESQL = (
    """CREATE FUNCTION file_name_trigrams(name text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
    'SELECT ARRAY(SELECT substr(lower(name), n, 3) FROM generate_series(1, length(name) - 2) AS n)'""",
    """CREATE TABLE screening_names (
        screening_id uuid PRIMARY KEY REFERENCES screenings (id) ON DELETE CASCADE, file_name text NOT NULL)""",
    "INSERT INTO screening_names SELECT id, file_name FROM screenings",
    "CREATE INDEX ix_screening_names_trigrams ON screening_names USING gin (file_name_trigrams(file_name))",
    """CREATE FUNCTION keep_screening_names() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN INSERT INTO screening_names SELECT id, file_name FROM new_screenings; RETURN NULL; END'""",
    """CREATE TRIGGER screening_names AFTER INSERT ON screenings REFERENCING NEW TABLE AS new_screenings
    FOR EACH STATEMENT EXECUTE FUNCTION keep_screening_names()""",
)
_SQLITE = (
    "CREATE VIRTUAL TABLE screening_names USING fts5 (file_name, content='screenings', tokenize='trigram')",
    "INSERT INTO screening_names (screening_names) VALUES ('rebuild')",
    """CREATE TRIGGER screening_names_insert AFTER INSERT ON screenings BEGIN
    INSERT INTO screening_names (rowid, file_name) VALUES (new.rowid, new.file_name); END""",
    """CREATE TRIGGER screening_names_delete AFTER DELETE ON screenings BEGIN
    INSERT INTO screening_names (screening_names, rowid, file_name) VALUES ('delete', old.rowid, old.file_name); END""",
)


def upgrade() -> None:
    """Apply the change."""
    if op.get_context().dialect.name == "postgresql":
        statements: tuple[str, ...] = _POSTGRESQL
    else:
        statements = _SQLITE if _has_trigrams() else ()
    for statement in statements:
        op.execute(statement)


def downgrade() -> None:
    """Take the change back."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("DROP TRIGGER screening_names ON screenings")
        op.execute("DROP FUNCTION keep_screening_names()")
        op.execute("DROP TABLE screening_names")
        op.execute("DROP FUNCTION file_name_trigrams(text)")
        return
    op.execute("DROP TRIGGER IF EXISTS screening_names_insert")
    op.execute("DROP TRIGGER IF EXISTS screening_names_delete")
    op.execute("DROP TABLE IF EXISTS screening_names")


def _has_trigrams() -> bool:
    """Tell whether SQLite has FTS5 with trigrams, which came with 3.34 (sqlite.org/fts5.html)."""
    version = tuple(map(int, _scalar("SELECT sqlite_version()").split(".")))
    return version >= (3, 34) and bool(_scalar("SELECT sqlite_compileoption_used('ENABLE_FTS5')"))


def _scalar(query: str) -> str:
    return str(op.get_bind().execute(sa.text(query)).scalar() or "")
