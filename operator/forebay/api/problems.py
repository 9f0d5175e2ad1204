"""What is wrong with a manifest, as its author is told."""

from collections.abc import Sequence
from dataclasses import dataclass

from forebay.errors import UserError

# More than this helps nobody: a terminal scrolls the first ones away.
MAX_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: where it stands, and what to write instead."""

    file: str
    line: int | None
    path: str
    message: str

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)


class InvalidManifest(UserError, ValueError):  # noqa: N818  a manifest is what is invalid; the name is what callers read
    """A manifest that can't be used, with everything that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(sorted(problems, key=lambda each: (each.file, each.line or 0)))

    def __str__(self) -> str:
        shown = [str(problem) for problem in self.problems[:MAX_SHOWN]]
        more = len(self.problems) - len(shown)
        return "\n".join([*shown, f"... and {more} more problems"] if more else shown)
