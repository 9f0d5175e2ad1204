"""The floors that are chosen are within the limits of now, whatever was decided before."""

import json
from unittest.mock import Mock

import pytest

from forebay.controller.panic import Panic
from forebay.controller.world import World
from forebay.kube.holdings import Owner
from forebay.plan.names import FLOOR_ANNOTATION
from tests.unit.controller.test_sleepers import PREDICTOR, TARGET, Json

OWNER = Owner("vision", "digits")
TOLD = json.dumps({"instances": 8, "until": "2026-01-01T00:01:00Z", "reason": "1 → 8"})
NOW_S = 1767225600.0


def choose(most: int) -> Panic:
    """A look at a floor of 8 instances, where the autoscaler knows of no more than `most`."""
    world = World(lambda *_: None, lambda *_: None)
    metadata: Json = {"name": PREDICTOR, "namespace": "vision", "uid": "1", "resourceVersion": "1"}
    world.children.put(OWNER, {"kind": "Deployment", "metadata": metadata, "spec": {"replicas": 3}})
    annotated = metadata | {"uid": "2", "annotations": {FLOOR_ANNOTATION: TOLD}}
    spec = {"minReplicas": 1, "maxReplicas": most}
    world.children.put(OWNER, {"kind": "HorizontalPodAutoscaler", "metadata": annotated, "spec": spec})
    panic = Panic(world, Mock(), Mock(), wake=lambda _: None, clock=lambda: NOW_S)
    panic.choose(OWNER, TARGET, is_held=False)
    return panic


@pytest.mark.parametrize(("most", "instances"), [(8, 4), (3, 3)])
def test_a_floor_is_never_above_the_most_of_the_spec_nor_of_the_autoscaler(most: int, instances: int) -> None:
    assert TARGET.workloads[0].workload.scaling.most == 4
    assert choose(most).floors_of(OWNER).raised[PREDICTOR].instances == instances
