"""What an image holds, run as its config says: a folder of its layers, a root of its own, its user. Needs root."""

import contextlib
import io
import json
import os
import shutil
import stat
import subprocess
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.local.image_registry import ImageRegistry


def unpack(registry: ImageRegistry, repository: str, version: str, root: Path) -> dict[str, Any]:
    """Lay the layers over each other; the config, which names their contents rightly."""
    manifest, _ = registry.read(repository, version)
    config: dict[str, Any] = json.loads(registry.read_blob(repository, manifest["config"]["digest"]))
    assert len(manifest["layers"]) == len(config["rootfs"]["diff_ids"])
    for layer in manifest["layers"]:
        with tarfile.open(fileobj=io.BytesIO(registry.read_blob(repository, layer["digest"]))) as tar:
            tar.extractall(root, filter="fully_trusted")  # noqa: S202  (our own)
    return config


@contextlib.contextmanager
def running_container(
    root: Path, config: Mapping[str, Any], log: Path, **env: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process of the image's entrypoint, as the image's user, who may write to /tmp alone."""
    if os.geteuid():
        pytest.skip("needs root, to have a root folder of its own")
    _make_devices(root / "dev")
    ran = config["config"]
    variables = dict(entry.split("=", 1) for entry in ran["Env"]) | env
    user, group = (int(part) for part in ran["User"].split(":"))
    with log.open("wb") as out:
        process = subprocess.Popen(
            [shutil.which("chroot") or "chroot", f"--userspec={user}:{group}", str(root), *ran["Entrypoint"]],
            env=variables, stdout=out, stderr=out, cwd=root,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def _make_devices(folder: Path) -> None:
    """As any runtime of containers does."""
    folder.mkdir(exist_ok=True)
    for name, minor in {"null": 3, "zero": 5, "random": 8, "urandom": 9}.items():
        with contextlib.suppress(FileExistsError):
            os.mknod(folder / name, 0o666 | stat.S_IFCHR, os.makedev(1, minor))
        (folder / name).chmod(0o666)
