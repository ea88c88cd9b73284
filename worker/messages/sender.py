"""Send the messages that are due, a few side by side, until none is left; what does not arrive is tried again later."""

import asyncio
import logging
import math
import ssl
import threading
import time
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from shared.db import Database, now
from shared.messages import outbox
from shared.messages.outbox import Claimed, Outcome
from shared.messages.problems import Problem
from shared.messages.webhooks import secret_of, sign
from shared.settings import Settings
from worker.messages.post import Rules, post

log = logging.getLogger(__name__)

_TIDY_SECONDS: Final = 600.0
_STOP_SECONDS: Final = 35.0
"""A message that is under way when the sweep is told to stop has its 30 s at most."""


class Sender:
    """Send what the outbox holds; several of them, on several machines, do not send the same at the same time."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings

    def send_due(self) -> int:
        """Send some messages that are due and return how many."""
        with self._database.read() as session:
            if not outbox.is_due(session):
                return 0
        with self._database.write() as session:
            claimed = outbox.claim(session)
        asyncio.run(self._send(claimed))
        return len(claimed)

    def remove_old(self) -> None:
        """Remove messages that were kept for long enough."""
        with self._database.write() as session:
            outbox.remove_old(session)

    async def _send(self, claimed: list[Claimed]) -> None:
        writing = asyncio.Lock()
        # Made once for all of them: to read the system's certificates takes 20 ms.
        rules = Rules(self._settings.networks, self._settings.webhook_seconds, ssl.create_default_context())
        sending = (self._send_one(message, rules, writing) for message in claimed)
        sent = await asyncio.gather(*sending, return_exceptions=True)
        for problem in sent:  # after all have ended: what one failed of must not break off the others
            if isinstance(problem, BaseException):
                raise problem

    async def _send_one(self, message: Claimed, rules: Rules, writing: asyncio.Lock) -> None:
        outcome = await self._post(message, rules)
        async with writing:  # in a thread, so that a database that takes its time stops no clock of the others
            await asyncio.to_thread(self._settle, message, outcome)
        if outcome.problem is not None:
            log.warning("The webhook %s did not take a message: %s.", message.webhook_id, outcome.problem.value)

    def _settle(self, message: Claimed, outcome: Outcome) -> None:
        with self._database.write() as session:
            outbox.settle(session, message, outcome)

    async def _post(self, message: Claimed, rules: Rules) -> Outcome:
        key = self._settings.secret_key
        if key is None:
            return Outcome(problem=Problem.NO_KEY)
        secret = secret_of(key.get_secret_value(), message.webhook_id, message.salt)
        headers = sign(secret, str(message.message_id), now(), message.body)
        return await post(message.url, headers, message.body, rules)


class SenderThread:
    """Send beside the sweep, which must not wait for other people's servers."""

    def __init__(self, sender: Sender, seconds: float) -> None:
        self._sender, self._seconds = sender, seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="messages", daemon=True)

    def start(self) -> None:
        """Begin to send."""
        self._thread.start()

    def stop(self) -> None:
        """End, once what is under way has arrived or not."""
        self._stopped.set()
        self._thread.join(_STOP_SECONDS)

    def _run(self) -> None:
        tidied = -math.inf
        while not self._stopped.wait(self._seconds):
            try:
                while self._sender.send_due() and not self._stopped.is_set():
                    pass
                if time.monotonic() - tidied >= _TIDY_SECONDS:
                    self._sender.remove_old()
                    tidied = time.monotonic()
            except SQLAlchemyError:
                log.warning("The database did not do what sending asked; it is tried again.", exc_info=True)
            except Exception:
                log.exception("Sending messages failed; it is tried again.")
