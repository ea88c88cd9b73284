"""Check the query arguments of API requests: only those in the OpenAPI document, each at most once.

A misspelt filter would otherwise have no effect, and a list or an export contain everything; an option of a new job in
the query instead of the body would be ignored.
"""

import re
from typing import Final

from flask import Flask, request

from web.api.openapi import OPERATIONS
from web.base.problems import InvalidRequest
from web.lists.filters import MOST_SHOWN

_KNOWN: Final = {(o.method, o.root + o.path): tuple(o.query or {}) for o in OPERATIONS if o.takes_named_arguments_only}


def install(app: Flask) -> None:
    """Refuse unknown and repeated arguments, after authentication."""
    app.before_request(_check)


def _check() -> None:
    if request.url_rule is None:
        return
    method = "get" if request.method == "HEAD" else request.method.lower()
    known = _KNOWN.get((method, re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", request.url_rule.rule)))
    if known is None:
        return
    for name, values in request.args.lists():
        if name not in known:
            raise InvalidRequest(name[:MOST_SHOWN], _say_unknown(name, known))
        if len(values) > 1:
            received = "', '".join(values)[:MOST_SHOWN]
            raise InvalidRequest(name, f"Give it once. Received: '{received}'.")


def _say_unknown(name: str, known: tuple[str, ...]) -> str:
    choices = f"Give one of {', '.join(known)}." if known else "This takes none."
    return f"There is no argument '{name[:MOST_SHOWN]}' here. {choices}"
