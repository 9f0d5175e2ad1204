"""The model of Kubernetes' autoscaler that simulations use, held against the real one."""

from forebay.scaling.autoscaler import Autoscaler, Bounds
from tests.controller.site import History, wait_for
from tests.scaling.site import NAMESPACE, ScalingSite

BOUNDS = Bounds(least=1, most=12)


def test_a_step_of_load_goes_the_same_steps(site: ScalingSite) -> None:
    """Up by the real one's limits, while the new ones start, and down when its window is over."""
    history = History(site.cluster, NAMESPACE)
    # A user's scaleUp turns the operator's own raising off. Of more policies the one counts that allows most.
    slowly = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Pods", "value": 4, "periodSeconds": 2}]}
    down = {"stabilizationWindowSeconds": 0, "policies": [{"type": "Percent", "value": 50, "periodSeconds": 2}]}
    behavior = {"scaleUp": slowly, "scaleDown": down}
    workload = site.create("model", min=1, max=12, target={"queue": 4}, behavior=behavior)
    site.kubelet.is_held = True
    try:
        sent = site.send("model", 40)
        wait_for(lambda: history.numbers(workload)[-1] == 10, why=lambda: history.numbers(workload))
        up = history.numbers(workload)
        site.model.go.set()
        assert {each.result() for each in sent} == {200}
        wait_for(lambda: history.numbers(workload)[-1] == 1, why=lambda: history.numbers(workload))
    finally:
        site.kubelet.is_held = False
        site.model.go.clear()
    found = history.numbers(workload)
    assert find_steps(behavior, [40.0], up[0]) == up
    assert find_steps(behavior, [0.0], up[-1]) == found[len(up) - 1 :]


def find_steps(behavior: dict[str, object], values: list[float], current: int) -> list[int]:
    """The numbers that the model goes through at its looks, every two seconds as in the test's cluster."""
    autoscaler, numbers = Autoscaler(target=4, behavior=behavior), [current]
    for look in range(20):
        # A moment more than the period, as in the real one.
        current = autoscaler.look(2.1 * look, current, values, BOUNDS)
        numbers += [current] if current != numbers[-1] else []
    return numbers
