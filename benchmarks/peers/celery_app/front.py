"""The front end: accept an image, queue it, answer with an id, and serve its result."""

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
    """Return an image's result, 202 until there is one; Celery cannot tell unknown ids from waiting ones."""
    outcome = celery.AsyncResult(image)
    if not outcome.ready():
        return {"state": outcome.state}, 202
    return outcome.get(), 200
