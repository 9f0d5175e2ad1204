"""To nothing and back, by a real gateway, with Kubernetes' own autoscaler beside it."""

from forebay.plan.names import FLOOR_ANNOTATION
from tests.controller.site import History, wait_for
from tests.scaling.site import NAMESPACE, ScalingSite
from tests.scaling.test_panic import explain

SLEEPS = {"min": 0, "max": 4, "idle": "5s", "target": {"queue": 4}}


def test_a_step_of_load_from_nothing_goes_up_at_once_and_all_of_it_ends_with_the_load(site: ScalingSite) -> None:
    history = History(site.cluster, NAMESPACE)
    workload = site.create("zero", **SLEEPS)
    why = lambda: (site.gateway.site.get_pilot("/idle").text, explain(site, workload, history))  # noqa: E731
    site.cluster.wait_reason(NAMESPACE, "Asleep", "zero")
    # It looks, and leaves it at that.
    wait_for(lambda: "ScalingDisabled" in str(site.autoscaler(workload)["status"]), why=why)
    assert history.numbers(workload) == [1, 0]
    assert site.cluster.condition(NAMESPACE, "zero", "Autoscaling")["reason"] == "Asleep"
    sent = site.send("zero", 40)
    wait_for(lambda: history.numbers(workload) == [1, 0, 1, 4], why=why)
    site.model.go.set()
    assert {each.result() for each in sent} == {200}
    # Though it was raised for a minute at least, nobody needs it.
    site.cluster.wait_reason(NAMESPACE, "Asleep", "zero")
    wait_for(lambda: history.numbers(workload)[-1] == 0, why=why)
    wait_for(lambda: FLOOR_ANNOTATION not in site.autoscaler(workload)["metadata"]["annotations"], why=why)
    # Those that are about to end still answer.
    wait_for(lambda: site.gateway.site.routes()[f"{NAMESPACE}/zero"]["workloads"] == {workload: 0}, why=why)
    assert site.ask("zero") == 200
    wait_for(lambda: history.numbers(workload)[-2:] == [0, 1], why=why)
    site.cluster.wait_reason(NAMESPACE, "Ready", "zero")
    told = [each for each in site.events("zero") if "Scaled" in each]
    assert not [each for each in told if "0" in each.split(" instances")[0]], told
    site.model.go.clear()
