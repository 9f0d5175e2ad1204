"""A partial pod template merged over another, as `kubectl patch` merges: objects by field, lists by their items' names.

Source of the keys: `patchMergeKey` in k8s.io/api/core/v1/types.go. Lists that are not named here are replaced.
"""

from collections.abc import Mapping
from typing import Any

from forebay.plan.envoy import Json

_KEYS = {
    "containers": "name",
    "env": "name",
    "ephemeralContainers": "name",
    "hostAliases": "ip",
    "imagePullSecrets": "name",
    "initContainers": "name",
    "ports": "containerPort",
    "resourceClaims": "name",
    "topologySpreadConstraints": "topologyKey",
    "volumeDevices": "devicePath",
    "volumeMounts": "mountPath",
    "volumes": "name",
}
# Exactly one of these says what a volume or a variable is: another one takes its place.
_ONE_OF = {"env": {"name"}, "volumes": {"name"}}


def merge(base: Mapping[str, Any], patch: Mapping[str, Any]) -> Json:
    """`base` with `patch` merged over it; a null in `patch` takes the field out."""
    merged = dict(base)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge_field(name, merged.get(name), value)
    return merged


def _merge_field(name: str, base: Any, patch: Any) -> Any:
    if isinstance(base, Mapping) and isinstance(patch, Mapping):
        return merge(base, patch)
    if isinstance(base, list) and isinstance(patch, list) and name in _KEYS:
        return _merge_items(name, base, patch)
    return patch


def _merge_items(name: str, base: list[Json], patch: list[Json]) -> list[Json]:
    key = _KEYS[name]
    merged = {item.get(key): item for item in base}
    for item in patch:
        there = merged.get(item.get(key), {})
        if name in _ONE_OF and not there.keys() & item.keys() - _ONE_OF[name]:
            there = {}
        merged[item.get(key)] = merge(there, item)
    return list(merged.values())
