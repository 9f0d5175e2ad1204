"""What Triton's log says about why it doesn't serve."""

import re

_LOAD = re.compile(r"failed to load '(?P<model>[^']+)' version (?P<version>-?\d+): (?P<reason>.*?)\"?$")
_POLL = re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.*?)\"?$")
_ERROR = re.compile(r"^E\d{4} [\d:.]+ \d+ \S+\] \"?(?P<reason>.*?)\"?$")
_NOISE = ("CudaDriverHelper", "failed to load all models")


def explain_failure(log: str) -> str:
    """The reasons that Triton gave, one a line, with the model's name. Empty when it gave none."""
    found: dict[str, None] = {}
    others: dict[str, None] = {}
    for line in log.splitlines():
        match = _POLL.search(line) or _LOAD.search(line)
        if match:
            found[f"model {match['model']}: {_shorten(match['reason'])}"] = None
            continue
        error = _ERROR.match(line)
        if error and not any(noise in line for noise in _NOISE):
            others[_shorten(error["reason"])] = None
    return "\n".join(found or others)


def _shorten(reason: str) -> str:
    """Without the interpreter's frames below an error of a Python model's own."""
    text = reason.replace("\\n", "\n").replace('\\"', '"')
    text = text.split("\n\nAt:\n")[0]
    return re.sub(r"^(Internal|Invalid argument|Not found|Unavailable): ", "", text).strip()
