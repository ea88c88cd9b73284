"""Validate messages from Redis: workers only check that one is a ticket, and trust none of its content.

Anyone with access to Redis can write anything there. A message that is no JSON makes kombu end its worker, and Celery
obeys a message's time limits, dates, callback tasks and much more. So each message is checked before either sees it: a
ticket is replaced by a fresh one with none of the received content; anything else is dropped and counted.
"""

import base64
import json
import logging
import time
import uuid
from typing import Any, Final

import redis
from kombu.transport import redis as kombu_redis
from kombu.transport import virtual

from shared.queue.heartbeats import DROPPED_KEY
from shared.queue.tickets import SCREEN_BATCH

log = logging.getLogger(__name__)

MOST_BYTES: Final = 16 * 1024
"""The largest ticket; ours have 900 bytes."""

_NO_ARGUMENTS: Final = '[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
_BODY: Final = base64.b64encode(_NO_ARGUMENTS.encode()).decode()
_LOG_SECONDS: Final = 10.0
"""Limits the log lines of a flood of messages."""
_BROKEN: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""Errors of parsing a message that is no ticket."""


def is_ticket(message: object) -> bool:
    """Tell whether a decoded message asks for the only task there is."""
    if not isinstance(message, dict) or message.get("content-type") != "application/json":
        return False
    headers = message.get("headers")
    return isinstance(headers, dict) and headers.get("task") == SCREEN_BATCH


def fresh_ticket(queue: str) -> dict[str, Any]:
    """Return a ticket in kombu's queue format: the task's name, new ids and nothing else."""
    task_id, tag = str(uuid.uuid4()), str(uuid.uuid4())
    return {
        "body": _BODY,
        "content-type": "application/json",
        "content-encoding": "utf-8",
        "headers": {"lang": "py", "task": SCREEN_BATCH, "id": task_id, "root_id": task_id},
        "properties": {
            "correlation_id": task_id,
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "body_encoding": "base64",
            "delivery_tag": tag,
        },
    }


def read_message(data: bytes) -> object:
    """Decode a message; None where it is too large or no JSON."""
    if len(data) > MOST_BYTES:
        return None
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


class _Client(redis.Redis):
    """A client that passes only JSON from a queue to kombu."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Read an answer; queue entries are returned as the JSON of a ticket, or as null."""
        answer = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name != "BRPOP" or not answer:
            return answer
        queue, data = answer
        return queue, b"true" if is_ticket(read_message(data)) else b"null"


class _QoS(kombu_redis.QoS):
    """Tickets taken but not yet acknowledged."""

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge a ticket; it frees its prefetch slot even where Redis did not accept the acknowledgement.

        By default it holds its slot for ever, and a worker without free slots takes no more tickets.
        """
        try:
            super().ack(delivery_tag)
        except (redis.RedisError, OSError):
            virtual.QoS.ack(self, delivery_tag)
            raise

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Requeue a message that its worker did not acknowledge; an unreadable one is dropped."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except _BROKEN:
            self._remove_from_indices(tag).execute()  # type: ignore[attr-defined]  # the stubs lack it
            _note_dropped(self.channel)


class _Tickets:
    """Pass fresh tickets to Celery."""

    channels: Any

    def _deliver(self, message: object, queue: str) -> None:
        if message is True:
            super()._deliver(fresh_ticket(queue), queue)  # type: ignore[misc]  # of the transport beside
            return
        _note_dropped(self.channels[0])


_dropped = {"since": 0, "said_at": -_LOG_SECONDS}


def _note_dropped(channel: Any) -> None:
    """Count a dropped message in Redis for /metrics, and log it at a limited rate."""
    _dropped["since"] += 1
    if time.monotonic() - _dropped["said_at"] >= _LOG_SECONDS:
        log.warning("%d messages on Redis were no tickets and were dropped.", _dropped["since"])
        _dropped.update(since=0, said_at=time.monotonic())
    try:
        with channel.conn_or_acquire() as client:
            client.incr(DROPPED_KEY)
    except redis.RedisError as error:
        log.warning("A dropped message could not be counted: %s", error)


class _Channel(kombu_redis.Channel):
    QoS = _QoS

    def _get_client(self) -> type[redis.Redis]:
        return _Client


class _SentinelChannel(kombu_redis.SentinelChannel):
    QoS = _QoS

    def _get_client(self) -> type[redis.Redis]:
        return _Client


class Transport(_Tickets, kombu_redis.Transport):  # type: ignore[misc]  # the stubs name no types
    """Redis, for tickets alone."""

    Channel = _Channel


class SentinelTransport(_Tickets, kombu_redis.SentinelTransport):  # type: ignore[misc]  # likewise
    """A Redis behind Sentinel, for tickets alone."""

    Channel = _SentinelChannel
