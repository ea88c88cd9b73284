"""The Celery application that workers run: `celery -A worker.app worker`.

A worker serves the model named in its settings and takes only that model's tickets. The parent process verifies the
model folder and never imports a network library; each child loads the network itself.
"""

import logging
import sys
from typing import Any

from billiard import current_process
from celery.signals import (
    setup_logging,
    worker_init,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from shared.errors import ModelUnavailable, StoreMisconfigured
from shared.models.folder import read_named, verify_weights
from shared.process.logs import configure_logging
from shared.queue.tickets import make_celery, queue_name, serve_model
from shared.settings import load_settings
from shared.store.store import open_store
from worker import process
from worker.loading import LoadingProcesses

log = logging.getLogger(__name__)

EX_CONFIG = 78
"""Exit status for an error that a restart does not fix (sysexits.h)."""

settings = load_settings()
app = make_celery(settings)
serve_model(app, settings.model)
app.conf.imports = ("worker.tasks",)
loading = LoadingProcesses()


@setup_logging.connect
def _configure_logging(**_: Any) -> None:
    configure_logging()


@worker_init.connect
def _check_before_start(**_: Any) -> None:
    try:
        spec = read_named(settings.models_dir, settings.model)
        verify_weights(settings.model_dir, spec)
        open_store(settings)
    except (ModelUnavailable, StoreMisconfigured) as error:
        log.critical("The worker does not start. %s", error)
        sys.exit(EX_CONFIG)
    log.info("This worker serves %s, from the queue %s.", spec.version, queue_name(settings.model))


@worker_process_init.connect
def _load(**_: Any) -> None:
    try:
        with loading.noted(getattr(current_process(), "index", 0)):
            process.start(settings)
    except Exception:
        # Celery only logs an exception in a signal receiver; a child without a network must not take tickets.
        log.critical("The worker process could not start; another is started in its place.", exc_info=True)
        sys.exit(EX_CONFIG)


@worker_shutting_down.connect
def _end_what_loads(**_: Any) -> None:
    # Celery waits for its children to react to the stop, which takes minutes in one that is loading a network.
    loading.end()


@worker_process_shutdown.connect
def _leave(**_: Any) -> None:
    process.stop()
