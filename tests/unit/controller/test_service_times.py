"""Service times, measured at instances that a small server stands in for: it tells what a real Envoy told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from yaml import safe_load

from forebay.api import ModelDeployment
from forebay.controller.service_times import ServiceTimes
from forebay.kube.children import Child, Id, build_child
from forebay.kube.holdings import Owner
from forebay.plan.manifests import build_manifests, with_service_times
from forebay.plan.names import DEPTH_KEY
from forebay.plan.resolve import Serving, resolve

OWNER = Owner("default", "digits")
MAP = "digits-predictor-queue"
STATS = """\
# TYPE envoy_cluster_upstream_rq_time histogram
envoy_cluster_upstream_rq_time_sum{{envoy_cluster_name="model_http"}} {sum_ms}
envoy_cluster_upstream_rq_time_count{{envoy_cluster_name="model_http"}} {count}
"""


def load(queue: str = "{timeout: 2s}") -> Serving:
    spec = safe_load(f"{{model: {{uri: 's3://a/b'}}, predictor: {{triton: {{}}, concurrency: 2}}, queue: {queue}}}")
    head = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "digits"}}
    return resolve(ModelDeployment.model_validate({**head, "spec": spec}))


def children_of(serving: Serving, seconds: dict[str, float]) -> dict[Id, Child]:
    """The ConfigMap as the apiserver would have it."""
    manifests = with_service_times(serving, build_manifests(serving), seconds)
    body = next(each for each in manifests if each["metadata"]["name"] == MAP)
    metadata = {**body["metadata"], "uid": "u", "resourceVersion": "1"}
    return {Id("ConfigMap", MAP): build_child({**body, "metadata": metadata})}


def depth_of(serving: Serving, seconds: dict[str, float]) -> int:
    manifests = with_service_times(serving, build_manifests(serving), seconds)
    return int(next(each for each in manifests if each["metadata"]["name"] == MAP)["data"][DEPTH_KEY])


def test_what_scales_the_model_s_instances_keeps_its_numbers() -> None:
    spec = "{model: {uri: 's3://a/b'}, predictor: {triton: {instances: {min: 2, max: 3}}}}"
    head = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "digits"}}
    serving = resolve(ModelDeployment.model_validate({**head, "spec": safe_load(spec)}))
    made = with_service_times(serving, build_manifests(serving), {MAP: 0.05})
    data = next(each for each in made if each["metadata"]["name"] == MAP)["data"]
    assert (data["forebay.instances.min"], data["forebay.instances.max"]) == ("2", "3")
    assert int(data[DEPTH_KEY]) != serving.predictor.limits.depth


@contextlib.asynccontextmanager
async def answering(answers: list[tuple[int, int]]) -> AsyncIterator[int]:
    """The port of an instance. `answers` (count, sum in ms) are told one after the other, the last for ever."""

    async def answer(_: web.Request) -> web.Response:
        count, sum_ms = answers.pop(0) if len(answers) > 1 else answers[0]
        return web.Response(text=STATS.format(count=count, sum_ms=sum_ms))

    app = web.Application()
    app.add_routes([web.get("/stats/prometheus", answer)])
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


async def test_a_measured_time_is_chosen_and_kept_while_there_are_instances() -> None:
    woken, looked = asyncio.Event(), asyncio.Event()
    serving, instances = load(), [(OWNER, "predictor", "pod-1", "127.0.0.1")]

    def find() -> list[tuple[Owner, str, str, str]]:
        if not instances:
            looked.set()
        return instances

    async with answering([(0, 0), (5, 500), (100, 10_000)]) as port:
        times = ServiceTimes(wake=lambda _: woken.set(), period_s=0.02, port=port)
        assert times.choose(serving, {}) == {}
        task = asyncio.create_task(times.run(find))
        await asyncio.wait_for(woken.wait(), timeout=5)
        chosen = times.choose(serving, children_of(serving, {}))
        assert chosen[MAP] == pytest.approx(0.1, rel=0.02), "5 answers alone are too few to tell"
        assert depth_of(serving, chosen) < depth_of(serving, {})
        # It is near what is in force: no write.
        assert times.choose(serving, children_of(serving, {MAP: 0.105})) == {MAP: 0.105}
        # A new operator goes on from there.
        assert ServiceTimes(wake=print).choose(serving, children_of(serving, {MAP: 0.105})) == {MAP: 0.105}
        instances.clear()
        await asyncio.wait_for(looked.wait(), timeout=5)
        await asyncio.sleep(0)  # for what was looked at to be taken in
        assert times.choose(serving, children_of(serving, {})) == {}, "another model may have the name next"
        task.cancel()


def test_whoever_comes_next_makes_the_same_depth_of_it() -> None:
    serving, measured = load(), {MAP: 0.0012345}
    again = ServiceTimes(wake=lambda _: None).choose(serving, children_of(serving, measured))
    assert depth_of(serving, again) == depth_of(serving, measured)


def test_what_the_user_sets_is_left_alone() -> None:
    serving = load("{depth: 7}")
    assert ServiceTimes(wake=print).choose(serving, children_of(serving, {})) == {}
    assert depth_of(serving, {MAP: 0.5}) == 7


@pytest.mark.parametrize("text", ["", "x", "-3s", "nans"])
def test_an_annotation_that_cannot_be_read_counts_as_none(text: str) -> None:
    serving = load()
    (key, child), *_ = children_of(serving, {MAP: 0.1}).items()
    body = child.content
    body["metadata"]["annotations"]["forebay.dev/service-time"] = text
    assert ServiceTimes(wake=print).choose(serving, {key: build_child(body)}) == {}


def test_here_is_no_mistake_in_where_stats_come_from() -> None:
    """What a real Envoy told has the names that are read here."""
    real = Path(__file__).parents[1] / "local/envoy_stats"
    assert any("envoy_cluster_upstream_rq_time_sum" in path.read_text() for path in real.iterdir())
