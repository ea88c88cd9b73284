"""A mail server on loopback: a real one (aiosmtpd) that keeps what it gets and answers as it is told."""

import asyncio
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage

# ruff: noqa: ARG002, N802  # the handler is called by these names, with all of these
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass(frozen=True)
class Mail:
    """One e-mail that was taken."""

    sender: str
    recipients: list[str]
    data: bytes

    @property
    def parsed(self) -> EmailMessage:
        return message_from_bytes(self.data, policy=policy.default)

    @property
    def text(self) -> str:
        return self.parsed.get_content().replace("\r\n", "\n")


@dataclass
class MailServer:
    """What came in, and how to answer."""

    port: int
    mails: list[Mail] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    """Answers to each recipient in turn, such as `451 Later`; taken where there is none left."""
    contents: list[str] = field(default_factory=list)
    """The same to each e-mail itself."""
    senders: list[str] = field(default_factory=list)
    """The same to each sender."""
    after_one: str | None = None
    """The same to each sender after the first of a connection."""
    password: bytes = b"a password for tests"
    connections: int = 0
    encrypted: list[bool] = field(default_factory=list)
    """Of each e-mail, whether it came by TLS."""
    names: list[str] = field(default_factory=list)
    """How the other side greeted."""
    hangs: bool = False
    """Take an e-mail and never answer."""
    heard: int = 0
    """Contents that came in whole, whatever became of them."""


class _Handler:
    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._senders = 0  # each connection has a handler of its own

    async def handle_EHLO(
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        self._server.names.append(hostname)
        return responses

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self._senders += 1
        if self._senders > 1 and self._server.after_one is not None:
            return self._server.after_one
        if self._server.senders:
            return self._server.senders.pop(0)
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._server.recipients:
            answer = self._server.recipients.pop(0)
            if answer.startswith("2"):
                envelope.rcpt_tos.append(address)
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self._server.heard += 1
        if self._server.hangs:
            await asyncio.Event().wait()
        if self._server.contents:
            return self._server.contents.pop(0)
        assert isinstance(envelope.content, bytes)
        self._server.mails.append(Mail(str(envelope.mail_from), list(envelope.rcpt_tos), envelope.content))
        self._server.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        return "250 OK"


@contextmanager
def mail_server(
    starttls: ssl.SSLContext | None = None, implicit: ssl.SSLContext | None = None, *, wants_login: bool = False
) -> Iterator[MailServer]:
    """Run a mail server; it offers STARTTLS, or speaks TLS from the start, where a context is given."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        kept = MailServer(listening.getsockname()[1])
        loop = asyncio.new_event_loop()

        def check(*given_with: object) -> AuthResult:
            given = given_with[-1]
            assert isinstance(given, LoginPassword)
            return AuthResult(handled=False, success=given.login == b"pneumo" and given.password == kept.password)

        def answer() -> SMTP:
            kept.connections += 1
            return SMTP(
                _Handler(kept),
                loop=loop,
                hostname="mail.example.org",
                tls_context=starttls,
                authenticator=check if wants_login else None,
                auth_required=wants_login,
                auth_require_tls=starttls is not None,
            )

        async def serve(stop: asyncio.Event) -> None:
            server = await loop.create_server(answer, sock=listening, ssl=implicit)
            async with server:
                await stop.wait()
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()

        stop = asyncio.Event()
        thread = threading.Thread(target=loop.run_until_complete, args=[serve(stop)])
        thread.start()
        try:
            yield kept
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()
