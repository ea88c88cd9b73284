"""Helpers to declare the columns and indexes of tables."""

from enum import StrEnum

from sqlalchemy import Enum, Index, TextClause


def by_value(kind: type[StrEnum], length: int = 16) -> Enum:
    """Store an enum as its members' values."""
    return Enum(kind, native_enum=False, length=length, values_callable=lambda members: [m.value for m in members])


def partial_index(name: str, *columns: str, where: TextClause) -> Index:
    """Index only some rows: rows outside the index cost nothing to write."""
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)
