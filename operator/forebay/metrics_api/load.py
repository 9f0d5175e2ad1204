"""The values of a metric, asked of the sidecars now, with what they said in the last minute beside it."""

import time
from collections import defaultdict
from collections.abc import Iterable

from forebay.metrics_api.instances import Instance
from forebay.metrics_api.metrics import FILTERS, History, Sample, Value
from forebay.sidecars import Sidecars

# A HorizontalPodAutoscaler of two metrics asks twice in a row.
_FRESH_S = 0.5
_FORGET_FACTOR = 2
_FORGET_LEAST = 100

Key = tuple[str, str]


class Load:
    """Asks when it is asked. It keeps no more than the last minute's answers, for rates."""

    def __init__(self, sidecars: Sidecars) -> None:
        self._sidecars = sidecars
        self._histories: defaultdict[Key, History] = defaultdict(History)

    async def measure(self, instances: Iterable[Instance], metric: str) -> dict[str, Value]:
        """The metric by the names of instances. Who doesn't answer is not there, which is another thing than zero."""
        asked, stats_filter = list(instances), FILTERS[metric]
        histories = {each.uid: self._histories[each.uid, stats_filter] for each in asked}
        begun_s = time.monotonic()
        stale = {each.address: each for each in asked if not _is_fresh(histories[each.uid], begun_s)}
        answers = await self._sidecars.ask(stale, stats_filter=stats_filter)
        at_s = time.monotonic()
        for address, stats in answers.items():
            histories[stale[address].uid].add(Sample(at_s=at_s, stats=stats))
        told = [each for each in asked if each.address not in stale or each.address in answers]
        values = {each.name: histories[each.uid].measure(metric) for each in told}
        return {name: value for name, value in values.items() if value is not None}

    def forget(self, instances: Iterable[Instance]) -> None:
        """Keep what is known of these alone, once most of it is of others."""
        kept = {each.uid for each in instances}
        if len(self._histories) > _FORGET_FACTOR * len(FILTERS) * len(kept) + _FORGET_LEAST:
            for key in [key for key in self._histories if key[0] not in kept]:
                del self._histories[key]


def _is_fresh(history: History, now_s: float) -> bool:
    return history.newest is not None and now_s - history.newest.at_s < _FRESH_S
