"""The forebay command."""

import asyncio
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from forebay.api import ModelDeployment
from forebay.api.dump import dump_documents
from forebay.api.load import load_file
from forebay.api.problems import InvalidManifest, Problem
from forebay.errors import UserError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
File = Annotated[Path, typer.Argument(help="Manifest with one or more ModelDeployments; - for standard input.")]
Files = Annotated[list[Path], typer.Argument(help="Manifests with one or more ModelDeployments; - for stdin.")]


def _show_version(*, wanted: bool) -> None:
    if wanted:
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
    from forebay.local.serve import serve as serve_locally  # noqa: PLC0415  (the other commands start without it)

    asyncio.run(serve_locally(_load(files), port=port, console=Console()))


@app.command()
def predict(
    name: Annotated[str, typer.Argument(help="ModelDeployment that is being served: NAME or NAMESPACE/NAME.")],
    files: Annotated[
        list[Path] | None, typer.Argument(help="What to send: a picture, .json, or .npy/.npz with tensors.")
    ] = None,
    file: Annotated[list[Path] | None, typer.Option("--file", "-f", help="The same, as an option.")] = None,
) -> None:
    """Send files to a ModelDeployment that `forebay serve` runs, and print the answers."""
    from forebay.local.predict import predict as predict_locally  # noqa: PLC0415

    sent = [*(files or ()), *(file or ())]
    if not sent:
        raise UserError(f"nothing to send: write forebay predict {name} FILE")
    answered = [predict_locally(name, each, console=Console()) for each in sent]
    raise typer.Exit(0 if all(answered) else 1)


@app.command()
def check(
    script: Annotated[Path, typer.Argument(help="Serving script: a .py file with one class.")],
    model_dir: Annotated[
        Path | None, typer.Option(exists=True, file_okay=False, help="Folder of model files, for context.model_dir.")
    ] = None,
) -> None:
    """Try a serving script: syntax, libraries, class, and one example request through the real server."""
    from forebay.local.check import check_script  # noqa: PLC0415

    raise typer.Exit(0 if check_script(script, model_dir=model_dir, console=Console()) else 1)


@app.command()
def validate(files: Files) -> None:
    """Check FILES by the rules that a cluster applies."""
    for each in _load(files):
        Console().print(f"{each.kind} {each.metadata.namespace}/{each.metadata.name} is valid", highlight=False)


@app.command()
def render(file: File) -> None:
    """Print what would be applied to a cluster for FILE."""
    from forebay.plan.cluster import check_reachable  # noqa: PLC0415
    from forebay.plan.manifests import build_manifests  # noqa: PLC0415
    from forebay.plan.resolve import resolve  # noqa: PLC0415

    servings = [resolve(each) for each in load_file(file)]
    unreachable = {f"{each.namespace}/{each.name}: spec.model.uri": check_reachable(each) for each in servings}
    problems = [Problem(str(file), None, path, message) for path, message in unreachable.items() if message]
    if problems:
        raise InvalidManifest(problems)
    sys.stdout.write(dump_documents(child for each in servings for child in build_manifests(each)))


def _load(files: Sequence[Path]) -> list[ModelDeployment]:
    """The objects of all files; InvalidManifest with what is wrong in any of them."""
    objects: list[ModelDeployment] = []
    problems: list[Problem] = []
    for file in files:
        try:
            objects += load_file(file)
        except InvalidManifest as error:
            problems += error.problems
    if problems:
        raise InvalidManifest(problems)
    return objects


def main() -> None:
    """Run the command; what the user can mend is shown without a traceback, with status 1."""
    errors = Console(stderr=True)
    try:
        app()
    except UserError as error:
        errors.print(f"[bold red]error:[/] {escape(str(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)
    except OSError as error:
        errors.print(f"[bold red]error:[/] {escape(_explain(error))}", soft_wrap=True, highlight=False)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)


def _explain(error: OSError) -> str:
    import errno  # noqa: PLC0415

    where = f" ({error.filename})" if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"the disk is full{where}: free some space, or point $FOREBAY_CACHE and $FOREBAY_STATE to another disk"
    return f"{error.strerror or error}{where}"


if __name__ == "__main__":
    main()
