"""What an image says of itself: config, manifest, index; names; what of installed packages stays."""

import json
import tomllib
from pathlib import Path

import pytest

from forebay.build.base import RUNTIME_LABEL
from forebay.build.errors import BuildError
from forebay.build.image import (
    CONFIG,
    DOCKER_INDEX,
    INDEX,
    Descriptor,
    Settings,
    build_config,
    build_index,
    build_manifest,
    read_descriptor,
    write_document,
)
from forebay.build.names import read_name, read_target
from forebay.build.requirements import PACKAGES, clean_record, read_constraints, read_site
from forebay.build.script import APP, read_script

BASE = {
    "architecture": "arm64", "os": "linux", "variant": "v8", "created": "2026-01-01T00:00:00Z", "docker_version": "20",
    "config": {"Env": ["PATH=/bin", "LANG=C"], "Cmd": ["python3"], "User": "root", "Labels": {"a": "1"}},
    "rootfs": {"type": "layers", "diff_ids": ["sha256:base"]},
    "history": [{"created": "2026-01-01T00:00:00Z", "created_by": "/bin/sh"}],
}  # fmt: skip


def test_a_config_lies_over_its_base() -> None:
    wanted = Settings(entrypoint=["serve"], user="1000:1000", env={"LANG": "C.UTF-8"}, labels={"b": "2"}, ports=[8000])
    made = build_config(BASE, {"script": "sha256:ours"}, wanted)
    assert made["config"] == {
        "Env": ["PATH=/bin", "LANG=C.UTF-8"], "Entrypoint": ["serve"], "User": "1000:1000",
        "ExposedPorts": {"8000/tcp": {}}, "Labels": {"a": "1", "b": "2"},
    }  # fmt: skip
    assert (made["architecture"], made["variant"]) == ("arm64", "v8")
    assert made["rootfs"]["diff_ids"] == ["sha256:base", "sha256:ours"]
    assert [each["created_by"] for each in made["history"]] == ["/bin/sh", "forebay build: script"]
    assert "created" not in made, "else each build would be another"
    assert build_config(BASE, {}, wanted, created="2026-02-02T00:00:00Z")["created"] == "2026-02-02T00:00:00Z"
    assert BASE["config"]["Cmd"] == ["python3"], "the base is as it was"


def test_docker_s_types_become_oci_s() -> None:
    kind = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    layer = read_descriptor({"mediaType": kind, "digest": "sha256:a", "size": 1})
    assert layer.media_type == "application/vnd.oci.image.layer.v1.tar+gzip"
    assert DOCKER_INDEX != INDEX


def test_the_order_of_platforms_is_nothing_to_an_index() -> None:
    config = write_document(CONFIG, {"os": "linux"}).descriptor
    amd64, arm64 = (build_manifest(config, [Descriptor("t", f"sha256:{n}", n)]).descriptor for n in (1, 2))
    one = build_index({"linux/amd64": amd64, "linux/arm64/v8": arm64})
    assert one == build_index({"linux/arm64/v8": arm64, "linux/amd64": amd64})
    platforms = [each["platform"] for each in json.loads(one.body)["manifests"]]
    assert platforms == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm64", "variant": "v8"},
    ]


@pytest.mark.parametrize(
    ("text", "parts", "is_local"),
    [
        ("localhost/a", ("localhost", "a", "", ""), True),
        ("localhost:5000/a/b-c:1.2", ("localhost:5000", "a/b-c", "1.2", ""), True),
        ("127.0.0.1:5000/a:1", ("127.0.0.1:5000", "a", "1", ""), True),
        ("[::1]:5000/a:1", ("[::1]:5000", "a", "1", ""), True),
        ("ghcr.io/a/b__c:v1@sha256:" + "0" * 64, ("ghcr.io", "a/b__c", "v1", "sha256:" + "0" * 64), False),
        ("registry:5000/a", ("registry:5000", "a", "", ""), False),
        ("localhost.example.com/a", ("localhost.example.com", "a", "", ""), False),
    ],
)
def test_names(text: str, parts: tuple[str, ...], is_local: bool) -> None:
    name = read_name(text)
    assert tuple(name) == parts
    assert str(name) == text
    assert name.is_local is is_local


@pytest.mark.parametrize("text", ["a", "a/b:1", "ghcr.io/A", "ghcr.io/a:", "ghcr.io/a b", "https://ghcr.io/a", ""])
def test_what_names_no_image(text: str) -> None:
    with pytest.raises(BuildError, match="REGISTRY/NAME:TAG"):
        read_name(text)


def test_a_target_has_a_tag() -> None:
    assert read_target("ghcr.io/a").tag == "latest"


def test_a_record_is_of_what_is_in_the_image(tmp_path: Path) -> None:
    site = tmp_path / "site"
    for name in ("b.py", "a/__init__.py", "a/__pycache__/x.pyc", "bin/tool", "x-1.dist-info/direct_url.json", ".lock"):
        (site / name).parent.mkdir(parents=True, exist_ok=True)
        (site / name).write_text("x")
    record = (
        "b.py,sha256=1,1\na/__init__.py,sha256=2,1\nbin/tool,sha256=3,1\n../../bin/other,,\nx-1.dist-info/RECORD,,\n"
    )
    (site / "x-1.dist-info/RECORD").write_text(record)
    tree = read_site(site)
    assert tree.keys() == {f"{PACKAGES}/{name}" for name in ("b.py", "a/__init__.py", "x-1.dist-info/RECORD")}
    assert clean_record(record) == b"a/__init__.py,sha256=2,1\nb.py,sha256=1,1\nx-1.dist-info/RECORD,,\n"


def test_libraries_of_the_server_stay_within_its_bounds() -> None:
    named = {each.partition(">")[0].partition("<")[0].partition("=")[0] for each in read_constraints()}
    assert {"numpy", "starlette", "tritonclient", "grpcio", "uvicorn"} <= named
    assert not any("[" in each for each in read_constraints())
    assert "boto3" not in named


def test_modules_beside_a_script_come_with_it(tmp_path: Path) -> None:
    (tmp_path / "serve.py").write_text("import json\nimport one\n\n\nclass A:\n    def predict(self, inputs): ...\n")
    (tmp_path / "one.py").write_text("def late():\n    from pack.deep import x\n    import serve\n")
    (tmp_path / "pack").mkdir()
    for name in ("__init__.py", "deep.py", "data.json"):
        (tmp_path / "pack" / name).write_text("" if name.endswith(".py") else "{}")
    (tmp_path / "stranger.py").write_text("")
    (tmp_path / "extra").mkdir()
    (tmp_path / "extra/words.txt").write_text("a")
    script = read_script(tmp_path / "serve.py", [tmp_path / "extra"])
    names = ["serve.py", "one.py", "pack/__init__.py", "pack/data.json", "pack/deep.py", "extra/words.txt"]
    assert set(script.files) == {f"{APP}/{name}" for name in names}
    assert (script.role, script.class_name) == ("predictor", "A")


def test_the_runtime_says_what_it_is() -> None:
    root = Path(__file__).parents[3]
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    assert f"LABEL {RUNTIME_LABEL}={version}" in (root / "serving-images/runtime.Containerfile").read_text()
