"""The filters of lists: each is declared once, and its form field, parsing, API argument and condition follow.

To add a filter, add a field to `Filters`, and nothing else anywhere. A condition on columns of `screenings` is tested
row by row along whichever index leads the list (`web.lists.planner`), so a new filter is right at once; an index of its
own is only for speed.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from datetime import time as clock
from enum import StrEnum
from functools import partial
from typing import Annotated, Any, Final, Self, get_type_hints

from flask_babel import get_locale
from markupsafe import Markup
from sqlalchemy import ColumnElement, String, and_, exists, literal, or_, select
from sqlalchemy.orm import Session, aliased

from shared.db import first_id
from shared.languages.formats import write_moment
from shared.models.spec import Label
from shared.refusals import OF_THE_GATE
from shared.states import State
from shared.tables import Image, Job, Model, Review, ReviewOutcome, ReviewState, User, in_states
from web.base.paging import FilterError
from web.base.zones import current_zone
from web.frame import words
from web.guard.access import may_see
from web.languages.text import N_, _, translate
from web.lists import kinds
from web.lists.kinds import Choice, Kind
from web.lists.shortlist import find_named, find_reviewed

Condition = Callable[[Any, Any, User], ColumnElement[bool]]
"""Writes a filter as SQL: from its value, anything that has the columns of `screenings`, and who looks at the list."""

CLOCK_SLACK: Final = timedelta(hours=1)
"""By how much the time in an image's id may differ from when it was sent, as where a clock is set between the two."""
_DAY: Final = timedelta(days=1)
MOST_SHOWN: Final = 100
"""Characters of an argument that an error repeats."""
_ROUNDING: Final = 1e-9
"""Wider than the error of 1 - (1 - p)."""
_VERSION_DIGITS: Final = 12  # of the sha256 in ModelSpec.version
JOBS_OFFERED: Final = 100
"""Jobs that a form lists; the page of an older one leads to the list of its images."""


class Order(StrEnum):
    """What comes first."""

    NEWEST = "newest"
    SUSPICIOUS = "suspicious"
    UNREAD = "unread"
    """Of each image the latest screening: unread ones first, the most suspicious of them first, then all others so."""

    @classmethod
    def from_args(cls, args: Mapping[str, str]) -> Self:
        """Read an order from a query string, NEWEST where it names none; raise FilterError where it names another."""
        given = args.get("order") or cls.NEWEST.value
        if given not in list(cls):
            raise FilterError("order", f"{kinds.ask_for(list(cls))} {received(given)}")
        return cls(given)


class Reading(StrEnum):
    """What readers have said of an image."""

    UNREAD = "unread"
    MINE = "mine"
    OTHERS = "others"
    DISAGREED = "disagreed"
    SECOND_READER = "second_reader"
    INADEQUATE = "inadequate"
    OUTSIDE = "outside"


READINGS: Final[dict[Reading, str]] = {
    Reading.UNREAD: N_("Unread"),
    Reading.MINE: N_("Read by me"),
    Reading.OTHERS: N_("Read by others, not by me"),
    Reading.DISAGREED: N_("Disagreed"),
    Reading.SECOND_READER: N_("Waiting for a second reader"),
    Reading.INADEQUATE: N_("Technically inadequate"),
    Reading.OUTSIDE: N_("Outside the intended use"),
}


@dataclass(frozen=True)
class Filter:
    """What is said once of a filter."""

    label: str
    """Its name on pages, which translate it."""
    help: str
    """What it means, for the API's document and the help page, which translates it."""
    kind: Kind
    columns: tuple[str, ...] = ()
    """The columns of `screenings` that `condition` reads."""
    condition: Condition | None = None
    """None where `tests` below makes one of several filters, or the planner leads to what is asked."""
    range_end: str | None = None
    """The filter that ends the range which this one begins."""
    needs_result: bool = False
    """Whether only what has a prediction can be meant."""
    is_private: bool = False
    """Whether its value may name a patient, so that no log and no audit trail holds it."""
    is_wide: bool = False
    """Whether its field in a form takes two columns."""
    leads: Callable[[Session, Any, User], list[uuid.UUID] | None] | None = None
    """Finds all that can be meant, by an index that is in no list's order; None where those are not few."""


def _name_models(db: Session) -> list[str]:
    """List the models that have screened here, each exact set of weights by its version."""
    rows = db.execute(select(Model.name, Model.sha256).order_by(Model.created_at.desc()))
    return [f"{name}@{sha256[:_VERSION_DIGITS]}" for name, sha256 in rows]


def _name_job(db: Session, job_id: uuid.UUID, viewer: User) -> str:
    """Return the name of a job that the viewer may see, else its id."""
    return db.scalar(select(Job.name).where(Job.id == job_id, may_see(viewer))) or str(job_id)


def _recent_jobs(db: Session, viewer: User) -> list[tuple[uuid.UUID, str]]:
    """List the newest jobs that the viewer may see; the time tells those of one name apart."""
    query = select(Job.id, Job.name, Job.created_at).where(may_see(viewer)).order_by(Job.id.desc())
    zone, locale = current_zone(), get_locale()
    jobs = db.execute(query.limit(JOBS_OFFERED))
    return [(key, f"{name} · {write_moment(at, zone, locale)}") for key, name, at in jobs]


def _is_reviewed(screening: Any, *by: ColumnElement[bool]) -> ColumnElement[bool]:
    """Match images of which the newest word of such a reader stands."""
    later = aliased(Review)
    is_superseded = exists().where(
        later.image_sha256 == Review.image_sha256, later.user_id == Review.user_id, later.number > Review.number
    )
    return exists(
        select(Review.id)
        .join(Image, Image.sha256 == Review.image_sha256)
        .where(
            Image.id == screening.image_id,
            *by,
            Review.outcome != ReviewOutcome.WITHDRAWN,
            ~is_superseded,
        )
    )


def is_outside(screening: Any) -> ColumnElement[bool]:
    """Match the latest screening of images that the gate refused; literals, or no partial index would be seen."""
    codes = [literal(code, String(), literal_execute=True) for code in sorted(OF_THE_GATE)]
    return and_(in_states([State.REJECTED], screening), screening.is_latest, screening.error_code.in_(codes))


def _is_reviewed_by(name: str, screening: Any, _viewer: User) -> ColumnElement[bool]:
    return _is_reviewed(screening, Review.user_id.in_(select(User.id).where(User.name == name)))


def _is_read(reading: Reading, screening: Any, viewer: User) -> ColumnElement[bool]:
    if reading is Reading.MINE:
        return _is_reviewed(screening, Review.user_id == viewer.id)
    if reading is Reading.OTHERS:
        own = Review.user_id == viewer.id
        return and_(_is_reviewed(screening, ~own), ~_is_reviewed(screening, own))
    if reading is Reading.OUTSIDE:
        return is_outside(screening)
    state: ColumnElement[bool] = screening.review_state == ReviewState(reading)
    return state


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
    """Narrow a list of images; what is None does not narrow. The name of a field is that of its argument."""

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
            leads=lambda db, part, _viewer: find_named(db, part),
        ),
    ] = None
    review: Annotated[
        Reading | None,
        Filter(
            N_("Reading"),
            N_("What readers have said of the X-ray; `outside` are those refused as unsuitable for the model."),
            _READING,
            columns=("review_state", "image_id", "state", "error_code", "is_latest"),
            condition=_is_read,
            leads=lambda db, reading, viewer: (
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
            condition=_is_reviewed_by,
            leads=lambda db, name, _viewer: find_reviewed(db, User.name == name),
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
    """In which days begin and end."""

    @classmethod
    def from_args(cls, args: Mapping[str, str], zone: tzinfo = UTC) -> Self:
        """Read filters from a query string; an empty value is none. Raises FilterError."""
        given = {name: value.strip() for name, value in args.items() if name in FILTERS and value.strip()}
        filters = cls(**{name: _read(name, value) for name, value in given.items()}, zone=zone)
        for name, start in FILTERS.items():
            if start.range_end is not None:
                _check_range(name, getattr(filters, name), getattr(filters, start.range_end))
        return filters

    @property
    def given(self) -> dict[str, Any]:
        """Return the filters that narrow, and their values."""
        return {name: value for name in FILTERS if (value := getattr(self, name)) is not None}

    @property
    def has_days(self) -> bool:
        """Tell whether days are named."""
        return self.since is not None or self.until is not None

    @property
    def has_confidence(self) -> bool:
        """Tell whether a range of confidence is named."""
        return self.min_confidence is not None or self.max_confidence is not None

    @property
    def bounds_p(self) -> bool:
        """Tell whether p(pneumonia) has to lie in a range."""
        return self.has_confidence or self.min_suspicion is not None or self.max_suspicion is not None

    @property
    def needs_result(self) -> bool:
        """Tell whether only an image with a prediction can be meant."""
        return self.state is State.DONE or any(FILTERS[name].needs_result for name in self.given)

    def to_args(self) -> dict[str, str]:
        """Write the filters as a query string's arguments."""
        return {name: _write(value) for name, value in self.given.items()}


_NAMES: Final = {"order": N_("Order"), "cursor": N_("Page")}
FILTERS: Final[dict[str, Filter]] = {
    name: hint.__metadata__[0]
    for name, hint in get_type_hints(Filters, include_extras=True).items()
    if hasattr(hint, "__metadata__")
}


@dataclass(frozen=True)
class FormField:
    """A filter as a form shows it."""

    name: str
    label: str
    field: kinds.Field
    value: str
    choices: list[Choice]
    has_names: bool
    """Whether the choices are names, which are not translated."""
    is_wide: bool


def form_fields(db: Session, filters: Filters, viewer: User) -> list[FormField]:
    """Return the fields of a form, filled in; what it does not ask for is carried on where it is given."""
    made = []
    for name, declared in FILTERS.items():
        kind, value = declared.kind, getattr(filters, name)
        if kind.field != "hidden" or value is not None:
            shown = "" if value is None else str(value)
            choices = list(kind.choices(db, value, viewer))
            made.append(
                FormField(name, _label(name, filters), kind.field, shown, choices, kind.is_name, declared.is_wide)
            )
    return made


def say_filters(db: Session, filters: Filters, viewer: User) -> dict[str, Markup]:
    """Say of each filter that narrows what it lets through: `Label: Flagged`."""
    return {
        name: kinds.fill_in(
            _("%(field)s: %(value)s"),
            field=_label(name, filters),
            value=FILTERS[name].kind.say(db, value, viewer),
        )
        for name, value in filters.given.items()
    }


def _label(name: str, filters: Filters) -> str:
    """Name a filter; days say in which zone they begin."""
    declared = FILTERS[name]
    label = translate(declared.label)
    if declared.kind is not kinds.DAY:
        return label
    return kinds.fill_in(_("%(field)s (%(zone)s)"), field=label, zone=kinds.mark_name(str(filters.zone)))


def name_field(name: str) -> str:
    """Return what a page calls a field of a list's address."""
    return translate(FILTERS[name].label if name in FILTERS else _NAMES.get(name, name))


def say_problem(error: FilterError) -> str:
    """Say on a page which field of its address cannot be used, and why."""
    return _("%(field)s: %(value)s", field=name_field(error.field), value=error.message)


def _read(name: str, value: str) -> Any:
    kind = FILTERS[name].kind
    try:
        return kind.read(value)
    except ValueError as error:
        raise FilterError(name, f"{kind.ask()} {received(value)}") from error


def received(value: str) -> str:
    """Repeat the beginning of an argument that cannot be used."""
    return _("Received: '%(value)s'.", value=value[:MOST_SHOWN])


def _check_range(name: str, start: Any, end: Any) -> None:
    """Refuse a range whose start is after its end: it would match nothing, as if there were nothing."""
    if start is not None and end is not None and start > end:
        said = _("Give a start that is not after the end of the range, %(end)s.", end=_write(end))
        raise FilterError(name, f"{said} {received(_write(start))}")


def _write(value: Any) -> str:
    """Write a value as an address has it: a number that is whole without decimals."""
    return str(value).removesuffix(".0") if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class Test:
    """What must hold of an image, as SQL over anything that has these columns of `screenings`."""

    name: str
    columns: tuple[str, ...]
    of: Callable[[Any], ColumnElement[bool]]

    @property
    def is_of_rows(self) -> bool:
        """Tell whether only the row can tell; days are told by ids, but for images at their very edge."""
        return self.name != "days"


def tests(filters: Filters, viewer: User, models: Sequence[uuid.UUID] | None) -> Iterator[Test]:
    """Write filters as tests, all but the label; `models` are the ids behind a model's name."""
    if filters.has_confidence:
        yield Test("confidence", ("label", "p_pneumonia"), partial(_is_confident, filters))
    if filters.has_days:
        yield Test("days", ("created_at",), partial(_is_of_days, filters))
        yield Test("ids of the days", ("id",), lambda screening: and_(*day_ids(filters, screening.id)))
    if models is not None:
        yield Test("model", ("model_id",), lambda screening: screening.model_id.in_(models))
    for name, value in filters.given.items():
        if condition := FILTERS[name].condition:
            yield Test(name, FILTERS[name].columns, lambda screening, c=condition, v=value: c(v, screening, viewer))  # type: ignore[misc]


def confidence(label: Label, p_pneumonia: Any) -> Any:
    """Write the confidence in a label as SQL; `ModelSpec.judge` gives the same, to the last bit."""
    return p_pneumonia if label is Label.PNEUMONIA else 1.0 - p_pneumonia


def p_range(filters: Filters, label: Label) -> tuple[float, float]:
    """Return the least and the largest p(pneumonia) that what is asked for can come from."""
    low, high = filters.min_confidence or 0.0, 1.0 if filters.max_confidence is None else filters.max_confidence
    if label is Label.NORMAL:
        low, high = 1.0 - high - _ROUNDING, 1.0 - low + _ROUNDING
    most = 100.0 if filters.max_suspicion is None else filters.max_suspicion
    return max(low, (filters.min_suspicion or 0.0) / 100), min(high, most / 100)


def _is_confident(filters: Filters, screening: Any) -> ColumnElement[bool]:
    return or_(
        *[
            and_(screening.label == label, *_in_range(filters, confidence(label, screening.p_pneumonia)))
            for label in Label
        ]
    )


def _in_range(filters: Filters, value: Any) -> Iterator[ColumnElement[bool]]:
    if filters.min_confidence is not None:
        yield value >= filters.min_confidence
    if filters.max_confidence is not None:
        yield value <= filters.max_confidence


def _is_of_days(filters: Filters, screening: Any) -> ColumnElement[bool]:
    since = [screening.created_at >= _start(filters.since, filters)] if filters.since is not None else []
    until = [screening.created_at < _start(filters.until + _DAY, filters)] if filters.until is not None else []
    return and_(*since, *until)


def day_ids(filters: Filters, key: Any) -> Iterator[ColumnElement[bool]]:
    """Bound ids to those of images that can be of the days asked for: an id begins with its time."""
    if filters.since is not None:
        yield key >= first_id(_start(filters.since, filters) - CLOCK_SLACK)
    if filters.until is not None:
        yield key < first_id(_start(filters.until + _DAY, filters) + CLOCK_SLACK)


def _start(day: date, filters: Filters) -> datetime:
    return datetime.combine(day, clock.min, filters.zone).astimezone(UTC)


def model_ids(session: Session, wanted: str | None) -> list[uuid.UUID]:
    """Find models by name, or by name@start-of-sha256; all of them where none is wanted."""
    found = select(Model.id).order_by(Model.id)
    if wanted is not None:
        name, _at, sha256 = wanted.partition("@")
        found = found.where(Model.name == name)
        if sha256:
            found = found.where(Model.sha256.startswith(sha256, autoescape=True))
    return list(session.scalars(found))
