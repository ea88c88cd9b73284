"""Typed template contexts: dataclasses that mypy checks and a test compares with the templates."""

from dataclasses import dataclass, fields
from typing import ClassVar

from flask import render_template


@dataclass(frozen=True)
class PageContext:
    """The context of one template, besides that of every page (`web.frame` and context processors)."""

    template: ClassVar[str]
    """Its path below `web/templates`."""


def render(context: PageContext) -> str:
    """Render the template of a context."""
    return render_template(context.template, **{field.name: getattr(context, field.name) for field in fields(context)})
