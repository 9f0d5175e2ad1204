"""Values at the edges of the chart's schema, and few sets of them in which every two edges meet."""

import itertools
import json
import random
from collections.abc import Iterator
from typing import Any

from tests.chart.charts import CHART

Json = dict[str, Any]


def read_edges() -> dict[str, list[Any]]:
    """The values that matter of each leaf of the schema: default, empty, least, most, each choice, each example."""
    schema = json.loads((CHART / "values.schema.json").read_text())
    return {path: _list_edges(leaf) for path, leaf in _walk("", schema) if path != "global"}


def _walk(path: str, schema: Json) -> Iterator[tuple[str, Json]]:
    # Resources have properties, and are one value all the same.
    if "properties" not in schema or "default" in schema:
        yield path, schema
        return
    for name, child in schema["properties"].items():
        yield from _walk(f"{path}.{name}".strip("."), child)


def _list_edges(leaf: Json) -> list[Any]:
    kind = leaf.get("type")
    edges = [leaf["default"], *leaf.get("examples", []), *leaf.get("enum", [])]
    edges += [leaf[bound] for bound in ("minimum", "maximum") if bound in leaf]
    edges += {"boolean": [True, False], "array": [[]], "object": [{}]}.get(kind, []) if isinstance(kind, str) else []
    return list({json.dumps(edge): edge for edge in edges}.values())


def combine(edges: dict[str, list[Any]]) -> list[dict[str, Any]]:
    """Sets of values in which every edge of a value meets every edge of every other one."""
    choose = random.Random(4)
    names = list(edges)
    open_pairs = {
        ((a, i), (b, j))
        for a, b in itertools.combinations(range(len(names)), 2)
        for i in range(len(edges[names[a]]))
        for j in range(len(edges[names[b]]))
    }
    sets = []
    while open_pairs:
        chosen = dict(min(open_pairs))
        for place in choose.sample(range(len(names)), len(names)):
            if place not in chosen:
                options = [(place, edge) for edge in range(len(edges[names[place]]))]
                closed = [sum(_pair(option, one) in open_pairs for one in chosen.items()) for option in options]
                chosen[place] = closed.index(max(closed))
        open_pairs -= set(itertools.combinations(sorted(chosen.items()), 2))
        sets.append({names[place]: edges[names[place]][edge] for place, edge in chosen.items()})
    return sets


def _pair(one: tuple[int, int], other: tuple[int, int]) -> tuple[tuple[int, int], tuple[int, int]]:
    return (one, other) if one < other else (other, one)
