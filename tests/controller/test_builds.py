"""ImageBuilds: a Job each, and what came of it; the Job's end is played, as there are no nodes."""

import json
from typing import Any

import pytest

from forebay.kube.resources import IMAGE_BUILD, JOB, POD
from tests.controller.site import Cluster, Json, Operator, wait_for

pytestmark = pytest.mark.usefixtures("operator")

SPEC: Json = {"script": "class A:\n    def predict(self, inputs): ...\n", "image": "registry.test/models/a:1"}
DIGEST = f"sha256:{'a' * 64}"
RESULT = {"image": f"registry.test/models/a@{DIGEST}", "digest": DIGEST}


def create(cluster: Cluster, namespace: str, **fields: Any) -> Json:
    body = {"apiVersion": IMAGE_BUILD.api_version, "kind": IMAGE_BUILD.kind, "spec": SPEC | fields}
    metadata = {"name": "a", "namespace": namespace, "labels": {"team": "vision"}}
    return cluster.write("POST", IMAGE_BUILD.path(namespace=namespace), body | {"metadata": metadata})


def jobs(cluster: Cluster, namespace: str) -> dict[str, Json]:
    found = cluster.list_all(JOB, namespace, "forebay.dev/image-build=a")
    return {each["metadata"]["name"]: each for each in found if "deletionTimestamp" not in each["metadata"]}


def status(cluster: Cluster, namespace: str) -> Json:
    found: Json = cluster.find(namespace, "ImageBuild", "a").get("status", {})
    return found


def wait_job(cluster: Cluster, namespace: str, *, other_than: str = "") -> Json:
    """The one Job there is."""

    def is_alone() -> Json | None:
        found = jobs(cluster, namespace)
        return next(iter(found.values())) if len(found) == 1 and other_than not in found else None

    job: Json = wait_for(is_alone, why=lambda: (jobs(cluster, namespace).keys(), status(cluster, namespace)))
    return job


def wait_reason(cluster: Cluster, namespace: str, reason: str) -> Json:
    def is_said() -> Json | None:
        found = cluster.find(namespace, "ImageBuild", "a")
        ready = next(each for each in found["status"]["conditions"] if each["type"] == "Ready")
        current = ready["observedGeneration"] == found["metadata"]["generation"]
        return found["status"] | {"ready": ready} if current and ready["reason"] == reason else None

    said: Json = wait_for(is_said, why=lambda: (reason, status(cluster, namespace)))
    return said


def stalled(found: Json) -> str:
    said: str = next(each for each in found["conditions"] if each["type"] == "Stalled")["status"]
    return said


def play_pod(cluster: Cluster, job: Json, state: Json, **more: Any) -> None:
    """A pod of the Job, as the Job's controller and a kubelet would leave it."""
    namespace, name = job["metadata"]["namespace"], f"{job['metadata']['name']}-x"
    template = job["spec"]["template"]
    labels = {**template["metadata"]["labels"], "batch.kubernetes.io/job-name": job["metadata"]["name"]}
    metadata = {"name": name, "namespace": namespace, "labels": labels}
    if not cluster.client.get(POD.path(namespace=namespace, name=name)).is_success:
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
        cluster.write("POST", POD.path(namespace=namespace), body)
    container = {"name": "build", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    path = POD.path(namespace=namespace, name=name, subresource="status")
    body = {"status": {"containerStatuses": [container], **more}}
    cluster.write("PATCH", path, body, form="application/merge-patch+json")


def ended(code: int, message: str, reason: str = "") -> Json:
    return {
        "terminated": {"exitCode": code, "message": message, "reason": reason or ("Completed" if not code else "Error")}
    }


def play_end(cluster: Cluster, job: Json, type_: str, reason: str = "") -> None:
    """The Job's own status. Kubernetes wants the condition that precedes it, too."""
    before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[type_]
    at = "2026-01-02T03:04:05Z"
    conditions = [
        {"type": each, "status": "True", "reason": reason or "X", "message": "", "lastTransitionTime": at}
        for each in (before, type_)
    ]
    done = {"completionTime": at, "succeeded": 1} if type_ == "Complete" else {"failed": 1}
    body = {"status": {"startTime": "2026-01-02T03:00:00Z", "conditions": conditions, **done}}
    path = JOB.path(namespace=job["metadata"]["namespace"], name=job["metadata"]["name"], subresource="status")
    cluster.write("PATCH", path, body, form="application/merge-patch+json")


@pytest.fixture
def namespace(cluster: Cluster, namespace: str) -> Any:
    yield namespace
    cluster.delete(namespace, "ImageBuild", "a")
    for name in jobs(cluster, namespace):
        cluster.client.delete(JOB.path(namespace=namespace, name=name), params={"propagationPolicy": "Background"})


def test_a_job_builds_and_its_word_is_the_status(cluster: Cluster, operator: Operator, namespace: str) -> None:
    create(cluster, namespace, requirements=["six==1.17.0"], pushSecretName="login")
    job = wait_job(cluster, namespace)
    owner = cluster.find(namespace, "ImageBuild", "a")["metadata"]["uid"]
    assert [each["uid"] for each in job["metadata"]["ownerReferences"]] == [owner]
    assert "finalizers" not in cluster.find(namespace, "ImageBuild", "a")["metadata"]
    sources = cluster.find(namespace, "ConfigMap", job["metadata"]["name"])
    assert sources["data"] == {"script.py": SPEC["script"], "requirements.txt": "six==1.17.0\n"}
    said = wait_reason(cluster, namespace, "Building")
    assert (said["ready"]["status"], stalled(said)) == ("False", "False")
    play_pod(cluster, job, ended(0, json.dumps(RESULT)))
    play_end(cluster, job, "Complete")
    said = wait_reason(cluster, namespace, "Ready")
    assert said["ready"]["status"] == "True"
    assert {key: said[key] for key in ("image", "digest", "job", "startTime", "completionTime")} == RESULT | {
        "job": job["metadata"]["name"], "startTime": "2026-01-02T03:00:00Z", "completionTime": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    shown = cluster.plane.kubectl("get", "ib", "a", "-n", namespace).stdout
    assert RESULT["image"] in shown


def test_a_second_pass_writes_nothing_and_a_job_that_is_gone_stays_gone(
    cluster: Cluster, operator: Operator, namespace: str
) -> None:
    create(cluster, namespace)
    job = wait_job(cluster, namespace)
    play_pod(cluster, job, ended(0, json.dumps(RESULT)))
    play_end(cluster, job, "Complete")
    wait_reason(cluster, namespace, "Ready")
    operator.wait_quiet()
    before = operator.count_writes()
    version = cluster.find(namespace, "ImageBuild", "a")["metadata"]["resourceVersion"]
    # As after a day.
    path = JOB.path(namespace=namespace, name=job["metadata"]["name"])
    cluster.client.delete(path, params={"propagationPolicy": "Background"}).raise_for_status()
    wait_for(lambda: not jobs(cluster, namespace))
    cluster.patch(namespace, "ImageBuild", "a", {"metadata": {"labels": {"touched": "yes"}}})
    operator.wait_quiet()
    assert operator.count_writes() == before
    assert not jobs(cluster, namespace)
    assert cluster.find(namespace, "ImageBuild", "a")["metadata"]["resourceVersion"] != version


def test_another_spec_is_another_job_and_the_old_one_goes(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace)
    first = wait_job(cluster, namespace)
    play_pod(cluster, first, ended(0, json.dumps(RESULT)))
    play_end(cluster, first, "Complete")
    wait_reason(cluster, namespace, "Ready")
    cluster.patch(namespace, "ImageBuild", "a", {"spec": {"image": "registry.test/models/a:2"}})
    second = wait_job(cluster, namespace, other_than=first["metadata"]["name"])
    said = wait_reason(cluster, namespace, "Building")
    assert said["image"] == RESULT["image"], "it is still there"
    assert "completionTime" not in said or not said["completionTime"]
    wait_for(lambda: not cluster.find(namespace, "ConfigMap", first["metadata"]["name"]))
    play_pod(cluster, second, ended(2, "script.py:1: invalid syntax"))
    play_end(cluster, second, "Failed", "PodFailurePolicy")
    said = wait_reason(cluster, namespace, "BuildFailed")
    assert (said["ready"]["message"], stalled(said)) == ("script.py:1: invalid syntax", "True")
    # Mended, it is the Job of the first spec again, built anew.
    cluster.patch(namespace, "ImageBuild", "a", {"spec": SPEC})
    third = wait_job(cluster, namespace, other_than=second["metadata"]["name"])
    assert third["metadata"]["name"] == first["metadata"]["name"]
    assert third["metadata"]["uid"] != first["metadata"]["uid"]


def test_what_keeps_it_from_building_is_told(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, timeout="90s")
    job = wait_job(cluster, namespace)
    assert job["spec"]["activeDeadlineSeconds"] == 90
    waiting = {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}
    play_pod(cluster, job, waiting)
    assert "can't pull its image: not found" in wait_reason(cluster, namespace, "ImagePullFailed")["ready"]["message"]
    play_pod(cluster, job, ended(137, "", "OOMKilled"))
    play_end(cluster, job, "Failed", "BackoffLimitExceeded")
    assert "spec.resources.memory" in wait_reason(cluster, namespace, "BuildFailed")["ready"]["message"]


def test_what_kubernetes_refuses_is_told(cluster: Cluster, namespace: str) -> None:
    create(cluster, namespace, podTemplate={"spec": {"restartPolicy": "Always"}})
    said = wait_reason(cluster, namespace, "ApplyFailed")
    assert "restartPolicy" in said["ready"]["message"]
    assert stalled(said) == "True"


def test_rights_suffice(operator: Operator) -> None:
    assert "is forbidden" not in operator.log
