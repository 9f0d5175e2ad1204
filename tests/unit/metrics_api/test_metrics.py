"""What follows from two looks at what an instance counted."""

import pytest

from forebay.metrics import QueueStats
from forebay.metrics_api.metrics import History, Sample
from forebay.plan.names import QUEUE_TIME_METRIC


@pytest.mark.parametrize(
    ("queued", "answered", "wait_sum_s", "expected"),
    [
        (0, 0, 0.0, 0.0),  # nobody asks
        (50, 0, 0.0, None),  # all wait, and nobody knows yet for how long
        (50, 4, 2.0, 0.5),
    ],
)
def test_the_time_in_the_queue(queued: int, answered: int, wait_sum_s: float, expected: float | None) -> None:
    history = History()
    history.add(Sample(at_s=0, stats=QueueStats(in_flight=8, queued=queued, begun_count=8)))
    later = QueueStats(
        in_flight=8, queued=queued, begun_count=8 + answered, total_count=answered, wait_sum_s=wait_sum_s
    )
    history.add(Sample(at_s=30, stats=later))
    found = history.measure(QUEUE_TIME_METRIC)
    assert (found.value if found else None) == expected
