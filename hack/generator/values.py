"""values.yaml as a list of values with their comments."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml


@dataclass(frozen=True)
class Value:
    """A value that people set: its path, its default, and the comment above it."""

    path: str
    default: Any
    description: str


def read_values(text: str) -> list[Value]:
    """Those that have a comment, and those with nothing under them. A comment on a mapping speaks for what is in it."""
    return list(_walk("", yaml.compose(text, yaml.SafeLoader), text.splitlines()))


def _walk(path: str, mapping: yaml.MappingNode, lines: list[str]) -> Iterator[Value]:
    for key, node in mapping.value:
        name = f"{path}.{key.value}".strip(".")
        description = _read_comment(lines, key.start_mark.line, key.start_mark.column)
        inner = isinstance(node, yaml.MappingNode) and node.value and not node.flow_style
        if inner and (not description or _has_comments(node, lines)):
            yield from _walk(name, node, lines)
        else:
            yield Value(name, yaml.safe_load(yaml.serialize(node)), description)


def _has_comments(mapping: yaml.MappingNode, lines: list[str]) -> bool:
    return any(_read_comment(lines, key.start_mark.line, key.start_mark.column) for key, _ in mapping.value)


def _read_comment(lines: list[str], line: int, column: int) -> str:
    """The lines of comment right above a key, as deep as the key is."""
    found: list[str] = []
    mark = " " * column + "# "
    while line and lines[line - 1].startswith(mark):
        line -= 1
        found.insert(0, lines[line].removeprefix(mark))
    return " ".join(found)


def build_table(values: list[Value]) -> str:
    """The README's table."""
    rows = [f"| `{each.path}` | `{json.dumps(each.default)}` | {each.description} |" for each in values]
    return "\n".join(["| value | default | meaning |", "|---|---|---|", *rows, ""])
