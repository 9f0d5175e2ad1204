"""The subcommands of the model registry: their options. What they need is imported in them, so that help is quick."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from forebay.cluster.commands import (
    Context,
    Kubeconfig,
    Namespace,
    build_console,
    build_target,
    is_known,
    run,
)
from forebay.errors import UserError

ModelName = Annotated[str, typer.Argument(help="Model, as in digits.")]


def push(  # noqa: PLR0913  (options)
    source: Annotated[Path, typer.Argument(help="The model's folder or file, or a Triton repository.")],
    name: ModelName,
    *,
    version: Annotated[str, typer.Option(help="Version; else that of the same content, or the next number.")] = "",
    to: Annotated[
        str,
        typer.Option(
            envvar="FOREBAY_PUSH_TO",
            help="s3://BUCKET/PREFIX, to which MODEL/VERSION is added; else where the last is.",
        ),
    ] = "",
    alias: Annotated[list[str] | None, typer.Option(help="Alias to give it, such as candidate; repeatable.")] = None,
    metric: Annotated[list[str] | None, typer.Option(help="NAME=NUMBER, as in accuracy=0.97; repeatable.")] = None,
    by: Annotated[str, typer.Option(help="Who made it.")] = "",
    origin: Annotated[
        list[str] | None, typer.Option("--from", help="What it was made from: data, a commit; repeatable.")
    ] = None,
    training_run: Annotated[str, typer.Option("--run", help="The run that made it: an id or address.")] = "",
    reference: Annotated[str, typer.Option(help="Address of reference data.")] = "",
    file_format: Annotated[
        str, typer.Option("--format", help="What the file is, as spec.model.format: onnx; else a Triton repository.")
    ] = "",
    secret: Annotated[str, typer.Option(help="Secret with credentials, for who serves it.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Upload nothing, and print the ModelVersion.")] = False,
    output: Annotated[
        str, typer.Option("--output", "-o", help="yaml: upload, but print the ModelVersion and don't write it.")
    ] = "",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Upload a model, and write it into the registry as a new version."""
    from forebay.cluster.registry.push import Pushed  # noqa: PLC0415
    from forebay.cluster.registry.push import push as push_there  # noqa: PLC0415

    if output not in ("", "yaml"):
        raise UserError(f"-o {output}: write -o yaml")
    write = not dry_run and not output
    if not version and not is_known():
        raise UserError("without a cluster nobody knows the last version: write --version")
    lineage = {"by": by, "from": list(origin or ()), "run": training_run}
    told = {
        "lineage": {key: value for key, value in lineage.items() if value},
        "reference": reference,
        "format": file_format,
        "credentials": {"secretName": secret} if secret else {},
    }
    pushed = Pushed(
        source=source,
        model=name,
        version=version,
        to=to,
        aliases=alias or (),
        metrics=read_metrics(metric or ()),
        fields={key: value for key, value in told.items() if value},
    )
    target = build_target(namespace, context, kubeconfig)
    # What is printed is for a file or a pipe: words go elsewhere.
    console = build_console(stderr=not write)
    sys.stdout.write(run(push_there(target, pushed, upload=not dry_run, write=write, console=console)))


def models(
    name: Annotated[str | None, typer.Argument(help="Model: its versions; else all models.")] = None,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """List the models of the registry, or the versions of one."""
    from forebay.cluster.registry.commands import show_models  # noqa: PLC0415

    run(show_models(build_target(namespace, context, kubeconfig), name or "", console=build_console()))


def alias(
    reference: Annotated[str, typer.Argument(metavar="MODEL@ALIAS", help="Alias, as in digits@champion.")],
    version: Annotated[str, typer.Argument(help="Version that is to have it.")],
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Move an alias to a version: whatever is served by that alias rolls out."""
    from forebay.cluster.registry.commands import give_alias  # noqa: PLC0415

    if "@" not in reference:
        raise UserError(f"{reference} is no alias: write forebay alias {reference.partition(':')[0]}@champion VERSION")
    target = build_target(namespace, context, kubeconfig)
    run(give_alias(target, reference, version.rpartition(":")[2], console=build_console()))


def read_metrics(given: Sequence[str]) -> dict[str, float]:
    """Metrics from NAME=NUMBER."""
    metrics = {}
    for each in given:
        name, _, text = each.partition("=")
        try:
            metrics[name] = float(text)
        except ValueError:
            metrics[name] = math.nan
        if not name or not math.isfinite(metrics[name]):
            raise UserError(f"--metric {each}: write NAME=NUMBER, as in accuracy=0.97")
    return metrics
