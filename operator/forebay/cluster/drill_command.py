"""The subcommand of drills: its options. What it needs is imported in it, so that help is quick."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from forebay.cluster.commands import Context, Kubeconfig, Name, Namespace, build_console, build_named_target, run
from forebay.errors import UserError

_LONGEST_S = 3600


class Fault(StrEnum):
    """What may be broken."""

    PREDICTOR_DOWN = "predictor-down"
    REFUSING = "refusing"
    SLOW = "slow"


def drill(  # noqa: PLR0913  (options)
    name: Name,
    *,
    fault: Annotated[Fault, typer.Option(help="What the revision's requests meet.")],
    lasts: Annotated[str, typer.Option("--for", help='For how long: "30s", an hour at most.')] = "30s",
    revision: Annotated[str, typer.Option(help="Revision; else the one that serves.")] = "",
    delay: Annotated[str, typer.Option(help="With slow: how much later each request is begun; else 5s.")] = "",
    file: Annotated[
        Path | None, typer.Option(help="JSON that is sent, to /v2/models/NAME/infer; else /v2/health/ready is asked.")
    ] = None,
    path: Annotated[str, typer.Option(help="Path that requests go to instead, such as /predict.")] = "",
    rate: Annotated[float, typer.Option(min=0.1, max=1000, help="Requests that are sent in a second.")] = 10,
    url: Annotated[str, typer.Option(help="The gateway's address; else a port of one of its pods.")] = "",
    api_key: Annotated[str, typer.Option(envvar="FOREBAY_API_KEY", help="API key, where one is asked for.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask before anything is broken.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Break one revision on purpose for a while (spec.drill), and tell what clients see: codes, fallback, times."""
    from forebay.cluster.drill import Load, Wanted, choose_revision  # noqa: PLC0415
    from forebay.cluster.drill import drill as drill_there  # noqa: PLC0415

    if delay and fault is not Fault.SLOW:
        raise UserError("--delay goes with --fault slow")
    target, name = build_named_target(name, namespace, context, kubeconfig)
    wanted = Wanted(fault=fault, lasts_s=_parse(lasts), revision=revision, delay=delay)
    body = file.read_bytes() if file else b""
    chosen = run(choose_revision(target, name, wanted))
    if not yes:
        _confirm(f"Clients of {name} get {fault} of revision {chosen} for {lasts}. Go on?")
    load = Load(per_s=rate, body=body, path=path, url=url, api_key=api_key)
    run(drill_there(target, name, wanted, load, console=build_console()))


def _parse(lasts: str) -> int:
    from forebay.plan.units import parse_duration_s  # noqa: PLC0415

    seconds = parse_duration_s(lasts)
    if not 1 <= seconds <= _LONGEST_S:
        raise UserError(f'--for must lie between 1s and 1h, as in "30s": {lasts!r} does not')
    return int(seconds)


def _confirm(question: str) -> None:
    if not sys.stdin.isatty():
        raise UserError("a drill breaks what clients use: write --yes if you mean it")
    if not typer.confirm(question):
        raise typer.Exit(1)
