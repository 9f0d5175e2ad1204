"""What somebody wants built, as options or an ImageBuild say it; and doing it, from the check to the push."""

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from forebay.build.base import Base, BaseImage, choose_platform
from forebay.build.build import Image, Recipe, build
from forebay.build.errors import BuildError
from forebay.build.names import ImageName, read_name, read_target
from forebay.build.publish import OnBytes, Sent, push, write_layout
from forebay.build.registry import Target, is_plain
from forebay.build.requirements import Requirements, check_platform
from forebay.build.script import Script, name_model, read_script
from forebay.serving.source import Role

# For repositories of images: https://reproducible-builds.org/specs/source-date-epoch/
_EPOCH = "SOURCE_DATE_EPOCH"


@dataclass(frozen=True, kw_only=True)
class Order:
    """What is to be built. An empty text is not given. `in_pod`: where this machine's own registry is nobody's."""

    script: Path
    base: str
    target: str = ""
    output: Path | None = None
    name: str = ""
    role: Role | None = None
    requirements: Path | None = None
    added: Sequence[Path] = ()
    model: Path | None = None
    platforms: Sequence[str] = ()
    python: str = ""
    indexes: Sequence[str] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    insecure: bool = False
    in_pod: bool = False


class Listener(Protocol):
    """Who is told how far it is."""

    def say(self, text: str) -> None:
        """Something was found or done."""

    def follow(self, title: str, total: int) -> AbstractContextManager[OnBytes]:
        """Something takes its time: so many bytes, of which what is given is told."""


@dataclass(frozen=True, kw_only=True)
class Built:
    """What was built. `reference` is where it was pushed to, by its digest; empty where it wasn't."""

    image: Image
    script: Script
    reference: str = ""
    sent: Sent | None = None


def fulfil(order: Order, listener: Listener) -> Built:
    """Build, and push or write. Raises BuildError: first for what can be told with no network."""
    script = read_script(order.script, order.added, role=order.role)
    if not order.target and not order.output:
        raise BuildError("where to? write --tag REGISTRY/NAME:TAG, or --output FILE.tar")
    base_name = read_name(order.base)
    target_name = read_target(order.target) if order.target else None
    platforms = list(dict.fromkeys(order.platforms)) or [choose_platform()]
    for each in platforms:
        check_platform(each)
    for file in (order.requirements, order.model):
        if file and not file.exists():
            raise BuildError(f"{file} is not there: correct the path")
    recipe = _build_recipe(order, script)
    with tempfile.TemporaryDirectory(prefix="forebay-build-") as made, _open_base(order, base_name) as source:
        bases = source.find(platforms)
        _tell_base(bases, base_name, listener)
        image = build(recipe, bases, base_name, Path(made), say=listener.say)
        if order.output:
            with listener.follow(f"writing {order.output}", sum(each.size for each in image.blobs)) as on_bytes:
                write_layout(image, source, order.output, name=str(target_name or ""), on_bytes=on_bytes)
        if target_name is None:
            return Built(image=image, script=script)
        sent = _push(order, image, source, target_name, listener)
    return Built(image=image, script=script, reference=target_name.pin(image.digest), sent=sent)


def _build_recipe(order: Order, script: Script) -> Recipe:
    wanted = order.requirements
    return Recipe(
        script=script,
        name=order.name or name_model(order.script),
        requirements=Requirements(file=wanted, indexes=order.indexes) if wanted else None,
        model=order.model,
        python=order.python,
        labels=order.labels,
        created=_read_time(),
    )


def _read_time() -> str:
    """When it was made, where somebody says; otherwise each build would be another image."""
    text = os.environ.get(_EPOCH, "")
    if not text:
        return ""
    try:
        return datetime.fromtimestamp(int(text), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError) as error:
        raise BuildError(f"{_EPOCH}={text}: write seconds since 1970, or leave it out") from error


@contextmanager
def _open_base(order: Order, name: ImageName) -> Iterator[BaseImage]:
    source = BaseImage(name, allow_loopback=not order.in_pod, plain=is_plain(name, insecure=order.insecure))
    try:
        yield source
    finally:
        source.close()


def _tell_base(bases: Sequence[Base], name: ImageName, listener: Listener) -> None:
    for base in bases:
        python = f", Python {base.python}" if base.python else ""
        listener.say(f"base {name.registry}/{name.repository}@{base.digest} for {base.platform}{python}")
        if not base.is_runtime:
            listener.say(
                f"warning: {name} doesn't say that it holds forebay.serving (the label dev.forebay.runtime): the image "
                "starts only if it does"
            )


def _push(order: Order, image: Image, source: BaseImage, name: ImageName, listener: Listener) -> Sent:
    plain = is_plain(name, insecure=order.insecure)
    target = Target(name, allow_loopback=not order.in_pod, plain=plain, source=source.name)
    try:
        with listener.follow(f"pushing {name}", sum(each.size for each in image.blobs)) as on_bytes:
            return push(image, source, target, tag=name.tag, on_bytes=on_bytes)
    finally:
        target.close()
