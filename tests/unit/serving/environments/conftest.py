from collections.abc import Iterator

import pytest

from tests.unit.serving.environments.package_index import PackageIndex, serve_index


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[PackageIndex]:
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    with serve_index() as served:
        yield served
