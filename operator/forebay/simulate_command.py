"""`forebay simulate`: its options, and what it prints."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.errors import UserError

if TYPE_CHECKING:
    from forebay.plan.resolve import Scaling, Serving, Workload
    from forebay.simulation.doorway import Rest
    from forebay.simulation.instances import Shape

_DURATION = re.compile(r"(\d{1,5}(h|m|s|ms)){1,4}")


def simulate(  # noqa: PLR0913  (options)
    file: Annotated[Path, typer.Argument(help="Manifest with a ModelDeployment; - for standard input.")],
    *,
    trace: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="When requests came: CSV or JSONL lines of time and count, or of a time each. A count is spread over "
            "the time until the next line.",
        ),
    ] = None,
    shape: Annotated[
        str,
        typer.Option(
            help="Instead of a trace, in requests per second: constant:20, step:5..50 (high from a fifth to three "
            "fifths of the time), ramp:5..50, wave:5..50, burst:5..500 (a fiftieth of the time)."
        ),
    ] = "",
    service_time: Annotated[
        str, typer.Option(help="Time that an instance takes for a request, as measured: `forebay check FILE` does so.")
    ] = "",
    start_time: Annotated[str, typer.Option(help="Time until a new instance serves.")] = "30s",
    duration: Annotated[str, typer.Option(help="How long a shape goes on.")] = "10m",
    component: Annotated[str, typer.Option(help="predictor or transformer.")] = "predictor",
    gpu_hour_price: Annotated[float | None, typer.Option(min=0, help="Price of one GPU for an hour.")] = None,
    without_panic: Annotated[
        bool, typer.Option("--without-panic", help="With Kubernetes' autoscaler alone, to compare.")
    ] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Chart to draw: .png, .svg or .pdf.")] = None,
    seed: Annotated[int, typer.Option(help="Another one is another chance.")] = 1,
) -> None:
    """Show what a load would do to a ModelDeployment: instances, latency, refusals, GPU hours. Nothing is started.

    The decisions are the operator's own and, on the same virtual clock, those of Kubernetes' autoscaler.
    """
    from rich.console import Console  # noqa: PLC0415

    from forebay.simulation.arrivals import build_shape, read_trace  # noqa: PLC0415
    from forebay.simulation.report import build_table, summarize  # noqa: PLC0415
    from forebay.simulation.run import Simulation  # noqa: PLC0415

    if bool(trace) == bool(shape):
        raise UserError("write exactly one of --trace FILE and --shape, such as --shape step:5..50")
    serving, workload = _find_workload(file, component)
    if gpu_hour_price is not None and workload.resources.gpu_claim:
        raise UserError(
            f"--gpu-hour-price: how many GPUs {file} claims with spec.{component}.resources.gpu.claim is known in a "
            "cluster alone: leave the price out, or write gpu: {count: 1} for the simulation"
        )
    service_s = _parse_duration_s("--service-time", service_time)
    duration_s = _parse_duration_s("--duration", duration)
    arrivals = read_trace(trace, seed=seed) if trace else build_shape(shape, duration_s=duration_s, seed=seed)
    limits = _build_limits(workload, service_s, _parse_duration_s("--start-time", start_time))
    rest = _build_rest(serving, workload)
    simulation = Simulation(workload.scaling, limits, seed=seed, panics=not without_panic, rest=rest)
    result = simulation.run(arrivals, duration_s=0 if trace else duration_s)
    console = Console()
    console.print(build_table(result))
    told = summarize(result, gpus=workload.resources.gpu_count, gpu_hour_price=gpu_hour_price)
    console.print(f"\n{told}", markup=False, highlight=False, soft_wrap=True)
    if unheeded := _list_unheeded(workload.scaling):
        said = f"not simulated: {', '.join(unheeded)}, which may ask for more instances"
        console.print(said, markup=False, highlight=False, soft_wrap=True)
    if output:
        from forebay.simulation.chart import draw  # noqa: PLC0415

        draw(result, output, title=f"{workload.deployment}, {component}: {trace.name if trace else shape}")


def _find_workload(file: Path, component: str) -> "tuple[Serving, Workload]":
    """The workload that is scaled, and whose it is. Raises UserError where there isn't one that can be simulated."""
    from forebay.api import ModelDeployment  # noqa: PLC0415
    from forebay.api.load import load_file  # noqa: PLC0415
    from forebay.plan.resolve import resolve  # noqa: PLC0415

    found = [each for each in load_file(file) if isinstance(each, ModelDeployment)]
    if len(found) != 1:
        raise UserError(f"{file}: {len(found)} ModelDeployments: write a file with the one to simulate")
    serving = resolve(found[0])
    workloads = {str(each.role): each for each in serving.workloads}
    if component not in workloads:
        raise UserError(f"--component {component}: {file} has {' and '.join(workloads)}")
    workload = workloads[component]
    if workload.scaling.automatic and not workload.scaling.queue:
        raise UserError(
            f"{file}: spec.{component}.autoscaling doesn't follow the queue, which is all that a simulation knows: "
            "write target: {queue: 4}"
        )
    return serving, workload


def _list_unheeded(scaling: "Scaling") -> list[str]:
    """The fields of autoscaling beside the queue, of which a load says nothing."""
    followed = {
        "target.queueTime": scaling.queue_time_s,
        "target.requestsPerSecond": scaling.requests_per_s,
        "target.cpu": scaling.cpu_pct,
        "target.memory": scaling.memory_pct,
        "target.gpu": scaling.gpu_pct,
        "metrics": scaling.metrics,
    }
    return [f"autoscaling.{name}" for name, what in followed.items() if what]


def _build_rest(serving: "Serving", workload: "Workload") -> "Rest | None":
    from forebay.simulation.doorway import Rest  # noqa: PLC0415

    if not serving.idle_s:
        return None
    return Rest(
        idle_s=serving.idle_s,
        patience_s=serving.cold_start_s,
        most_held=serving.most_held,
        is_entry=workload == serving.entry,
    )


def _build_limits(workload: "Workload", service_s: float, start_s: float) -> "Shape":
    from forebay.plan.depth import derive_depth  # noqa: PLC0415
    from forebay.simulation.instances import Shape  # noqa: PLC0415

    limits, instances = workload.limits, workload.instances
    depth = limits.depth
    # Those of all instances of the model: before there are as many nothing else is scaled.
    slots = limits.slots // instances.least * max(instances.least, instances.most)
    if limits.depth_derived:
        depth = derive_depth(slots=slots, service_s=service_s, deadline_s=limits.timeout_s)
    return Shape(slots=slots, depth=depth, timeout_s=limits.timeout_s, service_s=service_s, start_s=start_s)


def _parse_duration_s(option: str, text: str) -> float:
    from forebay.plan.units import parse_duration_s  # noqa: PLC0415

    if not _DURATION.fullmatch(text) or not parse_duration_s(text):
        raise UserError(f'{option} {text}: write whole numbers with the units h, m, s, ms, such as "200ms" or "1m30s"')
    return parse_duration_s(text)
