"""Check messages from Redis: workers trust only that one is a ticket, and nothing that it carries.

Whoever can write on Redis can put anything there. kombu ends its worker at a message that is no JSON, and Celery obeys
what a message says of time limits, dates, other tasks to call and much more. So each message is looked at before either
sees it: a ticket is replaced by a fresh one that holds nothing of what came; anything else is dropped and counted.
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
"""Of a ticket; ours have 900."""

_NO_ARGUMENTS: Final = '[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'
_BODY: Final = base64.b64encode(_NO_ARGUMENTS.encode()).decode()
_LOG_SECONDS: Final = 10.0
"""A flood of messages is not a flood of lines."""
_BROKEN: Final = (ValueError, TypeError, KeyError, AttributeError, RecursionError)
"""What reading a message that is no ticket dies of."""


def is_ticket(message: object) -> bool:
    """Tell whether a message, as it was decoded, asks for the one task that there is."""
    if not isinstance(message, dict) or message.get("content-type") != "application/json":
        return False
    headers = message.get("headers")
    return isinstance(headers, dict) and headers.get("task") == SCREEN_BATCH


def fresh_ticket(queue: str) -> dict[str, Any]:
    """Return a ticket as kombu keeps it in a queue: the task's name, ids of its own and nothing else."""
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
    """A client that hands kombu nothing but JSON out of a queue."""

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Read an answer; what a queue held comes as the JSON of a ticket, or as null."""
        answer = super().parse_response(connection, command_name, **options)  # type: ignore[no-untyped-call]
        if command_name != "BRPOP" or not answer:
            return answer
        queue, data = answer
        return queue, b"true" if is_ticket(read_message(data)) else b"null"


class _QoS(kombu_redis.QoS):
    """What was taken and not yet acknowledged."""

    def ack(self, delivery_tag: Any) -> None:
        """Acknowledge a ticket; one whose acknowledgement Redis did not take makes room for the next all the same.

        By default it holds its place for ever, and a worker all of whose places are held asks for no ticket any more.
        """
        try:
            super().ack(delivery_tag)
        except (redis.RedisError, OSError):
            virtual.QoS.ack(self, delivery_tag)
            raise

    def restore_by_tag(self, tag: Any, client: Any = None, leftmost: bool = False) -> None:
        """Put a message back that its worker did not acknowledge; what cannot be read is dropped."""
        try:
            super().restore_by_tag(tag, client, leftmost)
        except _BROKEN:
            self._remove_from_indices(tag).execute()  # type: ignore[attr-defined]  # the stubs lack it
            _note_dropped(self.channel)


class _Tickets:
    """Hand Celery fresh tickets."""

    channels: Any

    def _deliver(self, message: object, queue: str) -> None:
        if message is True:
            super()._deliver(fresh_ticket(queue), queue)  # type: ignore[misc]  # of the transport beside
            return
        _note_dropped(self.channels[0])


_dropped = {"since": 0, "said_at": -_LOG_SECONDS}


def _note_dropped(channel: Any) -> None:
    """Count a dropped message on Redis, where /metrics finds it, and say so in the log now and then."""
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
    """A Redis that Sentinel watches over, for tickets alone."""

    Channel = _SentinelChannel
