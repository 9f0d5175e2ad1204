"""What holds for all tests."""

import os
from collections.abc import Iterable

import pytest

# What has no process beside itself has no race, either.
_PURE = ("api", "bench", "chart", "golden", "unit")


def pytest_collection_modifyitems(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    """CI gives a few tests with real parts a second go. Three suites share its two cores, and of 5,000 such tests about
    one a run meets a moment that nobody thought of; the summary says which and how, so that somebody does. What is
    broken fails twice.
    """
    if not os.environ.get("CI"):
        return
    for item in items:
        folder = item.path.relative_to(config.rootpath / "tests").parts[0]
        if folder not in _PURE:
            item.add_marker(pytest.mark.flaky(reruns=1))
