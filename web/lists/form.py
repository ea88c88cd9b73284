"""Show filters as a form, and describe a page's active filters."""

from dataclasses import dataclass
from typing import Final

from markupsafe import Markup
from sqlalchemy.orm import Session

from shared.tables import User
from web.base.paging import FilterError
from web.languages.text import N_, _, translate
from web.lists import kinds
from web.lists.filters import FILTERS, Filters
from web.lists.kinds import Choice

_NAMES: Final = {"order": N_("Order"), "cursor": N_("Page")}


@dataclass(frozen=True)
class FormField:
    """A form field of a filter."""

    name: str
    label: str
    field: kinds.Field
    value: str
    choices: list[Choice]
    has_names: bool
    """Whether the choices are names, which are not translated."""
    is_wide: bool


def form_fields(db: Session, filters: Filters, viewer: User) -> list[FormField]:
    """Return a form's fields, filled in; filters without a field are passed on if active."""
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
    """Describe each active filter: `Label: Flagged`."""
    return {
        name: kinds.fill_in(
            _("%(field)s: %(value)s"),
            field=_label(name, filters),
            value=FILTERS[name].kind.say(db, value, viewer),
        )
        for name, value in filters.given.items()
    }


def _label(name: str, filters: Filters) -> str:
    """Return a filter's name; for days with their time zone."""
    declared = FILTERS[name]
    label = translate(declared.label)
    if declared.kind is not kinds.DAY:
        return label
    return kinds.fill_in(_("%(field)s (%(zone)s)"), field=label, zone=kinds.mark_name(str(filters.zone)))


def name_field(name: str) -> str:
    """Return a page's name for an argument of a list's URL."""
    return translate(FILTERS[name].label if name in FILTERS else _NAMES.get(name, name))


def say_problem(error: FilterError) -> str:
    """Say on a page which argument of its URL is invalid, and why."""
    return _("%(field)s: %(value)s", field=name_field(error.field), value=error.message)
