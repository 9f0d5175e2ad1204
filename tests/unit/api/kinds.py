"""The kinds whose cases are a spec's fields over a small one: the loader's tests and the apiserver's share them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from forebay.api.kinds import API_VERSION

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Sample:
    """A kind, and the least of it. `file` has what is wrong with others."""

    kind: str
    name: str
    spec: dict[str, Any]
    file: str

    @property
    def cases(self) -> list[dict[str, Any]]:
        """Names, manifests, and what is refused of each."""
        found: list[dict[str, Any]] = yaml.safe_load((HERE / self.file).read_text())
        return found

    def write(self, **fields: Any) -> str:
        """The manifest with these fields in its spec."""
        return self.write_case({"manifest": fields})

    def write_case(self, case: dict[str, Any]) -> str:
        """The manifest of a case."""
        metadata = {"name": case.get("object", self.name)}
        head = {"apiVersion": API_VERSION, "kind": self.kind, "metadata": metadata}
        return yaml.safe_dump({**head, "spec": self.spec | case["manifest"]})


BUILD = Sample(
    "ImageBuild",
    "digits",
    {"script": "class A:\n    def predict(self, inputs): ...\n", "image": "registry.example.com/models/digits:1"},
    "builds.yaml",
)
VERSION = Sample(
    "ModelVersion", "digits-3", {"model": "digits", "version": "3", "uri": "s3://models/digits/3"}, "versions.yaml"
)
each_case = pytest.mark.parametrize(
    ("sample", "case"),
    [
        pytest.param(sample, case, id=f"{sample.kind}: {case['name']}")
        for sample in (BUILD, VERSION)
        for case in sample.cases
    ],
)
