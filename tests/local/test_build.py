"""`forebay build` against the registry of the distribution project: without TLS, and with TLS and a password."""

import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.local.image_registry import ImageRegistry, serving_images

SCRIPT = """\
import features
from forebay.serving import Tensor


class Doubler:
    inputs = [Tensor("x", "FP32", [-1, 2])]

    def predict(self, inputs):
        return {"y": features.double(inputs["x"])}
"""
BASE = "forebay/runtime"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    with serving_images(folder) as host, httpx.Client(base_url=f"http://{host}", timeout=30) as client:
        made = ImageRegistry(host, client)
        made.push_base(BASE, "1", "linux/amd64", "linux/arm64/v8", folder=folder)
        made.push_base(BASE, "amd64", "linux/amd64", folder=folder)
        made.push_base(BASE, "silent", "linux/amd64", folder=folder, python="")
        yield made


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    """A script, a module of its own, a model."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model/weights.txt").write_text("2\n")
    (tmp_path / "doubler.py").write_text(SCRIPT)
    (tmp_path / "features.py").write_text("import numbers\n\n\ndef double(x):\n    return x * 2\n")
    (tmp_path / "stranger.py").write_text("raise SystemExit\n")
    return tmp_path


def build(folder: Path, *arguments: str, status: int = 0, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "forebay.cli", "build", *arguments], cwd=folder, capture_output=True, text=True,
        timeout=240, check=False, env={**os.environ, "COLUMNS": "200", "DOCKER_CONFIG": str(folder / "docker"), **env},
    )  # fmt: skip
    assert done.returncode == status, done.stdout + done.stderr
    return done.stdout + done.stderr


def list_layer(registry: ImageRegistry, repository: str, digest: str) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(registry.read_blob(repository, digest))) as tar:
        return {member.name: member for member in tar if member.isfile()}


def test_an_image_for_two_platforms_is_the_same_from_two_clean_builds(registry: ImageRegistry, sources: Path) -> None:
    (sources / "requirements.txt").write_text("orjson==3.11.4\nsix==1.17.0\n")
    options = ("--base", f"{registry.host}/{BASE}:1", "--platform", "linux/amd64,linux/arm64", "--model", "model",
               "--requirements", "requirements.txt", "doubler.py")  # fmt: skip
    said = build(sources, "--tag", f"{registry.host}/models/doubler:1", *options, UV_CACHE_DIR=str(sources / "one"))
    index, digest = registry.read("models/doubler", "1")
    assert f"image: {registry.host}/models/doubler@{digest}" in said
    # As another person would, later: other times, another umask, nothing cached.
    os.utime(sources / "features.py", (1, 1))
    (sources / "doubler.py").chmod(0o600)
    build(sources, "--tag", f"{registry.host}/models/again:1", *options, UV_CACHE_DIR=str(sources / "two"))
    assert registry.read("models/again", "1")[1] == digest
    platforms = {each["platform"]["architecture"]: each["digest"] for each in index["manifests"]}
    assert platforms.keys() == {"amd64", "arm64"}
    machines = {}
    for architecture, each in platforms.items():
        manifest, found = registry.read("models/doubler", each)
        assert found == each
        config = json.loads(registry.read_blob("models/doubler", manifest["config"]["digest"]))
        assert config["architecture"] == architecture
        assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"]) == 4
        base, packages, model, script = (
            list_layer(registry, "models/doubler", layer["digest"]) for layer in manifest["layers"]
        )
        assert list(base) == ["etc/platform"]
        assert {"opt/forebay/packages/six.py", "opt/forebay/packages/six-1.17.0.dist-info/RECORD"} <= packages.keys()
        assert not [name for name in packages if "__pycache__" in name or "/bin/" in name]
        machines[architecture] = [name for name in packages if name.endswith(".so")]
        assert list(model) == ["opt/forebay/model/weights.txt"]
        assert list(script) == ["opt/forebay/app/doubler.py", "opt/forebay/app/features.py"]
        members = [*packages.values(), *script.values()]
        assert {(each.mtime, each.uid, each.gid, each.uname, each.mode & 0o22) for each in members} == {
            (0, 0, 0, "", 0)
        }
    assert "x86_64" in machines["amd64"][0]
    assert "aarch64" in machines["arm64"][0]


def test_what_is_there_is_not_sent_again(registry: ImageRegistry, sources: Path) -> None:
    options = ("doubler.py", "--base", f"{registry.host}/{BASE}:amd64", "--tag", f"{registry.host}/models/once:1")
    assert "uploaded" in build(sources, *options, "--platform", "linux/amd64")
    said = build(sources, *options, "--platform", "linux/amd64")
    assert "there already" in said
    assert "uploaded" not in said
    (sources / "features.py").write_text("double = lambda x: x + x\n")
    assert "uploaded" in build(sources, *options, "--platform", "linux/amd64")
