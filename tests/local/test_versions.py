"""`forebay serve` of a manifest that names a ModelVersion: it is looked for in files, and its own are served."""

from pathlib import Path

import pytest

from forebay.cluster.registry.content import compute_digest, read_files
from tests import loopback
from tests.local.serving_session import forebay, serving

MANIFEST = """\
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: scaler}
spec:
  model: {version: scaler@champion}
  predictor:
    custom:
      script: |
        from pathlib import Path
        from forebay.serving import Tensor

        class Scaler:
            inputs = [Tensor("x", "FP32", [-1])]
            outputs = [Tensor("y", "FP32", [-1])]

            def load(self, context):
                self.factor = float((Path(context.model_dir) / "factor.txt").read_text())

            def predict(self, inputs):
                return {"y": inputs["x"] * inputs["x"].dtype.type(self.factor)}
"""
VERSIONS = "---\n".join(
    f"""\
apiVersion: forebay.dev/v1alpha1
kind: ModelVersion
metadata: {{name: scaler-{number}}}
spec: {{model: scaler, version: "{number}", uri: "file:./{number}", aliases: {aliases}}}
"""
    for number, aliases in (("2", "[]"), ("3", "[champion]"))
)


@pytest.mark.parametrize("place", ["same", "beside"])
def test_what_an_alias_names_is_served(tmp_path: Path, place: str) -> None:
    for number in "23":
        (tmp_path / number).mkdir()
        (tmp_path / number / "factor.txt").write_text(number)
    if place == "beside":
        (tmp_path / "versions.yaml").write_text(VERSIONS)
    with serving(MANIFEST + (f"---\n{VERSIONS}" if place == "same" else ""), tmp_path) as session:
        body = {"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [5]}]}
        answer = loopback.post(f"{session.url}/v2/models/scaler/infer", json=body, timeout=30)
        assert answer.json()["outputs"][0]["data"] == [15.0]


def test_another_content_than_the_version_says_is_not_served(tmp_path: Path) -> None:
    (tmp_path / "3").mkdir()
    (tmp_path / "3/factor.txt").write_text("3")
    digest = compute_digest(read_files(tmp_path / "3"))
    (tmp_path / "3/factor.txt").write_text("4")
    version = VERSIONS.partition("---\n")[2].replace("spec: {", f'spec: {{digest: "{digest}", ')
    (tmp_path / "m.yaml").write_text(f"{MANIFEST}---\n{version}")
    told = forebay("serve", str(tmp_path / "m.yaml"), state=tmp_path / "state")
    assert told.returncode == 1
    for part in ("DigestMismatch", f"expected {digest}, found sha256:", "factor.txt", "forebay push"):
        assert part in told.stdout + told.stderr
