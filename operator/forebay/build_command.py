"""`forebay build`: its options, and what it prints."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from forebay.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

    from forebay.build.order import Built, Order
    from forebay.build.publish import OnBytes


def build(  # noqa: PLR0913  (options)
    script: Annotated[Path, typer.Argument(help="Serving script: a .py file with one class.")],
    *,
    tag: Annotated[str, typer.Option("--tag", "-t", help="REGISTRY/NAME:TAG to push it to.")] = "",
    requirements: Annotated[
        Path | None, typer.Option("--requirements", "-r", help="requirements.txt; only wheels are installed.")
    ] = None,
    base: Annotated[
        str, typer.Option(envvar="FOREBAY_IMAGE_RUNTIME", help="Image below: Forebay's runtime, or one made of it.")
    ] = "",
    platform: Annotated[
        list[str] | None,
        typer.Option(help="linux/amd64, linux/arm64; repeatable, or with commas. Else this machine's."),
    ] = None,
    add: Annotated[
        list[Path] | None, typer.Option(help="File or folder to lie beside the script; modules it imports do anyway.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Folder of the model's files, for context.model_dir.")] = None,
    name: Annotated[str, typer.Option(help="What the model is called; else as the script.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write an OCI layout: a folder, or a file.tar.")
    ] = None,
    index: Annotated[
        list[str] | None, typer.Option(help="Package index in place of PyPI; further ones beside it; repeatable.")
    ] = None,
    python: Annotated[str, typer.Option(help="Python of a base that doesn't tell it: 3.13.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="KEY=VALUE; repeatable.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Take registries without TLS, by http.")] = False,
) -> None:
    """Make a container image of a serving script: no daemon, nothing is run, the same input gives the same digest."""
    from forebay.build.order import Order, fulfil  # noqa: PLC0415
    from forebay.plan.images import Images  # noqa: PLC0415

    order = Order(
        script=script,
        base=base or Images().runtime,
        target=tag,
        output=output,
        name=name,
        requirements=requirements,
        added=add or (),
        model=model,
        platforms=[part.strip() for each in platform or () for part in each.split(",") if part.strip()],
        python=python,
        indexes=index or (),
        labels=dict(_split(each) for each in label or ()),
        insecure=insecure,
    )
    console = _build_console()
    _tell(fulfil(order, Screen(console)), order, console)


class Screen:
    """A person's terminal, or a pipe."""

    def __init__(self, console: "Console") -> None:
        self._console = console

    def say(self, text: str) -> None:
        """A line."""
        self._console.print(text, highlight=False, soft_wrap=True, markup=False)

    @contextmanager
    def follow(self, title: str, total: int) -> "Iterator[OnBytes]":
        """A bar while it goes on."""
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn  # noqa: PLC0415

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        console = self._console
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
            task = progress.add_task(title, total=total)
            yield lambda count: progress.advance(task, count)


def describe_image(built: "Built") -> list[str]:
    """What was made, in lines: layers with their sizes, what was sent, and the digest."""
    from forebay.serving.storage.errors import show_bytes  # noqa: PLC0415

    lines = []
    for each in built.image.platforms:
        ours = sum(layer.descriptor.size for layer in each.layers)
        below = sum(layer.size for layer in each.base.layers)
        lines.append(f"{each.base.platform}: {show_bytes(ours)} over {show_bytes(below)} of the base")
    if built.sent:
        parts = {
            "uploaded": built.sent.uploaded,
            "taken over in the registry": built.sent.mounted,
            "there already": built.sent.there,
        }
        lines.append(", ".join(f"{show_bytes(size)} {what}" for what, size in parts.items() if size))
    lines.append(built.reference or built.image.digest)
    return lines


def build_snippet(built: "Built") -> str:
    """What to write into a ModelDeployment."""
    from forebay.build.build import GRPC_PORT  # noqa: PLC0415

    role = built.script.role
    lines = [f"{role}:", "  custom:", f"    image: {built.reference}", f"    grpcPort: {GRPC_PORT}"]
    return "\n".join(f"  {line}" for line in lines)


def _tell(built: "Built", order: "Order", console: "Console") -> None:
    screen = Screen(console)
    for line in describe_image(built):
        screen.say(line)
    if order.output:
        screen.say(f"written to {order.output}")
    if built.reference:
        screen.say(f"\nin a ModelDeployment's spec:\n{build_snippet(built)}")


def _split(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not key or not sign:
        raise UserError(f"--label {text}: write KEY=VALUE")
    return key, value


def _build_console() -> "Console":
    from rich.console import Console  # noqa: PLC0415

    return Console()
