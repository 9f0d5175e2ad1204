"""Looks at the queue each second, and has the model loaded with more or fewer instances. The queue's slots follow.

It keeps nothing that it couldn't find out anew: who is started in its place goes on. Without it all goes on as it is.
"""

import contextlib
import logging
import threading
import time

import grpc

from forebay.serving.instances.decision import SURE_S, Pauses, Sample, decide
from forebay.serving.instances.metrics import Metrics
from forebay.serving.instances.queue import Queue, Reading, Unreached
from forebay.serving.instances.triton import Loaded, Triton, describe

_log = logging.getLogger(__name__)
_PERIOD_S = 1.0
_POLL_S = 0.1
# How long what is in flight may take until there is room for fewer instances.
_SETTLE_S = 10.0
# What failed is tried again after this: the GPU's memory may be somebody else's, too.
_FAILED_S = 300.0


class Scaler:
    """One model behind one queue. `stop` ends it, between two looks or while it waits for Triton."""

    def __init__(self, queue: Queue, triton: Triton, metrics: Metrics, *, stop: threading.Event) -> None:
        self._queue = queue
        self._triton = triton
        self._metrics = metrics
        self._stop = stop
        self._samples: list[Sample] = []
        self._told = ""
        # The most that are tried until a time, after a load that failed.
        self._ceiling, self._ceiling_until_s = 0, 0.0

    def run(self) -> None:
        """Look and act until stopped. Raises Unscalable."""
        while not self._stop.is_set():
            try:
                self.look()
                self._tell("")
            except Unreached as error:
                self._samples.clear()
                self._tell(str(error))
            self._stop.wait(_PERIOD_S)
        with contextlib.suppress(Unreached):
            # Nobody is to be left with the few slots of a change that is under way.
            self._allow(self._queue.read(), self._triton.read().count)

    def look(self) -> None:
        """Do what is to be done now. Raises Unreached, and Unscalable."""
        reading, loaded = self._queue.read(), self._triton.read()
        self._metrics.instances.set(loaded.count)
        self._metrics.most.set(reading.limits.most)
        self._allow(reading, loaded.count)
        now_s = time.monotonic()
        self._samples.append(Sample(at_s=now_s, requests=reading.in_flight + reading.queued))
        since_s = now_s - max(reading.limits.cooldown_s, SURE_S)
        while len(self._samples) > 1 and self._samples[1].at_s <= since_s:
            del self._samples[0]
        wanted = self._bound(decide(self._samples, loaded.count, reading.limits, now_s=now_s), loaded.count)
        if wanted != loaded.count:
            self._samples.clear()
            self._change(reading, loaded, wanted)
            self._allow(self._queue.read(), self._triton.read().count)

    def _bound(self, wanted: int, current: int) -> int:
        """No more than did not fail lately."""
        if wanted <= current or time.monotonic() >= self._ceiling_until_s:
            return wanted
        return max(current, min(wanted, self._ceiling))

    def _change(self, reading: Reading, loaded: Loaded, count: int) -> None:
        if count < loaded.count and not self._settle(count):
            _log.info("%d instances are kept: their requests take too long to wait for", loaded.count)
            return
        requests, began_s = reading.in_flight + reading.queued, time.monotonic()
        _log.info("%d -> %d instances, for %d requests", loaded.count, count, requests)
        failure = self._load(loaded, count)
        if failure is None:
            self._metrics.loads.labels("done").inc()
            _log.info("%d instances after %.1f s", count, time.monotonic() - began_s)
        elif not self._stop.is_set():
            self._metrics.loads.labels("failed").inc()
            if count > loaded.count:
                self._ceiling = loaded.count + (count - loaded.count) // 2
                self._ceiling_until_s = time.monotonic() + _FAILED_S
            _log.warning("%d instances go on: %d could not be loaded: %s", loaded.count, count, failure)

    def _settle(self, count: int) -> bool:
        """Give Triton no more than fewer instances work on, and wait for what it has; False where that takes long."""
        until_s = time.monotonic() + _SETTLE_S
        while time.monotonic() < until_s and not self._stop.wait(_POLL_S):
            reading = self._queue.read()
            self._allow(reading, count, quiet=True)
            if reading.in_flight <= count:
                return True
        return False

    def _load(self, loaded: Loaded, count: int) -> str | None:
        """Why it failed; None where it did not. What is asked for goes on in Triton when nobody waits for it."""
        call = self._triton.load(loaded, count)
        kept = min(count, loaded.count)
        pauses, began_s = Pauses(at_once=count < loaded.count), time.monotonic()
        while not call.done():
            if self._stop.wait(_POLL_S):
                return "stopped"
            reading = self._queue.read()
            paused = pauses.look(time.monotonic() - began_s, calm=reading.in_flight <= kept)
            self._allow(reading, kept, quiet=paused)
        error = call.exception()
        return describe(error) if isinstance(error, grpc.RpcError) else None

    def _allow(self, reading: Reading, count: int, *, quiet: bool = False) -> None:
        numbers = reading.choose_numbers(count, quiet=quiet)
        if numbers != (reading.slots, reading.depth):
            self._queue.allow(*numbers)

    def _tell(self, what: str) -> None:
        """Once, not each second."""
        if what != self._told:
            _log.info("%s", what or "the queue and Triton answer")
            self._told = what
