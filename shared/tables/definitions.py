"""How the columns and indexes of tables are declared."""

from enum import StrEnum

from sqlalchemy import Enum, Index, TextClause


def by_value(kind: type[StrEnum], length: int = 16) -> Enum:
    """Keep an enum as the texts of its members."""
    return Enum(kind, native_enum=False, length=length, values_callable=lambda members: [m.value for m in members])


def partial_index(name: str, *columns: str, where: TextClause) -> Index:
    """Index some rows only: what is not in it costs nothing to write."""
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)
