"""The forebay command. What a command needs is imported in it, so that help is quick."""

import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from forebay.build_command import build
from forebay.cluster import commands as cluster
from forebay.cluster import registry_commands as registry
from forebay.cluster import rollout_commands as rollouts
from forebay.cluster.drill_command import drill
from forebay.cluster.shadow_command import shadow
from forebay.compare_command import compare
from forebay.errors import UserError
from forebay.simulate_command import simulate

if TYPE_CHECKING:
    from rich.console import Console

    from forebay.api.kinds import Loaded

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
File = Annotated[Path, typer.Argument(help="Manifest with one or more ModelDeployments; - for standard input.")]
Files = Annotated[
    list[Path], typer.Argument(help="Manifests with ModelDeployments, and the ModelVersions they name; - for stdin.")
]


def _show_version(*, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415

        sys.stdout.write(f"forebay {version('forebay')}\n")
        raise typer.Exit


@app.callback()
def forebay(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=lambda wanted: _show_version(wanted=wanted),
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """Serve machine-learning models with a bounded queue in front of every instance."""


@app.command()
def serve(
    files: Files,
    port: Annotated[
        int | None, typer.Option(min=1, max=65535, help="Port of the gateway: 8080 or, if taken, any free one.")
    ] = None,
) -> None:
    """Serve the ModelDeployments of FILES on this machine: real Triton, real Envoy, no cluster."""
    from forebay.local.serve import serve as serve_locally  # noqa: PLC0415
    from forebay.local.versions import pin_all  # noqa: PLC0415

    manifests = pin_all(_load(files), files)
    if not manifests:
        raise UserError("there is no ModelDeployment in it: forebay serve needs one, which names the ModelVersion")
    asyncio.run(serve_locally(manifests, port=port, console=_console()))


@app.command()
def predict(  # noqa: PLR0913  (options)
    name: cluster.Name,
    files: Annotated[
        list[Path] | None, typer.Argument(help="What to send: a picture, .json, or .npy/.npz with tensors.")
    ] = None,
    *,
    file: Annotated[list[Path] | None, typer.Option("--file", "-f", help="The same, as an option.")] = None,
    local: Annotated[bool, typer.Option("--local", help="Only to what `forebay serve` runs on this machine.")] = False,
    namespace: cluster.Namespace = None,
    context: cluster.Context = None,
    kubeconfig: cluster.Kubeconfig = None,
    api_key: Annotated[
        str, typer.Option(envvar="FOREBAY_API_KEY", help="API key, where the ModelDeployment asks for one.")
    ] = "",
) -> None:
    """Send files to a ModelDeployment, and print the answers.

    To what `forebay serve` runs on this machine; else, or with -n, --context or --kubeconfig, through the gateway of
    a cluster.
    """
    sent = [*(files or ()), *(file or ())]
    if not sent:
        raise UserError(f"nothing to send: write forebay predict {name} FILE")
    chosen = any((namespace, context, kubeconfig))
    if local and chosen:
        raise UserError("--local is this machine, and -n, --context and --kubeconfig are for a cluster: leave one out")
    if not chosen and _is_for_this_machine(name, local=local):
        from forebay.local.predict import predict as predict_locally  # noqa: PLC0415

        answered = [predict_locally(name, each, api_key=api_key, console=_console()) for each in sent]
        raise typer.Exit(0 if all(answered) else 1)
    raise typer.Exit(0 if cluster.predict(name, sent, where=(namespace, context, kubeconfig), api_key=api_key) else 1)


def _is_for_this_machine(name: str, *, local: bool) -> bool:
    """Whether it is served here. Raises LocalError where it isn't, and there is no cluster either."""
    from forebay.local.errors import LocalError  # noqa: PLC0415
    from forebay.local.run_folder import find_record  # noqa: PLC0415

    try:
        find_record(name)
    except LocalError:
        if local or not cluster.is_known():
            raise
        return False
    return True


@app.command()
def check(  # noqa: PLR0913  (options)
    file: Annotated[
        Path | None,
        typer.Argument(help="Serving script (a .py file with one class), or manifest. Without it, a cluster."),
    ] = None,
    *,
    model_dir: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of model files, for context.model_dir.")
    ] = None,
    in_cluster: Annotated[bool, typer.Option("--cluster", help="Tell what is missing in a cluster.")] = False,
    namespace: cluster.Namespace = None,
    context: cluster.Context = None,
    kubeconfig: cluster.Kubeconfig = None,
) -> None:
    """Try and measure a serving script, or all that a manifest serves. Without FILE: tell what a cluster lacks."""
    if file is None:
        if model_dir:
            raise UserError("--model-dir goes with a script: write forebay check SCRIPT --model-dir FOLDER")
        raise typer.Exit(0 if cluster.check(namespace, context, kubeconfig) else 1)
    if in_cluster or any((namespace, context, kubeconfig)):
        raise UserError(f"write forebay check {file}, or forebay check for the cluster: not both")
    if file.suffix in (".yaml", ".yml", ".json"):
        raise typer.Exit(0 if _check_manifest(file, model_dir) else 1)
    from forebay.local.check import check_script  # noqa: PLC0415

    raise typer.Exit(0 if check_script(file, model_dir=model_dir, console=_console()) else 1)


def _check_manifest(file: Path, model_dir: Path | None) -> bool:
    from forebay.local.check_manifest import check_manifests  # noqa: PLC0415
    from forebay.local.versions import pin_all  # noqa: PLC0415

    if model_dir:
        raise UserError("--model-dir goes with a script: a manifest says where its model is, in model.uri")
    return check_manifests(pin_all(_read(file), [file]), console=_console())


@app.command()
def validate(files: Files) -> None:
    """Check FILES by the rules that a cluster applies."""
    for each in _load(files):
        _console().print(f"{each.kind} {each.metadata.namespace}/{each.metadata.name} is valid", highlight=False)


@app.command()
def render(file: File) -> None:
    """Print what would be applied to a cluster for FILE."""
    from forebay.api.dump import dump_documents  # noqa: PLC0415
    from forebay.api.problems import InvalidManifest, Problem  # noqa: PLC0415
    from forebay.local.versions import pin_all  # noqa: PLC0415
    from forebay.plan.cluster import check_reachable  # noqa: PLC0415
    from forebay.plan.manifests import build_manifests  # noqa: PLC0415
    from forebay.plan.resolve import resolve  # noqa: PLC0415
    from forebay.plan.site import Site  # noqa: PLC0415

    servings = [resolve(each) for each in pin_all(_read(file), [file])]
    unreachable = {f"{each.namespace}/{each.name}: spec.model.uri": check_reachable(each) for each in servings}
    problems = [Problem(str(file), None, path, message) for path, message in unreachable.items() if message]
    if problems:
        raise InvalidManifest(problems)
    site = Site(mlflow_uri=os.environ.get("MLFLOW_TRACKING_URI", ""))
    sys.stdout.write(dump_documents(child for each in servings for child in build_manifests(each, site)))


for command in (cluster.install, cluster.uninstall, cluster.status, cluster.logs):
    app.command()(command)
for rollout_command in (
    rollouts.rollout, rollouts.promote, rollouts.abort, rollouts.retry, rollouts.pause, rollouts.resume
):  # fmt: skip
    app.command()(rollout_command)
for history_command in (rollouts.history, rollouts.diff, rollouts.rollback):
    app.command()(history_command)
for registry_command in (registry.push, registry.models, registry.alias, compare):
    app.command()(registry_command)
app.command()(drill)
app.command()(shadow)
app.command()(build)
app.command()(simulate)


def _load(files: Sequence[Path]) -> list["Loaded"]:
    """The objects of all files; InvalidManifest with what is wrong in any of them."""
    from forebay.api.problems import InvalidManifest, Problem  # noqa: PLC0415

    objects: list[Loaded] = []
    problems: list[Problem] = []
    for file in files:
        try:
            objects += _read(file)
        except InvalidManifest as error:
            problems += error.problems
    if problems:
        raise InvalidManifest(problems)
    return objects


def _read(file: Path) -> list["Loaded"]:
    """The objects of a file. Beyond the rules, what they say of config.pbtxt is held against Triton's schema."""
    from forebay.api import ModelDeployment  # noqa: PLC0415
    from forebay.api.load import load_file  # noqa: PLC0415
    from forebay.api.problems import InvalidManifest, Problem  # noqa: PLC0415

    objects = load_file(file)
    problems = []
    for each in objects:
        if isinstance(each, ModelDeployment) and each.spec.model and each.spec.model.config:
            from forebay.serving.formats.config import check_config  # noqa: PLC0415

            if wrong := check_config(each.spec.model.config):
                path = f"{each.metadata.namespace}/{each.metadata.name}: spec.model.config"
                problems.append(Problem(str(file), None, path, wrong))
    if problems:
        raise InvalidManifest(problems)
    return objects


def _console() -> "Console":
    from rich.console import Console  # noqa: PLC0415

    return Console()


def main() -> None:
    """Run the command; what the user can mend is shown without a traceback, with status 1."""
    try:
        app()
    except UserError as error:
        _fail(str(error))
    except OSError as error:
        _fail(_explain(error))
    except KeyboardInterrupt:
        sys.exit(130)


def _fail(message: str) -> NoReturn:
    from rich.console import Console  # noqa: PLC0415
    from rich.markup import escape  # noqa: PLC0415

    Console(stderr=True).print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)
    sys.exit(1)


def _explain(error: OSError) -> str:
    import errno  # noqa: PLC0415

    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}: free some space, or point $FOREBAY_CACHE and $FOREBAY_STATE to another disk"
    return f"{error.strerror or error}{where}"


if __name__ == "__main__":
    main()
