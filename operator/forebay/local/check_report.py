"""What a person sees of `forebay check`: each step in a line, and the end at the first that fails."""

from collections.abc import Callable
from typing import Any

from rich.console import Console
from rich.markup import escape

from forebay.local.errors import LocalError
from forebay.local.trial import TrialError
from forebay.serving.source import ScriptError


class CheckFailed(Exception):  # noqa: N818 - a step's outcome
    """A step failed; the message is shown under it."""


class Report:
    """Prints each step, and stops at the first that fails."""

    def __init__(self, console: Console) -> None:
        self.console = console

    def step(self, title: str, run: Callable[[], Any], note: Callable[[Any], str] = lambda _: "") -> Any:
        """Run a step and print a line for it."""
        try:
            with self.console.status(title):  # a load may take minutes
                result = run()
        except (ScriptError, TrialError, LocalError, CheckFailed) as error:
            self.console.print(f"[red]✗[/red] {title}", highlight=False)
            self.console.print(escape(str(error)), highlight=False, soft_wrap=True)
            raise CheckFailed from error
        text = note(result)
        self._print(f"[green]✓[/green] {title}{': ' + escape(text) if text else ''}")
        return result

    def say(self, text: str) -> None:
        """A line beside the steps."""
        for line in text.splitlines():
            self._print(f"  {escape(line)}")

    def warn(self, text: str) -> None:
        """A line about what works here, and may not elsewhere."""
        self._print(f"[yellow]![/yellow] {escape(text)}")

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, soft_wrap=True)
