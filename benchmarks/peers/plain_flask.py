"""A Flask app like the published detectors: one image and one `model.predict` per request.

Run as `python -m benchmarks.peers.plain_flask PORT`, or under a server as `benchmarks.peers.plain_flask:app`.
"""

import sys

from flask import Flask, request

from benchmarks.peers.network import Answer, Network

network = Network()
app = Flask(__name__)


@app.post("/predict")
def predict() -> Answer:
    """Decode, resize, predict and answer within the request."""
    return network.predict(request.files["file"].read())


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]), threaded=True)
