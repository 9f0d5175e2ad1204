"""Whose logs `forebay logs` reads."""

from typing import Any

import pytest

from forebay.cluster.errors import ClusterError
from forebay.cluster.sources import Source, Wanted, list_sources

Json = dict[str, Any]
RUNNING = {"state": {"running": {}}, "containerID": "run-1"}
DONE = {"state": {"terminated": {"exitCode": 0, "containerID": "run-0"}}}
FAILED = {
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
    "lastState": {"terminated": {"exitCode": 1, "containerID": "run-0"}},
}
WAITING = {"state": {"waiting": {"reason": "PodInitializing"}}}


def build_pod(name: str, component: str = "predictor", *, download: Json, server: Json) -> Json:
    return {
        "metadata": {"name": name, "labels": {"app.kubernetes.io/component": component}},
        "spec": {
            "initContainers": [{"name": "download"}, {"name": "queue", "restartPolicy": "Always"}],
            "containers": [{"name": component}],
        },
        "status": {
            "initContainerStatuses": [{"name": "download", **download}],
            "containerStatuses": [{"name": component, **server}],
        },
    }


PODS = [
    build_pod("a", download=DONE, server=RUNNING),
    build_pod("b", download=FAILED, server=WAITING),
    build_pod("c", "transformer", download=DONE, server=FAILED),
]


def test_the_servers_and_a_download_that_failed() -> None:
    assert list_sources(PODS, Wanted()) == [
        Source(pod="a", container="predictor", run="run-1"),
        Source(pod="b", container="download", run="run-0", waiting="CrashLoopBackOff"),
        Source(pod="b", container="predictor", run="", waiting="PodInitializing"),
        Source(pod="c", container="transformer", run="run-0", waiting="CrashLoopBackOff"),
    ]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Wanted(component="transformer"), ["c/transformer"]),
        (Wanted(container="queue"), ["a/queue", "b/queue", "c/queue"]),
        (Wanted(container="download", component="predictor"), ["a/download", "b/download"]),
    ],
)
def test_what_is_asked_for(wanted: Wanted, found: list[str]) -> None:
    assert [each.label for each in list_sources(PODS, wanted)] == found


def test_what_is_not_there() -> None:
    with pytest.raises(ClusterError, match="no container is called qeue: there are download, predictor, queue, tr"):
        list_sources(PODS, Wanted(container="qeue"))
    with pytest.raises(ClusterError, match="there are no pods of the transformer: there are those of the predictor"):
        list_sources(PODS[:1], Wanted(component="transformer"))
    assert list_sources([], Wanted(container="qeue", component="transformer")) == []
