"""Any spec changed to any other ends as the other does when it is the first."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count, repeat
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.controller.site import Cluster, Json, Operator, normalize, normalize_status

_numbers = count()
AT_ONCE = 15
CHANGES_EACH = 3


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
    """Over others in haste to another spec."""

    between: list[Json]
    last: Json
    labels: Json


CHANGES = st.builds(Change, st.lists(SPECS, max_size=1), SPECS, LABELS)


class Course:
    """Changes one after the other, in a namespace of their own: its name is part of what is made."""

    def __init__(self, cluster: Cluster, first: Json, changes: Sequence[Change]) -> None:
        self.first, self.changes = first, changes
        self._cluster = cluster
        self._namespace = cluster.make_namespace(f"change-{next(_numbers)}")

    def begin(self) -> None:
        """With the first spec."""
        self._create(self.first, {})

    def begin_with(self, at: int) -> None:
        """With what comes later."""
        self._create(self.changes[at].last, self.changes[at].labels)

    def _create(self, spec: Json, labels: Json) -> None:
        self._cluster.create(self._namespace, spec, labels=labels)
        self._cluster.wait_reason(self._namespace, "Ready")

    def go_on(self, at: int) -> None:
        """To the next spec."""
        cluster, namespace, change = self._cluster, self._namespace, self.changes[at]
        for spec in change.between:
            cluster.replace(namespace, spec)
        known = cluster.find(namespace, "ModelDeployment", "digits")["metadata"].get("labels", {})
        labels = dict.fromkeys(known) | change.labels
        if labels:
            cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"labels": labels}})
        cluster.replace(namespace, change.last)
        cluster.wait_reason(namespace, "Ready")

    def drop(self) -> None:
        self._cluster.drop(self._namespace)

    def look(self) -> Any:
        """What there is. How many instances run is an autoscaler's to say."""
        cluster, namespace = self._cluster, self._namespace
        children = {name: normalize(each) for name, each in cluster.list_children(namespace).items()}
        for name, each in children.items():
            if each["kind"] == "Deployment" and name.replace("Deployment", "HorizontalPodAutoscaler") in children:
                each["spec"].pop("replicas")
        status = normalize_status(cluster.status(namespace))
        for each in (status, *status["components"]):
            for name in ("instances", "replicas", "readyReplicas"):
                each.pop(name, None)
        return children, status


def compare_all(operator: Operator, courses: list[Course]) -> None:
    """What is there once the operator has come to rest: of each spec alone, and after the one before."""
    fresh = []
    with ThreadPoolExecutor(len(courses)) as pool:
        for at in range(CHANGES_EACH):
            list(pool.map(Course.begin_with, courses, repeat(at)))
            operator.wait_quiet()
            fresh.append(list(pool.map(Course.look, courses)))
            list(pool.map(Course.drop, courses))
        list(pool.map(Course.begin, courses))
        for at, wanted in enumerate(fresh):
            list(pool.map(Course.go_on, courses, repeat(at)))
            operator.wait_quiet()
            for course, look, found in zip(courses, wanted, pool.map(Course.look, courses), strict=True):
                assert found == look, (course.first, course.changes[: at + 1])
        list(pool.map(Course.drop, courses))


def draw(number: int) -> list[tuple[Json, list[Change]]]:
    """First specs, and what they are changed to: always the same ones."""
    drawn = []

    @settings(
        max_examples=number, deadline=None, phases=[Phase.generate], database=None, derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(SPECS, st.lists(CHANGES, min_size=CHANGES_EACH, max_size=CHANGES_EACH))
    def keep(first: Json, changes: list[Change]) -> None:
        drawn.append((first, changes))

    keep()
    return drawn


@pytest.mark.timeout(280)
def test_any_change_ends_as_a_fresh_start(cluster: Cluster, operator: Operator) -> None:
    drawn = draw(AT_ONCE)
    assert len(drawn) == AT_ONCE
    compare_all(operator, [Course(cluster, first, changes) for first, changes in drawn])
    failed = [line for line in operator.log.splitlines() if "Traceback" in line or "tried again" in line]
    assert failed == []
