"""Requests whose transaction lost against another are done once more, at this one place."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask

from shared.db import repeat_conflicts

View = Callable[..., Any]


def install(app: Flask) -> None:
    """Repeat what every view does where its transaction collides with another's.

    A view that streams its body cannot be repeated: `shared.submission.submit` repeats its transaction alone.
    """
    for endpoint, view in app.view_functions.items():
        if not getattr(view, "streams_body", False):
            app.view_functions[endpoint] = _repeated(view)


def _repeated(view: View) -> View:
    @wraps(view)
    def answer(**arguments: Any) -> Any:
        return repeat_conflicts(lambda: view(**arguments))

    return answer
