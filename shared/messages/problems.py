"""Codes for why a message was not delivered; the texts are on the pages (`web.messages`)."""

from enum import StrEnum
from typing import Final


class Problem(StrEnum):
    """The reason why a message was not delivered."""

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
    """Any unforeseen error."""
    JOB_DELETED = "job_deleted"

    # Only for e-mails.
    DEFERRED = "deferred"
    UNCONFIRMED = "unconfirmed"
    """The connection was lost after the content was sent; the mail server may have delivered it."""
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
"""Problems with which the mail server accepts no e-mail at all, so that all wait."""
FOR_GOOD: Final = frozenset(
    {
        Problem.REFUSED, Problem.NO_RELAY, Problem.NO_ADDRESS, Problem.DISABLED, Problem.NOT_WANTED,
        Problem.READS_BLIND, Problem.JOB_DELETED,
    }
)  # fmt: skip
"""Permanent problems, for which an e-mail is not retried."""


PAUSED = "paused"
"""Why a webhook is stopped: a person did it."""
RESTORED = "restored"
"""Why a webhook is stopped, or a waiting e-mail not sent, after a backup was restored."""
