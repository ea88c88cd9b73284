"""Why a message did not arrive, as codes; the words are those of the pages (`web.messages`)."""

from enum import StrEnum
from typing import Final


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
    BROKE_OFF = "broke_off"
    """Of what nobody foresaw."""
    JOB_DELETED = "job_deleted"

    # Of e-mails alone.
    DEFERRED = "deferred"
    UNCONFIRMED = "unconfirmed"
    """The connection broke off after the content was sent; the mail server may have delivered it."""
    REFUSED = "refused"
    SENDER_REFUSED = "sender_refused"
    LOGIN_REFUSED = "login_refused"
    NO_TLS = "no_tls"
    NO_RELAY = "no_relay"
    NO_ADDRESS = "no_address"
    DISABLED = "disabled"
    NOT_WANTED = "not_wanted"
    READS_BLIND = "reads_blind"
    NOT_WRITTEN = "not_written"


OF_THE_RELAY: Final = frozenset(
    {
        Problem.NAME_UNKNOWN, Problem.NO_CONNECTION, Problem.CERTIFICATE, Problem.NO_ANSWER, Problem.SENDER_REFUSED,
        Problem.LOGIN_REFUSED, Problem.NO_TLS,
    }
)  # fmt: skip
"""What keeps the mail server from taking any e-mail, so that all of them wait."""
FOR_GOOD: Final = frozenset(
    {
        Problem.REFUSED, Problem.NO_RELAY, Problem.NO_ADDRESS, Problem.DISABLED, Problem.NOT_WANTED,
        Problem.READS_BLIND, Problem.JOB_DELETED,
    }
)  # fmt: skip
"""What will keep an e-mail from being taken however often it is tried."""


PAUSED = "paused"
"""Why a webhook is stopped where a person did it."""
RESTORED = "restored"
"""Why it is where a backup was restored, and why an e-mail that waited then was not sent."""
