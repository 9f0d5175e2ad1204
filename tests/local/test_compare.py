"""`forebay compare A B --inputs`: both versions served for real, by Triton and by a script."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import onnx
import pytest
import yaml
from onnx import TensorProto, helper, numpy_helper

from tests.local.serving_session import forebay
from tests.unit.serving.storage.conftest import Web, authority, web  # noqa: F401  (fixtures)

SCALER = """\
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: scaler}
spec:
  model: {version: scaler@champion}
  predictor:
    custom:
      script: |
        from pathlib import Path
        from forebay.serving import BadRequest, Tensor

        class Scaler:
            inputs = [Tensor("x", "FP32", [-1]), Tensor("note", "BYTES", [-1], optional=True)]
            outputs = [Tensor("y", "FP32", [-1])]

            def load(self, context):
                self.factor = float((Path(context.model_dir) / "factor.txt").read_text())

            def predict(self, inputs):
                if (inputs["x"] > 10 * self.factor).any():
                    raise BadRequest("x is too large")
                return {"y": inputs["x"] * inputs["x"].dtype.type(self.factor)}
"""
Compare = Callable[..., CompletedProcess[str]]


def version(model: str, number: str, uri: str, **spec: object) -> str:
    return yaml.safe_dump(
        {
            "apiVersion": "forebay.dev/v1alpha1",
            "kind": "ModelVersion",
            "metadata": {"name": f"{model}-{number}"},
            "spec": {"model": model, "version": number, "uri": uri, **spec},
        }
    )


@pytest.fixture
def compare(tmp_path: Path) -> Compare:
    """Compare scaler:2 and scaler:3, as a file has them."""
    for number in ("2", "3"):
        (tmp_path / number).mkdir()
        (tmp_path / number / "factor.txt").write_text(number)
    documents = [SCALER, *(version("scaler", number, f"file:./{number}") for number in ("2", "3"))]
    (tmp_path / "scaler.yaml").write_text("---\n".join(documents))

    def run(*arguments: str, versions: tuple[str, str] = ("scaler:2", "scaler-3"), **env: str) -> CompletedProcess[str]:
        manifest = ("-f", str(tmp_path / "scaler.yaml"))
        return forebay("compare", *versions, *manifest, *arguments, state=tmp_path / "state", **env)

    return run


def write_classifier(repository: Path, weights: np.ndarray) -> None:
    """A linear classifier of two classes, as a Triton repository."""
    (repository / "pick/1").mkdir(parents=True)
    (repository / "pick/config.pbtxt").write_text(
        'backend: "onnxruntime" max_batch_size: 8\n'
        'input [{name: "x" data_type: TYPE_FP32 dims: [2]}]\noutput [{name: "scores" data_type: TYPE_FP32 dims: [2]}]\n'
        "instance_group [{kind: KIND_CPU}]"
    )
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["scores"])],
        "pick",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [None, 2])],
        [numpy_helper.from_array(weights.astype(np.float32), "w")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    (repository / "pick/1/model.onnx").write_bytes(made.SerializeToString())
    onnx.checker.check_model(made)


@pytest.mark.timeout(400)
def test_two_versions_on_triton(tmp_path: Path) -> None:
    write_classifier(tmp_path / "1", np.eye(2))
    write_classifier(tmp_path / "2", np.array([[1, 0], [0, 0.75]]))
    told = {"labels": ["left", "right"], "metrics": {"accuracy": 0.9}}
    versions = [version("pick", number, f"file:./{number}", **told) for number in ("1", "2")]
    (tmp_path / "versions.yaml").write_text("---\n".join(versions))
    # Of one class for both, of different ones, and of one that is given as what numpy makes by itself.
    np.savez(tmp_path / "rows.npz", x=np.array([[1, 0], [0.9, 1], [0, 1]], np.float64))
    arguments = ("compare", "pick:1", "pick-2", "-f", str(tmp_path / "versions.yaml"))
    done = forebay(*arguments, "-i", str(tmp_path / "rows.npz"), "-o", "json", state=tmp_path / "state")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["versions"] == ["pick:1", "pick:2"]
    assert document["metrics"]["pick:2"] == {"accuracy": 0.9}
    assert (document["inputs"], document["equal"], document["refused"]) == (3, 2, {"pick:1": 0, "pick:2": 0})
    assert document["outputs"]["scores"]["agreement"] == pytest.approx(2 / 3)
    assert document["outputs"]["scores"]["largestDifference"] == pytest.approx(0.25)
    assert [each["input"] for each in document["differMost"]] == ["rows.npz[1]", "rows.npz[2]"]
    scores = document["differMost"][0]["outputs"]["scores"]
    assert (scores["pick:1"], scores["pick:2"]) == ("right", "left")
    assert document["latencyMs"]["pick:1"]["p99"] > 0


def test_what_a_person_sees(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("x,note\n0,a\n1,b\n2,c\n25,d\n")
    done = compare("-i", str(tmp_path / "rows.csv"))
    assert done.returncode == 0, done.stderr
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    for line in (
        "equal answers to 1 of 4 inputs (25 %)",
        "scaler:2 refused 1 of them: rows.csv[3]: INVALID_ARGUMENT: x is too large",
        "OUTPUT EQUAL LARGEST DIFFERENCE MEAN DIFFERENCE",
        "y 33.3 % 2 1",
        "rows.csv[3] INVALID_ARGUMENT: x is too large answers",
        "rows.csv[2] y 4 6 2",
        "rows.csv[1] y 2 3 1",
    ):
        assert line in lines, done.stdout


def test_a_gate_for_ci(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"x": 0}\n{"x": 1}\n')
    inputs = ("--inputs", str(tmp_path / "rows.jsonl"))
    done = compare(*inputs, "--min-agreement", "0.9", "-o", "json")
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stdout)["agreement"] == 0.5
    assert "50 % of the answers are equal, and --min-agreement asks for 90 %" in done.stderr


def test_reference_data_at_an_address(compare: Compare, tmp_path: Path, web: Web) -> None:  # noqa: F811
    reference = web.serve("/rows.json", b'{"instances": [{"x": 2}]}')
    documents = [version("scaler", number, f"file:./{number}", reference=reference) for number in ("2", "3")]
    (tmp_path / "scaler.yaml").write_text("---\n".join([SCALER, *documents]))
    done = compare("-i", "reference", "-o", "json", FOREBAY_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert [each["input"] for each in json.loads(done.stdout)["differMost"]] == ["rows.json[0]"]


def test_what_can_not_be_compared(compare: Compare, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("z\n1\n")
    misfit = compare("-i", str(tmp_path / "a.csv"))
    assert misfit.returncode == 1
    assert "a.csv: the columns are z, and the model takes 'x' FP32 [-1], 'note' BYTES [-1]" in misfit.stderr
    (tmp_path / "a.jsonl").write_text('{"x": 1000}\n')
    refused = compare("-i", str(tmp_path / "a.jsonl"))
    assert refused.returncode == 1
    assert "scaler:2 answers none of the inputs: INVALID_ARGUMENT: x is too large" in refused.stderr
    shutil.rmtree(tmp_path / "2")
    assert "/2 does not exist" in compare("-i", str(tmp_path / "a.jsonl")).stderr
    for arguments, message in (
        (("-i", "none.npz"), "there is no file or folder none.npz"),
        (("-i", "reference"), "scaler-2 names no reference data"),
        (("--min-agreement", "1"), "--min-agreement is about answers: write --inputs, too"),
        (("-o", "yaml"), "write -o json"),
    ):
        done = compare(*arguments)
        assert (done.returncode, message in done.stderr) == (1, True), done.stderr
    unknown = compare(versions=("scaler-2", "scaler-9"))
    assert "there is no ModelVersion named scaler-9 here: there are scaler-2, scaler-3" in unknown.stderr


def test_signatures_that_differ(compare: Compare, tmp_path: Path) -> None:
    one, other = ({"inputs": [{"name": "x", "dataType": kind, "shape": [-1]}]} for kind in ("FP32", "INT64"))
    documents = [SCALER, version("scaler", "2", "file:./2", **one), version("scaler", "3", "file:./3", **other)]
    (tmp_path / "scaler.yaml").write_text("---\n".join(documents))
    (tmp_path / "a.jsonl").write_text('{"x": 1}\n')
    done = compare("-i", str(tmp_path / "a.jsonl"))
    assert done.returncode == 1
    assert "scaler:2 takes 'x' FP32 [-1], and scaler:3 takes 'x' INT64 [-1]: no input is for both" in done.stderr
