"""Plans are made once for what they are made from."""

from typing import Any

from forebay.controller import planning
from forebay.controller.planning import Planner
from forebay.plan.site import Site
from forebay.plan.versions import Version


def build(uid: str, generation: int = 1, depth: int = 5, **labels: str) -> dict[str, Any]:
    metadata = {"name": "digits", "namespace": "ns", "uid": uid, "generation": generation, "labels": labels}
    spec = {"model": {"uri": "s3://a/b"}, "predictor": {"triton": {}}, "queue": {"depth": depth}}
    return {"apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "metadata": metadata, "spec": spec}


def test_once_per_generation_and_labels() -> None:
    planner = Planner(Site())
    first = planner.plan(build("1"))
    assert planner.plan(build("1")) is first
    assert planner.plan(build("1") | {"status": {"url": "x"}}) is first
    assert planner.plan(build("1", 2, depth=6)) is not first
    assert planner.plan(build("2")) is not first
    labelled = planner.plan(build("1", team="vision"))
    assert labelled is not first
    assert all(each["metadata"]["labels"]["team"] == "vision" for each in labelled.manifests)


def test_once_per_version() -> None:
    planner = Planner(Site())
    body = build("1")
    body["spec"]["model"] = {"version": "digits@champion"}
    three, four = (Version("digits", each, f"s3://a/{each}") for each in "34")
    first = planner.plan(body, three)
    assert planner.plan(body, three) is first
    # Another alias of the same content is no news.
    assert planner.plan(body, three._replace(aliases=frozenset({"champion"}))) is first
    other = planner.plan(body, four)
    assert other.target.name != first.target.name
    assert planner.plan(body, three._replace(digest="sha256:1")).target.name != first.target.name


def test_the_least_recently_used_goes() -> None:
    planner = Planner(Site())
    first = planner.plan(build("first"))
    second = planner.plan(build("second"))
    for number in range(planning._MOST - 1):
        planner.plan(build("first"))
        planner.plan(build(str(number)))
    assert planner.plan(build("first")) is first
    assert planner.plan(build("second")) is not second
