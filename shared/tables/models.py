"""Models that have screened here, and what administrators put in force."""

import uuid
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from shared.db import Base, UtcDateTime, new_id, now
from shared.tables.definitions import by_value


class ActivationKind(StrEnum):
    """What an administrator puts in force."""

    DEFAULT_MODEL = "default_model"
    THRESHOLD = "threshold"
    SHADOW_MODEL = "shadow_model"


class Model(Base):
    """One exact set of weights, with its calibration, that has screened here."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("name", "sha256"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64))
    sha256: Mapped[str] = mapped_column(String(64))
    """`ModelSpec.identity`."""
    spec: Mapped[dict[str, Any]] = mapped_column(JSON)
    """With the temperature and bias of its predictions, so that they can be recalibrated and relabelled."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)


class Activation(Base):
    """A setting that an administrator put in force. Append-only; the newest of a kind counts (`shared.activations`)."""

    __tablename__ = "activations"
    __table_args__ = (Index(None, "kind", "model_name", "number"),)

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True, default=new_id)
    number: Mapped[int] = mapped_column(unique=True)
    """Counts from 1: the order, independent of the clocks of several servers."""
    kind: Mapped[ActivationKind] = mapped_column(by_value(ActivationKind))
    model_name: Mapped[str | None] = mapped_column(String(64))
    """None where there is no shadow model any more."""
    calibration: Mapped[str | None] = mapped_column(String(64))
    """For a threshold, `ModelSpec.identity` of the model's folder: with another calibration it is not in force."""
    threshold: Mapped[float | None]
    """None for the one of the model's folder."""
    actor: Mapped[str] = mapped_column(String(64))
    """Name of the account, or `os:` and the operating system's user at the command line."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=now)
