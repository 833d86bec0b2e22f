"""How columns are made: named constraints, and closed sets stored as their words."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import Column, Enum
from sqlmodel import Field, SQLModel

# Constraints have names, so that a later migration can change them on every database.
SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


def _values(kind: type[StrEnum]) -> list[str]:
    return [word.value for word in kind]


def word(kind: type[StrEnum], index: bool = False, default: StrEnum | None = None) -> Any:
    """A column of one of the enum's words, stored as the word itself: a new word needs no change of the database."""
    stored = Enum(kind, values_callable=_values, native_enum=False, create_constraint=False, length=32)
    column: Column[StrEnum] = Column(stored, nullable=False, index=index)
    return Field(sa_column=column) if default is None else Field(default=default, sa_column=column)
