"""`forebay compare`: its options, the versions that they name, and how it ends."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from forebay.cluster.commands import Context, Kubeconfig, Namespace, build_console, build_target, run
from forebay.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from forebay.api import ModelDeployment
    from forebay.local.compare.comparison import Comparison
    from forebay.local.compare.contender import Contender

BELOW = 3
Reference = Annotated[str, typer.Argument(help="Version: MODEL:VERSION, MODEL@ALIAS, or a ModelVersion's name.")]
Json = dict[str, Any]


def compare(  # noqa: PLR0913  (options)
    one: Reference,
    other: Reference,
    *,
    inputs: Annotated[
        list[str] | None,
        typer.Option(
            "--inputs",
            "-i",
            help="What both are to answer here: .npz, .npy, .json, .jsonl or .csv, a folder of them, an address such "
            "as s3://BUCKET/PREFIX, or `reference`, the first version's reference data; repeatable.",
        ),
    ] = None,
    files: Annotated[
        list[Path] | None,
        typer.Option(
            "--file",
            "-f",
            help="Manifest: of the ModelVersions, in place of a cluster's; of a ModelDeployment whose predictor runs "
            "them, in place of Triton; repeatable.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many inputs, from the first.")] = 1000,
    whole: Annotated[bool, typer.Option("--whole", help="Each file is one request, not one for each row.")] = False,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="Numbers that differ by no more are equal; else 0.00001, and for scores the class."),
    ] = None,
    min_agreement: Annotated[
        float | None, typer.Option(min=0, max=1, help="End with status 3 if a smaller share of the answers is equal.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one answer.")] = 60,
    output: Annotated[str, typer.Option("--output", "-o", help="json: one document, for programs.")] = "",
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
) -> None:
    """Show two versions side by side: what was measured of them and, with --inputs, what both answer.

    For the latter each is served on this machine, one after the other. Status 0: compared; 1: couldn't be; 3: compared,
    and fewer answers are equal than --min-agreement asks.
    """
    if output not in ("", "json"):
        raise UserError(f"-o {output}: write -o json")
    if min_agreement is not None and not inputs:
        raise UserError("--min-agreement is about answers: write --inputs, too")
    for each in (one, other):
        if not set(each) & set(":@-"):
            raise UserError(f"{each} names no version: write {each}:VERSION or {each}@ALIAS")
    bodies, deployment = _read_manifests(files or ())
    pair = _find(bodies, one, other) if bodies else run(_find_there((one, other), namespace, context, kubeconfig))
    # What is printed is for a program: words go elsewhere.
    console = build_console(stderr=bool(output))
    document = _tell_registered(pair, console, quiet=bool(output))
    comparison = None
    if inputs:
        comparison = _compare(
            pair,
            deployment,
            inputs,
            {"limit": limit, "whole": whole, "timeout_s": timeout, "tolerance": tolerance},
            console,
        )
        document |= _tell(comparison, console, quiet=bool(output))
    if output:
        sys.stdout.write(json.dumps(document, indent=1) + "\n")
    if comparison and min_agreement is not None:
        _judge(comparison, min_agreement, console)


def _read_manifests(files: Sequence[Path]) -> tuple[list[Json], "ModelDeployment | None"]:
    """The ModelVersions of the files, and the one ModelDeployment in them."""
    from forebay.api import ModelDeployment, ModelVersion  # noqa: PLC0415
    from forebay.api.dump import to_data  # noqa: PLC0415
    from forebay.api.load import load_file  # noqa: PLC0415

    objects = [each for file in files for each in load_file(file)]
    deployments = [each for each in objects if isinstance(each, ModelDeployment)]
    if len(deployments) > 1:
        raise UserError(
            f"there are {len(deployments)} ModelDeployments in the files: name a file with the one whose predictor is "
            "to run both versions"
        )
    versions = [to_data(each) for each in objects if isinstance(each, ModelVersion)]
    return versions, deployments[0] if deployments else None


def _find(bodies: Sequence[Json], one: str, other: str) -> tuple[Json, Json]:
    from forebay.cluster.registry.versions import choose_body  # noqa: PLC0415

    return choose_body(bodies, one), choose_body(bodies, other)


async def _find_there(
    references: tuple[str, str], namespace: str | None, context: str | None, kubeconfig: str | None
) -> tuple[Json, Json]:
    from forebay.cluster.registry.versions import list_bodies  # noqa: PLC0415
    from forebay.cluster.session import connect  # noqa: PLC0415

    async with connect(build_target(namespace, context, kubeconfig)) as cluster:
        return _find(await list_bodies(cluster), *references)


def _tell_registered(pair: tuple[Json, Json], console: "Console", *, quiet: bool) -> Json:
    from forebay.cluster.registry.show import build_comparison  # noqa: PLC0415
    from forebay.plan.versions import read_version  # noqa: PLC0415

    if not quiet:
        console.print(build_comparison(*pair), markup=False, highlight=False)
    return {
        "versions": [read_version(each).reference for each in pair],
        "metrics": {read_version(each).reference: each["spec"].get("metrics", {}) for each in pair},
    }


def _compare(
    pair: tuple[Json, Json], deployment: "ModelDeployment | None", inputs: Sequence[str], how: Json, console: "Console"
) -> "Comparison":
    from forebay.local.compare.comparison import Asked  # noqa: PLC0415
    from forebay.local.compare.comparison import compare as compare_here  # noqa: PLC0415
    from forebay.local.compare.samples import bring_inputs  # noqa: PLC0415

    contenders = [_build_contender(each, deployment) for each in pair]
    _check_signatures(pair)

    async def work() -> "Comparison":
        found = [file for each in inputs for file in await bring_inputs(_find_reference(each, pair[0]))]
        return await compare_here(contenders[0], contenders[1], Asked(files=found, **how), console)

    return run(work())


def _find_reference(given: str, body: Json) -> str:
    """The path or address that --inputs says."""
    if given != "reference":
        return given
    told: str = body["spec"].get("reference") or ""
    if not told:
        name = body["metadata"]["name"]
        raise UserError(f"--inputs reference: {name} names no reference data. Write spec.reference, or --inputs FILE")
    return told


def _check_signatures(pair: tuple[Json, Json]) -> None:
    """Raises UserError where the registry knows already that no input is for both."""
    from forebay.local.compare.comparison import describe_mismatch  # noqa: PLC0415
    from forebay.plan.versions import read_version  # noqa: PLC0415
    from forebay.serving.tensors import Tensor  # noqa: PLC0415

    sides = [
        [Tensor(tensor["name"], tensor["dataType"], tensor["shape"]) for tensor in each["spec"].get("inputs", ())]
        for each in pair
    ]
    names = [read_version(each).reference for each in pair]
    if all(sides) and (problem := describe_mismatch((names[0], sides[0]), (names[1], sides[1]))):
        raise UserError(problem)


def _build_contender(body: Json, deployment: "ModelDeployment | None") -> "Contender":
    from forebay.api import ModelDeployment, ModelSource  # noqa: PLC0415
    from forebay.api.kinds import API_VERSION  # noqa: PLC0415
    from forebay.local.compare.contender import Contender  # noqa: PLC0415
    from forebay.plan.versions import pin, read_version  # noqa: PLC0415

    version = read_version(body)
    source = ModelSource(version=version.reference)
    if deployment is None:
        deployment = ModelDeployment.model_validate(
            {
                "apiVersion": API_VERSION,
                "kind": "ModelDeployment",
                "metadata": {"name": version.model},
                "spec": {"model": {"version": version.reference}, "predictor": {"triton": {}}},
            }
        )
    elif deployment.spec.model and deployment.spec.model.config:
        source = source.model_copy(update={"config": deployment.spec.model.config})
    named = deployment.model_copy(update={"spec": deployment.spec.model_copy(update={"model": source})})
    labels = body["spec"].get("labels") or ()
    return Contender(reference=version.reference, deployment=pin(named, version), labels=labels)


def _tell(comparison: "Comparison", console: "Console", *, quiet: bool) -> Json:
    from forebay.local.compare.report import build_document, build_tables  # noqa: PLC0415

    for each in build_tables(comparison) if not quiet else ():
        console.print("")
        console.print(each, markup=False, highlight=False, soft_wrap=isinstance(each, str))
    return build_document(comparison)


def _judge(comparison: "Comparison", least: float, console: "Console") -> None:
    """End the command where too few answers are equal."""
    from forebay.local.compare.judge import share_equal  # noqa: PLC0415
    from forebay.local.compare.report import show_share  # noqa: PLC0415

    share = share_equal(comparison.rows)
    if share < least:
        told = f"{show_share(share)} of the answers are equal, and --min-agreement asks for {show_share(least)}"
        console.print(f"\n{told}", style="red", markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(BELOW)
