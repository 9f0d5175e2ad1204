"""What a simulation came to, drawn: instances, requests at them, latency."""

from itertools import pairwise
from pathlib import Path

from forebay.errors import UserError
from forebay.simulation.report import find_quantile
from forebay.simulation.run import Result

FORMATS = (".png", ".svg", ".pdf")
_SPANS = 120


def draw(result: Result, file: Path, *, title: str) -> None:
    """Write the chart. Raises UserError where what draws isn't installed, or the file's name says no known format."""
    if file.suffix not in FORMATS:
        raise UserError(f"-o {file}: write a name that ends in {', '.join(FORMATS)}")
    try:
        import matplotlib as mpl  # noqa: PLC0415  (it is large, and needed for this alone)
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ModuleNotFoundError:
        raise UserError("-o needs matplotlib: run `pip install 'forebay[chart]'`") from None
    # The same content makes the same file.
    with mpl.rc_context({"svg.hashsalt": "forebay"}):
        figure = Figure(figsize=(10, 8), layout="constrained")
        top, middle, bottom = figure.subplots(3, 1, sharex=True)
        minutes = [each.at_s / 60 for each in result.points]
        top.set_title(title)
        top.step(minutes, [each.wanted for each in result.points], where="post", label="wanted")
        top.step(minutes, [each.ready for each in result.points], where="post", label="ready", linestyle="--")
        top.set_ylabel("instances")
        middle.plot(minutes, [each.requests for each in result.points], label="at work and waiting")
        middle.set_ylabel("requests")
        _draw_latency(result, bottom)
        bottom.set_xlabel("minutes")
        for each in (top, middle, bottom):
            each.set_ylim(bottom=0)
            each.grid(alpha=0.3)
            each.legend(loc="upper right")
        dated = {".png": {"Software": None}, ".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        figure.savefig(file, dpi=100, metadata=dated[file.suffix])


def _draw_latency(result: Result, axes: "object") -> None:
    step_s = max(1.0, result.duration_s / _SPANS)
    bounds = [number * step_s for number in range(_SPANS + 1)]
    spans = [(begin_s, result.latencies(begin_s, end_s)) for begin_s, end_s in pairwise(bounds)]
    spans = [(begin_s, latencies) for begin_s, latencies in spans if latencies]
    for share in (0.5, 0.95, 0.99):
        times = [begin_s / 60 for begin_s, _ in spans]
        axes.plot(times, [find_quantile(each, share) for _, each in spans], label=f"p{int(share * 100)}")  # type: ignore[attr-defined]
    axes.set_ylabel("seconds")  # type: ignore[attr-defined]
