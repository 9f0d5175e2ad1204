"""What Triton's log says about why it doesn't serve."""

import re

_LOAD = re.compile(r"failed to load '(?P<model>[^']+)' version (?P<version>-?\d+): (?P<reason>.*?)\"?$")
_POLL = re.compile(r"Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.*?)\"?$")
_ERROR = re.compile(r"^E\d{4} [\d:.]+ \d+ \S+\] \"?(?P<reason>.*?)\"?$")
_NOISE = ("CudaDriverHelper", "failed to load all models")
_PARSE = re.compile(r"^\[libprotobuf ERROR .*\] Error parsing text-format \S+: (?P<place>\d+:\d+): (?P<reason>.*)$")
_UNREAD = "failed to read text proto from "
_STUB = re.compile(r"Failed to preinitialize Python stub: (?P<reason>.*)$", re.MULTILINE)
_NO_BACKEND = ("unable to find backend library", "unexpected 'platform' and 'backend' pair")


def explain_failure(log: str, *, backends: str = "") -> str:
    """The reasons that Triton gave, one a line, with the model's name. Empty when it gave none.

    `backends` says which ones there are, where Triton lacks the one that a model needs.
    """
    found: dict[str, None] = {}
    others: dict[str, None] = {}
    parsing = ""
    for line in log.splitlines():
        if told := _PARSE.match(line):
            parsing = f"{told['place']}: {told['reason']}"
        match = _POLL.search(line) or _LOAD.search(line)
        if match:
            reason = match["reason"]
            if reason.startswith(_UNREAD) and parsing:
                reason, parsing = f"{reason.removeprefix(_UNREAD)}:{parsing}", ""
            found[f"model {match['model']}: {_shorten(reason, backends)}"] = None
            continue
        error = _ERROR.match(line)
        if error and not any(noise in line for noise in _NOISE):
            others[_shorten(error["reason"], backends)] = None
    return "\n".join(found or others)


def explain_hang(log: str) -> str:
    """Why Triton will never be ready although it still runs; empty where nothing says so."""
    match = _STUB.search(log)
    return match["reason"].strip() if match else ""


def _shorten(reason: str, backends: str) -> str:
    """Without the interpreter's frames below an error of a Python model's own."""
    text = reason.replace("\\n", "\n").replace('\\"', '"')
    text = text.split("\n\nAt:\n")[0]
    text = re.sub(r"^(Internal|Invalid argument|Not found|Unavailable): ", "", text)
    text = text.removeprefix("TritonModelException: ").strip()
    return f"{text} ({backends})" if backends and text.startswith(_NO_BACKEND) else text
