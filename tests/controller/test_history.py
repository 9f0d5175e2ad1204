"""What is kept of each revision, once; and what was before is served again, by a field and by a reverted spec."""

from contextlib import closing
from typing import Any

import pytest

from forebay.kube.resources import CONTROLLER_REVISION
from tests.controller.gateways import Gateway
from tests.controller.site import TRITON, WITH_TRANSFORMER, Cluster, History, Json, Nodes, Operator, wait_for
from tests.controller.test_canary import BY_HAND, patch, predictor, rollout_of, routed, shares, told, wait_phase
from tests.controller.test_versions import BY_ALIAS, make_version, set_aliases, wait_version

pytestmark = pytest.mark.usefixtures("operator")
WRITES = "forebay_api_writes_total ControllerRevision"


def records(cluster: Cluster, namespace: str) -> list[Json]:
    """The latest first."""
    found = cluster.list_all(CONTROLLER_REVISION, namespace)
    return sorted(found, key=lambda each: -each["revision"])


def told_of(record: Json, what: str) -> str:
    return str(record["metadata"]["annotations"].get(f"forebay.dev/{what}", ""))


def revision_of(record: Json) -> str:
    return str(record["metadata"]["labels"]["forebay.dev/revision"])


def list_numbers(cluster: Cluster, namespace: str) -> list[tuple[int, str, str]]:
    return [(each["revision"], revision_of(each), told_of(each, "outcome")) for each in records(cluster, namespace)]


def count(operator: Operator) -> int:
    return int(sum(value for name, value in operator.metrics().items() if name.startswith(WRITES)))


def serve(cluster: Cluster, namespace: str, *cpus: str, rollout: Json | None = None, **fields: Any) -> list[str]:
    """One revision after the other: their names."""
    names = []
    for cpu in cpus:
        spec = predictor(rollout, cpu=cpu, **fields)
        if names:
            cluster.replace(namespace, spec)
        else:
            cluster.create(namespace, spec)
        cluster.wait_reason(namespace, "Ready")
        names.append(cluster.status(namespace)["activeRevision"])
    return names


def test_each_is_kept_once_with_who_and_when(cluster: Cluster, operator: Operator, namespace: str) -> None:
    before = count(operator)
    first, second = serve(cluster, namespace, "1", "2")
    wait_for(lambda: list_numbers(cluster, namespace) == [(2, second, "Served"), (1, first, "Served")])
    operator.wait_quiet()
    assert count(operator) - before == 4, "one when it was new, and one when it was known what became of it"
    latest, oldest = records(cluster, namespace)
    assert latest["data"]["spec"]["predictor"]["resources"]["cpu"] == "2"
    assert "replicas" not in latest["data"]["spec"]["predictor"]
    assert told_of(latest, "changed-by") == "somebody"
    assert told_of(latest, "rolled-out-at") >= told_of(oldest, "rolled-out-at")
    (owner,) = latest["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["controller"]) == ("ModelDeployment", "digits", True)
    status = cluster.status(namespace)
    assert (status["activeNumber"], status["targetNumber"]) == (2, 2)
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"look": "again"}}})
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"queue": {"depth": 9}}})
    cluster.wait_reason(namespace, "Ready")
    operator.wait_quiet()
    assert count(operator) - before == 4, "other numbers make no other revision"
    operator.kill()
    operator.start()
    operator.wait_leading()
    operator.wait_quiet()
    assert count(operator) == 0


def test_the_oldest_go_and_what_serves_stays(
    cluster: Cluster, nodes: Nodes, operator: Operator, namespace: str
) -> None:
    names = serve(cluster, namespace, "1", "2", "3", "4", rollout={"history": 2})
    wait_for(lambda: [each[1] for each in list_numbers(cluster, namespace)] == [names[3], names[2]])
    nodes.held.add(namespace)
    for cpu in ("5", "6"):
        cluster.replace(namespace, predictor({"history": 2}, cpu=cpu))
        wait_for(lambda: len(cluster.deployments(namespace)) == 2)
        operator.wait_quiet()
    numbers = list_numbers(cluster, namespace)
    assert [each[0] for each in numbers] == [6, 4]
    assert numbers[1][1] == names[3] == cluster.status(namespace)["activeRevision"]
    nodes.release(namespace)
    cluster.wait_reason(namespace, "Ready")


def test_an_aborted_one_is_told_from_those_that_served(cluster: Cluster, namespace: str) -> None:
    (first,) = serve(cluster, namespace, "1", rollout=BY_HAND)
    cluster.replace(namespace, predictor(BY_HAND, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    second = cluster.status(namespace)["targetRevision"]
    assert list_numbers(cluster, namespace)[0] == (2, second, "")
    assert (cluster.status(namespace)["activeNumber"], cluster.status(namespace)["targetNumber"]) == (1, 2)
    patch(cluster, namespace, abort=second)
    wait_for(lambda: list_numbers(cluster, namespace) == [(2, second, "Aborted"), (1, first, "Served")])


def test_rolled_back_until_the_spec_changes(
    cluster: Cluster, gateway: Gateway, operator: Operator, namespace: str
) -> None:
    first, second = serve(cluster, namespace, "1", "2")
    (bad,) = cluster.deployments(namespace)
    # No steps, and no waiting.
    patch(cluster, namespace, rollback={"from": second, "to": first}, paused=True, **BY_HAND)
    wait_for(lambda: cluster.status(namespace)["activeRevision"] == first)
    said = cluster.wait_reason(namespace, "Ready")
    words = f"rolled back from r2 ({second}) to r3 ({first}) by spec.rollout.rollback: change the spec to go on"
    assert said["message"] == f"revision {first} is ready, and gets all requests; {words}"
    found = cluster.condition(namespace, type_="RolledBack")
    assert (found["status"], found["message"]) == ("True", words)
    status = cluster.status(namespace)
    assert status["rollback"] == {"from": second, "to": first}
    assert (status["targetRevision"], status["activeNumber"]) == (first, 3)
    wait_for(lambda: bad not in cluster.deployments(namespace))
    assert [*routed(gateway, namespace).values()] == [100]
    assert list_numbers(cluster, namespace) == [(3, first, "Served"), (2, second, "Served")]
    assert records(cluster, namespace)[0]["metadata"]["annotations"]["kubernetes.io/change-cause"] == (
        f"rolled back from {second}"
    )
    reasons = told(cluster, namespace)
    assert reasons.count("RolledBack") == 1
    assert "RolloutStep" not in reasons
    operator.wait_quiet()
    writes = operator.count_writes()
    cluster.patch(namespace, "ModelDeployment", "digits", {"metadata": {"annotations": {"look": "again"}}})
    operator.wait_quiet()
    assert operator.count_writes() == writes
    # The present numbers of instances hold, and the field that is left says nothing of another content.
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"predictor": {"replicas": 2}}})
    wait_for(lambda: [each["spec"]["replicas"] for each in cluster.deployments(namespace).values()] == [2])
    patch(cluster, namespace, paused=None)
    cluster.patch(namespace, "ModelDeployment", "digits", {"spec": {"predictor": {"resources": {"cpu": "3"}}}})
    wait_phase(cluster, namespace, "Waiting", 1)
    assert "rollback" not in cluster.status(namespace)
    assert not cluster.condition(namespace, type_="RolledBack")
    assert cluster.status(namespace)["activeRevision"] == first


def test_rolled_back_midway(cluster: Cluster, gateway: Gateway, namespace: str) -> None:
    (first,) = serve(cluster, namespace, "1", rollout=BY_HAND)
    (old,) = cluster.deployments(namespace)
    cluster.replace(namespace, predictor(BY_HAND, cpu="2"))
    wait_phase(cluster, namespace, "Waiting", 1)
    second = cluster.status(namespace)["targetRevision"]
    patch(cluster, namespace, rollback={"from": second, "to": first})
    cluster.wait_reason(namespace, "Ready")
    wait_for(lambda: [*cluster.deployments(namespace)] == [old])
    assert routed(gateway, namespace) == {old: 100}
    assert cluster.deployments(namespace)[old]["metadata"]["generation"] == 1, "nothing was started anew"
    # And on again, by its steps.
    patch(cluster, namespace, rollback=None)
    wait_phase(cluster, namespace, "Waiting", 1)


def test_an_alias_that_moved_is_rolled_back(cluster: Cluster, namespace: str) -> None:
    make_version(cluster, namespace, "3", "champion", digest=f"sha256:{'3' * 64}")
    make_version(cluster, namespace, "4")
    cluster.create(namespace, BY_ALIAS)
    first = wait_version(cluster, namespace, "3")["activeRevision"]
    set_aliases(cluster, namespace, "4", "champion")
    set_aliases(cluster, namespace, "3")
    second = wait_version(cluster, namespace, "4")["activeRevision"]
    latest = records(cluster, namespace)[0]
    assert told_of(latest, "changed-by") == "the model registry"
    assert latest["metadata"]["annotations"]["kubernetes.io/change-cause"] == "digits@champion became digits:4"
    patch(cluster, namespace, rollback={"from": second, "to": first})
    status = wait_version(cluster, namespace, "3")
    assert (status["activeRevision"], status["model"]["digest"]) == (first, f"sha256:{'3' * 64}")


def test_with_the_transformer_that_was_there(cluster: Cluster, namespace: str) -> None:
    cluster.create(namespace, WITH_TRANSFORMER | {"transformer": WITH_TRANSFORMER["transformer"] | {"replicas": 2}})
    cluster.wait_reason(namespace, "Ready")
    first, before = cluster.status(namespace)["activeRevision"], cluster.deployments(namespace)
    cluster.replace(namespace, TRITON)
    wait_for(lambda: len(cluster.deployments(namespace)) == 1)
    cluster.wait_reason(namespace, "Ready")
    second = cluster.status(namespace)["activeRevision"]
    patch(cluster, namespace, rollback={"from": second, "to": first})
    wait_for(lambda: cluster.deployments(namespace).keys() == before.keys())
    cluster.wait_reason(namespace, "Ready")
    numbers = {name: each["spec"]["replicas"] for name, each in cluster.deployments(namespace).items()}
    assert sorted(numbers.values()) == [1, 2]


def test_a_reverted_spec_is_known_and_goes_by_its_steps(cluster: Cluster, namespace: str) -> None:
    """As with any other content: what served before may be wrong for what is asked of it today."""
    first, second = serve(cluster, namespace, "1", "2")
    cluster.replace(namespace, predictor(BY_HAND, cpu="1"))
    wait_phase(cluster, namespace, "Waiting", 1)
    assert cluster.status(namespace)["targetRevision"] == first
    assert cluster.status(namespace)["activeRevision"] == second
    assert list_numbers(cluster, namespace) == [(3, first, "Served"), (2, second, "Served")]
    patch(cluster, namespace, promote={"revision": first})
    cluster.wait_reason(namespace, "Ready")
    assert sorted(shares(cluster, namespace).values()) == [100]


def test_what_cannot_be_served_again_is_told_and_nothing_changes(cluster: Cluster, namespace: str) -> None:
    first, second = serve(cluster, namespace, "1", "2")
    with closing(History(cluster, namespace)) as history:
        patch(cluster, namespace, rollback={"from": second, "to": "0badcafe"})
        said = cluster.wait_reason(namespace, "RollbackFailed")
        assert said["status"] == "False"
        assert f"still serving {second}; what spec.rollout.rollback names can't be used: " in said["message"]
        assert f"there are r2 ({second}), r1 ({first})" in said["message"]
        assert cluster.condition(namespace, type_="Stalled")["status"] == "True"
        assert cluster.condition(namespace, type_="Available")["status"] == "True"
        # Kept by a version of Forebay that knew another API.
        latest = records(cluster, namespace)[0]
        labels = latest["metadata"]["labels"] | {"forebay.dev/revision": "0badcafe"}
        metadata = {
            "name": "digits-0badcafe",
            "labels": labels,
            "ownerReferences": latest["metadata"]["ownerReferences"],
        }
        spec = latest["data"]["spec"] | {"predictor": {"triton": {}, "gpus": 1}}
        body = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": metadata, "revision": 0}
        cluster.write("POST", CONTROLLER_REVISION.path(namespace=namespace), body | {"data": {"spec": spec}})
        wait_for(lambda: "spec.predictor.gpus: Extra inputs" in cluster.condition(namespace)["message"])
        assert not history.seen, "nothing was touched"
    patch(cluster, namespace, rollback=None)
    cluster.wait_reason(namespace, "Ready")


def test_records_come_back_with_a_backup(cluster: Cluster, operator: Operator, namespace: str) -> None:
    """Who lost their owner are adopted; those of another of its name are not its own."""
    first, second = serve(cluster, namespace, "1", "2")
    wait_for(lambda: len(records(cluster, namespace)) == 2)
    latest, oldest = records(cluster, namespace)
    for each in (latest, oldest):
        name = each["metadata"]["name"]
        cluster.patch(namespace, "ControllerRevision", name, {"metadata": {"ownerReferences": None}})
    wait_for(lambda: records(cluster, namespace)[0]["metadata"].get("ownerReferences"))
    assert [each[1] for each in list_numbers(cluster, namespace)] == [second, first]
    patch(cluster, namespace, rollback={"from": second, "to": first})
    wait_for(lambda: cluster.status(namespace)["activeRevision"] == first)
    cluster.wait_reason(namespace, "Ready")
    assert not rollout_of(cluster, namespace)
    operator.wait_quiet()


def test_a_script_with_whatever_characters_is_kept_as_it_is(cluster: Cluster, namespace: str) -> None:
    """Records are immutable to the byte, and the apiserver writes some characters in a way of its own."""
    script = (
        "class A:\n    # <a> & 'b' \u2028 \u2029 é \U0001f600 \\u003c\n    def preprocess(self, i):\n        return i\n"
    )
    spec = WITH_TRANSFORMER | {"transformer": {"custom": {"script": script}}}
    cluster.create(namespace, spec)
    cluster.wait_reason(namespace, "Ready")
    (first,) = wait_for(lambda: [each for each in list_numbers(cluster, namespace) if each[2] == "Served"])
    assert records(cluster, namespace)[0]["data"]["spec"]["transformer"]["custom"]["script"] == script
    cluster.replace(namespace, TRITON)
    wait_for(lambda: cluster.status(namespace).get("activeNumber") == 2)
    cluster.wait_reason(namespace, "Ready")
    patch(cluster, namespace, rollback={"from": cluster.status(namespace)["activeRevision"], "to": first[1]})
    wait_for(lambda: list_numbers(cluster, namespace)[0] == (3, first[1], "Served"))
