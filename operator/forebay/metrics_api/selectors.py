"""Label selectors as text, as the apiserver takes them.

Source: https://kubernetes.io/docs/concepts/overview/working-with-objects/labels/#label-selectors
"""

import re
from collections.abc import Callable, Mapping

Labels = Mapping[str, str]
_SET = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^()]*)\)$")
_EQUAL = re.compile(r"^([^\s=!]+)\s*(==|=|!=)\s*(\S*)$")
_KEY = re.compile(r"^(!?)\s*([^\s=!(),]+)$")
_COMMA = re.compile(r",(?![^()]*\))")


def parse_selector(text: str) -> Callable[[Labels], bool]:
    """Whether labels are selected. Raises ValueError where the selector can't be read."""
    wanted = [_parse(each.strip()) for each in _COMMA.split(text) if each.strip()]
    return lambda labels: all(matches(labels) for matches in wanted)


def _parse(term: str) -> Callable[[Labels], bool]:
    if found := _SET.match(term):
        key, how, values = found.groups()
        allowed = {each.strip() for each in values.split(",")}
        return lambda labels: (labels.get(key) in allowed) is (how == "in")
    if found := _EQUAL.match(term):
        key, how, value = found.groups()
        return lambda labels: (labels.get(key) == value) is (how != "!=")
    if found := _KEY.match(term):
        absent, key = found.groups()
        return lambda labels: (key in labels) is not bool(absent)
    raise ValueError(f"the label selector `{term}` can't be read")
