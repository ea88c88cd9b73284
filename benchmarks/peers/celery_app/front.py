"""The front end: takes a film, queues it, answers with an id, and tells what became of it."""

import uuid

from flask import Flask, request

from benchmarks.peers.celery_app.broker import KEPT_SECONDS, TASK, films
from benchmarks.peers.celery_app.broker import app as celery

app = Flask(__name__)


@app.post("/predict")
def predict() -> tuple[dict[str, str], int]:
    """Queue the film."""
    film = str(uuid.uuid4())
    films.set(film, request.files["file"].read(), ex=KEPT_SECONDS)
    celery.send_task(TASK, [film], task_id=film)
    return {"id": film}, 202


@app.get("/results/<film>")
def result(film: str) -> tuple[dict[str, object], int]:
    """Tell what became of a film: 202 until there is a result, as Celery knows nothing of ids that it never saw."""
    outcome = celery.AsyncResult(film)
    if not outcome.ready():
        return {"state": outcome.state}, 202
    return outcome.get(), 200
