"""`forebay logs`: what the containers of a ModelDeployment say, each line with where it is from."""

import asyncio
from collections.abc import Sequence

import aiohttp
from rich.console import Console
from rich.text import Text

from forebay.cluster.deployments import find_deployment, list_pods
from forebay.cluster.errors import ClusterError
from forebay.cluster.session import Cluster, Target, connect
from forebay.cluster.sources import Source, Wanted, list_sources
from forebay.kube.client import ApiError
from forebay.kube.resources import POD

_PAUSE_S = 1.0
# A container that says nothing for so long is not followed any more, and that is told.
_SILENCE_S = 24 * 3600.0
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_cyan", "bright_magenta", "bright_green")


async def show_logs(target: Target, name: str, wanted: Wanted, *, follow: bool, console: Console) -> None:
    """Print the logs of all pods; with `follow` go on with what comes, from new pods and restarted containers too."""
    async with connect(target) as cluster:
        await find_deployment(cluster, name)
        printer = _Printer(console)
        if follow:
            await _Follower(cluster, name, wanted, printer).run()
        sources = list_sources(await list_pods(cluster, name), wanted)
        if not sources:
            raise ClusterError(f"{name} has no pods yet: forebay status {name}{target.flags}")
        for source in sources:
            await _print_log(cluster, source, wanted, printer)


class _Printer:
    """Gives each pod a colour."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._colours: dict[str, str] = {}

    def line(self, source: Source, text: str) -> None:
        colour = self._colours.setdefault(source.pod, _COLOURS[len(self._colours) % len(_COLOURS)])
        # Text: what a log says is no markup, and its own colours stay.
        said = Text.from_ansi(text) if self._console.is_terminal else Text(text)
        self._console.print(Text.assemble((f"{source.label} ", colour), said), soft_wrap=True, highlight=False)

    def note(self, source: Source, text: str) -> None:
        self._console.print(Text(f"{source.label} {text}", style="dim"), soft_wrap=True, highlight=False)


async def _print_log(cluster: Cluster, source: Source, wanted: Wanted, printer: _Printer) -> None:
    if not source.run:
        printer.note(source, f"has not started{f' ({source.waiting})' if source.waiting else ''}")
        return
    try:
        text = await cluster.client.read_text(_path_of(cluster, source), **_build_params(source, wanted))
    except ApiError as error:
        printer.note(source, f"has no log: {error}")
        return
    for line in text.splitlines():
        printer.line(source, line)


def _path_of(cluster: Cluster, source: Source) -> str:
    return POD.path(namespace=cluster.namespace, name=source.pod, subresource="log")


def _build_params(source: Source, wanted: Wanted) -> dict[str, str]:
    params = {"container": source.container}
    if wanted.tail >= 0:
        params["tailLines"] = str(wanted.tail)
    if wanted.previous:
        params["previous"] = "true"
    return params


class _Follower:
    """Follows each run of each container once."""

    def __init__(self, cluster: Cluster, name: str, wanted: Wanted, printer: _Printer) -> None:
        self._cluster, self._name, self._wanted, self._printer = cluster, name, wanted, printer
        self._tasks: dict[Source, asyncio.Task[None]] = {}
        self._told: set[Source] = set()

    async def run(self) -> None:
        """Until it is cancelled."""
        try:
            is_first = True
            while True:
                pods = await list_pods(self._cluster, self._name)
                self._start(list_sources(pods, self._wanted), is_first=is_first)
                is_first = is_first and not pods
                await asyncio.sleep(_PAUSE_S)
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _start(self, sources: Sequence[Source], *, is_first: bool) -> None:
        for source in sources:
            key = Source(pod=source.pod, container=source.container, run=source.run)
            if not source.run:
                self._tell(source)
            elif key not in self._tasks:
                self._tasks[key] = asyncio.create_task(self._follow(source, is_first=is_first))

    def _tell(self, source: Source) -> None:
        if source not in self._told:
            self._told.add(source)
            self._printer.note(source, f"has not started{f' ({source.waiting})' if source.waiting else ''}")

    async def _follow(self, source: Source, *, is_first: bool) -> None:
        params = {"container": source.container, "follow": "true"}
        if is_first and self._wanted.tail >= 0:
            params["tailLines"] = str(self._wanted.tail)
        try:
            path = _path_of(self._cluster, source)
            async for line in self._cluster.client.stream(path, silence_s=_SILENCE_S, **params):
                self._printer.line(source, line.decode(errors="replace").rstrip("\r"))
        except (ApiError, aiohttp.ClientError, TimeoutError) as error:
            self._printer.note(source, f"is not followed any more: {error or type(error).__name__}")
