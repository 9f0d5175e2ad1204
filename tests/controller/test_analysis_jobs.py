"""A canary that Jobs judge, beside what a real Envoy counts; the Jobs' ends are played, as there are no nodes."""

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from forebay.kube.resources import JOB, POD
from forebay.local.ports import HOST
from tests import loopback
from tests.controller.gateways import Gateway
from tests.controller.site import Cluster, History, Json, Nodes, Operator, wait_for
from tests.controller.test_analysis import ANALYSIS, Clients, begin, lead, servers
from tests.controller.test_canary import patch, predictor, rollout_of, wait_done, wait_phase

__all__ = ["servers"]
pytestmark = pytest.mark.usefixtures("operator", "clients")
SMOKE: Json = {"name": "smoke", "image": "registry.test/smoke:1", "args": ["$(FOREBAY_URL)"]}
AT = "2026-01-02T03:04:05Z"


@pytest.fixture
def clients(gateway: Gateway, namespace: str) -> Iterator[Clients]:
    with Clients(gateway, namespace) as clients:
        yield clients


def write(*jobs: Json, steps: int = 1) -> Json:
    weights = [{"weight": 50 + 10 * index, "pause": "1s"} for index in range(steps)]
    return {"canary": {"steps": weights, "analysis": {**ANALYSIS, "jobs": list(jobs)}}}


def list_jobs(cluster: Cluster, namespace: str) -> dict[str, Json]:
    found = cluster.list_all(JOB, namespace)
    return {each["metadata"]["name"]: each for each in found if "deletionTimestamp" not in each["metadata"]}


def wait_job(cluster: Cluster, namespace: str, *, step: int = 1, attempt: int = 1) -> Json:
    """The one Job there is, of this step and attempt."""
    about = {"forebay.dev/step": str(step), "forebay.dev/attempt": str(attempt)}

    def find() -> Json | None:
        found = list(list_jobs(cluster, namespace).values())
        is_alone = len(found) == 1 and found[0]["metadata"]["labels"].items() >= about.items()
        return found[0] if is_alone else None

    job: Json = wait_for(find, why=lambda: (list_jobs(cluster, namespace), cluster.status(namespace)))
    return job


def play_pod(cluster: Cluster, job: Json, state: Json) -> None:
    """A pod of the Job, as the Job's controller and a kubelet would leave it."""
    metadata, template = job["metadata"], job["spec"]["template"]
    namespace, name = metadata["namespace"], f"{metadata['name']}-x"
    path = POD.path(namespace=namespace, name=name)
    if not cluster.client.get(path).is_success:
        made = {"name": name, "namespace": namespace, "labels": template["metadata"]["labels"]}
        body = {"apiVersion": "v1", "kind": "Pod", "metadata": made, "spec": template["spec"]}
        cluster.write("POST", POD.path(namespace=namespace), body)
    container = {"name": "check", "image": "x", "imageID": "", "ready": False, "restartCount": 0, "state": state}
    body = {"status": {"containerStatuses": [container]}}
    cluster.write("PATCH", f"{path}/status", body, form="application/merge-patch+json")


def play_end(cluster: Cluster, job: Json, type_: str) -> None:
    """The Job's own status. Kubernetes wants the condition that precedes it, too."""
    before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[type_]
    conditions = [
        {"type": each, "status": "True", "reason": "X", "message": "", "lastTransitionTime": AT}
        for each in (before, type_)
    ]
    done = {"completionTime": AT, "succeeded": 1} if type_ == "Complete" else {"failed": 1}
    body = {"status": {"startTime": "2026-01-02T03:00:00Z", "conditions": conditions, **done}}
    path = JOB.path(namespace=job["metadata"]["namespace"], name=job["metadata"]["name"], subresource="status")
    cluster.write("PATCH", path, body, form="application/merge-patch+json")


def wait_said(cluster: Cluster, namespace: str, words: str) -> Json:
    """Until the step waits for nothing but its analysis, which says this."""

    def look() -> Json:
        found = rollout_of(cluster, namespace)
        return found if found["phase"] == "Analyzing" and words in found["analysis"]["message"] else {}

    found: Json = wait_for(look, why=lambda: f"{words}: {cluster.status(namespace)}")
    return found


def test_a_step_goes_on_when_its_job_completes(
    cluster: Cluster, gateway: Gateway, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    rollout = write(SMOKE, steps=2)
    with (
        closing(History(cluster, namespace, "Job")) as history,
        closing(History(cluster, namespace, "ModelDeployment")) as statuses,
    ):
        _, new = begin(cluster, nodes, namespace, (servers["good"], servers["good"]), rollout=rollout)
        job = wait_job(cluster, namespace)
        # The counters are content, and it isn't.
        name = job["metadata"]["name"]
        found = wait_said(cluster, namespace, f"smoke hasn't ended yet: kubectl logs -n {namespace} job/{name}")
        wait_for(lambda: "requests" not in rollout_of(cluster, namespace)["analysis"]["message"])
        assert (found["step"], found["analysis"]["verdict"]) == (1, "Inconclusive")
        env = {each["name"]: each["value"] for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}
        status = cluster.status(namespace)
        assert (env["FOREBAY_REVISION"], env["FOREBAY_STABLE"]) == (status["targetRevision"], status["activeRevision"])
        for name_of, url in (("FOREBAY_REVISION", "FOREBAY_URL"), ("FOREBAY_STABLE", "FOREBAY_STABLE_URL")):
            answer = loopback.get(f"http://{HOST}:{gateway.site.data_port}{urlsplit(env[url]).path}/v2", timeout=30)
            assert (answer.status_code, answer.headers["x-forebay-revision"]) == (200, env[name_of])
        (owner,) = job["metadata"]["ownerReferences"]
        assert owner["uid"] == cluster.find(namespace, "ModelDeployment", "digits")["metadata"]["uid"]
        play_pod(cluster, job, {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})
        wait_said(cluster, namespace, f"smoke can't start: pod {name}-x: ImagePullBackOff: no such image")
        # Its pod is none of the deployment's instances.
        assert all(each["replicas"] == 1 for each in cluster.status(namespace)["components"])
        play_end(cluster, job, "Complete")
        second = wait_job(cluster, namespace, step=2)
        play_end(cluster, second, "Complete")
        wait_done(cluster, namespace, new)
        wait_for(lambda: not list_jobs(cluster, namespace))
        wait_for(lambda: [type_ for type_, _ in history.seen].count("DELETED") == 2)
        made = [each["metadata"]["name"] for type_, each in history.seen if type_ == "ADDED"]
        assert made == [name, second["metadata"]["name"]]
        # It went after the status had told of the next step: who comes in between doesn't miss it.
        (gone,) = [each for type_, each in history.seen if type_ == "DELETED" and each["metadata"]["name"] == name]
        told = wait_for(
            lambda: [each for _, each in statuses.seen if each.get("status", {}).get("rollout", {}).get("step") == 2]
        )
        assert int(told[0]["metadata"]["resourceVersion"]) < int(gone["metadata"]["resourceVersion"])


def test_one_that_fails_is_kept_until_another_is_wanted(
    cluster: Cluster, operator: Operator, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    rollout = write(SMOKE)
    old, _ = begin(cluster, nodes, namespace, (servers["good"], servers["good"]), rollout=rollout)
    job = wait_job(cluster, namespace)
    play_pod(cluster, job, {"terminated": {"exitCode": 1, "message": "began\n3 of 4 answers differ\n"}})
    play_end(cluster, job, "Failed")
    failed = wait_phase(cluster, namespace, "Failed", 1)
    logs = f"kubectl logs -n {namespace} job/{job['metadata']['name']}"
    assert failed["message"] == f"smoke failed: 3 of 4 answers differ: see {logs}"
    assert cluster.condition(namespace)["reason"] == "AnalysisFailed"
    operator.wait_quiet()
    assert wait_job(cluster, namespace)["metadata"]["uid"] == job["metadata"]["uid"], "its logs can be read"
    # Who changes what is asked hasn't read the logs yet.
    patch(cluster, namespace, canary={"analysis": {"jobs": [{**SMOKE, "args": ["other"]}]}})
    operator.wait_quiet()
    assert wait_job(cluster, namespace)["metadata"]["uid"] == job["metadata"]["uid"]
    revision = cluster.status(namespace)["targetRevision"]
    patch(cluster, namespace, retry={"revision": revision, "attempt": 2})
    again = wait_job(cluster, namespace, attempt=2)
    assert again["spec"]["template"]["spec"]["containers"][0]["args"] == ["other"]
    play_end(cluster, again, "Failed")
    assert "its pods are gone" in wait_phase(cluster, namespace, "Failed", 1)["message"]
    cluster.replace(namespace, predictor(rollout))
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: not list_jobs(cluster, namespace))
    assert set(cluster.deployments(namespace)) == {old}


def test_an_operator_that_dies_begins_none_twice(
    cluster: Cluster, operator: Operator, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    with closing(History(cluster, namespace, "Job")) as history:
        _, new = begin(cluster, nodes, namespace, (servers["good"], servers["good"]), rollout=write(SMOKE))
        job = wait_job(cluster, namespace)
        operator.kill()
        play_end(cluster, job, "Complete")
        operator.start()
        operator.wait_leading()
        wait_done(cluster, namespace, new)
        # Watches tell in order: none was made before it went.
        wait_for(lambda: "DELETED" in [type_ for type_, _ in history.seen])
        assert [each["metadata"]["uid"] for type_, each in history.seen if type_ == "ADDED"] == [job["metadata"]["uid"]]


def test_a_target_that_changes_meanwhile_has_a_job_of_its_own(
    cluster: Cluster, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    rollout = write(SMOKE)
    old, new = begin(cluster, nodes, namespace, (servers["good"], servers["good"]), rollout=rollout)
    job = wait_job(cluster, namespace)
    nodes.held.add(namespace)
    cluster.replace(namespace, predictor(rollout, cpu="3"))
    wait_for(lambda: not list_jobs(cluster, namespace))
    wait_for(lambda: len(cluster.deployments(namespace).keys() - {old, new}) == 1)
    (newer,) = cluster.deployments(namespace).keys() - {old, new}
    lead(cluster, namespace, newer, servers["good"])
    nodes.release(namespace)
    second = wait_job(cluster, namespace)
    assert second["metadata"]["name"] != job["metadata"]["name"]
    # Nobody waits for it any more.
    patch(cluster, namespace, abort=cluster.status(namespace)["targetRevision"])
    wait_phase(cluster, namespace, "Aborted", 0)
    wait_for(lambda: not list_jobs(cluster, namespace))


def test_one_that_is_refused_is_told_and_tried_again(
    cluster: Cluster, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    quota = {"metadata": {"name": "none"}, "spec": {"hard": {"count/jobs.batch": "0"}}}
    path = f"/api/v1/namespaces/{namespace}/resourcequotas"
    cluster.write("POST", path, quota)
    # What a controller would tell, and what is heeded.
    status = {"status": {"hard": quota["spec"]["hard"], "used": {"count/jobs.batch": "0"}}}
    cluster.write("PATCH", f"{path}/none/status", status, form="application/merge-patch+json")
    _, new = begin(cluster, nodes, namespace, (servers["good"], servers["good"]), rollout=write(SMOKE))
    wait_said(cluster, namespace, "smoke can't start: its Job is refused: ")
    assert "exceeded quota" in rollout_of(cluster, namespace)["analysis"]["message"]
    assert cluster.condition(namespace)["reason"] == "RollingOut"
    cluster.client.delete(f"{path}/none").raise_for_status()
    play_end(cluster, wait_job(cluster, namespace), "Complete")
    wait_done(cluster, namespace, new)


def test_what_kubernetes_does_not_know_is_told_until_it_is_mended(
    cluster: Cluster, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    wrong = {**SMOKE, "podTemplate": {"spec": {"volumes": [{"name": "a", "emptydir": {}}]}}}
    rollout = write(wrong)
    _, new = begin(cluster, nodes, namespace, (servers["good"], servers["good"]), rollout=rollout)
    wait_said(cluster, namespace, "emptydir")
    assert not list_jobs(cluster, namespace)
    # Who needs no more proof goes on without it.
    patch(cluster, namespace, promote={"revision": cluster.status(namespace)["targetRevision"]})
    wait_done(cluster, namespace, new)


def test_none_begins_before_the_model_is_warm(
    cluster: Cluster, nodes: Nodes, servers: dict[str, int], namespace: str
) -> None:
    rollout = write(SMOKE)
    rollout["canary"]["analysis"] |= {"initialDelay": "1h"}
    _, new = begin(cluster, nodes, namespace, (servers["good"], servers["good"]), rollout=rollout)
    wait_said(cluster, namespace, "smoke is about to start")
    assert not list_jobs(cluster, namespace)
    patch(cluster, namespace, canary={"analysis": {"initialDelay": "0s"}})
    play_end(cluster, wait_job(cluster, namespace), "Complete")
    wait_done(cluster, namespace, new)
