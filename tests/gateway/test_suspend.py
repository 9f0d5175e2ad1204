"""What a gateway answers for a ModelDeployment that is suspended."""

import grpc
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from forebay.local.ports import HOST
from tests.gateway.site import wait_for


def test_requests_are_refused_with_the_reason_until_it_goes_on(site, cluster, digits):
    traffic = [("digits-1", "aaaa1111", 100)]
    generation = cluster.put_deployment("digits", traffic=traffic, suspend=True)
    wait_for(lambda: site.routes()["default/digits"]["generation"] == generation)
    assert site.routes()["default/digits"]["workloads"] == {}
    answer = site.ask(f"{digits}/v2")
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "suspended")
    assert answer.json()["reason"] == "suspended"
    assert "spec.suspend" in answer.json()["error"]
    with tritonclient.grpc.InferenceServerClient(f"{HOST}:{site.data_port}") as client:
        with pytest.raises(InferenceServerException) as caught:
            client.get_server_metadata(headers={"forebay-deployment": "default/digits"})
        assert caught.value.status() == str(grpc.StatusCode.UNAVAILABLE)
    cluster.put_deployment("digits", traffic=traffic)
    wait_for(lambda: site.ask(f"{digits}/v2").is_success)
