"""Send the messages that are due, a few in parallel, until none is left; failed ones are retried later."""

import asyncio
import json
import logging
import math
import ssl
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from shared.db import Database, now
from shared.languages.catalogs import TRANSLATIONS
from shared.messages import outbox
from shared.messages.digests import Part
from shared.messages.emails import why_not
from shared.messages.outbox import LEASE, Claimed, Kind, Outcome
from shared.messages.problems import OF_THE_RELAY, Problem
from shared.messages.webhooks import secret_of, sign
from shared.reviews.blind import reads_blind
from shared.settings import Settings
from shared.tables import MessageEvent, User, Webhook
from worker.messages.email_text import compose
from worker.messages.http_post import Rules, post
from worker.messages.smtp import EMAIL_STEPS, Relay

log = logging.getLogger(__name__)

_TIDY_SECONDS: Final = 600.0
_BROKE_OFF: Final = Outcome(problem=Problem.BROKE_OFF)
_STOP_SECONDS: Final = 35.0
"""A message in flight when the sweep is stopped takes at most its 30 s."""


class Sender:
    """Send what the outbox holds; several senders, even on several machines, never send the same message at once."""

    def __init__(self, database: Database, settings: Settings, translations: Path = TRANSLATIONS) -> None:
        self._database, self._settings, self._translations = database, settings, translations

    def send_due(self, kinds: Collection[Kind] = tuple(Kind)) -> int:
        """Send some of the due messages of these kinds and return how many."""
        with self._database.read() as session:
            if not outbox.is_due(session, kinds):
                return 0
        with self._database.write() as session:
            claimed = outbox.claim(session, kinds)
        asyncio.run(self._send(claimed))
        return len(claimed)

    def remove_old(self) -> None:
        """Remove messages past their retention time."""
        with self._database.write() as session:
            outbox.remove_old(session)

    async def _send(self, claimed: list[Claimed]) -> None:
        writing = asyncio.Lock()
        rules = cache(self._make_rules)
        calls = [self._call(message, message.webhook, rules, writing) for message in claimed if message.webhook]
        emails = [(message, message.user) for message in claimed if message.user]
        sent = await asyncio.gather(*calls, self._send_emails(emails, writing), return_exceptions=True)
        for problem in sent:  # after all have ended: the failure of one must not cancel the others
            if isinstance(problem, BaseException):
                raise problem

    def _make_rules(self) -> Rules:
        """Read the system's certificates, which takes 20 ms; if that fails, so does each message."""
        return Rules(self._settings.networks, self._settings.webhook_seconds, ssl.create_default_context())

    async def _call(
        self, message: Claimed, webhook: Webhook, rules: Callable[[], Rules], writing: asyncio.Lock
    ) -> None:
        try:
            outcome = await self._post(message, webhook, rules())
        except Exception:  # any error counts as an attempt, so that the message is given up in the end
            log.exception("Sending a message to the webhook %s broke off.", webhook.id)
            outcome = _BROKE_OFF
        async with writing:  # in a thread, so that a slow database does not use up the others' time limits
            await asyncio.to_thread(self._settle, message, outcome)
        if outcome.problem not in {None, Problem.BROKE_OFF}:
            log.warning("The webhook %s did not take a message: %s.", webhook.id, outcome.problem.value)

    async def _send_emails(self, emails: Sequence[tuple[Claimed, User]], writing: asyncio.Lock) -> None:
        """Send e-mails one by one: mail servers want few connections. What the lease has no time for waits."""
        relay, started = Relay(self._settings), time.monotonic()
        away: Outcome | None = None
        try:
            for message, user in emails:
                if time.monotonic() - started > LEASE.total_seconds() - EMAIL_STEPS * self._settings.smtp_seconds:
                    async with writing:
                        await asyncio.to_thread(self._release, message)
                    continue
                outcome = away
                if outcome is None:
                    outcome = await asyncio.to_thread(self._try_email, relay, message, user)
                if outcome.problem in OF_THE_RELAY:  # the others would fail alike and are not tried
                    away = Outcome(outcome.answer, outcome.problem, was_tried=False)
                async with writing:
                    await asyncio.to_thread(self._settle, message, outcome)
                if outcome.problem not in {None, Problem.BROKE_OFF}:
                    log.warning("An e-mail to account %s was not sent: %s.", user.id, outcome.problem.value)
        finally:
            await asyncio.to_thread(relay.close)

    def _try_email(self, relay: Relay, message: Claimed, user: User) -> Outcome:
        try:
            return self._email(relay, message, user)
        except Exception:  # counted as an attempt of this e-mail alone; the others are sent
            log.exception("Sending an e-mail to account %s broke off.", user.id)
            relay.close()  # how much the server has received is unknown
            return _BROKE_OFF

    def _email(self, relay: Relay, message: Claimed, user: User) -> Outcome:
        """Send one e-mail with the parts that its account may still receive, unless there are none."""
        if self._settings.smtp_host is None:
            return Outcome(problem=Problem.NO_RELAY)
        problem = Problem.JOB_DELETED
        told = []
        for part in message.parts:
            kept_back_for = self._why_not(user, part)
            if kept_back_for is None:
                told.append(part)
            problem = kept_back_for or problem
        if not told:
            return Outcome(problem=problem)
        if self._is_blind(user):
            for part in told:
                part.body["data"].pop("flagged", None)
        try:
            email = compose(message.message_id, told, user, self._settings, self._translations)
        except Exception:  # one text that cannot be filled in must not block the others
            log.exception("An e-mail to account %s could not be written.", user.id)
            return Outcome(problem=Problem.NOT_WRITTEN)
        return replace(relay.send(email), email=user.email)

    def _why_not(self, user: User, part: Part) -> Problem | None:
        """Say why an account may no longer be told of an event; None where it may."""
        if part.event is MessageEvent.IMAGE_FLAGGED and self._is_blind(user):
            return why_not(user, part.event) or Problem.READS_BLIND
        return why_not(user, part.event)

    def _is_blind(self, user: User) -> bool:
        return self._settings.blind_second_reading and reads_blind(user)

    def _release(self, message: Claimed) -> None:
        with self._database.write() as session:
            outbox.release(session, message)

    def _settle(self, message: Claimed, outcome: Outcome) -> None:
        with self._database.write() as session:
            outbox.settle(session, message, outcome)

    async def _post(self, message: Claimed, webhook: Webhook, rules: Rules) -> Outcome:
        key = self._settings.secret_key
        if key is None:
            return Outcome(problem=Problem.NO_KEY)
        secret = secret_of(key.get_secret_value(), webhook.id, webhook.salt)
        body = json.dumps(message.body, separators=(",", ":"), sort_keys=True).encode()
        return await post(webhook.url, sign(secret, str(message.message_id), now(), body), body, rules)


class SenderThreads:
    """Send in threads, one a kind: the sweep must not wait for foreign servers, nor webhooks for the mail server."""

    def __init__(self, sender: Sender, seconds: float) -> None:
        self._sender, self._seconds = sender, seconds
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=[kind], name=kind.name.lower(), daemon=True) for kind in Kind
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Stop, once the messages in flight have arrived or failed."""
        self._stopped.set()
        deadline = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _run(self, kind: Kind) -> None:
        tidied = -math.inf
        while not self._stopped.wait(self._seconds):
            try:
                while self._sender.send_due([kind]) and not self._stopped.is_set():
                    pass
                if kind is Kind.WEBHOOKS and time.monotonic() - tidied >= _TIDY_SECONDS:  # of both kinds
                    self._sender.remove_old()
                    tidied = time.monotonic()
            except SQLAlchemyError:
                log.warning("The database did not do what sending asked; it is tried again.", exc_info=True)
            except Exception:
                log.exception("Sending messages failed; it is tried again.")
