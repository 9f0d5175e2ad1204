"""Makes a tensor of a picture of a digit, and an answer of the classifier's tensors."""

import io

import numpy as np
from PIL import Image, UnidentifiedImageError

from forebay.serving import BadRequest, Tensor


class Digits:
    """Takes a PNG or JPEG file, or v2 arrays; answers {"label": 7, "confidence": 0.98}."""

    # What `forebay check` sends: prepare.py makes it.
    example = "build/pictures/7-14.png"
    # What prepare.py's model takes and gives: in front of another one, this transformer doesn't start.
    model_inputs = (Tensor("image", "FP32", [-1, 64]),)
    model_outputs = (Tensor("label", "INT64", [-1, 1]), Tensor("probabilities", "FP32", [-1, 10]))

    def preprocess(self, payload, request):
        if isinstance(payload, dict) and "image" in payload:
            image = np.asarray(payload["image"], dtype=np.float32)
            if image.size == 0 or image.size % 64:
                raise BadRequest(f"`image` must be [n, 64] (or [n, 8, 8]); this one has {image.size} values")
            return {"image": image.reshape(-1, 64)}
        if not isinstance(payload, bytes):
            raise BadRequest("send a picture (PNG or JPEG) as the body, or a v2 request with the input `image` [n, 64]")
        try:
            picture = Image.open(io.BytesIO(payload)).convert("L")
        except (UnidentifiedImageError, OSError) as error:
            raise BadRequest("this is no picture that can be read: send a PNG or JPEG file") from error
        # The data set's own scale: 8x8, white is 0 and the darkest ink 16.
        small = np.asarray(picture.resize((8, 8), Image.Resampling.BOX), dtype=np.float32)
        return {"image": ((255 - small) * 16 / 255).reshape(1, 64)}

    def postprocess(self, outputs, request):
        if request.protocol == "v2":
            return outputs
        labels = np.asarray(outputs["label"]).reshape(-1)
        confidences = np.asarray(outputs["probabilities"]).reshape(len(labels), -1).max(axis=1)
        answers = [
            {"label": int(label), "confidence": round(float(confidence), 4)}
            for label, confidence in zip(labels, confidences, strict=True)
        ]
        return answers[0] if len(answers) == 1 else answers
