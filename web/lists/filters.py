"""The filters of lists: each is declared once, which defines its form field, parsing, API argument and condition.

To add a filter, add a field to `Filters`, and nothing else anywhere. A condition on columns of `screenings` is tested
row by row along whichever index orders the list (`web.lists.planner`), so a new filter is right at once; an index of
its own is only for speed.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, tzinfo
from enum import StrEnum
from typing import Annotated, Any, Final, Self, get_type_hints

from flask_babel import get_locale
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from shared.languages.formats import write_moment
from shared.models.spec import Label, version_of
from shared.states import State
from shared.tables import Job, Model, User
from web.base.paging import FilterError
from web.base.zones import current_zone
from web.frame import words
from web.guard.access import may_see
from web.languages.text import N_, _
from web.lists import kinds
from web.lists.kinds import Kind
from web.lists.readings import READINGS, Reading, is_read, is_reviewed_by
from web.lists.shortlist import find_named, find_reviewed

Condition = Callable[[Any, Any, User], ColumnElement[bool]]
"""Returns a filter as SQL, from its value, anything with the columns of `screenings`, and the viewer."""

MOST_SHOWN: Final = 100
"""The most characters of an argument that an error repeats."""
JOBS_OFFERED: Final = 100
"""Jobs offered by a form; the page of an older one links to the list of its images."""


class Order(StrEnum):
    """The order of images."""

    NEWEST = "newest"
    SUSPICIOUS = "suspicious"
    UNREAD = "unread"
    """The latest screening of each image: unread ones first, then all others, each by falling suspicion."""

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Parse an order from a query string, by default NEWEST; raise FilterError where it is invalid."""
        given = args.get("order") or cls.NEWEST.value
        if given not in list(cls):
            raise FilterError("order", f"{kinds.ask_for(list(cls))} {received(given)}")
        return cls(given)


@dataclass(frozen=True)
class Filter:
    """The declaration of a filter."""

    label: str
    """Its name on pages, to be translated."""
    help: str
    """Its meaning, for the API's document and, translated, the help page."""
    kind: Kind
    columns: tuple[str, ...] = ()
    """The columns of `screenings` that `condition` reads."""
    condition: Condition | None = None
    """None where `web.lists.conditions` makes one of several filters, or an index of its own tells what is meant."""
    range_end: str | None = None
    """The filter for the end of the range that starts with this one."""
    needs_result: bool = False
    """Whether it implies a prediction."""
    is_private: bool = False
    """Whether its value may name a patient and is kept out of logs and audit trail."""
    is_wide: bool = False
    """Whether its field in a form takes two columns."""
    find_candidates: Callable[[Session, Any, User], list[uuid.UUID] | None] | None = None
    """Returns the ids of all that it can mean, by an index that is in no list's order; None where those are not few."""


def _name_models(db: Session) -> list[str]:
    """List the models that have screened here, each exact set of weights by version."""
    rows = db.execute(select(Model.name, Model.sha256).order_by(Model.created_at.desc()))
    return [version_of(name, sha256) for name, sha256 in rows]


def _name_job(db: Session, job_id: uuid.UUID, viewer: User) -> str:
    """Return the name of a job that the viewer may see, else its id."""
    return db.scalar(select(Job.name).where(Job.id == job_id, may_see(viewer))) or str(job_id)


def _recent_jobs(db: Session, viewer: User) -> list[tuple[uuid.UUID, str]]:
    """List the newest jobs that the viewer may see; their time distinguishes equal names."""
    query = select(Job.id, Job.name, Job.created_at).where(may_see(viewer)).order_by(Job.id.desc())
    zone, locale = current_zone(), get_locale()
    jobs = db.execute(query.limit(JOBS_OFFERED))
    return [(key, f"{name} · {write_moment(at, zone, locale)}") for key, name, at in jobs]


_READING: Final = kinds.one_of(Reading, READINGS.__getitem__)
_SUSPICION: Final = kinds.suspicion()
_LABEL: Final = kinds.one_of(Label, lambda label: words.LABELS[label].name)
_STATE: Final = kinds.one_of(State, lambda state: words.STATES[state].name)
_CONFIDENCE: Final = kinds.share()
_FILE_NAME: Final = kinds.text(N_("Give a part of a file name."))
_MODEL: Final = kinds.text(N_("Give the name of a model."), "choice", _name_models)
_JOB: Final = kinds.identifier(N_("Give the id of a job."), _name_job, _recent_jobs)


@dataclass(frozen=True)
class Filters:
    """Filter a list of images; None does not filter. A field's name is that of its argument."""

    text: Annotated[
        str | None,
        Filter(
            N_("File name contains"),
            N_("Part of the file name; capitals do not matter."),
            _FILE_NAME,
            columns=("file_name",),
            condition=lambda part, screening, _viewer: screening.file_name.icontains(part, autoescape=True),
            is_private=True,
            is_wide=True,
            find_candidates=lambda db, part, _viewer: find_named(db, part),
        ),
    ] = None
    review: Annotated[
        Reading | None,
        Filter(
            N_("Reading"),
            N_("What readers have said of the X-ray; `outside` are those refused as unsuitable for the model."),
            _READING,
            columns=("review_state", "image_id", "state", "error_code", "is_latest"),
            condition=is_read,
            find_candidates=lambda db, reading, viewer: (
                find_reviewed(db, User.id == viewer.id) if reading is Reading.MINE else None
            ),
        ),
    ] = None
    label: Annotated[Label | None, Filter(N_("Label"), N_("Label shown."), _LABEL, needs_result=True)] = None
    min_suspicion: Annotated[
        float | None,
        Filter(
            N_("Suspicion from"),
            N_("Least suspicion, 0 to 100."),
            _SUSPICION,
            columns=("p_pneumonia",),
            condition=lambda least, screening, _viewer: screening.p_pneumonia >= least / 100,
            range_end="max_suspicion",
            needs_result=True,
        ),
    ] = None
    max_suspicion: Annotated[
        float | None,
        Filter(
            N_("Suspicion to"),
            N_("Most suspicion, 0 to 100."),
            _SUSPICION,
            columns=("p_pneumonia",),
            condition=lambda most, screening, _viewer: screening.p_pneumonia <= most / 100,
            needs_result=True,
        ),
    ] = None
    state: Annotated[
        State | None,
        Filter(
            N_("State"),
            N_("State of the screening."),
            _STATE,
            columns=("state",),
            condition=lambda state, screening, _viewer: screening.state == state,
        ),
    ] = None
    min_confidence: Annotated[
        float | None,
        Filter(
            N_("Confidence from"), N_("Least confidence."), _CONFIDENCE, range_end="max_confidence", needs_result=True
        ),
    ] = None
    max_confidence: Annotated[
        float | None, Filter(N_("Confidence to"), N_("Most confidence."), _CONFIDENCE, needs_result=True)
    ] = None
    since: Annotated[
        date | None,
        Filter(
            N_("Sent from"),
            N_("First day: on pages in the account's time zone, for programs in UTC."),
            kinds.DAY,
            range_end="until",
        ),
    ] = None
    until: Annotated[
        date | None,
        Filter(
            N_("Sent to"),
            N_("Last day, counted whole: on pages in the account's time zone, for programs in UTC."),
            kinds.DAY,
        ),
    ] = None
    model: Annotated[
        str | None,
        Filter(N_("Model"), N_("Name of a model, or name@start-of-sha256."), _MODEL, needs_result=True, is_wide=True),
    ] = None
    reviewed_by: Annotated[
        str | None,
        Filter(
            N_("Reviewed by"),
            N_("Name of an account whose review of the X-ray stands."),
            kinds.text(N_("Give the name of an account.")),
            columns=("image_id",),
            condition=is_reviewed_by,
            find_candidates=lambda db, name, _viewer: find_reviewed(db, User.name == name),
        ),
    ] = None
    job: Annotated[
        uuid.UUID | None,
        Filter(
            N_("Job"),
            N_("Id of a job."),
            _JOB,
            is_wide=True,
            columns=("job_id",),
            condition=lambda job, screening, _viewer: screening.job_id == job,
        ),
    ] = None

    zone: tzinfo = UTC
    """The time zone of days."""

    @classmethod
    def from_args(cls, args: Mapping[str, str], zone: tzinfo = UTC) -> Self:
        """Parse filters from a query string; an empty value means none. Raises FilterError."""
        given = {name: value.strip() for name, value in args.items() if name in FILTERS and value.strip()}
        filters = cls(**{name: _read(name, value) for name, value in given.items()}, zone=zone)
        for name, start in FILTERS.items():
            if start.range_end is not None:
                _check_range(name, getattr(filters, name), getattr(filters, start.range_end))
        return filters

    @property
    def given(self) -> dict[str, Any]:
        """Return the active filters with their values."""
        return {name: value for name in FILTERS if (value := getattr(self, name)) is not None}

    @property
    def has_days(self) -> bool:
        """Tell whether days are filtered."""
        return self.since is not None or self.until is not None

    @property
    def has_confidence(self) -> bool:
        """Tell whether confidence is filtered."""
        return self.min_confidence is not None or self.max_confidence is not None

    @property
    def bounds_p(self) -> bool:
        """Tell whether p(pneumonia) is limited to a range."""
        return self.has_confidence or self.min_suspicion is not None or self.max_suspicion is not None

    @property
    def needs_result(self) -> bool:
        """Tell whether only images with a prediction can match."""
        return self.state is State.DONE or any(FILTERS[name].needs_result for name in self.given)

    def to_args(self) -> dict[str, str]:
        """Return the filters as query arguments."""
        return {name: _write(value) for name, value in self.given.items()}


FILTERS: Final[dict[str, Filter]] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Filters, include_extras=True).items()
    if hasattr(hint, "__metadata__")
}


def _read(name: str, value: str) -> Any:
    kind = FILTERS[name].kind
    try:
        return kind.read(value)
    except ValueError as error:
        raise FilterError(name, f"{kind.ask()} {received(value)}") from error


def received(value: str) -> str:
    """Return the beginning of an invalid argument, for its error."""
    return _("Received: '%(value)s'.", value=value[:MOST_SHOWN])


def _check_range(name: str, start: Any, end: Any) -> None:
    """Refuse a range whose start is after its end: it would match nothing, as if there were no images."""
    if start is not None and end is not None and start > end:
        said = _("Give a start that is not after the end of the range, %(end)s.", end=_write(end))
        raise FilterError(name, f"{said} {received(_write(start))}")


def _write(value: Any) -> str:
    """Write a value as in a URL: whole numbers without decimals."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)
