"""The subcommands that are for a cluster: their options. What they need is imported in them, so that help is quick."""

import asyncio
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from forebay.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from forebay.cluster.session import Target

T = TypeVar("T")

Namespace = Annotated[
    str | None, typer.Option("--namespace", "-n", help="Namespace; else that of the kubeconfig's context.")
]
Context = Annotated[str | None, typer.Option(help="Context of the kubeconfig; else its current one.")]
Kubeconfig = Annotated[str | None, typer.Option(help="Kubeconfig; else $KUBECONFIG or ~/.kube/config.")]
Name = Annotated[str, typer.Argument(help="ModelDeployment: NAME or NAMESPACE/NAME.")]
Own = Annotated[str, typer.Option("--namespace", "-n", help="Namespace of the operator and the gateway.")]

# Tables are not cut off in a pipe.
_PIPE_COLUMNS = 500


def install(  # noqa: PLR0913  (options)
    *,
    namespace: Own = "forebay-system",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    image: Annotated[
        list[str] | None, typer.Option(help="NAME=REFERENCE, for operator, runtime, triton or envoy; repeatable.")
    ] = None,
    images: Annotated[Path | None, typer.Option(help="File with `images: {operator: REFERENCE, ...}`.")] = None,
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for the operator and the gateway.")] = 180,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be applied, as YAML.")] = False,
) -> None:
    """Install Forebay in a cluster, or bring it to this version. The Helm chart has more settings."""
    from forebay.cluster import install as installing  # noqa: PLC0415
    from forebay.cluster.manifests import read_images  # noqa: PLC0415

    named = read_images(images, image or [])
    if dry_run:
        sys.stdout.write(installing.render(namespace, named))
        return
    target = build_target(namespace, context, kubeconfig)
    run(installing.install(target, images=named, timeout_s=timeout, console=build_console()))


def uninstall(
    *,
    namespace: Own = "forebay-system",
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    crds: Annotated[
        bool,
        typer.Option(
            "--crds", help="Delete the CRDs, too: and with them all ModelDeployments, their pods, and ModelVersions."
        ),
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Don't ask before ModelDeployments and ModelVersions are deleted.")
    ] = False,
) -> None:
    """Remove from a cluster what `forebay install` put there. ModelDeployments and their pods stay."""
    from forebay.cluster import install as installing  # noqa: PLC0415

    target = build_target(namespace, context, kubeconfig)
    if crds and not yes:
        objects = run(installing.describe_objects(target))
        question = f"This deletes the CRDs, and with them all {objects} of all namespaces. Go on?"
        if objects and not sys.stdin.isatty():
            raise UserError(f"--crds deletes all {objects} of all namespaces: write --yes if you mean it")
        if objects and not typer.confirm(question):
            raise typer.Exit(1)
    run(installing.uninstall(target, crds=crds, console=build_console()))


def status(  # noqa: PLR0913  (options)
    name: Annotated[str | None, typer.Argument(help="ModelDeployment: NAME or NAMESPACE/NAME; else all.")] = None,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="Of all namespaces.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Go on showing it, until Ctrl-C.")] = False,
) -> None:
    """Show the ModelDeployments of a cluster, or all about one. Status 0: ready, 1: not."""
    from forebay.cluster.status import show_all, show_one  # noqa: PLC0415

    if name and everywhere:
        raise UserError(f"write forebay status {name}, or forebay status -A: not both")
    if name:
        target, name = build_named_target(name, namespace, context, kubeconfig)
        ready = run(show_one(target, name, watch=watch, console=build_console()))
    else:
        target = build_target(namespace, context, kubeconfig)
        ready = run(show_all(target, everywhere=everywhere, watch=watch, console=build_console()))
    raise typer.Exit(0 if ready else 1)


def logs(  # noqa: PLR0913  (options)
    name: Name,
    *,
    namespace: Namespace = None,
    context: Context = None,
    kubeconfig: Kubeconfig = None,
    component: Annotated[str, typer.Option(help="Only the pods of the predictor, or of the transformer.")] = "",
    container: Annotated[
        str, typer.Option("--container", "-c", help="Container: download, queue, ...; else the model server.")
    ] = "",
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")] = False,
    tail: Annotated[int, typer.Option(min=-1, help="Lines of each container; -1 is all.")] = 100,
    previous: Annotated[bool, typer.Option("--previous", "-p", help="Of the run before the last restart.")] = False,
) -> None:
    """Show the logs of all pods of a ModelDeployment."""
    from forebay.cluster.logs import show_logs  # noqa: PLC0415
    from forebay.cluster.sources import Wanted  # noqa: PLC0415

    if component not in ("", "predictor", "transformer"):
        raise UserError(f"there is no component {component}: write --component predictor or --component transformer")
    if follow and previous:
        raise UserError("a run that is over can't be followed: write --follow or --previous")
    target, name = build_named_target(name, namespace, context, kubeconfig)
    wanted = Wanted(component=component, container=container, previous=previous, tail=tail)
    run(show_logs(target, name, wanted, follow=follow, console=build_console()))


def predict(
    name: str, files: Sequence[Path], *, where: tuple[str | None, str | None, str | None], api_key: str
) -> bool:
    """Send files through a cluster's gateway. `where` is namespace, context and kubeconfig."""
    from forebay.cluster.predict import predict as predict_there  # noqa: PLC0415

    target, name = build_named_target(name, *where)
    return run(predict_there(target, name, files, api_key=api_key, console=build_console()))


def check(namespace: str | None, context: str | None, kubeconfig: str | None) -> bool:
    """Tell what is missing in a cluster."""
    from forebay.cluster.check import check_cluster  # noqa: PLC0415

    return run(check_cluster(build_target(namespace, context, kubeconfig), console=build_console()))


def is_known() -> bool:
    """Whether there is a kubeconfig."""
    from forebay.kube.kubeconfig import find_kubeconfig  # noqa: PLC0415

    return find_kubeconfig() is not None


def build_target(namespace: str | None, context: str | None, kubeconfig: str | None) -> "Target":
    """Which cluster and namespace the options say."""
    from forebay.cluster.session import Target  # noqa: PLC0415

    return Target(namespace=namespace, context=context, kubeconfig=kubeconfig)


def build_named_target(
    name: str, namespace: str | None, context: str | None, kubeconfig: str | None
) -> tuple["Target", str]:
    """The target, and the name without its namespace. Raises UserError where two are said."""
    before, slash, rest = name.rpartition("/")
    if slash and namespace not in (None, before):
        raise UserError(f"{name} is in namespace {before}, -n says {namespace}: leave one of them out")
    return build_target(before if slash else namespace, context, kubeconfig), rest


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do it, and answer what comes of it."""
    return asyncio.run(work)


def build_console(*, stderr: bool = False) -> "Console":
    """Where a command prints to."""
    from rich.console import Console  # noqa: PLC0415

    console = Console(stderr=stderr)
    return console if console.is_terminal else Console(stderr=stderr, width=_PIPE_COLUMNS)
