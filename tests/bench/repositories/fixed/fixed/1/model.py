"""Takes 20 ms for each request, as a model on an accelerator would: the wait costs no CPU here."""

import time

import triton_python_backend_utils as pb_utils

SERVICE_S = 0.020


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            time.sleep(SERVICE_S)
            x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("y", x)]))
        return responses
