"""Whether an object in the cluster is as it was applied: every field that is wanted is there, as it is wanted.

What others add is theirs, except to what server-side apply takes as a whole: a list without keys, a selector.
Source of both: `listMapKey`, `listType` and `mapType` in k8s.io/api.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from forebay.plan.quantities import parse_quantity

# Lists to which others may add items, by what tells these apart.
_KEYS = {
    "claims": "name",
    "containers": "name",
    "env": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ownerReferences": "uid",
    "resourceClaims": "name",
    "schedulingGates": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
# Objects to which nobody may add: a selector with one label more finds other pods.
_WHOLE = frozenset({"labelSelector", "namespaceSelector", "nodeSelector", "podSelector", "selector"})
# Fields that the apiserver leaves out where they are false or 0. Elsewhere to say nothing is another thing: pods get
# the account's token unless it is said to be false.
_LEFT_OUT = frozenset(
    {
        "hostIPC",
        "hostNetwork",
        "hostPID",
        "initialDelaySeconds",
        "minReadySeconds",
        "readOnly",
        "stdin",
        "stdinOnce",
        "tty",
    }
)


class _Place(NamedTuple):
    """Where in the object: the name of the field, and what holds of all below."""

    name: str = ""
    # Inside a list that is taken as a whole. The apiserver's defaults are still added to its items.
    in_list: bool = False
    # Inside an object that is taken as a whole.
    in_object: bool = False


def is_as_wanted(wanted: Any, found: Any) -> bool:
    """Whether `found` has all of `wanted`. Nothing, an empty object and an empty list are the same."""
    return _matches(wanted, found, _Place())


def _matches(wanted: Any, found: Any, place: _Place) -> bool:
    if _is_nothing(wanted):
        return _is_nothing(found) or (isinstance(found, Mapping | list) and not _is_whole(found, place))
    if found is None:
        return place.name in _LEFT_OUT and (wanted is False or wanted == 0)
    if isinstance(wanted, Mapping):
        return isinstance(found, Mapping) and _has_fields(wanted, found, place)
    if isinstance(wanted, list):
        return isinstance(found, list) and _has_items(wanted, found, place)
    return bool(wanted == found) or _is_same_quantity(wanted, found)


def _is_nothing(value: Any) -> bool:
    return value is None or value in ({}, [], "")


def _is_whole(found: Any, place: _Place) -> bool:
    """Whether what is found here may hold nothing but what is wanted."""
    if isinstance(found, list):
        return not _find_key(found, place)
    return place.in_object or place.name in _WHOLE


def _has_fields(wanted: Mapping[str, Any], found: Mapping[str, Any], place: _Place) -> bool:
    whole = _is_whole(found, place)
    if whole and not all(name in wanted or _is_nothing(value) for name, value in found.items()):
        return False
    return all(
        _matches(each, found.get(name), place._replace(name=name, in_object=whole)) for name, each in wanted.items()
    )


def _has_items(wanted: list[Any], found: list[Any], place: _Place) -> bool:
    key = _find_key([*wanted, *found], place)
    if key and len({item[key] for item in found}) == len(found):
        by_key = {item[key]: item for item in found}
        return all(item[key] in by_key and _matches(item, by_key[item[key]], _Place()) for item in wanted)
    below = place._replace(name="", in_list=place.in_list or not key)
    return len(wanted) == len(found) and all(
        _matches(one, other, below) for one, other in zip(wanted, found, strict=True)
    )


def _find_key(items: list[Any], place: _Place) -> str:
    """What tells the items of a list apart; empty for a list that is taken as a whole."""
    if place.in_list or place.in_object:
        return ""
    names = ("containerPort", "port") if place.name == "ports" else (_KEYS.get(place.name, ""),)
    return next((key for key in names if key and all(isinstance(item, Mapping) and key in item for item in items)), "")


def _is_same_quantity(wanted: Any, found: Any) -> bool:
    """The apiserver writes quantities in its own way: 0.5 comes back as 500m."""
    one, other = parse_quantity(wanted), parse_quantity(found)
    return one is not None and one == other
