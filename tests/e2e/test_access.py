"""Who may call a model, and how often: by the gateway, in a real cluster."""

import time
from collections import Counter

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc
from tritonclient.utils import InferenceServerException

from tests.e2e.cluster import Kubectl, eventually
from tests.e2e.models import ask, build_doubler, build_secret, describe, wait_ready, wait_reason

pytestmark = pytest.mark.timeout(180)

NAMESPACE = "test-access"
KEYS = {"alice": "alices-first-key", "bob": "bobs-key"}
LIVE_S = 15
LIMIT = 6
OPEN, LOCKED, LIMITED, SHARED, RARE = "open", "locked", "limited", "shared", "rare"


@pytest.fixture(scope="module")
def models(namespace: Kubectl, gateway: str) -> str:
    """The gateway, in front of models for all, with keys, with keys and a limit each, and with limits for all."""
    keys = {"apiKeys": {"secretName": "keys"}}
    minutely = {"requests": LIMIT, "per": "1m"}
    access = {
        OPEN: {},
        LOCKED: keys,
        LIMITED: {**keys, "rateLimit": {**minutely, "by": "client"}},
        SHARED: {"rateLimit": minutely},
        RARE: {"rateLimit": {"requests": 1, "per": "1m"}},
    }
    models = [build_doubler(name) for name in access]
    for model, (_, wanted) in zip(models, access.items(), strict=True):
        model["spec"]["access"] = wanted
    namespace.apply(build_secret("keys", KEYS), *models)
    wait_ready(namespace, *access)
    return gateway


def ask_grpc(gateway: str, name: str, **metadata: str) -> np.ndarray:
    given = tritonclient.grpc.InferInput("x", [1, 2], "FP32")
    given.set_data_from_numpy(np.array([[1, 2]], np.float32))
    headers = {"forebay-deployment": f"{NAMESPACE}/{name}", **metadata}
    with tritonclient.grpc.InferenceServerClient(gateway) as client:
        return client.infer(name, [given], headers=headers).as_numpy("y")


def ask_often(gateway: str, name: str, **headers: str) -> Counter[int]:
    return Counter(ask(gateway, NAMESPACE, name, **headers).status_code for _ in range(LIMIT * 4))


def ask_grpc_often(gateway: str, name: str) -> set[str]:
    seen = set()
    for _ in range(4):
        try:
            ask_grpc(gateway, name)
        except InferenceServerException as error:
            seen.add(error.status())
    return seen


def check_limit(seen: Counter[int]) -> None:
    """The gateway's pods share the limit, and it fills again with time: it is kept to a request or two."""
    assert seen.keys() == {200, 429}
    assert LIMIT - 1 <= seen[200] <= LIMIT + 2, seen


@pytest.mark.parametrize("headers", [{"x-api-key": KEYS["alice"]}, {"authorization": f"Bearer {KEYS['bob']}"}])
def test_who_has_a_key_is_let_in(models: str, headers: dict[str, str]) -> None:
    answer = ask(models, NAMESPACE, LOCKED, **headers)
    assert answer.json()["outputs"][0]["data"] == [2.0, 4.0]
    np.testing.assert_array_equal(ask_grpc(models, LOCKED, **headers), [[2, 4]])


@pytest.mark.parametrize(
    "headers", [{}, {"x-api-key": "guessed"}, {"x-api-key": ""}, {"authorization": KEYS["alice"] + "x"}]
)
def test_who_has_none_is_not(models: str, headers: dict[str, str]) -> None:
    answer = ask(models, NAMESPACE, LOCKED, **headers)
    assert answer.status_code == 401, answer.text
    assert not any(key in answer.text for key in KEYS.values())
    with pytest.raises(InferenceServerException) as caught:
        ask_grpc(models, LOCKED, **headers)
    assert caught.value.status() == str(grpc.StatusCode.UNAUTHENTICATED)


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v2/models/locked/infer", {"host": f"locked.{NAMESPACE}"}),
        ("/v2/models/locked/infer", {"forebay-deployment": f"{NAMESPACE}/locked"}),
        (f"/{NAMESPACE}/open/../locked/v2/models/locked/infer", {}),
        (f"/{NAMESPACE}/locked/v2", {}),
        (f"/{NAMESPACE}/locked/docs", {}),
    ],
)
def test_there_is_no_way_around(models: str, path: str, headers: dict[str, str]) -> None:
    with httpx.Client(trust_env=False) as client:
        request = client.build_request("GET", f"http://{models}/", headers=headers)
        request.url = request.url.copy_with(raw_path=path.encode())
        assert client.send(request).status_code in {401, 404}


def test_the_others_need_no_key(models: str) -> None:
    assert ask(models, NAMESPACE, OPEN).status_code == 200
    assert ask(models, NAMESPACE, OPEN, **{"x-api-key": "whatever"}).status_code == 200


def test_each_client_has_a_limit_of_its_own(models: str) -> None:
    for client in KEYS.values():
        seen = ask_often(models, LIMITED, **{"x-api-key": client})
        check_limit(seen)
    refused = ask(models, NAMESPACE, LIMITED, **{"x-api-key": KEYS["alice"]})
    assert refused.headers["x-forebay-reason"] == "rate-limit"
    assert int(refused.headers["retry-after"]) > 0
    # Who isn't let in takes nothing from anybody.
    assert ask_often(models, LIMITED, **{"x-api-key": "guessed"}) == {401: LIMIT * 4}


def test_all_together_have_one(models: str) -> None:
    check_limit(ask_often(models, SHARED))
    assert ask_grpc_often(models, SHARED) == {str(grpc.StatusCode.RESOURCE_EXHAUSTED)}


def test_a_limit_below_the_number_of_gateways_lets_somebody_in(models: str) -> None:
    assert ask_often(models, RARE)[200] in {1, 2}


def test_another_key_is_live_soon(models: str, namespace: Kubectl) -> None:
    old, fresh = {"x-api-key": KEYS["alice"]}, {"x-api-key": "alices-second-key"}
    namespace.apply(build_secret("keys", {**KEYS, "alice": fresh["x-api-key"]}))
    began = time.monotonic()

    def is_live() -> bool:
        # Each asks on a connection of its own, which either pod of the gateway may take.
        answers = [ask(models, NAMESPACE, LOCKED, **each).status_code for each in [old, fresh] * 8]
        return answers == [401, 200] * 8

    eventually(is_live, timeout_s=LIVE_S)
    print(f"live after {time.monotonic() - began:.1f} s")
    assert ask(models, NAMESPACE, LOCKED, **{"x-api-key": KEYS["bob"]}).status_code == 200


def test_keys_that_are_missing_let_nobody_in_and_are_told_of(models: str, namespace: Kubectl) -> None:
    model = build_doubler("keyless")
    model["spec"]["access"] = {"apiKeys": {"secretName": "later"}}
    namespace.apply(model)
    condition = wait_reason(namespace, "keyless", "AccessNotReady")
    assert "the Secret later of access.apiKeys in namespace test-access does not exist" in condition["message"]
    answer = ask(models, NAMESPACE, "keyless", **{"x-api-key": KEYS["bob"]})
    assert (answer.status_code, answer.headers["x-forebay-reason"]) == (503, "access-not-ready")
    namespace.apply(build_secret("later", {"carol": "carols-key"}))
    wait_ready(namespace, "keyless")
    assert ask(models, NAMESPACE, "keyless", **{"x-api-key": "carols-key"}).status_code == 200, describe(
        namespace, "keyless"
    )
