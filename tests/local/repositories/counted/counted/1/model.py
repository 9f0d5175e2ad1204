"""Sleeps for as many seconds as its input says, and answers which of its instances that was.

One is not to be had while there is a file at $NO_MORE.
"""

import os
import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        if Path(os.environ["NO_MORE"]).exists():
            raise RuntimeError("CUDA out of memory")

    def execute(self, requests):
        responses = []
        for request in requests:
            seconds = pb_utils.get_input_tensor_by_name(request, "seconds").as_numpy()
            time.sleep(float(seconds[0]))
            answer = pb_utils.Tensor("instance", np.array([os.getpid()], np.int32))
            responses.append(pb_utils.InferenceResponse([answer]))
        return responses
