"""What the log of a script's server says about why it doesn't serve."""

import re

_START = "Traceback (most recent call last):"
_MOST_LINES = 5


def explain_load(log: str, *, script: str) -> str:
    """The exception that ended `load`, with the line that raised it; empty when the log has none."""
    _, found, last = log.rpartition(_START)
    if not found:
        return ""
    lines = last.splitlines()[1:]
    start = next((index for index, line in enumerate(lines) if line and not line.startswith(" ")), len(lines))
    message = "\n".join(line for line in lines[start : start + _MOST_LINES] if not line.startswith("[forebay]"))
    frames = re.findall(rf'^  File "({re.escape(script)})", line (\d+)', last, re.MULTILINE)
    where = ":".join(frames[-1]) + ": " if frames else ""
    return f"{where}load failed: {message}" if message else ""
