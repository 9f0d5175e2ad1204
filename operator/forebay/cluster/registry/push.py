"""`forebay push`: a folder becomes a version in the registry."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from forebay.api import ModelVersion
from forebay.api.base import GROUP, VERSION
from forebay.api.dump import dump_documents
from forebay.api.load import load_text
from forebay.cluster.registry.content import File, compute_digest, read_files
from forebay.cluster.registry.signature import read_signature
from forebay.cluster.registry.upload import Bucket
from forebay.cluster.registry.versions import apply_version, list_bodies, move_alias
from forebay.cluster.session import Cluster, Target, connect
from forebay.errors import UserError
from forebay.kube.resources import MODEL_VERSION
from forebay.plan.versions import Version, read_version, sort_versions

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Pushed:
    """What is to be pushed, as the options say. An empty string is not given."""

    source: Path
    model: str
    version: str = ""
    to: str = ""
    aliases: Sequence[str] = ()
    metrics: Mapping[str, float] = field(default_factory=dict)
    fields: Json = field(default_factory=dict)


async def push(target: Target, pushed: Pushed, *, upload: bool, write: bool, console: Console) -> str:
    """Upload the files and write the ModelVersion; or answer its YAML, where it isn't to be written."""
    files = await asyncio.to_thread(read_files, pushed.source)
    digest = compute_digest(files)
    signature = await asyncio.to_thread(read_signature, pushed.source, name=pushed.model)
    async with AsyncExitStack() as stack:
        cluster = await stack.enter_async_context(connect(target)) if write or not pushed.version else None
        known = [read_version(each) for each in await list_bodies(cluster)] if cluster else []
        own = [each for each in sort_versions(known) if each.model == pushed.model]
        version = pushed.version or choose_number(own, digest)
        uri = choose_uri(pushed, version, own)
        check_free(own, f"{pushed.model}:{version}", digest=digest, uri=uri)
        manifest = build_manifest(pushed, version, {"uri": uri, "digest": digest, **signature})
        if upload:
            await _upload(files, uri, console)
        if not write or not cluster:
            aliases = {"aliases": list(pushed.aliases)} if pushed.aliases else {}
            return dump_documents([manifest | {"spec": manifest["spec"] | aliases}])
        await apply_version(cluster, manifest)
        console.print(f"{pushed.model}:{version} is in namespace {cluster.namespace}, {digest}", highlight=False)
        await _give_aliases(cluster, pushed, version, console)
    return ""


def choose_number(own: Sequence[Version], digest: str) -> str:
    """The version that has this content already, or else the next number."""
    same = [each.version for each in own if each.digest == digest]
    numbers = [int(each.version) for each in own if each.version.isdigit()]
    return same[0] if same else str(max(numbers, default=0) + 1)


def choose_uri(pushed: Pushed, version: str, own: Sequence[Version]) -> str:
    """The address of the files: below --to, or beside those of the versions before."""
    there = [each.uri for each in own if each.version == version]
    if there and not pushed.to:
        return there[0]
    beside = [each.uri.removesuffix(f"/{each.model}/{each.version}") for each in own if each.uri.startswith("s3://")]
    to = pushed.to or next((each for each in beside if each not in {other.uri for other in own}), "")
    if not to:
        raise UserError(f"where to? write --to s3://BUCKET/PREFIX: the files go below it, to {pushed.model}/{version}")
    return f"{to.rstrip('/')}/{pushed.model}/{version}"


def check_free(own: Iterable[Version], reference: str, *, digest: str, uri: str) -> None:
    """Raises UserError where the version is there with other content, which may be served."""
    for each in own:
        if each.reference == reference and (each.digest not in ("", digest) or each.uri != uri):
            raise UserError(
                f"{reference} is there already, with other content or at another place ({each.uri}): a version never "
                "changes. Leave --version out for the next number"
            )


def build_manifest(pushed: Pushed, version: str, told: Json) -> Json:
    """The ModelVersion. Raises InvalidManifest where the options don't make one."""
    metrics = {"metrics": dict(pushed.metrics)} if pushed.metrics else {}
    manifest = {
        "apiVersion": f"{GROUP}/{VERSION}",
        "kind": MODEL_VERSION.kind,
        "metadata": {"name": f"{pushed.model}-{version}"},
        "spec": {"model": pushed.model, "version": version, **told, **metrics, **pushed.fields},
    }
    # By the loader, for its messages: a name that is none is told as in a file.
    (made,) = load_text(dump_documents([manifest]), file=f"{pushed.model}:{version}", folder=Path.cwd())
    if not isinstance(made, ModelVersion):
        raise TypeError(made.kind)
    return manifest


async def _upload(files: Sequence[File], uri: str, console: Console) -> None:
    bucket = Bucket(uri)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("uploading", total=sum(each.size for each in files))
        sent, there = await asyncio.to_thread(
            bucket.upload, files, on_bytes=lambda count: progress.advance(task, count)
        )
    text = f"{uri}: {sent} files uploaded, {there} were there already"
    console.print(text, highlight=False, soft_wrap=True, markup=False)


async def _give_aliases(cluster: Cluster, pushed: Pushed, version: str, console: Console) -> None:
    for alias in pushed.aliases:
        lost = await move_alias(cluster, f"{pushed.model}@{alias}", version)
        from_ = f", and no more {' and '.join(each.reference for each in lost)}" if lost else ""
        console.print(f"{pushed.model}@{alias} is {pushed.model}:{version}{from_}", highlight=False)
