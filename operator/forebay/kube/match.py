"""Whether an object in the cluster is as it was applied: every field that is wanted is there, as it is wanted.

What others add is theirs. Source of the keys: `listMapKey` of server-side apply, in k8s.io/api.
"""

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

# Items of lists are found by these; the first that an item has counts.
_KEYS = ("name", "mountPath", "containerPort", "port", "ip", "topologyKey", "devicePath")
_SUFFIXES = {
    "": Decimal(1), "n": Decimal("1e-9"), "u": Decimal("1e-6"), "m": Decimal("1e-3"), "k": Decimal(10**3),
    "M": Decimal(10**6), "G": Decimal(10**9), "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18),
    "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50),
    "Ei": Decimal(2**60),
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?([A-Za-z]{0,2})")


def is_as_wanted(wanted: Any, found: Any) -> bool:
    """Whether `found` has all of `wanted`. Nothing, an empty object and an empty list are the same."""
    if _is_nothing(wanted):
        return _is_nothing(found) or not isinstance(found, str)
    if found is None:
        return wanted is False or wanted == 0  # which the apiserver leaves out of some objects
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and all(is_as_wanted(each, found.get(name)) for name, each in wanted.items())
    if isinstance(wanted, list):
        return isinstance(found, list) and _are_items(wanted, found)
    return bool(wanted == found) or _is_same_quantity(wanted, found)


def _is_nothing(value: Any) -> bool:
    return value is None or value in ({}, [], "")


def _are_items(wanted: list[Any], found: list[Any]) -> bool:
    key = next(
        (key for key in _KEYS if all(isinstance(item, Mapping) and key in item for item in [*wanted, *found])), ""
    )
    if key and len({item[key] for item in found}) == len(found):
        by_key = {item[key]: item for item in found}
        return all(item[key] in by_key and is_as_wanted(item, by_key[item[key]]) for item in wanted)
    return len(wanted) == len(found) and all(map(is_as_wanted, wanted, found))


def _is_same_quantity(wanted: Any, found: Any) -> bool:
    """The apiserver writes quantities in its own way: 0.5 comes back as 500m."""
    one, other = _parse_quantity(wanted), _parse_quantity(found)
    return one is not None and one == other


def _parse_quantity(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None or match[3] not in _SUFFIXES:
        return None
    return Decimal(match[1] + (match[2] or "")) * _SUFFIXES[match[3]]
