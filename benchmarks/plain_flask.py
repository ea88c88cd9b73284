"""The baseline: the app that the published detectors are, one image and one `model.predict` a request.

Run as `python -m benchmarks.plain_flask PORT`.

The network, the preprocessing's size and the threshold are ours; everything else is what a tutorial does.
"""

import os
import sys

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import keras
import numpy as np
from flask import Flask, request
from PIL import Image

from shared.modelfolder import read_spec, verify_weights
from shared.settings import load_settings

folder = load_settings().model_dir
spec = read_spec(folder)
trained = keras.saving.load_model(verify_weights(folder, spec), compile=False)
# Without the heat map, which such an app does not show.
network = keras.Model(trained.input, trained.outputs[0])
app = Flask(__name__)


@app.post("/predict")
def predict() -> dict[str, object]:
    """Decode, resize, predict and answer within the request."""
    image = Image.open(request.files["file"].stream).convert("L").resize((spec.input_size, spec.input_size))
    logits = network.predict(np.asarray(image)[np.newaxis, ..., np.newaxis], verbose=0)
    verdict = spec.judge(spec.calibrate(logits))[0]
    return {"label": verdict.label, "p_pneumonia": verdict.p_pneumonia}


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]), threaded=True)
