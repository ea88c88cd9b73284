"""The texts for events, states and problems of messages on pages."""

from typing import Final

from shared.messages.problems import PAUSED, RESTORED, Problem
from shared.tables import MessageEvent, MessageState
from web.languages.text import N_, NC_, translate

EVENTS: Final[dict[MessageEvent, str]] = {
    MessageEvent.JOB_FINISHED: N_("Job finished"),
    MessageEvent.IMAGE_FLAGGED: N_("X-ray flagged"),
    MessageEvent.TEST: N_("Test"),
}

STATES: Final[dict[MessageState, tuple[str, str]]] = {
    MessageState.WAITING: ("QUEUED", N_("Waiting")),
    MessageState.SENT: ("DONE", NC_("a message", "Sent")),
    MessageState.FAILED: ("FAILED", N_("Given up")),
}
"""The icon and colour of an image's state that looks the same, and the text."""

PROBLEMS: Final[dict[str, str]] = {
    Problem.ADDRESS_REFUSED: N_("The host name resolves to an address that may not be called, or only over https."),
    Problem.NAME_UNKNOWN: N_("The name could not be looked up."),
    Problem.NO_CONNECTION: N_("No connection could be made."),
    Problem.CERTIFICATE: N_("The certificate is not valid for this name."),
    Problem.NO_ANSWER: N_("No answer came in time."),
    Problem.REDIRECT: N_("The answer was a redirect, which is not followed."),
    Problem.ANSWER: N_("The receiver answered with an error."),
    Problem.GONE: N_("The receiver said that the address is gone (410)."),
    Problem.DEFERRED: N_("The mail server refused it for now."),
    Problem.UNCONFIRMED: N_("The mail server did not confirm it; it may have arrived."),
    Problem.REFUSED: N_("The mail server refused it for good."),
    Problem.SENDER_REFUSED: N_("The mail server refused the sender's address (PNEUMOSCREEN_SMTP_FROM)."),
    Problem.LOGIN_REFUSED: N_("The mail server refused the user or the password."),
    Problem.NO_TLS: N_("No encrypted connection to the mail server could be made."),
    Problem.NO_RELAY: N_("The sweep does not have PNEUMOSCREEN_SMTP_HOST, so it sends no e-mails."),
    Problem.NO_ADDRESS: N_("The account has no e-mail address that can be written to."),
    Problem.DISABLED: N_("The account is disabled."),
    Problem.NOT_WANTED: N_("The account no longer wants it, or has another role."),
    Problem.READS_BLIND: N_("Blind second reading is on, so readers are not told what is flagged."),
    Problem.JOB_DELETED: N_("Every job that it tells of was deleted."),
    Problem.NOT_WRITTEN: N_("It could not be written. The log of the sweep says why."),
    Problem.BROKE_OFF: N_("Sending it broke off. The log of the sweep says why."),
    Problem.NO_KEY: N_("The sweep does not have PNEUMOSCREEN_SECRET_KEY, so it cannot sign."),
    RESTORED: N_("A backup was restored."),
    PAUSED: N_("An administrator paused it."),
}


def say_problem(code: str | None) -> str:
    """Say what went wrong; a code from another version is shown as it is."""
    return translate(PROBLEMS.get(code, code)) if code else ""
