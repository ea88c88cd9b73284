"""Pages by their templates: what a template is given is a dataclass that mypy checks and a test compares with it."""

from dataclasses import dataclass, fields
from typing import ClassVar

from flask import render_template


@dataclass(frozen=True)
class PageContext:
    """What one template is given, besides what every page has (`web.frame` and context processors)."""

    template: ClassVar[str]
    """Its path below `web/templates`."""


def render(context: PageContext) -> str:
    """Return the page of a context."""
    return render_template(context.template, **{field.name: getattr(context, field.name) for field in fields(context)})
