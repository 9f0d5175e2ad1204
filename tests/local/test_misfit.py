"""A transformer that was written for another model than Triton serves: told at the start, or else of each request."""

from pathlib import Path

import numpy as np

from tests import loopback
from tests.local.serving_session import forebay, serving
from tests.local.test_compare import write_classifier

MANIFEST = """\
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: pick}}
spec:
  model: {{uri: "file:{repository}"}}
  predictor: {{triton: {{}}}}
  transformer:
    custom:
      script: |
        import numpy as np
        from forebay.serving import Tensor

        class Digits:
            {declared}

            def preprocess(self, payload):
                name, width = ("image", 64) if payload == "digits" else ("x", payload)
                return {{name: np.ones((1, width), np.float32)}}
"""


def test_a_transformer_that_declares_another_model_does_not_start(tmp_path: Path) -> None:
    write_classifier(tmp_path / "repository", np.eye(2))
    declared = 'model_inputs = [Tensor("image", "FP32", [-1, 64])]'
    file = tmp_path / "m.yaml"
    file.write_text(MANIFEST.format(repository=tmp_path / "repository", declared=declared))
    told = forebay("serve", str(file), state=tmp_path / "state")
    assert told.returncode == 1
    expected = "the transformer's model_inputs are 'image' FP32 [-1, 64], and model pick takes 'x' FP32 [-1, 2]"
    assert expected in told.stdout + told.stderr


def test_what_triton_refuses_of_a_transformer_is_not_its_clients_fault(tmp_path: Path) -> None:
    write_classifier(tmp_path / "repository", np.eye(2))
    with serving(MANIFEST.format(repository=tmp_path / "repository", declared="pass"), tmp_path) as session:
        assert loopback.post(f"{session.url}/predict", json=2, timeout=30).json() == [[1, 1]]
        for payload, made in ((3, "'x' FP32 [1, 3]"), ("digits", "'image' FP32 [1, 64]")):
            answer = loopback.post(f"{session.url}/predict", json=payload, timeout=30)
            assert answer.status_code == 500, answer.text
            assert f"made {made}, and model pick takes 'x' FP32 [-1, 2]" in answer.text
