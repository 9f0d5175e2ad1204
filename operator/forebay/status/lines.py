"""Lines that others wrote, as they may stand in a status: short, the same each time, and without secrets."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

LONGEST_LINE = 300
LONGEST_MESSAGE = 1000
# A shorter value of a variable is no secret, and would be found in many a word.
_SHORTEST_VALUE = 6
_NOISE = (
    # When, and by whom, at the beginning of a line: Envoy, Triton (glog), and everybody else.
    re.compile(r"^\[\d{4}-\d\d-\d\d [\d:.]+\](\[\w+\])*\s*(\[[^\]]*:\d+\]\s*)?"),
    re.compile(r"^[EWIF]\d{4} [\d:.]+ +\d+ [^\]]+\]\s*"),
    re.compile(r"^\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]\d\d:?\d\d)?\]?:?\s+"),
)
_TERMINAL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_UNSEEN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]+")
_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s@\"']+@", re.IGNORECASE)
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?\"']+)\?[^\s\"']+", re.IGNORECASE)
# What is another one at each try: addresses in memory, ports of callers, ids of containers and pods.
_OF_THE_MOMENT = (
    (re.compile(r"\b0x[0-9a-f]{6,16}\b"), "0x…"),
    (re.compile(r"(\b\d+\.\d+\.\d+\.\d+):\d{4,5}->"), r"\1->"),
    (re.compile(r"\b[0-9a-f]{64}\b"), "…"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), "…"),
)


def cut(text: str, longest: int = LONGEST_LINE) -> str:
    """The text, or its beginning with dots after it."""
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def clean(text: str) -> str:
    """One line that says the same each time, and no passwords of addresses."""
    text = _UNSEEN.sub(" ", _TERMINAL.sub("", text)).strip()
    for noise in _NOISE:
        text = noise.sub("", text)
    text = _QUERY.sub(r"\1?…", _PASSWORD.sub(r"\1", text))
    for pattern, instead in _OF_THE_MOMENT:
        text = pattern.sub(instead, text)
    return " ".join(text.split())


def find_last(log: str) -> str:
    """The last line that says something, cleaned."""
    return next((line for each in reversed(log.splitlines()) if (line := clean(each))), "")


def find_last_error(log: str) -> str:
    """The last line that speaks of an error, else the last one: Envoy says "exiting" at the very end."""
    lines = [line for line in log.splitlines() if re.search(r"critical|error", line, re.IGNORECASE)]
    return find_last(lines[-1]) if lines else find_last(log)


def find_event(log: str) -> dict[str, Any]:
    """The last error that a download told of, as it stands in its JSON lines; empty where there is none."""
    for line in reversed(log.splitlines()):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict) and said.get("event") == "error":
            return said
    return {}


def hide_values(text: str, variables: Mapping[str, str]) -> str:
    """The text with the names of variables where it held their values."""
    known = [(part, name) for name, value in variables.items() for part in value.splitlines()]
    for value, name in sorted(known, key=lambda each: (-len(each[0]), each)):
        if len(value) >= _SHORTEST_VALUE:
            text = text.replace(value, f"${name}")
    return text


def list_words(words: Iterable[str]) -> str:
    """Words as a sentence lists them: "a, b and c"."""
    *others, last = list(words) or [""]
    return f"{', '.join(others)} and {last}" if others else last
