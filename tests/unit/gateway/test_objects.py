"""What the pilot takes from the apiserver's objects."""

from forebay.gateway.objects import ColdStart, read_deployment, read_slice
from forebay.plan.envoy import Address
from forebay.plan.envoy_access import RateLimit
from forebay.plan.envoy_revisions import Picks


def slice_of(*endpoints: dict, **fields: object) -> dict:
    metadata = {"namespace": "ns", "name": "w-x", "labels": {"kubernetes.io/service-name": "w"}}
    ports = [{"name": "metrics", "port": 9090}, {"name": "http", "port": 8080}]
    return {"metadata": metadata, "addressType": "IPv4", "endpoints": list(endpoints), "ports": ports, **fields}


def test_a_deployment_without_status_has_no_targets():
    found = read_deployment(
        {"metadata": {"namespace": "ns", "name": "a", "generation": 3}, "spec": {"queue": {"timeout": "2s"}}}
    )
    assert (found.route, found.generation, found.timeout_s, found.targets) == ("ns/a", 3, 7.0, ())
    assert (found.secret, found.limit) == ("", None)


def test_access_and_traffic():
    limit = {"requests": 5, "per": "1m", "by": "client"}
    spec = {"access": {"apiKeys": {"secretName": "keys"}, "rateLimit": limit}}
    traffic = [{"revision": "r", "workload": "w", "workloads": ["p", "w"], "weightPct": 100}]
    found = read_deployment(
        {"metadata": {"namespace": "ns", "name": "a"}, "spec": spec, "status": {"traffic": traffic}}
    )
    assert found.secret == "keys"
    assert found.limit == RateLimit(requests=5, per_s=60, by_client=True)
    assert [(each.cluster, each.revision, each.weight_pct) for each in found.targets] == [("ns/w", "r", 100)]


def test_ready_endpoints_of_the_port_called_http():
    found = read_slice(
        slice_of(
            {"addresses": ["10.0.0.1"], "conditions": {"ready": True}},
            {"addresses": ["10.0.0.2"], "conditions": {"ready": False}},
            {"addresses": ["10.0.0.3"], "conditions": {"ready": True, "terminating": True}},
            {"addresses": ["10.0.0.4"]},
        )
    )
    assert found.cluster == "ns/w"
    assert found.members == (Address("10.0.0.1", 8080), Address("10.0.0.4", 8080))


def test_a_slice_without_endpoints_or_ports():
    assert read_slice(slice_of(endpoints=None)).members == ()
    assert read_slice(slice_of({"addresses": ["10.0.0.1"]}, ports=None)).members == ()


def test_a_limit_says_when_to_come_back():
    assert RateLimit(requests=3, per_s=60, by_client=False).retry_after_s == 20
    assert RateLimit(requests=1000, per_s=1, by_client=False).retry_after_s == 1


def test_who_may_sleep_and_what_it_needs():
    predictor = {"concurrency": 2, "autoscaling": {"min": 0, "max": 3, "coldStart": {"timeout": "5m", "maxHeld": 7}}}
    traffic = [
        {"revision": "r1", "workload": "t1", "workloads": ["p1", "t1"], "weightPct": 100},
        {"revision": "r2", "workload": "t2", "workloads": ["p2", "t2"], "weightPct": 0},
    ]
    raw = {
        "metadata": {"namespace": "ns", "name": "a"},
        "spec": {"predictor": predictor, "queue": {"depth": 9}},
        "status": {"traffic": traffic},
    }
    found = read_deployment(raw)
    assert found.cold_start == ColdStart(timeout_s=300, max_held=7, slots=2, depth=9)
    assert found.needs == {"ns/p1", "ns/t1"}, "who gets nothing yet may sleep on"
    found = read_deployment({**raw, "spec": {**raw["spec"], "transformer": {"concurrency": 30}}})
    assert found.cold_start
    assert found.cold_start.slots == 30, "the entry's"
    found = read_deployment({**raw, "spec": {"predictor": {"autoscaling": {"min": 0, "max": 3}}}})
    assert found.cold_start == ColdStart(timeout_s=120, max_held=1000, slots=8, depth=64)
    for auto in ({"min": 1, "max": 3}, {}):
        assert read_deployment({**raw, "spec": {"predictor": {"autoscaling": auto}}}).cold_start is None


def test_what_is_told_of_a_rollout():
    traffic = [{"revision": "r1", "workload": "t1", "workloads": ["p1", "t1"], "weightPct": 100}]
    told = {"revision": "r2", "workload": "t2", "heldSince": ""}
    spec = {
        "rollout": {
            "canary": {"match": {"headers": [{"name": "x-beta", "value": "yes"}]}, "stickyBy": {"cookie": "session"}},
            "recreate": {"hold": "1m"},
        }
    }
    raw = {"metadata": {"namespace": "ns", "name": "a"}, "spec": spec, "status": {"traffic": traffic, "rollout": told}}
    found = read_deployment(raw)
    assert [(each.cluster, each.weight_pct, each.is_preview) for each in found.targets] == [
        ("ns/t1", 100, False), ("ns/t2", 0, True),
    ]  # fmt: skip
    assert found.needs == {"ns/p1", "ns/t1"}
    assert found.picks == Picks(headers=(("x-beta", "yes"),), sticky_cookie="session")
    assert (found.cold_start, found.held_since) == (None, "")
    share = traffic[0] | {"revision": "r2", "workload": "t2", "weightPct": 5}
    both = read_deployment(raw | {"status": {"traffic": [*traffic, share], "rollout": told}})
    assert [each.is_preview for each in both.targets] == [False, True]
    held = read_deployment(raw | {"status": {"traffic": traffic, "rollout": told | {"heldSince": "then"}}})
    assert held.held_since == "then"
    assert (held.cold_start.timeout_s, held.cold_start.max_held, held.cold_start.is_recreation) == (60, 1000, True)
    # One that was aborted can't be asked; a suspended one has nobody to ask.
    assert len(read_deployment(raw | {"status": {"traffic": traffic, "rollout": told | {"workload": ""}}}).targets) == 1
    assert not read_deployment(raw | {"spec": {"suspend": True}}).targets
    assert read_deployment(raw | {"status": {"traffic": traffic}}).picks == Picks()
