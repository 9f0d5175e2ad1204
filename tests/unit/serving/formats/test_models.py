"""Repositories that are made of files, read with Triton's own schema; and what is no such file."""

import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import onnx
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper
from tritonclient.grpc import model_config_pb2

from forebay.api import ModelSource
from forebay.serving.formats.config import check_config
from forebay.serving.formats.layouts import LAYOUTS
from forebay.serving.formats.models import arrange_model
from forebay.serving.formats.suffixes import SUFFIXES
from forebay.serving.storage.__main__ import main
from forebay.serving.storage.errors import Reason, StorageError
from tests.unit.serving.storage.conftest import authority, web  # noqa: F401  (fixtures)

TENSORS = (
    'input [{name: "INPUT__0" data_type: TYPE_FP32 dims: [3]}] output [{name: "OUTPUT__0" data_type: TYPE_FP32 '
    "dims: [2]}]"
)


def pack(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return packed.getvalue()


def build_onnx(*outputs: onnx.ValueInfoProto) -> bytes:
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    outputs = outputs or (helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N"]),)
    graph = helper.make_graph([helper.make_node("ReduceSum", ["x"], [outputs[0].name])], "g", [x], outputs)
    return bytes(helper.make_model(graph).SerializeToString())


ONNX = build_onnx()
TORCHSCRIPT = pack("m/data.pkl", "m/code/__torch__.py", "m/constants.pkl")
CHECKPOINT = pack("m/data.pkl", "m/data/0", "m/version")
ENGINE = b"ftrt" + bytes(64)
IR = b'<?xml version="1.0"?>\n<net name="m" version="11"></net>'

XGBOOST = (
    b'{"learner":{"attributes":{},"learner_model_param":{"base_score":"5E-1","num_class":"0","num_feature":"7",'
    b'"num_target":"1"},"objective":{"name":"binary:logistic"}},"version":[3,2,0]}'
)
LIGHTGBM = (
    b"tree\nversion=v4\nnum_class=3\nmax_feature_idx=6\nobjective=multiclass num_class:3\n\nTree=0\nend of trees\n"
)


def make(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder.mkdir(exist_ok=True)
    return folder


def arrange(source: Path, format_: str, config: str = "") -> model_config_pb2.ModelConfig:
    text = arrange_model(source, source.parent / "r", format_=format_, name="digits", config=config)
    written = source.parent / "r/digits/config.pbtxt"
    assert written.read_text() == text
    return text_format.Parse(text, model_config_pb2.ModelConfig())


def refusal(source: Path, format_: str, config: str = "") -> StorageError:
    with pytest.raises(StorageError) as caught:
        arrange(source, format_, config)
    assert [path.name for path in source.parent.iterdir()] == [source.name], "nothing was made"
    return caught.value


@pytest.mark.parametrize(
    ("format_", "files", "made", "backend"),
    [
        ("onnx", {"a.onnx": ONNX, "README.md": b"x"}, "model.onnx", "onnxruntime"),
        ("onnx", {"download": ONNX}, "model.onnx", "onnxruntime"),
        ("onnx", {"model.onnx": ONNX, "other.onnx": b""}, "model.onnx", "onnxruntime"),
        ("tensorrt", {"a.engine": ENGINE}, "model.plan", "tensorrt"),
        ("torchscript", {"a.pt": TORCHSCRIPT}, "model.pt", "pytorch"),
        ("openvino", {"a.xml": IR, "a.bin": b"x"}, "model.xml", "openvino"),
        ("xgboost", {"a.json": XGBOOST}, "xgboost.json", "fil"),
        ("lightgbm", {"a.txt": LIGHTGBM}, "model.txt", "fil"),
        ("savedmodel", {"saved_model.pb": b"x", "variables/v": b"x"}, "model.savedmodel", "tensorflow"),
        ("savedmodel", {"m/saved_model.pb": b"x", "README.md": b"x"}, "model.savedmodel", "tensorflow"),
    ],
)
def test_a_repository_of_each_format(
    tmp_path: Path, format_: str, files: dict[str, bytes], made: str, backend: str
) -> None:
    source = make(tmp_path / "m", files)
    read = arrange(source, format_, TENSORS if format_ == "torchscript" else "")
    assert (read.name, read.backend) == ("digits", backend)
    assert read.instance_group[0].count == 1
    model = tmp_path / "r/digits/1" / made
    assert model.resolve().is_relative_to(source)
    assert model.exists()
    assert {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()} == files.keys()


def test_every_format_of_the_api_has_a_layout() -> None:
    (literal,) = (each for each in ModelSource.model_fields["format"].annotation.__args__ if each is not type(None))
    assert set(literal.__args__) == set(LAYOUTS) == set(SUFFIXES)


def test_an_onnx_config_in_full(tmp_path: Path) -> None:
    made = arrange(make(tmp_path / "m", {"a.onnx": ONNX}), "onnx")
    wanted = """
        name: "digits" backend: "onnxruntime" max_batch_size: 64 dynamic_batching {}
        input [{name: "x" data_type: TYPE_FP32 dims: [4]}]
        output [{name: "y" data_type: TYPE_FP32 dims: [1] reshape {}}]
        instance_group [{count: 1 kind: KIND_AUTO}]
    """
    assert made == text_format.Parse(wanted, model_config_pb2.ModelConfig())


def test_what_the_user_writes_comes_over_it(tmp_path: Path) -> None:
    source = make(tmp_path / "m", {"a.onnx": ONNX})
    none = arrange(source, "onnx", "max_batch_size: 0")
    assert (none.max_batch_size, list(none.input[0].dims), none.HasField("dynamic_batching")) == (0, [-1, 4], False)
    more = arrange(
        source,
        "onnx",
        'max_batch_size: 8 instance_group [{count: 2, kind: KIND_CPU}] parameters {key: "a" value: {string_value: "b"}}'
        'output [{name: "y" data_type: TYPE_FP32 dims: [1] reshape {} label_filename: "labels.txt"}]'
        "dynamic_batching {max_queue_delay_microseconds: 100}",
    )
    assert (more.max_batch_size, [each.count for each in more.instance_group]) == (8, [2])
    assert [each.label_filename for each in more.output] == ["labels.txt"]
    assert [each.name for each in more.input] == ["x"]
    assert more.dynamic_batching.max_queue_delay_microseconds == 100
    assert more.parameters["a"].string_value == "b"
    assert arrange(source, "onnx", "sequence_batching {}").WhichOneof("scheduling_choice") == "sequence_batching"
    torch = make(tmp_path / "t", {"a.pt": TORCHSCRIPT})
    assert arrange(torch, "torchscript", f"max_batch_size: 4 {TENSORS}").HasField("dynamic_batching")


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("max_batch: 4", 'line 1, column 1: Message type "inference.ModelConfig" has no field named "max_batch"'),
        ("input [{data_type: FP32}]", "has no value named FP32"),
        ("max_batch_size: 8\n}", "line 2"),
        ('name: "other"', "must not have `name`"),
    ],
)
def test_a_config_that_triton_would_not_read(tmp_path: Path, text: str, hint: str) -> None:
    assert hint in check_config(text)
    error = refusal(make(tmp_path / "m", {"a.onnx": ONNX}), "onnx", text)
    assert (error.reason, hint in error.message) == (Reason.BAD_CONFIG, True)


SEQUENCE = build_onnx(helper.make_tensor_sequence_value_info("maps", TensorProto.FLOAT, None))
SHAPELESS = build_onnx(helper.make_tensor_value_info("y", TensorProto.FLOAT, None))


@pytest.mark.parametrize(
    ("content", "hint"),
    [(SEQUENCE, "zipmap"), (SHAPELESS, "the shape of y isn't in the file: write all inputs, or all outputs")],
)
def test_outputs_that_only_their_author_can_write(tmp_path: Path, content: bytes, hint: str) -> None:
    source = make(tmp_path / "m", {"a.onnx": content})
    assert hint in refusal(source, "onnx").message
    made = arrange(source, "onnx", 'output [{name: "y" data_type: TYPE_FP32 dims: [-1]}]')
    assert [each.name for each in made.output] == ["y"]


@pytest.mark.parametrize(
    ("format_", "files", "hint"),
    [
        ("onnx", {"a.onnx": ONNX[:-9]}, "cut off"),
        ("onnx", {"a.onnx": b"version https://git-lfs.github.com/spec/v1\n"}, "git lfs pull"),
        ("onnx", {"a.onnx": b"\n<!DOCTYPE html><html>"}, "a web page"),
        ("onnx", {"saved_model.pb": b"\x08\x01\x12\x00"}, "write format: savedmodel"),
        ("onnx", {"m/saved_model.pb": b"x"}, "no file *.onnx; what is there: m/"),
        ("onnx", {"m/a.onnx": ONNX}, "Add /m to the uri"),
        ("onnx", {"a.onnx": ONNX, "b.onnx": ONNX}, "several files *.onnx (a.onnx, b.onnx)"),
        ("onnx", {}, "the folder is empty"),
        ("onnx", {"config.pbtxt": b"", "1/model.onnx": ONNX}, "leave format out"),
        ("onnx", {"digits/config.pbtxt": b"", "digits/1/model.onnx": ONNX}, "leave format out"),
        ("onnx", {"a.onnx": TORCHSCRIPT}, "write format: torchscript"),
        ("onnx", {"a.bin": pickle.dumps([1])}, "skl2onnx"),
        ("onnx", {"a": ENGINE}, "write format: tensorrt"),
        ("onnx", {"a": IR}, "write format: openvino"),
        ("onnx", {"a.h5": b"\x89HDF\r\n\x1a\n"}, "model.export"),
        ("onnx", {"a": b"\x1c\0\0\0TFL3"}, "TensorFlow Lite"),
        ("onnx", {"a": b"GGUF\x03"}, "llama.cpp"),
        ("onnx", {"a": (60).to_bytes(8, "little") + b'{"w"'}, "safetensors"),
        ("onnx", {"a": b"\x1f\x8b\x08"}, "gzip"),
        ("onnx", {"a": pack("config.json", "model.weights.h5")}, "model.export"),
        ("onnx", {"a": pack("a.onnx")}, "a zip archive"),
        ("onnx", {"a": TORCHSCRIPT[:60]}, "cut off"),
        ("onnx", {"a": XGBOOST}, "write format: xgboost"),
        ("onnx", {"a": LIGHTGBM}, "write format: lightgbm"),
        ("xgboost", {"a.json": LIGHTGBM}, "write format: lightgbm"),
        ("xgboost", {"a.json": b"{}"}, "save_model('model.ubj')"),
        ("xgboost", {"model.bst": b"binf"}, "save_model('model.ubj')"),
        ("xgboost", {"model.ubj": b""}, "is empty"),
        ("xgboost", {"a.json": XGBOOST.replace(b"7", b"0")}, "how many features"),
        ("xgboost", {"a.json": XGBOOST.replace(b'get":"1', b'get":"3')}, "3 targets"),
        ("xgboost", {"a.json": XGBOOST[:-4]}, "cut off"),
        ("xgboost", {"a.pkl": pickle.dumps([1])}, "a Python pickle"),
        ("lightgbm", {"a.txt": LIGHTGBM[:-8]}, "cut off"),
        ("lightgbm", {"a.txt": b"hello"}, "save_model('model.txt')"),
        ("lightgbm", {"a.txt": LIGHTGBM.replace(b"num_class", b"numclass")}, "how many features and classes"),
        ("torchscript", {"a.pt": CHECKPOINT}, "a Python pickle"),
        ("openvino", {"a.xml": IR}, "a.bin, which isn't beside it"),
        ("openvino", {"a.xml": b"<?xml version='1.0'?><html>"}, "an XML file"),
        ("savedmodel", {"a.onnx": ONNX}, "no saved_model.pb"),
        ("savedmodel", {"a.plan": ENGINE}, "write format: tensorrt"),
        ("tensorrt", {"saved_model.pb": b"x"}, "write format: savedmodel"),
    ],
)
def test_other_things_than_the_format_says(tmp_path: Path, format_: str, files: dict[str, bytes], hint: str) -> None:
    error = refusal(make(tmp_path / "m", files), format_, TENSORS if format_ == "torchscript" else "")
    assert error.reason is Reason.BAD_FORMAT
    assert hint in error.message


def test_torchscript_needs_to_be_told_of_its_tensors(tmp_path: Path) -> None:
    error = refusal(make(tmp_path / "m", {"a.pt": TORCHSCRIPT}), "torchscript", "max_batch_size: 4")
    assert error.reason is Reason.BAD_CONFIG
    assert "write input and output into model.config" in error.message


@pytest.mark.parametrize(("location", "hint"), [("w.bin", "upload both"), ("../w.bin", "outside its folder")])
def test_weights_that_are_not_there(tmp_path: Path, location: str, hint: str) -> None:
    model = onnx.load_from_string(ONNX)
    model.graph.initializer.add(name="w", data_location=TensorProto.EXTERNAL).external_data.add(
        key="location", value=location
    )
    source = make(tmp_path / "m", {"a.onnx": model.SerializeToString()})
    assert hint in refusal(source, "onnx").message


def test_weights_in_a_file_of_their_own(tmp_path: Path) -> None:
    model = onnx.load_from_string(ONNX)
    model.graph.initializer.add(name="w", data_location=TensorProto.EXTERNAL).external_data.add(
        key="location", value="w.bin"
    )
    made = arrange(make(tmp_path / "m", {"a.onnx": model.SerializeToString(), "w.bin": b"x"}), "onnx")
    assert made.default_model_filename == "a.onnx"
    assert sorted(os.listdir(tmp_path / "r/digits/1/")) == ["a.onnx", "w.bin"]  # noqa: PTH208  (as Triton does)


def test_what_is_right_stays_and_what_is_not_is_replaced(tmp_path: Path) -> None:
    source = make(tmp_path / "m", {"a.onnx": ONNX})
    arrange(source, "onnx")
    model = tmp_path / "r/digits/1/model.onnx"
    assert str(model.readlink()) == "../../../m/a.onnx", "relative: another container may mount the volume elsewhere"
    made = model.lstat().st_ctime_ns
    arrange(source, "onnx")
    assert model.lstat().st_ctime_ns == made, "a server may be reading it"
    arrange(source, "onnx", "max_batch_size: 2")
    assert model.lstat().st_ctime_ns != made
    (tmp_path / "r/digits/stray").symlink_to("m")
    arrange(source, "onnx", "max_batch_size: 2")
    assert not (tmp_path / "r/digits/stray").is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "r"], "nothing else is left"


def test_it_takes_the_place_of_what_was_linked_before(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old/keep").touch()
    (tmp_path / "r").symlink_to("old")
    arrange(make(tmp_path / "m", {"a.onnx": ONNX}), "onnx")
    assert not (tmp_path / "r").is_symlink()
    assert (tmp_path / "old/keep").exists()


def test_a_model_elsewhere_is_linked_absolutely(tmp_path: Path) -> None:
    source = make(tmp_path / "a/b", {"a.onnx": ONNX})
    arrange_model(source / "a.onnx", tmp_path / "c/r", format_="onnx", name="digits")
    assert (tmp_path / "c/r/digits/1/model.onnx").readlink() == source / "a.onnx"


def test_the_command_beside_a_download(
    web: Any,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As in a pod: the download stays the one that is known, and what was made of it is told in an event."""
    uri = web.serve("/digits.onnx", ONNX, ETag='"v1"')
    wanted = ["--uri", uri, "--to", str(tmp_path / "files"), "--layout", "triton", "--name", "digits"]
    wanted.append("--allow-loopback")  # which is where the test's server is
    for cached in (False, True):
        assert main([*wanted, "--format", "onnx", "--config=max_batch_size: 4"]) == 0
        *_, config, done = (json.loads(line) for line in capsys.readouterr().out.splitlines())
        assert (done["path"], done["cached"]) == (str(tmp_path / "files.repository"), cached)
        assert (config["event"], config["path"]) == ("config", f"{done['path']}/digits/config.pbtxt")
        assert config["text"] == Path(config["path"]).read_text()
        assert "max_batch_size: 4" in config["text"]
    assert str((tmp_path / "files.repository/digits/1/model.onnx").readlink()) == "../../../files/digits.onnx"
    with pytest.raises(SystemExit):
        main(["--uri", uri, "--to", str(tmp_path / "files"), "--format", "onnx"])
    assert main([*wanted, "--format", "tensorrt", "--config=max_batch_sice: 4"]) == 1
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["reason"] == "BadConfig"
