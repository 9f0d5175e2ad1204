"""Config as text in a manifest: read as it was written, whatever it says, and what repeats is written once."""

from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from forebay.plan.inline import format_inline

TEXTS = st.text() | st.sampled_from(
    ["yes", "n", "1e3", "0x10", "~", "", " a ", "a: b", "#", "it's", "*a1", "&a", "1:30"]
)
SCALARS = st.none() | st.booleans() | st.integers(-(2**40), 2**40) | st.floats(-1e6, 1e6) | TEXTS
KEYS = st.text(max_size=40) | st.sampled_from(["name", "@type", "envoy.filters.http.router", "op", "true"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4) | inner.map(lambda it: [it, it])
    ),
    max_leaves=40,
)


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_it_is_read_as_it_was(config: dict[str, Any]) -> None:
    assert yaml.safe_load(format_inline(config)) == config


def test_what_repeats_is_written_once() -> None:
    long = {"header": {"key": "x-forebay-reason", "value": "queue-full"}}
    text = format_inline({"first": [long, long], "second": {"filter": {"header": dict(long)}}})
    assert text.splitlines() == [
        "first: [&a1 {header: {key: 'x-forebay-reason', value: 'queue-full'}}, *a1]",
        "second: {filter: {header: *a1}}",
    ]


def test_what_is_too_long_for_a_line_is_broken_into_lines() -> None:
    entry = {"name": "n" * 80, "address": "a" * 80}
    assert format_inline({"listeners": [entry, [1, 2]]}).splitlines() == [
        "listeners:",
        f" - name: '{'n' * 80}'",
        f"   address: '{'a' * 80}'",
        " - [1, 2]",
    ]
