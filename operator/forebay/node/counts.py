"""What the agent counts, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest


class Counts:
    """The agent's series."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._volumes = Counter(
            "forebay_node_cache_volumes",
            "Volumes of pods by what became of them: hit, miss (something was downloaded), failed.",
            ["result"],
            registry=self._registry,
        )
        self._downloaded = Counter(
            "forebay_node_cache_downloaded_bytes", "Bytes of files that were downloaded.", registry=self._registry
        )
        self._evicted = Counter(
            "forebay_node_cache_evicted_bytes", "Bytes that were deleted to make room.", registry=self._registry
        )
        self._used = Gauge("forebay_node_cache_used_bytes", "Bytes on disk.", registry=self._registry)
        self._limit = Gauge("forebay_node_cache_limit_bytes", "Bytes that it may hold.", registry=self._registry)
        for result in ("hit", "miss", "failed"):
            self._volumes.labels(result)

    def filled(self, *, hit: bool) -> None:
        """Count a volume that has its model."""
        self._volumes.labels("hit" if hit else "miss").inc()

    def failed(self) -> None:
        """Count a volume that can't have its model."""
        self._volumes.labels("failed").inc()

    def downloaded(self, size: int) -> None:
        """Count bytes that came."""
        self._downloaded.inc(size)

    def evicted(self, size: int) -> None:
        """Count bytes that went."""
        self._evicted.inc(size)

    def write(self, measure: Callable[[], tuple[int, int]]) -> bytes:
        """The series as text. `measure` tells the bytes on disk, and the most that there may be."""
        used, limit = measure()
        self._used.set(used)
        self._limit.set(limit)
        return generate_latest(self._registry)
