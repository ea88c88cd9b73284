"""The JSON object in a request's body."""

from typing import Any

from flask import abort, request


def read_object() -> dict[str, Any]:
    """Return the JSON object that this request brought; answer 415 or 400 where it brought none."""
    if request.mimetype != "application/json":
        abort(415, f"Send application/json. Received: '{request.mimetype}'.")
    try:
        body = request.get_json()
    except RecursionError:
        abort(400, "The JSON has more brackets inside each other than any request needs.")
    if not isinstance(body, dict):
        abort(400, "Send a JSON object.")
    return body
