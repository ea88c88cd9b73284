"""Filters as a form shows them, and as pages say what a list is narrowed to."""

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
