"""What the operator tells of a fallback and of a drill, as the gateway's real pilot has it."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.controller.site import TRITON, Cluster, Json, wait_for

pytestmark = pytest.mark.usefixtures("operator")


def types(cluster: Cluster, namespace: str) -> set[str]:
    return {each["type"] for each in cluster.status(namespace).get("conditions", ())}


def find(cluster: Cluster, namespace: str, type_: str, status: str) -> Json | None:
    if type_ not in types(cluster, namespace):
        return None
    found = cluster.condition(namespace, type_=type_)
    return found if found["status"] == status else None


def test_whether_somebody_would_answer(cluster: Cluster, namespace: str) -> None:
    cluster.create(namespace, TRITON | {"fallback": {"deployment": "simple"}})
    cluster.wait_reason(namespace, "Ready")
    found = wait_for(lambda: find(cluster, namespace, "FallbackReady", "False"))
    assert (found["reason"], "no ModelDeployment simple" in found["message"]) == ("FallbackMissing", True)
    cluster.create(namespace, TRITON, name="simple")
    wait_for(lambda: find(cluster, namespace, "FallbackReady", "True"), why=lambda: cluster.status(namespace))
    cluster.patch(namespace, "ModelDeployment", "simple", {"spec": {"suspend": True}})
    found = wait_for(lambda: find(cluster, namespace, "FallbackReady", "False"))
    assert "simple is suspended" in found["message"]
    assert cluster.condition(namespace)["status"] == "True", "what serves doesn't hang on it"


def test_a_drill_is_told_and_over_by_itself(cluster: Cluster, namespace: str) -> None:
    cluster.create(namespace, TRITON)
    cluster.wait_reason(namespace, "Ready")
    since = datetime.now(UTC)
    drill = {"fault": "Refusing", "revision": cluster.status(namespace)["activeRevision"], "since": write(since)}
    put_drill(cluster, namespace, {**drill, "until": write(since + timedelta(minutes=50))})
    assert "queues were full" in wait_for(lambda: find(cluster, namespace, "Drill", "True"))["message"]
    # However late the operator looks at it.
    put_drill(cluster, namespace, {**drill, "until": write(datetime.now(UTC) + timedelta(seconds=5))})
    wait_for(lambda: {each["reason"] for each in cluster.events(namespace)} >= {"DrillBegun", "DrillEnded"})
    assert "Drill" not in types(cluster, namespace)
    cluster.wait_reason(namespace, "Ready")


def write(time: datetime) -> str:
    return f"{time:%Y-%m-%dT%H:%M:%SZ}"


def put_drill(cluster: Cluster, namespace: str, drill: Json) -> None:
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"drill": drill}})
