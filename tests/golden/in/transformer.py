import numpy as np


class Digits:
    def preprocess(self, payload):
        return {"image": np.frombuffer(payload, np.uint8)}
