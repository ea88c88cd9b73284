"""Send e-mails over SMTP: encrypted as the settings say, authenticated, and within a time limit.

The protocol is Python's own smtplib; none of it is implemented here.
"""

import ipaddress
import os
import smtplib
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from email.message import EmailMessage
from typing import Any, Final
from urllib.parse import urlsplit

from shared.errors import PneumoScreenError
from shared.messages.outbox import Outcome
from shared.messages.problems import Problem
from shared.settings import Settings
from worker.messages.lookups import AddressInfo, look_up

EMAIL_STEPS: Final = 2
"""An e-mail may take PNEUMOSCREEN_SMTP_SECONDS to connect and as long again to be sent."""
_READY: Final = 220
_TAKEN: Final = 250
_CLOSING: Final = 421
_SHORTEST_WAIT: Final = 0.01
_BROKEN_OFF: Final = (
    smtplib.SMTPException, TimeoutError, ConnectionResetError, ssl.SSLEOFError, ssl.SSLZeroReturnError,
)  # fmt: skip
_NOT_TAKEN: Final = range(400, 600)
_PERMANENT: Final = 500
"""Replies from this code on are permanent failures (RFC 5321, section 4.2.1)."""


class RelayAway(PneumoScreenError):
    """Say why the mail server accepts nothing at all now, with its reply code where it gave one."""

    def __init__(self, problem: Problem, text: str, answer: int | None = None) -> None:
        super().__init__(text)
        self.problem, self.answer = problem, answer


class _Connection(smtplib.SMTP):
    """Python's `SMTP`, but it accepts every 2xx reply and knows whether an e-mail may have been delivered."""

    may_have_arrived = False
    """The whole content was sent, and no reply to it was received."""

    def __init__(self, sock: socket.socket, settings: Settings) -> None:
        # No host: smtplib would connect and wait for the greeting here, with a new timeout for each piece of it.
        super().__init__(local_hostname=_own_name(settings), timeout=settings.smtp_seconds)
        self._host = str(settings.smtp_host)  # the name that `starttls` checks the certificate against
        self.sock = sock
        self.file = None

    def encrypt(self, sock: socket.socket) -> None:
        """Speak TLS from the start."""
        self.sock = ssl.create_default_context().wrap_socket(sock, server_hostname=self._host)

    def greet(self) -> None:
        """Wait for the server's greeting."""
        code, said = self.getreply()
        if code != _READY:
            raise smtplib.SMTPConnectError(code, said)

    def send(self, s: Any) -> None:
        self.may_have_arrived = False
        super().send(s)
        self.may_have_arrived = isinstance(s, bytes) and s.endswith(b"\r\n.\r\n")

    def rcpt(self, recip: str, options: Sequence[str] = ()) -> tuple[int, bytes]:
        code, said = super().rcpt(recip, options)
        return (_TAKEN if _is_positive(code) else code), said

    def data(self, msg: Any) -> tuple[int, bytes]:
        code, said = super().data(msg)
        if not _is_positive(code) and code not in _NOT_TAKEN:
            raise smtplib.SMTPServerDisconnected("The reply to the content is none.")
        self.may_have_arrived = False
        return (_TAKEN if _is_positive(code) else code), said


def _is_positive(code: int) -> bool:
    """Tell whether a reply is a success: any 2xx code, as servers differ (RFC 5321, section 4.2.1)."""
    return code // 100 == _TAKEN // 100


def _is_of_connection(outcome: Outcome) -> bool:
    """Tell whether an e-mail that failed on a reused connection may succeed on a new one."""
    has_ended = outcome.answer == _CLOSING or (outcome.problem is Problem.DEFERRED and outcome.answer is None)
    return has_ended or outcome.problem is Problem.SENDER_REFUSED


class Relay:
    """Send e-mails one after the other over one connection, opened for the first of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection: _Connection | None = None

    def send(self, email: EmailMessage) -> Outcome:
        """Send an e-mail to its one recipient and return the outcome; failures of the server raise nothing.

        It takes EMAIL_STEPS times PNEUMOSCREEN_SMTP_SECONDS at most.
        """
        deadline = time.monotonic() + EMAIL_STEPS * self._settings.smtp_seconds
        has_carried = self._connection is not None
        outcome = self._try(email, deadline)
        if has_carried and _is_of_connection(outcome):  # many servers accept only a few e-mails per connection
            self.close()
            outcome = self._try(email, deadline)
        return outcome

    def _try(self, email: EmailMessage, deadline: float) -> Outcome:
        try:
            connection = self._connection = self._connection or connect(self._settings)
        except RelayAway as away:
            return Outcome(away.answer, away.problem)
        try:
            with _within(connection, min(self._settings.smtp_seconds, deadline - time.monotonic())):
                connection.send_message(email)
        except smtplib.SMTPRecipientsRefused as refusal:
            ((code, _),) = refusal.recipients.values()
            return self._refused(code)
        except smtplib.SMTPSenderRefused as refusal:
            self.close()
            return Outcome(refusal.smtp_code, Problem.SENDER_REFUSED)
        except smtplib.SMTPDataError as refusal:
            return self._refused(refusal.smtp_code)
        except (smtplib.SMTPException, OSError):
            self.close()  # fails this e-mail alone: one that a server rejects must not block the others
            return Outcome(problem=Problem.UNCONFIRMED if connection.may_have_arrived else Problem.DEFERRED)
        return Outcome(_TAKEN)

    def _refused(self, code: int) -> Outcome:
        self.close()  # a new connection clears whatever else the server objects to
        return Outcome(code, Problem.REFUSED if code >= _PERMANENT else Problem.DEFERRED)

    def close(self) -> None:
        """End the connection where there is one."""
        if self._connection is not None:
            _end(self._connection, self._settings.smtp_seconds)
            self._connection = None


def connect(settings: Settings) -> _Connection:
    """Connect, greet, encrypt and sign in within PNEUMOSCREEN_SMTP_SECONDS; raise RelayAway where a step fails.

    Certificates are checked against those of the system, or the file that SSL_CERT_FILE names.
    """
    deadline = time.monotonic() + settings.smtp_seconds
    try:
        sock = _reach(settings, deadline)
    except (OSError, ValueError) as error:
        raise _away(settings, error) from error
    connection = _Connection(sock, settings)
    try:
        with _within(connection, deadline - time.monotonic()):
            if settings.smtp_tls == "implicit":
                connection.encrypt(sock)
            connection.greet()
            _encrypt(connection, settings)
            _sign_in(connection, settings)
    except RelayAway:
        connection.close()
        raise
    except (smtplib.SMTPException, OSError) as error:
        connection.close()
        raise _away(settings, error) from error
    return connection


def _look_up(settings: Settings, deadline: float) -> list[AddressInfo]:
    try:
        return look_up(str(settings.smtp_host), settings.mail_port).result(deadline - time.monotonic())
    except TimeoutError as error:
        raise socket.gaierror("The name was not looked up in time.") from error


def _reach(settings: Settings, deadline: float) -> socket.socket:
    """Connect to the first of the server's addresses that answers; untried addresses share the remaining time."""
    addresses = _look_up(settings, deadline)
    for left in range(len(addresses), 0, -1):
        family, kind, protocol, _, address = addresses[-left]
        sock = socket.socket(family, kind, protocol)
        try:
            sock.settimeout(max((deadline - time.monotonic()) / left, _SHORTEST_WAIT))
            sock.connect(address)
        except OSError:
            sock.close()
            if left == 1:
                raise
        else:
            sock.settimeout(settings.smtp_seconds)
            return sock
    raise socket.gaierror("No address.")


def _away(settings: Settings, error: Exception) -> RelayAway:
    """Translate a connection error into RelayAway."""
    place = f"{settings.smtp_host}:{settings.mail_port}"
    if isinstance(error, smtplib.SMTPResponseException):
        return RelayAway(Problem.NO_ANSWER, f"{place} answered {error.smtp_code}.", error.smtp_code)
    if isinstance(error, ssl.SSLCertVerificationError):
        return RelayAway(Problem.CERTIFICATE, f"The certificate of {place} is not valid: {error.verify_message}.")
    if isinstance(error, _BROKEN_OFF):
        return RelayAway(Problem.NO_ANSWER, f"{place} did not answer in time, or broke off.")
    if isinstance(error, ssl.SSLError):
        return RelayAway(Problem.NO_TLS, f"{place} does not speak TLS as expected: {error.reason}.")
    if isinstance(error, (socket.gaierror, ValueError)):
        return RelayAway(Problem.NAME_UNKNOWN, f"The name {settings.smtp_host} could not be looked up.")
    return RelayAway(Problem.NO_CONNECTION, f"No connection to {place} could be made: {error}.")


def _encrypt(connection: smtplib.SMTP, settings: Settings) -> None:
    connection.ehlo_or_helo_if_needed()
    if settings.smtp_tls != "starttls":
        return
    place = f"{settings.smtp_host}:{settings.mail_port}"
    if not connection.has_extn("starttls"):
        raise RelayAway(Problem.NO_TLS, f"{place} offers no STARTTLS.")
    try:
        connection.starttls(context=ssl.create_default_context())
    except smtplib.SMTPResponseException as refusal:
        raise RelayAway(Problem.NO_TLS, f"{place} refused STARTTLS.", refusal.smtp_code) from refusal
    connection.ehlo()


def _sign_in(connection: smtplib.SMTP, settings: Settings) -> None:
    if settings.smtp_user is None or settings.smtp_password is None:
        return
    place = f"{settings.smtp_host}:{settings.mail_port}"
    try:
        connection.login(settings.smtp_user, settings.smtp_password.get_secret_value())
    except smtplib.SMTPNotSupportedError as error:
        raise RelayAway(Problem.LOGIN_REFUSED, f"{place} lets nobody sign in.") from error
    except UnicodeEncodeError:  # its text would repeat a character of the password
        raise RelayAway(Problem.LOGIN_REFUSED, f"smtplib signs in at {place} with ASCII alone.") from None
    except smtplib.SMTPAuthenticationError as refusal:
        said = f"{place} refused the user or the password."
        raise RelayAway(Problem.LOGIN_REFUSED, said, refusal.smtp_code) from None  # its text may repeat what was sent


def _own_name(settings: Settings) -> str:
    """Return the host name to give in the greeting: that of the web pages (RFC 5321, section 4.1.3)."""
    name = urlsplit(settings.public_url or "").hostname or "localhost"
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    return f"[IPv6:{address}]" if address.version == 6 else f"[{address}]"


@contextmanager
def _within(connection: smtplib.SMTP, seconds: float) -> Iterator[None]:
    """Abort a connection after a total time limit: smtplib's own timeout restarts with each piece received."""
    # Shut down a copy of the handle: a read in progress then sees the end of the stream, encrypted or not.
    sock = connection.sock
    if sock is None:
        raise smtplib.SMTPServerDisconnected("The connection is closed.")
    with socket.socket(fileno=os.dup(sock.fileno())) as handle:
        timer = threading.Timer(seconds, _cut, [handle])
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _cut(handle: socket.socket) -> None:
    with suppress(OSError):  # the other side closed first
        handle.shutdown(socket.SHUT_RDWR)


def _end(connection: smtplib.SMTP, seconds: float) -> None:
    """Send QUIT, unless that takes long."""
    try:
        with _within(connection, min(seconds, 1.0)):
            connection.quit()
    except (smtplib.SMTPException, OSError):  # it has ended already
        connection.close()
