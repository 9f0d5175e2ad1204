"""Any spec changed to any other ends as the other does when it is the first."""

import os
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.controller.site import Cluster, Json, Operator, normalize, normalize_status, wait_for

_numbers = count()
AT_ONCE = 15
# Each step of shrinking takes seconds: it is for a person who asks for it.
PHASES = [Phase.generate, Phase.shrink] if os.environ.get("FOREBAY_SHRINK") else [Phase.generate]


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Json]:
    """An object with any of these fields."""
    return st.fixed_dictionaries({}, optional=fields)


NAMES = st.sampled_from(["a", "b", "gpu-type"])
VALUES = st.sampled_from(["", "x", "7", "a b", "$(X)", "ü"])
LABELS = st.dictionaries(st.sampled_from(["a", "example.com/b"]), st.sampled_from(["x", "y", ""]), max_size=2)
VARIABLE = st.one_of(
    st.fixed_dictionaries({"name": st.sampled_from(["A", "B"]), "value": VALUES}),
    st.just({"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}),
    st.just({"name": "D", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k", "optional": False}}}),
)
VARIABLES = st.lists(VARIABLE, max_size=3, unique_by=lambda each: each["name"])
PROBE = some(initialDelaySeconds=st.sampled_from([0, 3]), failureThreshold=st.sampled_from([1, 5]))
TOLERATION = st.fixed_dictionaries({"key": NAMES, "operator": st.just("Exists")})
SPREAD = st.fixed_dictionaries({
    "topologyKey": st.sampled_from(["zone", "host"]), "maxSkew": st.just(1),
    "whenUnsatisfiable": st.just("ScheduleAnyway"),
})  # fmt: skip
EXTRA_VOLUME = st.sampled_from([{"name": "more", "emptyDir": {}}, {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
                                {"name": "conf", "configMap": {"name": "theirs", "optional": True}}])  # fmt: skip
METRIC = st.sampled_from([
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "AverageValue", "averageValue": "0.5"}}},
    {"type": "Pods", "pods": {"metric": {"name": "q"}, "target": {"type": "AverageValue", "averageValue": "4"}}},
])  # fmt: skip


def build_template(role: str) -> st.SearchStrategy[Json]:
    own = st.fixed_dictionaries({"name": st.just(role)}, optional={
        "env": VARIABLES, "args": st.lists(st.sampled_from(["--a", "--b=c"]), max_size=2), "readinessProbe": PROBE,
        "resources": st.just({"requests": {"ephemeral-storage": "1.50Gi"}}), "stdin": st.booleans(),
    })  # fmt: skip
    theirs = st.just({"name": "side", "image": "side:1", "ports": [{"containerPort": 5}]})
    spec = some(
        containers=st.lists(st.one_of(own, theirs), max_size=2, unique_by=lambda each: each["name"]),
        nodeSelector=st.dictionaries(NAMES, st.just("x"), max_size=2),
        tolerations=st.lists(TOLERATION, max_size=2),
        topologySpreadConstraints=st.lists(SPREAD, max_size=2, unique_by=lambda each: each["topologyKey"]),
        volumes=st.lists(EXTRA_VOLUME, max_size=2, unique_by=lambda each: each["name"]),
        terminationGracePeriodSeconds=st.sampled_from([200, 600]),
        hostNetwork=st.booleans(),
        automountServiceAccountToken=st.booleans(),
        priorityClassName=st.just("high"),
    )
    return some(metadata=some(labels=LABELS, annotations=LABELS), spec=spec)


def build_component(role: str, **servers: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    common: dict[str, st.SearchStrategy[Any]] = {
        "concurrency": st.sampled_from([1, 8, 100]),
        "resources": some(
            cpu=st.sampled_from(["500m", "0.5", "2", "1.250"]), memory=st.sampled_from(["1Gi", "1024Mi"])
        ),
        "podTemplate": build_template(role),
    }
    scaling = st.fixed_dictionaries(
        {"min": st.just(1), "max": st.sampled_from([1, 4]), "target": st.just({"cpu": 70})},
        optional={
            "metrics": st.lists(METRIC, max_size=1),
            "behavior": st.just({"scaleDown": {"stabilizationWindowSeconds": 0}}),
        },
    )  # fmt: skip
    number = st.one_of(
        st.just({}),
        st.fixed_dictionaries({"replicas": st.sampled_from([1, 3])}),
        st.fixed_dictionaries({"autoscaling": scaling}),
    )
    server = st.one_of(*(st.fixed_dictionaries({name: each}) for name, each in servers.items()))
    return st.builds(
        lambda *parts: {key: value for part in parts for key, value in part.items()}, server, number, some(**common)
    )


SCRIPT = st.sampled_from(["class A:\n  pass\n", "class B:\n  x = 1\n"]).map(lambda script: {"script": script})
IMAGE = st.fixed_dictionaries({"image": st.sampled_from(["own:1", "own:2"])}, optional={"port": st.just(9000)})
SPECS = st.fixed_dictionaries(
    {
        "model": st.sampled_from([{"uri": "s3://a/b"}, {"uri": "https://h/b", "credentials": {"secretName": "s"}}]),
        "predictor": build_component("predictor", triton=some(model=st.just("m")), custom=st.one_of(SCRIPT, IMAGE)),
    },
    optional={
        "transformer": build_component("transformer", custom=st.one_of(SCRIPT, IMAGE)),
        "queue": some(depth=st.sampled_from([1, 64]), timeout=st.sampled_from(["1s", "90s"])),
        "access": some(rateLimit=st.just({"requests": 5, "per": "1m"})),
    },
)  # fmt: skip


class Change(NamedTuple):
    """From one spec, over others in haste, to the last."""

    first: Json
    between: list[Json]
    last: Json
    labels: Json


CHANGES = st.builds(Change, SPECS, st.lists(SPECS, max_size=1), SPECS, LABELS)


def settle(cluster: Cluster, namespace: str) -> Any:
    """What there is when all is done. How many instances run is an autoscaler's to say."""
    cluster.wait_reason(namespace, "Ready", limit_s=60, every_s=0.3)

    def look() -> Any:
        children = {name: normalize(each) for name, each in cluster.list_children(namespace).items()}
        for name, each in children.items():
            if each["kind"] == "Deployment" and name.replace("Deployment", "HorizontalPodAutoscaler") in children:
                each["spec"].pop("replicas")
        status = normalize_status(cluster.status(namespace))
        for each in (status, *status["components"]):
            for name in ("instances", "replicas", "readyReplicas"):
                each.pop(name, None)
        return children, status

    seen: list[Any] = [look()]
    wait_for(lambda: seen.append(look()) or seen[-1] == seen[-2], every_s=0.6)
    return seen[-1]


def compare(cluster: Cluster, change: Change) -> tuple[Any, Any]:
    """The last spec as the first, and after the others, in one namespace: its name is part of what is made."""
    namespace = cluster.make_namespace(f"change-{next(_numbers)}")
    cluster.create(namespace, change.last, labels=change.labels)
    fresh = settle(cluster, namespace)
    cluster.drop(namespace)
    cluster.create(namespace, change.first)
    cluster.wait_reason(namespace, "Ready", limit_s=60, every_s=0.3)
    for spec in change.between:
        cluster.replace(namespace, spec)
    if change.labels:
        cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"labels": change.labels}})
    cluster.replace(namespace, change.last)
    changed = settle(cluster, namespace)
    cluster.drop(namespace)
    return fresh, changed


@pytest.mark.timeout(280)
def test_any_change_ends_as_a_fresh_start(cluster: Cluster, operator: Operator) -> None:
    @settings(
        max_examples=4, deadline=None, phases=PHASES, database=None, derandomize=True,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example],
    )  # fmt: skip
    @given(st.lists(CHANGES, min_size=AT_ONCE, max_size=AT_ONCE))
    def check(changes: list[Change]) -> None:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            for change, (fresh, changed) in zip(
                changes, pool.map(lambda each: compare(cluster, each), changes), strict=True
            ):
                assert changed == fresh, change

    check()
    failed = [line for line in operator.log.splitlines() if "Traceback" in line or "tried again" in line]
    assert failed == []
