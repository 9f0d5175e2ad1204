"""Inputs to compare by, and how far two answers agree."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from forebay.errors import UserError
from forebay.local.compare.comparison import describe_mismatch
from forebay.local.compare.judge import Row, Rules, compare_answers, find_worst, share_equal, summarize
from forebay.local.compare.samples import read_samples
from forebay.serving.tensors import Tensor

SCALAR = (Tensor("x", "FP32", [-1]), Tensor("note", "BYTES", [-1]))
WIDE = (Tensor("image", "FP32", [-1, 3]),)
NUMBERS = np.array([1.5, 2.5], np.float32)


def write(folder: Path, name: str, content: Any) -> Path:
    file = folder / name
    if isinstance(content, str):
        file.write_text(content)
    elif isinstance(content, dict):
        np.savez(file, **content)
    else:
        np.save(file, content)
    return file


@pytest.mark.parametrize(
    ("name", "content", "declared", "shapes"),
    [
        ("a.csv", "note,x\na,1\nb,2.5\n", SCALAR, [(1,), (1,)]),
        ("a.csv", "p,q,r\n1,2,3\n", WIDE, [(1, 3)]),
        ("a.jsonl", '{"x": 1, "note": "a"}\n\n{"x": 2, "note": "b"}\n', SCALAR, [(1,), (1,)]),
        ("a.json", '[{"x": 1, "note": "a"}]', SCALAR, [(1,)]),
        ("a.json", '{"instances": [[1, 2, 3], [4, 5, 6]]}', WIDE, [(1, 3), (1, 3)]),
        (
            "a.json",
            json.dumps({"inputs": [{"name": "image", "datatype": "FP32", "shape": [2, 3], "data": [1] * 6}]}),
            WIDE, [(1, 3), (1, 3)],
        ),
        ("a.npy", np.zeros((2, 3)), WIDE, [(1, 3), (1, 3)]),
        ("a.npz", {"image": np.zeros((2, 3), np.int64)}, WIDE, [(1, 3), (1, 3)]),
        # One signal of any length, not as many requests.
        ("a.npz", {"x": NUMBERS, "note": np.array(["a", "ä"])}, SCALAR, [(2,)]),
    ],
)  # fmt: skip
def test_files_become_requests(
    tmp_path: Path, name: str, content: Any, declared: tuple[Tensor, ...], shapes: list[tuple[int, ...]]
) -> None:
    samples = read_samples([write(tmp_path, name, content)], declared, limit=10, whole=False)
    assert [each.inputs[declared[0].name].shape for each in samples] == shapes
    assert {each.inputs[declared[0].name].dtype for each in samples} == {np.dtype(np.float32)}
    if "note" in samples[0].inputs:
        assert samples[0].inputs["note"][0] == b"a"


def test_rows_are_counted_over_files_and_whole_files_are_one(tmp_path: Path) -> None:
    files = [write(tmp_path, f"{name}.npy", np.zeros((2, 3), np.float32)) for name in "ab"]
    assert [each.name for each in read_samples(files, WIDE, limit=3, whole=False)] == [
        "a.npy[0]",
        "a.npy[1]",
        "b.npy[0]",
    ]
    assert [each.name for each in read_samples(files, WIDE, limit=3, whole=True)] == ["a.npy", "b.npy"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "z\n1\n", "a.csv: the columns are z, and the model takes 'x' FP32 [-1], 'note' BYTES [-1]"),
        ("a.csv", "x,note\n1\n", "a.csv: line 2 has 1 values, and the head has 2"),
        ("a.csv", "x,note\n1,a\nb,c\n", "a.csv: line 3, column 1: 'b' is no FP32"),
        ("a.csv", "x,note\n", "the inputs hold no row"),
        ("a.jsonl", '{"y": 1}\n', "a.jsonl: unknown input 'y': expected 'x' FP32 [-1]"),
        ("a.json", "{", "a.json: the body is not JSON"),
        ("a.npz", {"x": np.array([1j])}, "complex128"),
        ("a.npz", {"x": np.array(["a"])}, "input 'x': expected FP32 [-1], got BYTES [1]"),
        ("a.npz", {"x": np.zeros((2, 2), np.float32)}, "input 'x': expected FP32 [-1], got FP32 [2, 2]"),
    ],
)
def test_inputs_that_do_not_fit(tmp_path: Path, name: str, content: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        read_samples([write(tmp_path, name, content)], SCALAR, limit=10, whole=False)
    assert message in str(caught.value)


def judge(one: Any, other: Any, **rules: Any) -> tuple[bool, float | None]:
    cell = compare_answers({"y": np.asarray(one)}, {"y": np.asarray(other)}, Rules(**rules))["y"]
    return cell.equal, cell.difference


LEFT_RIGHT = {"labels": (["left", "right"], [])}


@pytest.mark.parametrize(
    ("one", "other", "rules", "expected"),
    [
        ([1.0], [1.000001], {}, (True, pytest.approx(1e-6))),
        ([1.0], [1.1], {}, (False, pytest.approx(0.1))),
        ([1.0], [1.1], {"tolerance": 0.2}, (True, pytest.approx(0.1))),
        ([np.nan, np.inf], [np.nan, np.inf], {}, (True, 0)),
        ([np.nan], [1.0], {}, (False, np.inf)),
        ([2**53], [2**53 + 1], {}, (False, 0)),
        ([3], [4], {"tolerance": 1}, (True, 1)),
        ([True], [False], {}, (False, None)),
        (np.array([b"a"], object), np.array([b"a"], object), {}, (True, None)),
        ([1.0], [1.0, 2.0], {}, (False, None)),
        ([[0.1, 0.9]], [[0.4, 0.6]], LEFT_RIGHT, (True, pytest.approx(0.3))),
        ([[0.1, 0.9]], [[0.4, 0.6]], {**LEFT_RIGHT, "tolerance": 0.1}, (False, pytest.approx(0.3))),
        ([[0.1, 0.9]], [[0.9, 0.1]], LEFT_RIGHT, (False, pytest.approx(0.8))),
        # The same classes in another order.
        ([[0.1, 0.9]], [[0.9, 0.1]], {"labels": (["left", "right"], ["right", "left"])}, (True, 0)),
        ([[0.1, 0.9]], [[0.0, 0.0, 1.0]], {"labels": (["l", "r"], ["l", "m", "r"])}, (True, None)),
    ],
)
def test_when_answers_are_equal(one: Any, other: Any, rules: Any, expected: Any) -> None:
    assert judge(one, other, **rules) == expected


def test_what_differs_most_comes_first() -> None:
    rules = Rules()
    rows = [
        Row(name, compare_answers({"y": np.array([0.0])}, {"y": np.array([value])}, rules))
        for name, value in {"same": 0.0, "near": 1e-7, "far": 3.0, "farther": 4.0}.items()
    ]
    rows.append(Row("refused", {}, ("", "INVALID_ARGUMENT: no")))
    assert [row.name for row in find_worst(rows, 4)] == ["refused", "farther", "far", "near"]
    assert share_equal(rows) == pytest.approx(0.4)
    summary = summarize(rows)["y"]
    assert (summary.agreement, summary.largest) == (0.5, 4)
    assert summary.mean == pytest.approx(1.75)


def test_an_output_of_one_version_alone() -> None:
    cells = compare_answers({"y": NUMBERS}, {"y": NUMBERS, "z": NUMBERS}, Rules())
    assert cells["y"].equal
    assert (cells["z"].equal, cells["z"].shown) == (False, ("nothing", "1.5, 2.5"))


@pytest.mark.parametrize(
    ("other", "fits"),
    [
        ([Tensor("image", "FP32", [-1, 3])], True),
        ([Tensor("image", "FP32", [8, -1])], True),
        ([Tensor("image", "FP32", [-1, 4])], False),
        ([Tensor("image", "FP32", [-1, 3, 1])], False),
        ([Tensor("image", "FP64", [-1, 3])], False),
        ([Tensor("picture", "FP32", [-1, 3])], False),
    ],
)
def test_signatures(other: list[Tensor], fits: bool) -> None:
    told = describe_mismatch(("m:1", WIDE), ("m:2", other))
    assert (told == "") is fits
    assert fits or "m:1 takes 'image' FP32 [-1, 3], and m:2 takes" in told
