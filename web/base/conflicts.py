"""Retry requests whose transaction conflicted with another (deadlock), in this one place."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from flask import Flask

from shared.db import repeat_conflicts

View = Callable[..., Any]


def install(app: Flask) -> None:
    """Retry every view whose transaction conflicts with another.

    A view that streams its body cannot be retried: `shared.submission.submit` retries its transaction alone.
    """
    for endpoint, view in app.view_functions.items():
        if not getattr(view, "streams_body", False):
            app.view_functions[endpoint] = _repeated(view)


def _repeated(view: View) -> View:
    @wraps(view)
    def answer(**arguments: Any) -> Any:
        return repeat_conflicts(lambda: view(**arguments))

    return answer
