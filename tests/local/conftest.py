from collections.abc import Iterator

import pytest

from tests.local.serving_session import REPOSITORIES, SLOW, ServingSession, serving


@pytest.fixture(scope="module")
def one_slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingSession]:
    """One real Triton with two slots, three places to wait and a deadline of two seconds."""
    manifest = SLOW.format(repository=REPOSITORIES / "slow", replicas=1, depth=3, timeout="2s")
    with serving(manifest, tmp_path_factory.mktemp("one")) as session:
        yield session


@pytest.fixture(scope="module")
def two_slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServingSession]:
    """Two of them."""
    manifest = SLOW.format(repository=REPOSITORIES / "slow", replicas=2, depth=3, timeout="5s")
    with serving(manifest, tmp_path_factory.mktemp("two")) as session:
        yield session
