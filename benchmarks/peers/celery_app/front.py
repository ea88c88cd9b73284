"""The front end: takes an image, queues it, answers with an id, and tells what became of it."""

import uuid

from flask import Flask, request

from benchmarks.peers.celery_app.broker import KEPT_SECONDS, TASK, images
from benchmarks.peers.celery_app.broker import app as celery

app = Flask(__name__)


@app.post("/predict")
def predict() -> tuple[dict[str, str], int]:
    """Queue the image."""
    image = str(uuid.uuid4())
    images.set(image, request.files["file"].read(), ex=KEPT_SECONDS)
    celery.send_task(TASK, [image], task_id=image)
    return {"id": image}, 202


@app.get("/results/<image>")
def result(image: str) -> tuple[dict[str, object], int]:
    """Tell what became of an image: 202 until there is a result, as Celery knows nothing of ids that it never saw."""
    outcome = celery.AsyncResult(image)
    if not outcome.ready():
        return {"state": outcome.state}, 202
    return outcome.get(), 200
