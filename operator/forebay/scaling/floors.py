"""A HorizontalPodAutoscaler whose least number of instances is raised for a while, and how it tells so itself.

Who leads next reads from the annotation until when the floor holds: nothing else keeps it.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from forebay.plan.envoy import Json
from forebay.plan.names import FLOOR_ANNOTATION
from forebay.scaling.panic import Floor


def with_floors(manifests: Sequence[Json], floors: Mapping[str, Floor], spared: Mapping[str, Floor]) -> list[Json]:
    """The manifests with the floors of workloads, by name. `spared` are those that are plain from the pods."""
    return [
        _raise(each, floors.get(each["metadata"]["name"]), spared.get(each["metadata"]["name"]))
        if each["kind"] == "HorizontalPodAutoscaler"
        else each
        for each in manifests
    ]


def read_floor(autoscaler: Mapping[str, Any]) -> Floor | None:
    """The floor that an autoscaler tells of; None where it tells of none, or of something else."""
    told = autoscaler["metadata"].get("annotations", {}).get(FLOOR_ANNOTATION, "")
    if not told:
        return None
    try:
        found = json.loads(told)
        return Floor(
            instances=int(found["instances"]),
            until_s=datetime.fromisoformat(found["until"]).timestamp(),
            reason=str(found["reason"]),
        )
    except (ValueError, TypeError, KeyError):
        return None


def _raise(manifest: Json, floor: Floor | None, spared: Floor | None) -> Json:
    if floor is None and spared is None:
        return manifest
    metadata, spec = manifest["metadata"], manifest["spec"]
    asked = max(each.instances for each in (floor, spared) if each)
    least = min(max(spec["minReplicas"], asked), spec["maxReplicas"])
    if floor:
        until = datetime.fromtimestamp(round(floor.until_s), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        told = {"instances": floor.instances, "until": until, "reason": floor.reason}
        annotations = metadata.get("annotations", {}) | {FLOOR_ANNOTATION: json.dumps(told, ensure_ascii=False)}
        metadata = {**metadata, "annotations": annotations}
    return {**manifest, "metadata": metadata, "spec": {**spec, "minReplicas": least}}
