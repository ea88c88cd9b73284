"""Account for every accepted image: lost, duplicated, wrong or correct."""

import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import func, select

from chaos.errors import ChaosFailed
from chaos.images import PICTURES, ChaosImage
from chaos.load import Accepted
from shared.db import Database
from shared.models.spec import Label
from shared.refusals import Details
from shared.states import FINAL_STATES, State
from shared.tables import Prediction, Screening

ROUNDING: Final = 1e-4
"""Two runs of a network on the same pixels differ by less than this."""


class Row(NamedTuple):
    """The database's state of one image of one job."""

    id: uuid.UUID
    file_name: str
    state: State
    finished_at: datetime | None
    prediction_id: uuid.UUID | None
    error_code: str | None
    error_details: Details | None
    label: Label | None
    p_pneumonia: float | None


@dataclass
class Account:
    """Counts of outcomes of the images accepted during one fault."""

    images: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    failed: int = 0
    """Images that ended FAILED, REJECTED or CANCELLED and are no poison: they have an outcome, but no prediction."""
    notes: list[str] = field(default_factory=list)


def read_rows(database: Database) -> list[Row]:
    """Read every screening with its prediction."""
    statement = select(
        Screening.id, Screening.file_name, Screening.state, Screening.finished_at, Screening.prediction_id,
        Screening.error_code, Screening.error_details, Prediction.label, Prediction.p_pneumonia,
    ).outerjoin(Prediction, Screening.prediction_id == Prediction.id)  # fmt: skip
    with database.read() as session:
        return [Row(*row) for row in session.execute(statement)]


class Ledger:
    """Compare every outcome with the expected one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._answers: list[tuple[Label, float]] = []
        self._settled: dict[uuid.UUID, Row] = {}
        self.overwritten: set[str] = set()
        """Images whose outcome changed after it was written."""

    def learn_answers(self) -> None:
        """Record the fault-free prediction of each picture; raise ChaosFailed where too many are alike."""
        by_name = {row.file_name: row for row in read_rows(self._database)}
        rows = [by_name[f"picture-{number:02d}.jpeg"] for number in range(PICTURES)]
        self._answers = [(row.label, row.p_pneumonia) for row in rows if row.label and row.p_pneumonia is not None]
        distinct = {round(p, 4) for _, p in self._answers}
        if len(self._answers) < PICTURES or len(distinct) < PICTURES * 3 // 4:
            raise ChaosFailed(f"{PICTURES} pictures got {len(distinct)} distinct answers; a mix-up would not show.")

    def look(self) -> None:
        """Compare every outcome seen before with its present value."""
        for row in read_rows(self._database):
            known = self._settled.get(row.id)
            if known is not None and known != row:
                self.overwritten.add(row.file_name)
            if known is None and row.state in FINAL_STATES:
                self._settled[row.id] = row

    def close(self, accepted: Iterable[Accepted]) -> dict[str, Account]:
        """Return the account of each fault's images."""
        self.look()
        rows: dict[str, list[Row]] = defaultdict(list)
        for row in read_rows(self._database):
            rows[row.file_name].append(row)
        accounts: dict[str, Account] = defaultdict(Account)
        for item in accepted:
            account = accounts[item.fault]
            account.images += 1
            self._enter(account, item.image, rows[item.image.name])
        return accounts

    def _enter(self, account: Account, image: ChaosImage, rows: Sequence[Row]) -> None:
        found = [row for row in rows if row.state in FINAL_STATES]
        if len(found) != len(rows) or not rows:
            account.lost += 1
            account.notes.append(f"{image.name}: {', '.join(row.state for row in rows) or 'no row'}")
        account.duplicated += len(rows) > 1
        for row in found:
            self._judge(account, image, row)

    def _judge(self, account: Account, image: ChaosImage, row: Row) -> None:
        if row.state is not State.DONE and not image.is_poison:
            account.failed += 1
            account.notes.append(f"{image.name}: {row.state}: {row.error_code} {row.error_details}")
        if image.is_poison and row.state is not State.FAILED:
            account.wrong += 1
            account.notes.append(f"{image.name}: {row.state}, although it crashes its worker")
        if row.state is State.DONE and not self._is_due(image, row):
            account.wrong += 1
            account.notes.append(f"{image.name}: {row.label} {row.p_pneumonia}, not {self._answers[image.picture]}")
        if row.file_name in self.overwritten:
            account.wrong += 1
            account.notes.append(f"{image.name}: its outcome changed after it was written")

    def _is_due(self, image: ChaosImage, row: Row) -> bool:
        label, p_pneumonia = self._answers[image.picture]
        return row.label is label and row.p_pneumonia is not None and abs(row.p_pneumonia - p_pneumonia) < ROUNDING

    def doubled_predictions(self) -> int:
        """Count the pairs of image and model that have more than one prediction."""
        pairs = select(func.count()).select_from(Prediction).group_by(Prediction.image_id, Prediction.model_id)
        with self._database.read() as session:
            return sum(count > 1 for count in session.scalars(pairs))


def total(accounts: Iterable[Account]) -> Account:
    """Return the sum of accounts."""
    sums: Counter[str] = Counter()
    notes: list[str] = []
    for account in accounts:
        sums.update({name: value for name, value in vars(account).items() if isinstance(value, int)})
        notes += account.notes
    return Account(**sums, notes=notes)
