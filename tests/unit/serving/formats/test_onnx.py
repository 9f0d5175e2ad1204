"""What is read of an .onnx file, against the onnx package, and what isn't."""

import random
import resource
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from forebay.serving.formats.onnx import read_onnx
from forebay.serving.formats.tensors import Tensor
from forebay.serving.storage.errors import Reason, StorageError

FLOAT = TensorProto.FLOAT
MIB = 1024 * 1024


def make(
    inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto], weights: tuple[onnx.TensorProto, ...] = ()
) -> onnx.ModelProto:
    node = helper.make_node("Identity", [inputs[0].name], [outputs[0].name])
    graph = helper.make_graph([node], "g", inputs, outputs, list(weights))
    return helper.make_model(graph, producer_name="test", doc_string="words")


def value(name: str, *dims: int | str | None, kind: int = FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, dims)


def save(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_names_types_and_shapes(tmp_path: Path) -> None:
    inputs = [value("image", "N", 3, -1, "w"), value("ids", None, kind=TensorProto.INT64)]
    outputs = [value("scores", "N", 10, kind=TensorProto.FLOAT16), value("text", kind=TensorProto.STRING)]
    read = read_onnx(save(tmp_path / "m.onnx", make(inputs, outputs))).signature
    assert read.inputs == (
        Tensor("image", "TYPE_FP32", (-1, 3, -1, -1), "N"),
        Tensor("ids", "TYPE_INT64", (-1,)),
    )
    assert read.outputs == (Tensor("scores", "TYPE_FP16", (-1, 10), "N"), Tensor("text", "TYPE_STRING", ()))


def test_weights_are_no_inputs(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.zeros(3, np.float32), "w")
    model = make([value("x", None, 3), value("w", 3)], [value("y", None, 3)], (weights,))
    assert [each.name for each in read_onnx(save(tmp_path / "m.onnx", model)).signature.inputs] == ["x"]


@pytest.mark.parametrize(
    ("inputs", "outputs", "batches"),
    [
        ([value("x", None, 4)], [value("y", None)], True),
        ([value("x", "N", 4)], [value("y", "N", 2)], True),
        ([value("x", "unk__12", 4)], [value("y", "unk__13")], True),
        ([value("x", "p2o.DynamicDimension.0", 4)], [value("y", "p2o.DynamicDimension.3")], True),
        ([value("x", "N", 4)], [value("y", "N", 2), value("boxes", "found", 4)], False),
        ([value("x", 1, 4)], [value("y", 1, 2)], False),
        ([value("x", None, 4)], [value("y")], False),
        ([value("x", None, 4), value("threshold", 1)], [value("y", None)], False),
    ],
)
def test_batches(
    tmp_path: Path, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto], batches: bool
) -> None:
    assert read_onnx(save(tmp_path / "m.onnx", make(inputs, outputs))).signature.takes_batches == batches


def test_what_triton_has_no_tensor_for(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("maps", FLOAT, None)
    complex_ = value("z", None, kind=TensorProto.COMPLEX64)
    shapeless = helper.make_tensor_value_info("any", FLOAT, None)
    outputs = read_onnx(save(tmp_path / "m.onnx", make([value("x", 1)], [sequence, complex_, shapeless]))).signature
    told = {each.name: each for each in outputs.outputs}
    assert "zipmap" in told["maps"].unusable
    assert "element type 14" in told["z"].unusable
    assert told["any"].shape is None


def test_files_with_weights_are_found_wherever_they_are_named(tmp_path: Path) -> None:
    model = make([value("x", 2)], [value("y", 2)], (numpy_helper.from_array(np.zeros(2, np.float32), "w"),))
    inner = helper.make_graph([], "inner", [], [value("z", 2)], [numpy_helper.from_array(np.ones(2, np.float32), "v")])
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(2, np.float32), "k"))
    inner.node.append(constant)
    model.graph.node.append(helper.make_node("If", ["x"], ["o"], then_branch=inner, else_branch=inner))
    branch = model.graph.node[1].attribute[0].g
    for tensor, location in (
        (model.graph.initializer[0], "w.bin"),
        (branch.initializer[0], "sub/v.bin"),
        (branch.node[0].attribute[0].t, "k.bin"),
    ):
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        tensor.external_data.add(key="offset", value="0")
    assert set(read_onnx(save(tmp_path / "m.onnx", model)).data_files) == {"w.bin", "sub/v.bin", "k.bin"}


def test_weights_stay_on_the_disk(tmp_path: Path) -> None:
    """A model of half a GiB, most of it a hole in the file: what is resident grows by next to nothing."""
    bytes_ = 512 * MIB
    tensor = TensorProto(name="w", data_type=FLOAT, dims=[bytes_ // 4])
    head, tail = tensor.SerializeToString(), make([value("x", None, 1)], [value("y", None, 1)]).graph
    raw = b"\x4a" + varint(bytes_)
    initializer = b"\x2a" + varint(len(head) + len(raw) + bytes_) + head + raw
    rest = tail.SerializeToString()
    path = tmp_path / "big.onnx"
    with path.open("wb") as file:
        file.write(b"\x08\x09\x3a" + varint(len(initializer) + bytes_ + len(rest)) + initializer)
        file.seek(bytes_, 1)
        file.write(rest)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert [each.name for each in read_onnx(path).signature.inputs] == ["x"]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 16 * 1024, "KiB"


def test_a_large_forest_is_not_walked_through(tmp_path: Path) -> None:
    """Two million numbers, each a field of its own."""
    model = make([value("x", None, 1)], [value("y", None, 1)])
    model.graph.node[0].attribute.append(helper.make_attribute("nodes_values", [0.5] * 2_000_000))
    path = save(tmp_path / "forest.onnx", model)
    started = time.process_time()
    assert read_onnx(path).data_files == ()
    assert time.process_time() - started < 0.5, "which takes ten seconds otherwise"


def varint(number: int) -> bytes:
    made = b""
    while number > 0x7F:
        made += bytes([number & 0x7F | 0x80])
        number >>= 7
    return made + bytes([number])


def test_damage_is_an_error_and_nothing_else(tmp_path: Path) -> None:
    weights = numpy_helper.from_array(np.zeros(64, np.float32), "w")
    good = make([value("x", "N", 3)], [value("y", "N", 3)], (weights,)).SerializeToString()
    dice = random.Random(7)
    path = tmp_path / "m.onnx"
    for _ in range(2000):
        bad = bytearray(good)
        for _ in range(dice.randrange(1, 4)):
            bad[dice.randrange(len(bad))] = dice.randrange(256)
        path.write_bytes(bad[: dice.randrange(1, len(bad) + 1)] if dice.random() < 0.5 else bad)
        try:
            read_onnx(path)
        except StorageError as error:
            assert error.reason is Reason.BAD_FORMAT  # noqa: PT017


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"", "is empty"),
        (b"\x08\x09", "has no graph"),
        (b"\x08\x09\x3a\x7f\x0a", "is cut off"),
        (b"hello, world", "is no ONNX model"),
        (b"\x08\x09\x3a\x00\x08" + b"\xff" * 12, "is no ONNX model"),
    ],
)
def test_files_that_are_no_model(tmp_path: Path, content: bytes, hint: str) -> None:
    (tmp_path / "m.onnx").write_bytes(content)
    with pytest.raises(StorageError, match=hint):
        read_onnx(tmp_path / "m.onnx")
