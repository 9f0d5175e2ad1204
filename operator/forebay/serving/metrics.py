"""Prometheus metrics of the serving process. A script's own metrics in the default registry are served with them."""

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

disable_created_metrics()  # type: ignore[no-untyped-call]
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

REQUESTS = Counter("forebay_serving_requests", "Requests answered, by protocol and REST status.", ["protocol", "code"])
REQUEST_SECONDS = Histogram(
    "forebay_serving_request_duration_seconds", "Time to answer a request.", ["protocol"], buckets=_SECONDS
)
STAGE_SECONDS = Histogram(
    "forebay_serving_stage_duration_seconds",
    "Time in a stage: preprocess, predict, postprocess, or predictor (a transformer's call).",
    ["stage"],
    buckets=_SECONDS,
)
IN_FLIGHT = Gauge("forebay_serving_requests_in_flight", "Requests being worked on.")
READY = Gauge("forebay_serving_ready", "1 while the model is loaded and the server is not shutting down.")
LOAD_SECONDS = Gauge("forebay_serving_load_duration_seconds", "How long load() took.")


def render_metrics() -> tuple[bytes, str]:
    """All metrics in Prometheus' text format, and its content type."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
