"""What is known of the children, and whose they are."""

from typing import Any

import pytest

from forebay.kube.children import Children, Id, build_child
from forebay.kube.holdings import Owner

MUCH = {"manager": "forebay", "operation": "Apply", "fieldsV1": {}}
A, B, ELSEWHERE = Owner("one", "a"), Owner("one", "b"), Owner("two", "a")
OWNED = [{"apiVersion": "forebay.dev/v1alpha1", "controller": True, "uid": "md", "name": "a"}]
THEIRS = [{"apiVersion": "apps/v1", "controller": True, "uid": "rs", "name": "a"}]
KEY = Id("Service", "x")


def build(version: int, *, uid: str = "1", name: str = "x", owners: Any = OWNED, applied: str = "d") -> dict[str, Any]:
    metadata = {"name": name, "namespace": "one", "uid": uid, "resourceVersion": str(version), "managedFields": [MUCH]}
    metadata |= {"annotations": {"forebay.dev/applied": applied} if applied else {}, "ownerReferences": owners}
    return {"kind": "Service", "metadata": metadata}


def test_older_news_is_no_news() -> None:
    children = Children()
    assert children.put(A, build(9))
    assert not children.put(A, build(9))
    assert not children.put(A, build(8))
    assert children.put(A, build(10))
    assert children.put(A, build(3, uid="2"))  # made anew
    assert not children.drop(A, KEY, uid="1")
    assert children.drop(A, KEY, uid="2")
    assert not children.of(A)


def test_whose_it_is() -> None:
    children = Children()
    children.put(A, build(1))
    found = children.of(A)[KEY]
    assert (found.owner_uid, found.applied, found.is_orphan) == ("md", "d", False)
    assert "managedFields" not in found.content["metadata"]
    for owners, applied, is_orphan in (([], "d", True), ([], "", False), (THEIRS, "d", False)):
        children.put(A, build(2, uid=str(owners) + applied, owners=owners, applied=applied))
        found = children.of(A)[KEY]
        assert (found.owner_uid, found.is_orphan) == ("", is_orphan)


def test_what_is_settled_is_so_for_one_version() -> None:
    children = Children()
    children.put(A, build(1))
    children.settle(children.of(A)[KEY], "d")
    assert children.is_settled(children.of(A)[KEY], "d")
    assert not children.is_settled(children.of(A)[KEY], "e")
    children.put(A, build(2))
    assert not children.is_settled(children.of(A)[KEY], "d")


def test_another_owner_takes_it_over() -> None:
    children = Children()
    children.put(A, build(1))
    assert children.release(build(2), owner=A) is None
    assert children.release(build(2), owner=B) == A
    assert children.release(build(2), owner=None) is None
    assert not children.of(A)


@pytest.mark.parametrize("how", ["gone", "without its labels", "another's"])
def test_a_write_that_is_answered_after_the_loss_is_no_news(how: str) -> None:
    """Somebody deletes, or takes the labels from, what was just written: the watch may tell before the answer does."""
    children = Children()
    children.put(A, build(1))
    if how == "gone":
        assert children.lose(A, build(3))
    else:
        assert children.release(build(3), owner=B if how == "another's" else None) == A
    if how == "another's":
        assert children.put(B, build(3))
    assert not children.put(A, build(2))
    assert KEY not in children.of(A)
    assert children.put(A, build(4)), "it was put back since"


def test_a_list_is_of_one_kind_and_one_namespace() -> None:
    children = Children()
    for owner, name in ((A, "x"), (A, "gone"), (ELSEWHERE, "x")):
        children.put(owner, build(1, uid=f"{owner}{name}", name=name))
    listed = [(A, build(1, uid=f"{A}x")), (B, build(1, uid="new", name="y"))]
    assert children.replace("Service", listed, namespace="one") == {A, B}
    assert set(children.of(A)) == {KEY}
    assert children.of(ELSEWHERE)
    assert children.replace("ConfigMap", [], namespace="") == set()
    assert children.replace("Service", [], namespace="") == {A, B, ELSEWHERE}


def test_what_was_created_and_never_applied_is_known() -> None:
    theirs = {"manager": "somebody", "operation": "Update", "fieldsV1": {}}
    ours = {"manager": "forebay", "operation": "Update", "fieldsV1": {}}
    found = []
    for fields in ([theirs, ours], [theirs, MUCH], []):
        body = build(1)
        body["metadata"]["managedFields"] = fields
        found.append(build_child(body).created_entry)
    assert found == [1, None, None]


def build_autoscaler(version: int, *, usage: str, silent: bool = False) -> dict[str, Any]:
    active = {"type": "ScalingActive", "status": str(not silent), "reason": "ValidMetricFound", "message": ""}
    status = {
        "currentReplicas": version,
        "currentMetrics": [{"pods": {"current": {"averageValue": usage}}}],
        "conditions": [{**active, "lastTransitionTime": f"2026-01-01T00:00:{version}Z"}],
    }
    return {**build(version), "kind": "HorizontalPodAutoscaler", "spec": {"maxReplicas": 3}, "status": status}


def test_what_an_autoscaler_measures_is_no_news() -> None:
    children = Children()
    assert children.put(A, build_autoscaler(10, usage="1"))
    assert not children.put(A, build_autoscaler(11, usage="2"))
    found = children.of(A)[Id("HorizontalPodAutoscaler", "x")]
    assert found.resource_version == "11"
    assert "currentMetrics" not in found.content["status"]
    assert children.put(A, build_autoscaler(12, usage="2", silent=True))
    changed = build_autoscaler(13, usage="2", silent=True)
    assert children.put(A, {**changed, "spec": {"maxReplicas": 4}}), "somebody changed what we wrote"
