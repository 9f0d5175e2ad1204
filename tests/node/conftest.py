"""The node's cache on this machine: needs root for the mounts that it makes."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.bucket import Bucket, serve_bucket
from tests.node.site import Node
from tests.node.tap import Tap
from tests.unit.serving.storage.conftest import authority, web

__all__ = ["authority", "bucket", "node", "secret", "tap", "web"]


@pytest.fixture(scope="session")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bucket]:
    with serve_bucket(tmp_path_factory.mktemp("bucket"), node="127.0.0.1") as bucket:
        yield bucket


@pytest.fixture
def tap(bucket: Bucket) -> Tap:
    return Tap(bucket.port)


@pytest.fixture
def secret(bucket: Bucket, tap: Tap) -> Iterator[dict[str, str]]:
    """Credentials for the bucket, behind the tap."""
    with tap.open() as url:
        yield bucket.credentials_by(url)


@pytest.fixture
def node() -> Iterator[Node]:
    if os.geteuid():
        pytest.skip("needs root, to mount")
    # Where the worker, which isn't root, may pass through.
    folder = Path(tempfile.mkdtemp(prefix="forebay-node-", dir="/var/tmp"))
    folder.chmod(0o711)
    found = Node(folder)
    try:
        yield found
    finally:
        found.clean()
        shutil.rmtree(folder)
