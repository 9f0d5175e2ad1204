"""Config as text that stands in a manifest: YAML on few lines, in which what repeats is written once.

A Deployment and each of its pods carry it, so its size is paid for in every write, watch and `kubectl get -o yaml`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

_PLAIN_KEY = re.compile(r"(?!(yes|off|true|false|null)$)[a-z][a-z0-9_]{2,}")
_PLAIN_TEXT = re.compile(r"[ -&(-~]*")
_WIDTH = 160
# Shorter ones are not worth an anchor and an alias.
_LEAST = 24


def format_inline(config: dict[str, Any]) -> str:
    """Config (what JSON can say) as YAML, in flow style where it fits into a line."""
    return _Writer(config).text


class _Writer:
    def __init__(self, config: dict[str, Any]) -> None:
        self._flows: dict[int, str] = {}
        self._times: Counter[str] = Counter()
        self._anchors: dict[str, str] = {}
        self._flow(config)
        self._count(config)
        self.text = self._write(config, 0).lstrip()

    def _flow(self, value: Any) -> str:
        """A value on one line, in full."""
        match value:
            case dict():
                inner = ", ".join([f"{_write_key(key)}: {self._flow(each)}" for key, each in value.items()])
                self._flows[id(value)] = text = f"{{{inner}}}"
            case list():
                self._flows[id(value)] = text = f"[{', '.join([self._flow(each) for each in value])}]"
            case _:
                text = _write_scalar(value)
        return text

    def _count(self, value: Any) -> None:
        """How often each part is to be written, if what is within a part that repeats is written once."""
        flow = self._flows.get(id(value))
        if flow is None:
            return
        self._times[flow] += 1
        if self._times[flow] == 1:
            for each in value.values() if isinstance(value, dict) else value:
                self._count(each)

    def _write(self, value: Any, indent: int) -> str:
        """A value as it follows a colon or a dash."""
        flow = self._flows.get(id(value))
        if flow is None:
            return f" {_write_scalar(value)}"
        if flow in self._anchors:
            return f" *{self._anchors[flow]}"
        anchor = ""
        if self._times[flow] > 1 and len(flow) >= _LEAST:
            self._anchors[flow] = f"a{len(self._anchors) + 1}"
            anchor = f" &{self._anchors[flow]}"
        fits = len(flow) <= _WIDTH
        if isinstance(value, dict):
            parts = [f"{_write_key(key)}:{self._write(each, indent + 1)}" for key, each in value.items()]
            return f"{anchor} {{{', '.join(parts)}}}" if fits else anchor + _break(parts, indent)
        if fits:
            return f"{anchor} [{','.join([self._write(each, 0) for each in value]).lstrip()}]"
        return anchor + _break([_write_item(self._write(each, indent + 2)) for each in value], indent)


def _break(parts: Iterable[str], indent: int) -> str:
    """A line for each part."""
    start = "\n" + " " * indent
    return start + start.join(parts)


def _write_item(text: str) -> str:
    """What begins on a line of its own begins right after the dash."""
    return f"- {text.lstrip()}" if text.startswith("\n") else f"-{text}"


def _write_key(key: str) -> str:
    return key if _PLAIN_KEY.fullmatch(key) else _write_scalar(key)


def _write_scalar(value: str | float | bool | None) -> str:
    """Texts are quoted always: readers of YAML don't agree on which of them are numbers or truths."""
    if not isinstance(value, str):
        written = json.dumps(value)
        # YAML 1.1 reads 1e-7 as a text.
        return written if "." in written or not isinstance(value, float) else written.replace("e", ".0e")
    if _PLAIN_TEXT.fullmatch(value):
        return f"'{value}'"
    return (
        '"'
        + "".join([json.dumps(each)[1:-1] if each < "\U00010000" else f"\\U{ord(each):08x}" for each in value])
        + '"'
    )
