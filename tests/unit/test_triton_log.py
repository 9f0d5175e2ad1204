"""What is told of Triton's log: logs of a real Triton 2.51, without its tables, over models that are
wrong in one way each."""

from pathlib import Path

import pytest

from forebay.triton_log import explain_failure, explain_hang

LOGS = Path(__file__).parent / "triton_logs"
REASONS = {
    "backend": "model backend: unexpected 'platform' and 'backend' pair, got:, tensorflow",
    "bpytorch": "model bpytorch: unable to find backend library for backend 'pytorch', try specifying runtime on the "
    "model configuration.",
    "pbtxt": 'model pbtxt: /repository/pbtxt/config.pbtxt:1:76: Message type "inference.ModelInput" has no field named '
    '"output".',
    "dims": "model dims: model input 'x' must specify 'dims' for dims",
    "gpu": "model gpu: instance group gpu_0 of model gpu has kind KIND_GPU but no GPUs are available",
    "ens": "ensemble ens contains models that are not available or ambiguous: gone",
    "pysyntax": "model pysyntax: SyntaxError: invalid syntax (model.py, line 1)",
    "pyinit": "model pyinit: ValueError: no\nweights",
    "onnxmissing": "model onnxmissing: /repository/onnxmissing/1/model.onnx does not exist: the onnxruntime backend "
    "reads it",
    "onnxgarbage": "model onnxgarbage: onnxruntime can't load /repository/onnxgarbage/1/model.onnx: "
    "[ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load model from /repository/onnxgarbage/1/model.onnx failed:Protobuf "
    "parsing failed.",
}


@pytest.mark.parametrize("name", REASONS)
def test_triton_s_own_reason_is_told(name: str) -> None:
    log = (LOGS / f"{name}.log").read_text()
    assert "CudaDriverHelper" in log, "the noise is there"
    assert explain_failure(log) == REASONS[name]
    assert explain_hang(log) == ""


def test_a_missing_model_py_makes_triton_wait_for_ever() -> None:
    log = (LOGS / "pynomodel.log").read_text()
    assert explain_failure(log) == ""
    assert explain_hang(log) == "Python model file not found in '/repository/pynomodel/1/model.py'"


def test_a_reason_is_told_once_and_every_model_s() -> None:
    both = "".join((LOGS / f"{name}.log").read_text() for name in ("dims", "pysyntax", "dims"))
    assert explain_failure(both) == f"{REASONS['dims']}\n{REASONS['pysyntax']}"


def test_each_unreadable_config_keeps_its_own_place() -> None:
    log = (LOGS / "pbtxt.log").read_text()
    other = log.replace("1:76:", "9:9:").replace("'pbtxt'", "'other'").replace("/pbtxt/", "/other/")
    first, second = explain_failure(log + other).splitlines()
    assert first == REASONS["pbtxt"]
    assert second.startswith("model other: /repository/other/config.pbtxt:9:9: ")


@pytest.mark.parametrize("log", ["", "hello\n", 'I1121 14:06:58.864573 1175 model_lifecycle.cc:472] "loading: m:1"\n'])
def test_nothing_is_told_of_a_log_without_errors(log: str) -> None:
    assert explain_failure(log) == explain_hang(log) == ""


@pytest.mark.parametrize("name", ["backend", "bpytorch"])
def test_where_a_backend_is_missing_those_that_are_there_are_told(name: str) -> None:
    log = (LOGS / f"{name}.log").read_text()
    assert explain_failure(log, backends="there is python") == f"{REASONS[name]} (there is python)"
