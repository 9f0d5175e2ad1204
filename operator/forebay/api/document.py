"""YAML as kubectl reads it, with the line of everything: no anchors' bombs, no duplicate keys, no surprises."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from forebay.api.scalars import resolve_scalar
from forebay.api.syntax import YamlError, explain, explain_character

MAX_BYTES = 4 * 1024 * 1024
MAX_NODES = 200_000
MAX_DEPTH = 64

# The C parser is part of PyYAML's wheels, and thirty times as fast as the other.
PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True)
class Node:
    """A value of a document and the line on which it starts; for a field, the line of its name."""

    value: "dict[str, Node] | list[Node] | str | int | float | bool | None"
    line: int
    # Mistakes that don't keep the rest from being read: (line, name of the field, message).
    complaints: tuple[tuple[int, str, str], ...] = ()


@dataclass(slots=True)
class _Reader:
    """One pass over the parser's events. Expanded aliases count as nodes, so that a bomb ends early."""

    events: Iterator[yaml.Event]
    anchors: dict[str, Node | None] = field(default_factory=dict)
    sizes: dict[int, int] = field(default_factory=dict)
    nodes: int = 0

    def node(self, event: yaml.Event, depth: int) -> Node:
        line = line_of(event)
        if depth > MAX_DEPTH:
            raise YamlError(line, f"is nested more than {MAX_DEPTH} deep")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event, line)
        before = self._count(1, line)
        anchor = getattr(event, "anchor", None)
        if anchor:
            self.anchors[anchor] = None
        if isinstance(event, yaml.MappingStartEvent):
            made = self.mapping(event, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            made = Node([self.node(each, depth + 1) for each in self._until(yaml.SequenceEndEvent)], line)
        else:
            made = Node(_scalar(event, line), line)
        if anchor:
            self.anchors[anchor] = made
            self.sizes[id(made)] = self.nodes - before
        return made

    def alias(self, event: yaml.AliasEvent, line: int) -> Node:
        name = str(event.anchor)
        found = self.anchors.get(name)
        if found is None:
            # The name is not repeated: it may be a secret that starts with a star and lacks its quotes.
            inside = name in self.anchors
            what = "stands inside itself" if inside else "has no &anchor above: put text that starts with * in quotes"
            raise YamlError(line, f"an *alias that {what}")
        self._count(self.sizes[id(found)], line)
        return Node(found.value, line, found.complaints)

    def mapping(self, start: yaml.Event, depth: int) -> Node:
        fields: dict[str, Node] = {}
        complaints: list[tuple[int, str, str]] = []
        merged: dict[str, Node] = {}
        for event in self._until(yaml.MappingEndEvent):
            line = line_of(event)
            key, complaint = _key(event, line)
            child = self.node(next(self.events), depth + 1)
            if key == "<<" and not getattr(event, "style", None):
                merged |= _merge(child, line)
            elif key in fields:
                first = fields[key].line
                complaints.append((line, key, f"is written twice, first on line {first}: leave one of them"))
            else:
                # A field is found by its name: its value may start lines below.
                fields[key] = Node(child.value, line, child.complaints)
            if complaint:
                complaints.append((line, key, complaint))
        return Node({**merged, **fields}, line_of(start), tuple(complaints))

    def _until(self, end: type[yaml.Event]) -> Iterator[yaml.Event]:
        for event in self.events:
            if isinstance(event, end):
                return
            yield event

    def _count(self, more: int, line: int) -> int:
        before = self.nodes
        self.nodes += more
        if self.nodes > MAX_NODES:
            raise YamlError(line, f"has more than {MAX_NODES} values, those repeated through *aliases included")
        return before


def read_documents(text: str) -> Iterator[Node]:
    """The documents of a YAML text, one by one; empty ones are left out."""
    parser = PARSER(text)
    try:
        events = _events(parser, text)
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                node = _Reader(events).node(next(events), 0)
                if node.value is not None:
                    yield node
    finally:
        parser.dispose()


def _events(parser: Any, text: str) -> Iterator[yaml.Event]:
    try:
        while parser.check_event():
            yield parser.get_event()
    except yaml.MarkedYAMLError as error:
        raise explain(error, text) from None
    except yaml.reader.ReaderError:
        raise explain_character(text) from None


def line_of(event: yaml.Event) -> int:
    """The line on which a value starts."""
    return 1 if event.start_mark is None else event.start_mark.line + 1


def _scalar(event: Any, line: int) -> Any:
    if event.tag in (None, "!") or event.tag == "tag:yaml.org,2002:str":
        plain = event.style is None or event.style == ""
        return resolve_scalar(event.value) if plain and event.tag is None else event.value
    raise YamlError(line, "has a !tag: leave it out, or put text that starts with ! in quotes")


def _key(event: yaml.Event, line: int) -> tuple[str, str]:
    if not isinstance(event, yaml.ScalarEvent):
        raise YamlError(line, "has `{` or `[` where the name of a field belongs: a template must be rendered first")
    read = _scalar(event, line)
    if isinstance(read, str):
        return read, ""
    what = {bool: "true or false", type(None): "nothing"}.get(type(read), "a number")
    return event.value, f"is a name that YAML reads as {what}: put it in quotes"


def _merge(child: Node, line: int) -> dict[str, Node]:
    """The fields that `<<: *anchor` brings."""
    sources = child.value if isinstance(child.value, list) else [child]
    fields: dict[str, Node] = {}
    for source in reversed(sources):
        if not isinstance(source.value, Mapping):
            raise YamlError(line, "merges (`<<`) something that is not an object")
        fields |= source.value
    return fields


def plain(node: Node) -> Any:
    """The values alone."""
    if isinstance(node.value, dict):
        return {name: plain(child) for name, child in node.value.items()}
    if isinstance(node.value, list):
        return [plain(child) for child in node.value]
    return node.value
