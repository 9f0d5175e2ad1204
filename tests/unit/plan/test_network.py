"""Who may reach a ModelDeployment's pods: what its manifests say of it."""

from pathlib import Path
from typing import Any

from forebay.api.load import load_text
from forebay.plan.manifests import build_manifests
from forebay.plan.resolve import resolve

MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: digits}
spec:
  model: {uri: "s3://models/digits"}
  predictor: {triton: {}}
"""
TRANSFORMER = """\
  transformer: {custom: {script: "class A:\\n  def preprocess(self, i): return i\\n"}}
"""


def find_policy(text: str) -> dict[str, Any]:
    """The predictor's, which is one for the pods of all revisions."""
    (item,) = load_text(text, file="m.yaml", folder=Path())
    policies = [each for each in build_manifests(resolve(item)) if each["kind"] == "NetworkPolicy"]
    return next(each for each in policies if each["metadata"]["name"] == "digits-predictor")


def test_a_transformer_that_is_taken_away_still_reaches_its_predictor() -> None:
    assert find_policy(MANIFEST) == find_policy(MANIFEST + TRANSFORMER)
