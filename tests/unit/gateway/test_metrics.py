"""From what Envoy counts to Forebay's metrics, with its own words."""

from prometheus_client.parser import text_string_to_metric_families

from forebay.gateway.metrics import RequestMetrics, write_instances

ENVOY = """\
# TYPE envoy_forebay_requests counter
envoy_forebay_requests{deployment="",cluster="",code="404",grpc="",reason="no-such-deployment"} 1
envoy_forebay_requests{deployment="ns/a",cluster="ns/w",code="200",grpc="",reason=""} 6
envoy_forebay_requests{deployment="ns/a",cluster="ns/w",code="200",grpc="0",reason=""} 2
envoy_forebay_requests{deployment="ns/a",cluster="ns/w",code="200",grpc="8",reason="queue-full"} 3
envoy_forebay_requests{deployment="ns/a",cluster="ns/w",code="429",grpc="",reason="queue-full"} 4
envoy_forebay_requests{deployment="ns/a",cluster="ns/w",code="200",grpc="",reason="its \\"own\\" words"} 1
envoy_forebay_requests{deployment="ns/a",cluster="",code="401",grpc="",reason="no-api-key"} 5
envoy_forebay_requests{deployment="ns/a",cluster="ns/a~fallback",code="200",grpc="",reason=""} 9
envoy_forebay_requests{deployment="ns/a",cluster="ns/a~fallback",code="429",grpc="",reason="rate-limit"} 2
# TYPE envoy_forebay_fallbacks counter
envoy_forebay_fallbacks{deployment="ns/a",fallback="simple",code="200",grpc="14"} 2
envoy_forebay_fallbacks{deployment="ns/a",fallback="simple",code="200",grpc=""} 3
envoy_forebay_fallbacks{deployment="-",fallback="",code="200",grpc=""} 4
# TYPE envoy_cluster_upstream_rq_active gauge
envoy_cluster_upstream_rq_active{envoy_cluster_name="ns/w"} 7
envoy_cluster_upstream_rq_active{envoy_cluster_name="pilot"} 1
# TYPE envoy_forebay_duration histogram
envoy_forebay_duration_bucket{deployment="ns/a",cluster="ns/w",le="2.5"} 1
envoy_forebay_duration_bucket{deployment="ns/a",cluster="ns/w",le="+Inf"} 16
envoy_forebay_duration_sum{deployment="ns/a",cluster="ns/w"} 1250.5
envoy_forebay_duration_count{deployment="ns/a",cluster="ns/w"} 16
envoy_server_live{} 1
"""


def find_owner(route: str, cluster: str) -> tuple[str, str, str]:
    revision = "r1" if cluster == "ns/w" else ""
    return ("ns", "a", revision) if route or revision else ("", "", "")


def test_everything_has_its_deployment_revision_and_unit():
    metrics = RequestMetrics(find_owner)
    metrics.read(ENVOY)
    text = "\n".join([*metrics.write(), *write_instances([(("ns", "a", "r1"), 2)])]) + "\n"
    found = {
        (sample.name, *(value for name, value in sorted(sample.labels.items()) if name in ("code", "le", "reason")),
         sample.labels.get("revision", "-")): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }  # fmt: skip
    assert found == {
        ("forebay_requests_total", "404", ""): 1,
        ("forebay_requests_total", "200", "r1"): 9,
        ("forebay_requests_total", "429", "r1"): 7,
        ("forebay_requests_total", "401", ""): 5,
        ("forebay_requests_total", "429", ""): 2,
        ("forebay_requests_rejected_total", "rate-limit", ""): 2,
        ("forebay_requests_rejected_total", "no-such-deployment", ""): 1,
        ("forebay_requests_rejected_total", "queue-full", "r1"): 7,
        ("forebay_requests_rejected_total", "no-api-key", ""): 5,
        ("forebay_requests_in_flight", "r1"): 7,
        ("forebay_request_duration_seconds_bucket", "0.0025", "r1"): 1,
        ("forebay_request_duration_seconds_bucket", "+Inf", "r1"): 16,
        ("forebay_request_duration_seconds_sum", "r1"): 1.2505,
        ("forebay_request_duration_seconds_count", "r1"): 16,
        ("forebay_fallbacks_total", "503", "-"): 2,
        ("forebay_fallbacks_total", "200", "-"): 3,
        ("forebay_instances", "r1"): 2,
    }
