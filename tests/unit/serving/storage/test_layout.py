"""Triton repositories, and what people upload in their place."""

from pathlib import Path

import pytest

from forebay.serving.storage import Reason, StorageError, arrange_triton, read_model_names
from forebay.serving.storage.pbtxt import read_config_name


def make(root: Path, *files: str, config: str = "") -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for name in files:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config if path.suffix == ".pbtxt" else "x")
    return root


def test_a_repository_passes_untouched(tmp_path: Path) -> None:
    source = make(tmp_path / "m", "digits/config.pbtxt", "digits/1/model.onnx", "other/1/model.onnx", "README.md")
    repository = arrange_triton(source, tmp_path / "m.repository", name="ignored")
    assert repository == tmp_path / "m.repository"
    assert repository.resolve() == source
    assert str(repository.readlink()) == "m", "relative: another container may mount the volume elsewhere"
    assert read_model_names(repository) == ["digits", "other"]


@pytest.mark.parametrize(
    ("files", "config", "expected"),
    [
        (["config.pbtxt", "1/model.onnx"], 'name: "digits"', "digits"),
        (["config.pbtxt", "1/model.onnx"], 'backend: "onnxruntime"', "given"),
        (["1/model.onnx"], "", "given"),
    ],
)
def test_one_models_folder_gets_a_repository_around_it(
    tmp_path: Path, files: list[str], config: str, expected: str
) -> None:
    source = make(tmp_path / "m", *files, config=config)
    made = set()
    for _ in range(2):
        repository = arrange_triton(source, tmp_path / "m.repository", name="given")
        assert read_model_names(repository) == [expected]
        assert (repository / expected / "1/model.onnx").read_text() == "x"
        made.add((repository / expected).lstat().st_ctime_ns)
    assert len(made) == 1, "what is right already stays: a server may be reading it"
    assert str((repository / expected).readlink()) == "../m"


def test_a_source_elsewhere_is_linked_absolutely(tmp_path: Path) -> None:
    source = make(tmp_path / "a/b/model", "1/model.onnx")
    repository = arrange_triton(source, tmp_path / "c/d/m.repository", name="digits")
    assert (repository / "digits").readlink() == source


def test_a_source_that_became_a_repository_replaces_the_folder(tmp_path: Path) -> None:
    arrange_triton(make(tmp_path / "m", "1/model.onnx"), tmp_path / "r", name="digits")
    arrange_triton(make(tmp_path / "n", "digits/1/model.onnx"), tmp_path / "r", name="digits")
    assert (tmp_path / "r").is_symlink()
    assert (tmp_path / "m/1/model.onnx").exists(), "only the links are replaced"


@pytest.mark.parametrize(
    ("files", "config", "hint"),
    [
        ([], "", "the folder is empty"),
        (["README.md"], "", "no folder in it holds a model"),
        (["model.py"], "", "two levels up"),
        (["model.onnx"], "", "write model.format: onnx"),
        (["models/digits/1/model.onnx"], "", "add /models to the uri"),
        (["config.pbtxt", "model.onnx"], 'name: "digits"', "put its files into digits/1/"),
        (["digits/config.pbtxt", "digits/model.onnx"], "", "put its files into digits/1/"),
        (["digits/config.pbtxt", "digits/v1/model.onnx"], "", "put its files into digits/1/"),
        (["digits/config.pbtxt", "digits/1/model.onnx"], 'name: "numbers"', "rename the folder to numbers"),
        (["config.pbtxt", "1/model.onnx"], 'name: "../../etc"', "no usable name"),
        (["1/model.onnx"], "", "no usable name"),
    ],
)
def test_what_triton_would_stumble_over(tmp_path: Path, files: list[str], config: str, hint: str) -> None:
    with pytest.raises(StorageError) as caught:
        arrange_triton(make(tmp_path / "m", *files, config=config), tmp_path / "r")
    assert caught.value.reason is Reason.BAD_LAYOUT
    assert hint in caught.value.message
    assert "└── 1/" in caught.value.message
    assert not (tmp_path / "r").exists()


def test_a_file_is_no_repository(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_text("x")
    with pytest.raises(StorageError, match=r"is a file: write model\.format: onnx"):
        arrange_triton(tmp_path / "model.onnx", tmp_path / "r")


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('name: "digits"', "digits"),
        ("name : 'digits' # here", "digits"),
        ('# name: "no"\nbackend: "x"', None),
        ('input [ { name: "image" } ]\nname: "digits"', "digits"),
        ('input { name: "image" }', None),
        ('comment: "} name: \\"no\\""\nname: "digits"', "digits"),
        ("name:", None),
        ("", None),
    ],
)
def test_names_in_config_pbtxt(text: str, name: str | None) -> None:
    assert read_config_name(text) == name
