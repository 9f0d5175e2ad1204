"""What is said of a DaemonSet that fetches a version."""

import pytest

from forebay.controller.prefetch import describe
from forebay.observation import Reason


@pytest.mark.parametrize(
    ("generation", "wanted", "ready", "reason", "words"),
    [
        (1, 3, 3, Reason.STARTING, "being told"),
        (2, 0, 0, Reason.UNSCHEDULABLE, "no node has the labels"),
        (2, 3, 1, Reason.DOWNLOADING, "on 1 of 3 nodes: `kubectl get nodecaches`"),
        (2, 3, 3, Reason.READY, "on 3 nodes"),
        (2, 1, 1, Reason.READY, "on 1 node"),
    ],
)
def test_on_how_many_nodes_it_is(generation: int, wanted: int, ready: int, reason: Reason, words: str) -> None:
    status = {"observedGeneration": generation, "desiredNumberScheduled": wanted, "numberReady": ready}
    said = describe({"metadata": {"generation": 2}, "status": status})
    assert said.reason is reason
    assert words in said.message


def test_one_that_is_new_is_not_done() -> None:
    assert describe({"metadata": {"generation": 1}}).reason is Reason.STARTING
