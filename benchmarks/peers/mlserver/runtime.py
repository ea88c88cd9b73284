"""MLServer with adaptive batching and a worker a core: `mlserver start benchmarks/peers/mlserver`."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import Base64Codec, NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse

from benchmarks.peers.network import Network


class Classifier(MLModel):
    """The network behind the Open Inference Protocol."""

    async def load(self) -> bool:
        """Load the network."""
        self.network = Network()
        self.network.warm_up()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Classify a batch of images, one base64 element each."""
        answers = self.network.classify_images(Base64Codec.decode_input(payload.inputs[0]))
        shares = np.array([[answer["p_pneumonia"]] for answer in answers])
        labels = StringCodec.encode_output("label", [answer["label"] for answer in answers])
        return InferenceResponse(
            model_name=self.name, outputs=[labels, NumpyCodec.encode_output("p_pneumonia", shares)]
        )
