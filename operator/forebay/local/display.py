"""What a person sees of `forebay serve`: progress while it works, lines for what happens."""

import contextlib
import time
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

_LINE_EVERY_S = 5.0


class Display:
    """Writes to a console: bars where it is a terminal, lines now and then where it is not."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def say(self, text: str) -> None:
        """A line about what is going on."""
        self._print(f"[dim]•[/] {escape(text)}")

    def warn(self, text: str) -> None:
        """A line about what is not as asked for."""
        self._print(f"[yellow]![/] {escape(text)}")

    def _print(self, line: str) -> None:
        # What is served doesn't depend on whether a line about it finds room on the disk.
        with contextlib.suppress(OSError):
            self.console.print(line, highlight=False, soft_wrap=True)

    @contextlib.contextmanager
    def download(self, what: str) -> Iterator[Callable[[int, int | None], None]]:
        """Progress of a download: call it with the bytes so far and in all, where that is known."""
        if not self.console.is_terminal:
            yield self._lines(what)
            return
        columns = (
            TextColumn("[dim]•[/] {task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self.console, transient=True) as bars:
            task = bars.add_task(what, total=None)
            yield lambda done, total: bars.update(task, completed=done, total=total)

    def _lines(self, what: str) -> Callable[[int, int | None], None]:
        started = last = time.monotonic()

        def show(done: int, total: int | None) -> None:
            nonlocal last
            now = time.monotonic()
            if now - last < _LINE_EVERY_S:
                return
            last = now
            rate = done / (now - started)
            of = f" of {decimal(total)}" if total else ""
            left = f", {(total - done) / rate:.0f} s left" if rate > 0 and total else ""
            self.say(f"{what}: {decimal(done)}{of}, {decimal(int(rate))}/s{left}")

        return show
