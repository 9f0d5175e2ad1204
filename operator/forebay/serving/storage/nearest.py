"""Finds what a wrong address probably meant."""

import difflib
from collections.abc import Callable

MOST_NAMES = 5


def suggest(path: str, list_names: Callable[[str], list[str]], exists: Callable[[str], bool]) -> tuple[bool, list[str]]:
    """Look for the nearest thing that exists, level by level from the longest parent that does.

    `list_names` lists what lies directly under a parent ("" is the top). The answer is (is it a guess?, paths): one
    path that is probably meant, or else a few that are there.
    """
    parts = path.strip("/").split("/")
    for depth in range(len(parts) - 1, -1, -1):
        parent = "/".join(parts[:depth])
        names = list_names(parent)
        if not names:
            continue
        paths = {name: f"{parent}/{name}" if parent else name for name in names}
        close = difflib.get_close_matches(parts[depth], names, n=1)
        if not close:
            return False, [paths[name] for name in names[:MOST_NAMES]]
        whole = "/".join([paths[close[0]], *parts[depth + 1 :]])
        return True, [whole if exists(whole) else paths[close[0]]]
    return False, []


def phrase(*, guess: bool, places: list[str]) -> str:
    """Write the answer of `suggest` as the end of a sentence. `places` are full addresses."""
    if not places:
        return "nothing lies near it either: correct the uri"
    return f"did you mean {places[0]}?" if guess else f"what is there: {', '.join(places)}"
