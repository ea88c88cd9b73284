"""Tickets: Celery messages in Redis. Each means "images may be waiting" and carries nothing that could be lost.

Each model has its own queue, so that a worker only takes tickets of the model that it serves.
"""

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Protocol

from shared.errors import BrokerAway
from shared.queue.broker import Broker
from shared.settings import Settings

if TYPE_CHECKING:
    from celery import Celery

log = logging.getLogger(__name__)

SCREEN_BATCH: Final = "pneumoscreen.screen_batch"
"""Name of the only task."""

IMAGES_PER_TICKET: Final = 8
"""Fewer images than this wake one worker. Each ticket's task works off the queue for a while before it ends."""
MOST_TICKETS: Final = 64

# A ticket's task takes a few seconds; one not acknowledged after ten minutes has lost its worker. Redelivery is
# harmless, because the rows are claimed in the database (docs.celeryq.dev, Redis broker, visibility timeout).
VISIBILITY_SECONDS: Final = 600
TICKET_SECONDS: Final = 300
_CONNECTION: Final = {"visibility_timeout": VISIBILITY_SECONDS, "socket_connect_timeout": 2, "socket_timeout": 10}


def queue_name(model: str) -> str:
    """Return the queue name of a model's tickets."""
    return f"screening.{model}"


def make_celery(settings: Settings) -> "Celery":
    """Make the Celery application with which the web sends tickets and workers take them."""
    from celery import Celery  # noqa: PLC0415  # takes a sixth of the web's startup, and no page needs it
    from kombu.transport import TRANSPORT_ALIASES  # noqa: PLC0415

    # Registered by URL scheme, which kombu looks up again when it switches to another sentinel.
    tickets = dict.fromkeys(("redis", "rediss"), "shared.queue.received_tickets:Transport")
    TRANSPORT_ALIASES.update(tickets, sentinel="shared.queue.received_tickets:SentinelTransport")
    app = Celery("pneumoscreen")
    app.conf.update(_configuration(), **Broker.of(settings).celery_options(_CONNECTION))
    return app


def serve_model(app: "Celery", model: str) -> None:
    """Make a worker take the tickets of one model only."""
    from kombu import Queue  # noqa: PLC0415  # see make_celery

    app.conf.task_default_queue = queue_name(model)
    app.conf.task_queues = [Queue(queue_name(model), routing_key=queue_name(model))]


def _configuration() -> dict[str, Any]:
    return {
        "task_serializer": "json",
        "accept_content": ["json"],
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": False,  # the lease requeues the images, not the message
        # No soft limit: its exception inside the decoder would make the image look damaged.
        "task_time_limit": TICKET_SECONDS,
        "worker_prefetch_multiplier": 1,
        "worker_hijack_root_logger": False,
        # Anyone with access to Redis could stop workers with it, and it is not used here.
        "worker_enable_remote_control": False,
        # A child that loads a network takes longer to report than the default of 4 s: 101 s on two cores with six times
        # as many busy processes; a child killed at the limit starts over.
        "worker_proc_alive_timeout": 600,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # A Redis out of memory refuses acknowledgements; by default the worker exits and must load its network again.
        "broker_channel_error_retry": True,
    }


class TicketSender(Protocol):
    """Send tickets to workers."""

    def send(self, model: str, images: int) -> None:
        """Send a model's workers tickets for so many images; raise BrokerAway where Redis does not answer."""


class CeleryTicketSender:
    """Send tickets through Celery, which is loaded with the first use."""

    def __init__(self, make_app: "Callable[[], Celery]") -> None:
        self._make_app = make_app

    @cached_property
    def _app(self) -> "Celery":
        return self._make_app()

    def prepare(self) -> None:
        """Load Celery now, so that the first image does not wait for it."""
        self._app.amqp  # noqa: B018  # a property that creates the producer

    def send(self, model: str, images: int) -> None:
        """Send one ticket for every IMAGES_PER_TICKET, up to MOST_TICKETS."""
        # Directly to the queue: bindings in Redis, which others could change, are neither read nor written.
        place: dict[str, Any] = {"queue": queue_name(model), "declare": []}
        with _broker_errors(), self._app.producer_or_acquire() as producer:
            for _ in range(min(math.ceil(images / IMAGES_PER_TICKET), MOST_TICKETS)):
                self._app.send_task(SCREEN_BATCH, producer=producer, retry=False, **place)

    def tickets(self, model: str) -> int:
        """Count a model's tickets not yet taken by a worker; raise BrokerAway where Redis does not answer."""
        with _broker_errors(), self._app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            return _count_tickets(channel.client, queue_name(model))


def _count_tickets(client: Any, queue: str) -> int:
    """Count the entries of a queue; a key of another type would stop its workers, and is removed."""
    from redis.exceptions import ResponseError  # noqa: PLC0415  # see make_celery

    try:
        return int(client.llen(queue))
    except ResponseError as error:
        if not str(error).startswith("WRONGTYPE"):
            raise
        log.warning("What lay on Redis in the place of the queue %s was none and is removed.", queue)
        client.delete(queue)
        return 0


@contextmanager
def _broker_errors() -> Iterator[None]:
    from kombu.exceptions import OperationalError  # noqa: PLC0415  # see make_celery
    from redis.exceptions import RedisError  # noqa: PLC0415

    try:
        yield
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerAway("Redis did not answer. The images are kept and will be screened when it is back.") from error


def make_ticket_sender(settings: Settings) -> CeleryTicketSender:
    """Make the sender of a process that only sends: without retries, so that nobody waits for an unreachable Redis.

    By default kombu retries for six seconds.
    """

    def make_app() -> "Celery":
        app = make_celery(settings)
        app.conf.broker_transport_options = {**app.conf.broker_transport_options, "max_retries": 0}
        return app

    return CeleryTicketSender(make_app)


def try_send_tickets(ticket_sender: TicketSender, model: str, images: int) -> bool:
    """Send tickets where images wait; False where that failed and the sweep must send them later.

    The images are already accepted, so no failure here may affect them.
    """
    if images == 0:
        return True
    try:
        ticket_sender.send(model, images)
    except BrokerAway as error:
        log.warning("%s", error)
        return False
    except Exception:
        log.exception("No ticket could be sent; the sweep sends them later.")
        return False
    return True
