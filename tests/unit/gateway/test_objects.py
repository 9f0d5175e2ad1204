"""What the pilot takes from the apiserver's objects."""

from forebay.gateway.objects import read_deployment, read_slice
from forebay.plan.envoy import Address
from forebay.plan.envoy_access import RateLimit


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
