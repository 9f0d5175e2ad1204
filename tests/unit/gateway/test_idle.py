"""Since when a deployment had no request, from Envoy's counters."""

from forebay.gateway.idle import Idleness
from forebay.gateway.objects import Deployment
from forebay.gateway.owners import Owners
from forebay.gateway.pace import Counts
from forebay.gateway.state import State
from forebay.plan.envoy_revisions import Target

ROUTE = "ns/a"


def build_owners() -> Owners:
    state = State(data_port=8080)
    state.put_deployment(
        Deployment(
            namespace="ns", name="a", generation=1, timeout_s=5, secret="", limit=None,
            targets=(Target(cluster="ns/w", revision="r"),),
        )
    )  # fmt: skip
    owners = Owners(state)
    owners.remember()
    return owners


def test_idle_is_counted_from_the_last_sign_of_a_request():
    idle, owners = Idleness(100.0), build_owners()
    assert idle.find_idle_s(ROUTE, 107.0) == 7, "none since the pilot's own start"
    idle.look(110.0, {"ns/w": Counts(total=5, active=0)}, owners)
    assert idle.find_idle_s(ROUTE, 110.0) == 10, "those before it are not known of"
    idle.look(120.0, {"ns/w": Counts(total=6, active=0)}, owners)
    assert idle.find_idle_s(ROUTE, 121.0) == 1, "one came and went"
    idle.look(130.0, {"ns/w": Counts(total=6, active=1)}, owners)
    idle.look(140.0, {"ns/w": Counts(total=6, active=0)}, owners)
    assert idle.find_idle_s(ROUTE, 140.0) == 10, "one was in flight"
    idle.touch(ROUTE, 150.0)
    assert idle.find_idle_s(ROUTE, 151.0) == 1, "one was held"


def test_a_cluster_that_comes_and_an_envoy_that_starts_anew():
    idle, owners = Idleness(0.0), build_owners()
    idle.look(10.0, {}, owners)
    idle.look(20.0, {"ns/w": Counts(total=3, active=0)}, owners)
    assert idle.find_idle_s(ROUTE, 20.0) == 0
    idle.look(30.0, {}, owners)
    assert idle.find_idle_s(ROUTE, 30.0) == 10
    idle.look(40.0, {"ns/w": Counts(total=1, active=0)}, owners)
    assert idle.find_idle_s(ROUTE, 40.0) == 0


def test_others_requests_are_nobody_s():
    idle, owners = Idleness(0.0), build_owners()
    idle.look(1.0, {}, owners)
    idle.look(2.0, {"pilot": Counts(total=9, active=1)}, owners)
    assert idle.find_idle_s(ROUTE, 3.0) == 3
