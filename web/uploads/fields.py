"""Read a request's job fields, from form or JSON, and its idempotency key."""

from collections.abc import Mapping
from typing import Final, TypeVar

from flask import request

from shared.intake.pseudonyms import conceal, conceal_key, describe_received
from shared.letters import make_shown
from shared.submission.admission import choose_priority
from shared.submission.model_choice import UnknownModel, check_model
from shared.submission.submit import NAME_LENGTH, Submission
from shared.tables import Priority, Source
from web.base.problems import InvalidRequest
from web.base.services import services
from web.languages.text import N_, _, say, translate

T = TypeVar("T")

_MODEL: Final = "model"
_SHOWN: Final = 64
_KEY_LENGTH: Final = 128
_YES_NO: Final = {"true": True, "false": False}
_PRIORITIES: Final = {"interactive": Priority.INTERACTIVE, "bulk": Priority.BULK}
# Sources that a client may declare; the others are set by this server itself.
_SOURCES: Final = {source.value: source for source in (Source.API, Source.CLI, Source.WEB)}


def read_submission(given: Mapping[str, object], source: Source) -> Submission:
    """Validate a sender's job fields, with `source` as default; raise InvalidRequest where one is invalid."""
    return Submission(
        name=_read_name(given.get("name")),
        expected_images=_read_count(given.get("expected_images")),
        priority=_choose("priority", given.get("priority"), _PRIORITIES, None),
        source=_choose("source", given.get("source"), _SOURCES, source),
        model=_read_model(given.get(_MODEL)),
    )


def read_skip_received(texts: Mapping[str, str]) -> bool:
    """Tell whether files that the job already holds are to be skipped; raise InvalidRequest for an invalid value."""
    return _choose("skip_received", texts.get("skip_received"), _YES_NO, False)


def priority_so_far(texts: Mapping[str, str], images: int) -> Priority:
    """Return the priority of a form by the texts and images received so far."""
    return choose_priority(services().settings, _PRIORITIES.get(texts.get("priority", "")), images)


def idempotency_key() -> str | None:
    """Return the idempotency key of this request."""
    key = request.headers.get("Idempotency-Key") or None
    if key is not None and (len(key) > _KEY_LENGTH or not key.isprintable()):
        said = _(
            "Give at most %(most)s printable characters. Received: %(length)s characters.",
            most=_KEY_LENGTH,
            length=len(key),
        )
        raise InvalidRequest("Idempotency-Key", said)
    return None if key is None else conceal_key(key, services().settings)


def _read_name(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise _unusable("name", N_("Give a text. Received: %(received)s."), value)
    shown = make_shown(value).strip()
    # Programs and the upload page name a job after its folder.
    return conceal(shown, services().settings)[:NAME_LENGTH] or None


def _read_count(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():  # in JSON Schema 3.0 is an integer
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise _unusable("expected_images", N_("Give a whole number, 0 or more. Received: %(received)s."), value)
    return value


def _read_model(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        received = repr(str(value)[:_SHOWN])
        raise InvalidRequest(_MODEL, _("Give the name of a model. Received: %(received)s.", received=received))
    try:
        check_model(services(), value)
    except UnknownModel as error:
        raise InvalidRequest(_MODEL, say(error)) from error
    return value


def _choose(name: str, value: object, choices: Mapping[str, T], default: T) -> T:
    if value is None or value == "":
        return default
    if not isinstance(value, str) or value not in choices:
        raise _unusable(name, N_("Give one of %(choices)s. Received: %(received)s."), value, choices=", ".join(choices))
    return choices[value]


def _unusable(name: str, message: str, value: object, **values: str) -> InvalidRequest:
    return InvalidRequest(name, translate(message, received=describe_received(value, services().settings), **values))
