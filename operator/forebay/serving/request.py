"""What a script is told beside the data: the request at hand, and the surroundings at load time."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

Protocol = Literal["v2", "v1", "raw"]


@dataclass(frozen=True)
class Request:
    """One request, as a script sees it. Only `state` may be changed: it takes things from preprocess to postprocess."""

    id: str
    headers: Mapping[str, str]
    """HTTP headers, or gRPC metadata; names in any case."""
    parameters: Mapping[str, Any]
    """Of the v2 request; for /predict, the query string and the plain fields of a form."""
    content_type: str
    protocol: Protocol
    """v2 over REST or gRPC, v1 (`:predict`), or raw (`/predict`)."""
    deadline: float | None = None
    """When the client stops waiting, on time.monotonic()'s clock, in seconds; None where it did not say."""
    state: dict[str, Any] = field(default_factory=dict)

    def remaining_s(self) -> float | None:
        """Seconds until the client stops waiting, at least 1 ms; None where it did not say."""
        return None if self.deadline is None else max(self.deadline - time.monotonic(), 0.001)


@dataclass(frozen=True)
class Context:
    """What `load(self, context)` is told."""

    name: str
    model_dir: Path | None
    """Folder of the model's files, if it has any."""
    parameters: Mapping[str, str]
    """Environment variables FOREBAY_PARAMETER_<NAME>, as {name in lower case: value}."""
