"""Models that are a file, not a Triton repository: each through the real command and, where its backend is, Triton."""

from pathlib import Path

import lightgbm
import numpy as np
import onnx
import pytest
import tritonclient.http
import xgboost
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

from tests import loopback
from tests.local.serving_session import ServingSession, forebay, serving

MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: m}}
spec:
  model: {{uri: "file:{file}", format: {format}{more}}}
  predictor: {{triton: {{}}}}
"""
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6, 3, 5, 2]], np.float32)


def ask(session: ServingSession, name: str, value: np.ndarray, datatype: str = "FP32") -> dict[str, np.ndarray]:
    """Send one tensor through the gateway with Triton's own client, and answer all outputs."""
    client = tritonclient.http.InferenceServerClient(session.url.removeprefix("http://"))
    sent = tritonclient.http.InferInput(name, value.shape, datatype)
    sent.set_data_from_numpy(value)
    answer = client.infer("m", [sent])
    return {each["name"]: answer.as_numpy(each["name"]) for each in answer.get_response()["outputs"]}


def read_config(session: ServingSession) -> dict:
    return dict(loopback.get(f"{session.url}/v2/models/m/config").json())


def refuse(folder: Path, command: str, **model: str) -> str:
    """Run a command that must be refused, and answer what it says."""
    (folder / "m.yaml").write_text(MANIFEST.format(**{"more": "", **model}))
    done = forebay(command, str(folder / "m.yaml"), state=folder / "state")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stdout + done.stderr


def train() -> LogisticRegression:
    return LogisticRegression(max_iter=500).fit(*load_iris(return_X_y=True))


def save_classifier(file: Path, **options: bool) -> LogisticRegression:
    model = train()
    graph = to_onnx(model, initial_types=[("x", FloatTensorType([None, 4]))], options=options, target_opset=17)
    file.write_bytes(graph.SerializeToString())
    return model


def save_sum(file: Path, *, external: bool) -> None:
    """y = x + w for one x of two numbers, which is no batch; the weights in a file of their own, or not."""
    weights = numpy_helper.from_array(np.array([10, 20], np.float32), "w")
    graph = helper.make_graph(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        "sum",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2])],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, file, save_as_external_data=external, location="sum.weights", size_threshold=0)


def test_a_classifier_as_skl2onnx_saves_it(tmp_path: Path) -> None:
    model = save_classifier(tmp_path / "iris.onnx", zipmap=False)
    before = sorted(path.name for path in tmp_path.iterdir())
    with serving(MANIFEST.format(file=tmp_path / "iris.onnx", format="onnx", more=""), tmp_path) as session:
        answer = ask(session, "x", ROWS)
        config = read_config(session)
        assert (config["backend"], config["max_batch_size"]) == ("onnxruntime", 64)
        assert "dynamic_batching" in config
        assert 'backend: "onnxruntime"' in session.output.read_text(), "what was written is shown"
    assert answer["label"].reshape(-1).tolist() == model.predict(ROWS).tolist()
    np.testing.assert_allclose(answer["probabilities"], model.predict_proba(ROWS), atol=1e-5)
    assert set(before) == {"iris.onnx"}
    assert not list(tmp_path.glob("*.pbtxt"))


@pytest.mark.parametrize("external", [False, True], ids=["one file", "weights in another"])
def test_a_model_that_takes_no_batches(tmp_path: Path, external: bool) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    save_sum(folder / "sum.onnx", external=external)
    assert (folder / "sum.weights").exists() == external
    with serving(MANIFEST.format(file=folder, format="onnx", more=""), tmp_path) as session:
        assert ask(session, "x", np.array([1, 2], np.float32))["y"].tolist() == [11, 22]
        assert read_config(session)["max_batch_size"] == 0


def test_the_user_has_the_last_word(tmp_path: Path) -> None:
    save_classifier(tmp_path / "iris.onnx", zipmap=False)
    more = ", config: 'max_batch_size: 2 instance_group [{count: 2, kind: KIND_CPU}]'"
    with serving(MANIFEST.format(file=tmp_path / "iris.onnx", format="onnx", more=more), tmp_path) as session:
        config = read_config(session)
        assert (config["max_batch_size"], config["instance_group"][0]["count"]) == (2, 2)
        assert len(ask(session, "x", ROWS)["label"]) == 2
        with pytest.raises(tritonclient.utils.InferenceServerException, match="batch-size must be <= 2"):
            ask(session, "x", np.concatenate([ROWS, ROWS]))


def test_one_download_serves_several_names(tmp_path: Path) -> None:
    """Two ModelDeployments of one file: what is made for one never touches the other."""
    save_classifier(tmp_path / "iris.onnx", zipmap=False)
    one = MANIFEST.format(file=tmp_path / "iris.onnx", format="onnx", more="")
    other = MANIFEST.format(file=tmp_path / "iris.onnx", format="onnx", more=", config: 'max_batch_size: 3'")
    with serving(f"{one}---{other.replace('name: m', 'name: other')}", tmp_path) as session:
        root = session.url.removesuffix("/default/m").removesuffix("/default/other")
        for name, size in (("m", 64), ("other", 3)):
            config = loopback.get(f"{root}/default/{name}/v2/models/{name}/config").json()
            assert config["max_batch_size"] == size


def test_what_is_wrong_is_said_before_triton_starts(tmp_path: Path) -> None:
    save_classifier(tmp_path / "maps.onnx")
    assert "zipmap" in refuse(tmp_path, "serve", file=f"{tmp_path}/maps.onnx", format="onnx")
    content = (tmp_path / "maps.onnx").read_bytes()
    (tmp_path / "half.onnx").write_bytes(content[: len(content) // 2])
    assert "half.onnx is cut off" in refuse(tmp_path, "serve", file=f"{tmp_path}/half.onnx", format="onnx")
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved/saved_model.pb").write_bytes(b"x")
    told = refuse(tmp_path, "serve", file=f"{tmp_path}/saved", format="onnx")
    assert "format is onnx, but the folder is a TensorFlow SavedModel: write format: savedmodel" in told


@pytest.mark.parametrize("command", ["validate", "serve"])
def test_a_config_is_checked_before_anything_is_fetched(tmp_path: Path, command: str) -> None:
    told = refuse(tmp_path, command, file="/no/such/file", format="onnx", more=", config: 'max_batch: 4'")
    assert 'spec.model.config: is no part of a config.pbtxt: line 1, column 1: Message type "inference' in told
    assert 'has no field named "max_batch"' in told


@pytest.mark.parametrize(
    ("kind", "task"),
    [
        ("xgboost.ubj", "three classes"),
        ("xgboost.json", "two classes"),
        ("lightgbm.txt", "three classes"),
        ("lightgbm.txt", "regression"),
    ],
)
def test_forests_answer_as_their_own_library(tmp_path: Path, kind: str, task: str) -> None:
    file = tmp_path / f"forest.{kind.partition('.')[2]}"
    wanted = save_forest(file, task)
    with serving(MANIFEST.format(file=file, format=kind.partition(".")[0], more=""), tmp_path) as session:
        assert read_config(session)["backend"] == "fil"
        answer = ask(session, "input__0", ROWS)["output__0"]
    np.testing.assert_allclose(answer, wanted.reshape(len(ROWS), -1), atol=1e-5)


def save_forest(file: Path, task: str) -> np.ndarray:
    """Train on the irises and save; what the library itself predicts for the rows."""
    rows, classes = load_iris(return_X_y=True)
    truth = {"regression": rows[:, 3], "two classes": classes == 2, "three classes": classes}[task]
    several = {"num_class": 3} if task == "three classes" else {}
    if file.suffix == ".txt":
        objective = {"regression": "regression", "two classes": "binary", "three classes": "multiclass"}[task]
        trained = lightgbm.train({"objective": objective, "verbose": -1, **several}, lightgbm.Dataset(rows, truth), 20)
        trained.save_model(file)
        return np.asarray(trained.predict(ROWS))
    objective = {"regression": "reg:squarederror", "two classes": "binary:logistic", "three classes": "multi:softprob"}
    booster = xgboost.train({"objective": objective[task], **several}, xgboost.DMatrix(rows, truth), 20)
    booster.save_model(file)
    return np.asarray(booster.predict(xgboost.DMatrix(ROWS)))
