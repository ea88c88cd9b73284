"""Why a message did not arrive, as codes; the words are those of the pages (`web.messages`)."""

from enum import StrEnum


class Problem(StrEnum):
    """What kept a message from being taken."""

    ADDRESS_REFUSED = "address_refused"
    NAME_UNKNOWN = "name_unknown"
    NO_CONNECTION = "no_connection"
    CERTIFICATE = "certificate"
    NO_ANSWER = "no_answer"
    REDIRECT = "redirect"
    ANSWER = "answer"
    GONE = "gone"
    NO_KEY = "no_key"


PAUSED = "paused"
"""Why a webhook is stopped where a person did it."""
RESTORED = "restored"
"""Why it is where a backup was restored."""
