"""Who changed a spec, as far as the object tells: a program's name, as kubectl or argocd-controller."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

Entry = dict[str, str]
_KEPT = ("manager", "operation", "time")


def find_author(metadata: Mapping[str, Any], read_before: Callable[[], Mapping[str, Any]]) -> Entry:
    """The entry of `managedFields` of whoever changed the spec last, without the fields; empty where it isn't told.

    Its times are seconds: of two in the same one it is who wasn't the last before the spec changed, by the metadata
    that `read_before` gives.
    """
    latest = _list_latest(metadata.get("managedFields", ()))
    if len(latest) > 1:
        before = read_before()
        is_same = before.get("generation") == metadata.get("generation")
        last = next((each["manager"] for each in before.get("managedFields", ())), "")
        latest.sort(key=lambda each: (each["manager"] == last) is not is_same)
    return latest[0] if latest else {}


def _list_latest(managed: Sequence[Mapping[str, Any]]) -> list[Entry]:
    entries = [each for each in managed if "f:spec" in each.get("fieldsV1", {}) and not each.get("subresource")]
    at = max((str(each.get("time", "")) for each in entries), default="")
    latest = [each for each in entries if str(each.get("time", "")) == at]
    return [{name: str(each[name]) for name in _KEPT if name in each} for each in latest]
