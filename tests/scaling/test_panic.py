"""A step of load at real sidecars, with Kubernetes' own autoscaler beside it, and others who have their own mind."""

import json
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from forebay.plan.names import FLOOR_ANNOTATION
from tests.controller.site import History, Json, wait_for
from tests.scaling.site import NAMESPACE, ScalingSite

QUEUE = {"min": 1, "max": 6, "target": {"queue": 4}}
# Down at once, for the test not to wait; another time for each, which makes another workload of nothing.
CALM = QUEUE | {"behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}}


@pytest.fixture
def history(site: ScalingSite) -> Iterator[History]:
    # It stays open: to close what its thread reads from would hand the descriptor to another connection.
    yield History(site.cluster, NAMESPACE)
    site.model.go.clear()


def find_floor(site: ScalingSite, workload: str) -> int:
    return int(site.autoscaler(workload)["spec"]["minReplicas"])


def let_go(site: ScalingSite, sent: list[Future[int]]) -> None:
    site.model.go.set()
    assert {each.result() for each in sent} == {200}


def test_a_step_of_load_raises_the_floor_and_another_operator_keeps_it(site: ScalingSite, history: History) -> None:
    workload = site.create("step", **QUEUE)
    sent = site.send("step", 40)
    wait_for(lambda: history.numbers(workload)[-1:] == [6], why=lambda: explain(site, workload, history))
    told = json.loads(wait_for(lambda: site.autoscaler(workload)["metadata"]["annotations"][FLOOR_ANNOTATION]))
    assert told["instances"] == 6
    assert find_floor(site, workload) == 6
    wait_for(
        lambda: any("requests at each, target 4" in each for each in site.events("step")),
        why=lambda: site.events("step"),
    )
    numbers = history.numbers(workload)
    let_go(site, sent)
    # In the middle of it, with nothing left to do: nothing changes.
    assert site.operator.stop() == 0
    site.operator.start()
    site.operator.wait_leading().wait_quiet()
    assert find_floor(site, workload) == 6
    assert json.loads(site.autoscaler(workload)["metadata"]["annotations"][FLOOR_ANNOTATION]) == told
    assert history.numbers(workload) == numbers, "and no flapping"
    # Its time over, which a test doesn't wait for, the autoscaler is alone with its own window.
    site.operator.stop()
    past = {FLOOR_ANNOTATION: json.dumps(told | {"until": "2026-01-01T00:00:00Z"})}
    site.cluster.patch(NAMESPACE, "HorizontalPodAutoscaler", workload, {"metadata": {"annotations": past}})
    site.operator.start()
    wait_for(lambda: find_floor(site, workload) == 1)
    assert history.numbers(workload) == numbers, "what the load asked for minutes ago still counts"


def test_who_waits_to_lead_scales_nothing_and_goes_on_with_the_floor(site: ScalingSite, history: History) -> None:
    workload = site.create("pair", **QUEUE)
    with site.start_operator("second") as second:
        wait_for(second.metrics_text)
        sent = site.send("pair", 40)
        wait_for(lambda: history.numbers(workload)[-1:] == [6], why=lambda: explain(site, workload, history))
        assert not second.is_leading
        site.operator.stop()
        second.wait_leading().wait_quiet()
        assert find_floor(site, workload) == 6
        assert history.numbers(workload)[-1] == 6
        let_go(site, sent)
        assert second.stop() == 0
    site.operator.start()
    site.operator.wait_leading()
    assert history.numbers(workload) == sorted(history.numbers(workload)), "never down"


def condition(site: ScalingSite, name: str = "rivals") -> Json:
    return site.cluster.condition(NAMESPACE, name, type_="Autoscaling")


def test_another_autoscaler_of_the_same_deployment_has_it_alone(site: ScalingSite, history: History) -> None:
    workload = site.create("rivals", **QUEUE)
    rival = site.autoscaler(workload)["spec"] | {"minReplicas": 3, "maxReplicas": 5}
    site.cluster.write(
        "POST", f"/apis/autoscaling/v2/namespaces/{NAMESPACE}/horizontalpodautoscalers",
        {"metadata": {"name": "rival"}, "spec": rival},
    )  # fmt: skip
    wait_for(lambda: not site.autoscaler(workload))
    wait_for(lambda: any("the HorizontalPodAutoscaler rival scales it" in each for each in site.events("rivals")))
    wait_for(lambda: condition(site)["reason"] == "GaveWay")
    wait_for(lambda: history.numbers(workload)[-1] == 3)
    settled = len(history.numbers(workload))
    assert settled <= 4, "they may have met once"
    sent = site.send("rivals", 40)
    wait_for(lambda: history.numbers(workload)[-1] == 5)
    let_go(site, sent)
    numbers = history.numbers(workload)[settled - 1 :]
    assert numbers == sorted(numbers), "by the other one's rules, up only"
    site.plane.kubectl("delete", "hpa", "rival", "-n", NAMESPACE)
    wait_for(lambda: site.autoscaler(workload))
    wait_for(lambda: condition(site)["reason"] != "GaveWay")


def test_without_the_metrics_api_nobody_is_taken_away(site: ScalingSite, history: History) -> None:
    workload = site.create("blind", **CALM)
    sent = site.send("blind", 12)
    wait_for(lambda: history.numbers(workload)[-1:] == [3], why=lambda: explain(site, workload, history))
    site.metrics_api.stop()
    try:
        wait_for(lambda: condition(site, "blind")["reason"] == "NoMetrics", limit_s=120)
        # Of a step of load the operator hears by itself.
        sent += site.send("blind", 28)
        wait_for(lambda: history.numbers(workload)[-1:] == [6], why=lambda: explain(site, workload, history))
    finally:
        site.metrics_api.start()
    wait_for(lambda: condition(site, "blind")["reason"] == "Following", limit_s=120)
    numbers = history.numbers(workload)
    assert numbers == sorted(numbers), "it doesn't flap"
    # They may have waited for longer than their time.
    site.model.go.set()
    assert {each.result() for each in sent} <= {200, 504}


def test_somebody_scales_it_by_hand(site: ScalingSite, history: History) -> None:
    workload = site.create("byhand", **CALM)
    site.plane.kubectl("scale", "deployment", workload, "--replicas=3", "-n", NAMESPACE)
    wait_for(lambda: history.numbers(workload) == [1, 3, 1], why=lambda: history.numbers(workload))
    refused = site.plane.kubectl("scale", "md", "byhand", "--replicas=3", "-n", NAMESPACE, check=False)
    assert "autoscaling decides the number of instances" in refused.stderr
    wait_for(
        lambda: sum("set by somebody else" in each for each in site.events("byhand")),
        why=lambda: (site.events("byhand"), site.operator.log[-3000:]),
    )
    assert history.numbers(workload) == [1, 3, 1], "once up, once down"


def test_what_was_stopped_by_hand_stays_so(site: ScalingSite, history: History) -> None:
    workload = site.create("stopped", **QUEUE)
    site.plane.kubectl("scale", "deployment", workload, "--replicas=0", "-n", NAMESPACE)
    wait_for(lambda: history.numbers(workload) == [1, 0], why=lambda: explain(site, workload, history))
    site.operator.wait_quiet()
    assert history.numbers(workload) == [1, 0]


def test_instances_that_wait_for_a_gpu_are_not_taken_back(site: ScalingSite, history: History) -> None:
    # With an autoscaler that takes nothing back: what it may not do is plain from its least number.
    still = QUEUE | {"behavior": {"scaleDown": {"selectPolicy": "Disabled"}}}
    workload = site.create("scarce", **still, gpu={"count": 1})
    selector = {"labelSelector": f"forebay.dev/workload={workload}"}
    path = f"/api/v1/namespaces/{NAMESPACE}/pods"
    (first,) = site.cluster.client.get(path, params=selector).json()["items"]
    site.kubelet.is_held = True
    try:
        site.plane.kubectl("scale", "deployment", workload, "--replicas=3", "-n", NAMESPACE)

        def list_new() -> list[str]:
            found = [
                each["metadata"]["name"] for each in site.cluster.client.get(path, params=selector).json()["items"]
            ]
            return [name for name in found if name != first["metadata"]["name"]]

        why = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."
        unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": why}
        for name in wait_for(lambda: len(list_new()) == 2 and list_new()):
            body = {"status": {"conditions": [unscheduled]}}
            form = "application/merge-patch+json"
            site.cluster.write("PATCH", f"{path}/{name}/status", body, form=form)
        wait_for(lambda: find_floor(site, workload) == 3)
        assert FLOOR_ANNOTATION not in site.autoscaler(workload)["metadata"]["annotations"]
    finally:
        site.kubelet.is_held = False
    wait_for(lambda: find_floor(site, workload) == 1)
    assert history.numbers(workload) == [1, 3]


def explain(site: ScalingSite, workload: str, history: History) -> str:
    """What there is to see where a wait was in vain."""
    load = site.gateway.site.get_pilot("/load").text
    return f"{history.numbers(workload)} {load} {site.autoscaler(workload)} {site.operator.log[-2000:]}"
