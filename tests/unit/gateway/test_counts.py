"""From what Envoy's admin interface tells to the counts of each revision."""

from forebay.gateway.counts import read_counts

PREFIX = "forebay.requests.deployment.ns/a.cluster"
ENVOY = f"""\
{PREFIX}.ns/new.code.200.grpc..reason.: 90
{PREFIX}.ns/new.code.200.grpc.0.reason.: 9
{PREFIX}.ns/new.code.200.grpc.13.reason.: 2
{PREFIX}.ns/new.code.500.grpc..reason.: 3
{PREFIX}.ns/new.code.503.grpc..reason.instance-failed: 4
{PREFIX}.ns/new.code.504.grpc..reason.timeout: 5
{PREFIX}.ns/new.code.200.grpc.4.reason.timeout: 6
{PREFIX}.ns/new.code.429.grpc..reason.queue-full: 7
{PREFIX}.ns/new.code.200.grpc.8.reason.queue-full: 8
{PREFIX}.ns/new.code.429.grpc..reason.rate-limit: 1000
{PREFIX}.ns/new.code.401.grpc..reason.no-api-key: 1000
{PREFIX}.ns/new.code.404.grpc..reason.: 10
{PREFIX}.ns/new.code.0.grpc..reason.: 11
{PREFIX}.ns/old.code.200.grpc..reason.: 1
{PREFIX}..code.503.grpc..reason.not-ready: 1000
forebay.requests.deployment.ns/b.cluster.ns/b.code.200.grpc..reason.: 1000
server.uptime: 77
forebay.duration.deployment.ns/a.cluster.ns/new:
  totals=0,0:1, 12,1:20, 1200,100:3
  intervals=1,0.1:1
  summary=P0(1,1) P100(2,2)
"""


def test_each_answer_is_what_it_was_to_its_client() -> None:
    found = read_counts(ENVOY, ["ns/a", "ns/c"])
    assert found["uptimeS"] == 77
    assert found["counts"] == {
        "ns/a": {
            "new": {
                "requests": 90 + 9 + 2 + 3 + 4 + 5 + 6 + 7 + 8 + 10 + 11,
                "errors": 2 + 3 + 4 + 5 + 6,
                "timeouts": 5 + 6,
                "refusals": 7 + 8,
                "timesMs": {"0": 1, "12": 20, "1200": 3},
            },
            "old": {"requests": 1, "errors": 0, "timeouts": 0, "refusals": 0, "timesMs": {}},
        },
        "ns/c": {},
    }


def test_an_envoy_that_counted_nothing() -> None:
    assert read_counts("", ["ns/a"]) == {"counts": {"ns/a": {}}, "uptimeS": 0}
