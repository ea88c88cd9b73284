"""Read the JSON object in a request's body."""

import json
from typing import Any, Final, NoReturn

from flask import abort, request

_SHOWN: Final = 64


def read_object() -> dict[str, Any]:
    """Return the JSON object in this request's body; answer 415 or 400 where there is none."""
    if request.mimetype != "application/json":
        abort(415, f"Send application/json. Received: '{request.mimetype}'.")
    try:
        body = json.loads(request.get_data(), object_pairs_hook=_read_pairs, parse_constant=_refuse_constant)
    except RecursionError:
        abort(400, "The JSON has more brackets inside each other than any request needs.")
    except ValueError as error:
        abort(400, f"Send a JSON object. What came is no JSON: {error}.")
    if not isinstance(body, dict):
        abort(400, "Send a JSON object.")
    return body


def _refuse_constant(name: str) -> NoReturn:
    """Refuse NaN, Infinity and -Infinity, which json accepts although they are no JSON (RFC 8259, section 6)."""
    raise ValueError(f"{name} is no number of JSON")


def _read_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a repeated name, for which json would keep the last value."""
    members: dict[str, Any] = {}
    for name, value in pairs:
        if name in members:
            abort(400, f"Give each member of an object once. Received more than once: '{name[:_SHOWN]}'.")
        members[name] = value
    return members
