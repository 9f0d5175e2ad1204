"""What a pod's containers must agree on."""

from pathlib import Path

import pytest
from yaml import safe_load

from forebay.api import ModelDeployment
from forebay.api.load import load_text
from forebay.plan import names
from forebay.plan.cluster import check_reachable
from forebay.plan.images import Images
from forebay.plan.pods import build_pod_spec
from forebay.plan.resolve import resolve
from forebay.serving.storage.__main__ import repository_beside

MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: digits}}
spec: {{model: {{uri: {uri}}}, predictor: {predictor}}}
"""
SCRIPT = '{custom: {script: "class A:\\n  def predict(self, i): return i\\n"}}'


def load(uri: str = "s3://models/digits", predictor: str = "{triton: {}}") -> ModelDeployment:
    (made,) = load_text(MANIFEST.format(uri=f"'{uri}'", predictor=predictor), file="m.yaml", folder=Path("/nowhere"))
    return made


@pytest.mark.parametrize("predictor", ["{triton: {}}", SCRIPT])
def test_the_server_reads_what_the_download_wrote(predictor: str) -> None:
    serving = resolve(load(predictor=predictor))
    spec = build_pod_spec(serving, serving.predictor, Images())
    to = next(arg for arg in spec["initContainers"][0]["args"] if arg.startswith("--to="))
    files = Path(to.removeprefix("--to="))
    served = repository_beside(files) if serving.predictor.server == "triton" else files
    option = "--model-repository" if serving.predictor.server == "triton" else "--model-dir"
    assert f"{option}={served}" in spec["containers"][0]["args"]
    assert files.is_relative_to(names.MODEL_DIR)


def test_pods_cannot_read_this_machine() -> None:
    message = check_reachable(resolve(load("file:digits")))
    assert "file:///nowhere/digits" in message
    assert "s3://BUCKET/digits" in message
    for uri in ("s3://models/digits", "https://host/digits.zip"):
        assert check_reachable(resolve(load(uri))) == ""
    no_model = safe_load(MANIFEST.format(uri="x", predictor=SCRIPT))
    del no_model["spec"]["model"]
    assert check_reachable(resolve(ModelDeployment.model_validate(no_model))) == ""
