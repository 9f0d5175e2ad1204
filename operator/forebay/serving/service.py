"""What REST and gRPC share: the served model's name and pipeline, whether it is ready, and how much is at work."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from forebay.serving.errors import ServingError, quote
from forebay.serving.metrics import IN_FLIGHT, READY, REQUEST_SECONDS, REQUESTS
from forebay.serving.pipeline import Pipeline

VERSION = "1"
EXTENSIONS = ["binary_tensor_data", "model_configuration", "generate"]
_QUIET_S = 0.3


@dataclass
class Service:
    """One served model and its state."""

    name: str
    pipeline: Pipeline
    max_request_bytes: int
    is_draining: bool = False
    in_flight: int = 0
    tasks: set[asyncio.Future[Any]] = field(default_factory=set)
    """What is at work for REST clients, to be given up when shutting down takes too long."""
    last_busy: float = field(default_factory=time.monotonic)

    @property
    def is_ready(self) -> bool:
        """Loaded, with its predictor in reach if it has one, and not on the way out."""
        return self.pipeline.model.is_loaded and self.pipeline.is_connected and not self.is_draining

    @property
    def unready_reason(self) -> str:
        """Why it is not ready, or an empty string."""
        if self.is_draining:
            return f"model '{self.name}' is shutting down"
        if not self.pipeline.model.is_loaded:
            return f"model '{self.name}' is still loading"
        return "" if self.pipeline.is_connected else f"the predictor of '{self.name}' has not been reached yet"

    def check_model(self, name: str, version: str = "") -> None:
        """ServingError (404) for another model than the one that is served, or another version than 1."""
        if name != self.name or version not in ("", VERSION):
            asked = f"{quote(name)}{f' version {quote(version)}' if version else ''}"
            raise ServingError(f"unknown model {asked}: this server has '{self.name}' version {VERSION}", status=404)

    def check_loaded(self) -> None:
        """ServingError (503) while the model loads. A server that drains still answers what reaches it."""
        if not self.pipeline.model.is_loaded:
            raise ServingError(self.unready_reason, status=503, reason="loading", retry_after="1")

    @contextmanager
    def working(self, protocol: str) -> Iterator["Outcome"]:
        """Count a request in and out, with the status that it is given."""
        outcome = Outcome()
        started = time.perf_counter()
        self.in_flight += 1
        IN_FLIGHT.inc()
        try:
            yield outcome
        finally:
            self.in_flight -= 1
            IN_FLIGHT.dec()
            self.last_busy = time.monotonic()
            REQUESTS.labels(protocol, str(outcome.status)).inc()
            REQUEST_SECONDS.labels(protocol).observe(time.perf_counter() - started)

    def set_loaded(self) -> None:
        """Tell the metrics that it is ready."""
        READY.set(self.is_ready)

    async def drain(self, timeout_s: float) -> bool:
        """Turn unready, and wait till nothing came or was at work for a moment; False where time ran out.

        What waits in the queue before this server still comes: it is taken, since its queue outlives this process.
        """
        self.is_draining = True
        READY.set(0)
        deadline = time.monotonic() + timeout_s
        self.last_busy = time.monotonic()
        while self.in_flight or time.monotonic() - self.last_busy < _QUIET_S:
            if time.monotonic() >= deadline:
                for task in self.tasks:
                    task.cancel()
                return False
            await asyncio.sleep(0.02)
        return True


@dataclass
class Outcome:
    """The REST status that a request ended with; 499 where the client went away first."""

    status: int = 499
