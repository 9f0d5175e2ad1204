"""What is told of a ModelDeployment's fallback."""

import pytest

from tests.unit.status.scene import LATER, MANIFEST, Scene, get_condition, told

ANOTHER = "  fallback: {deployment: simple}\n"
FIXED = "  fallback: {response: {body: '{}'}}\n"


@pytest.mark.parametrize(
    ("manifest", "gateway", "wanted", "words"),
    [
        (ANOTHER, {}, ("True", "Ready"), "simple answers where this one can't"),
        (
            FIXED,
            {"fallback_note": "gRPC has no fallback"},
            ("True", "Ready"),
            "given where this one can't. gRPC has no",
        ),
        (ANOTHER, {"fallback_problem": "there is none"}, ("False", "FallbackMissing"), "gets an error: there is none"),
        (ANOTHER, {"pods": 2, "answered": 1}, ("Unknown", "GatewayNotReady"), "doesn't tell"),
    ],
)
def test_whether_somebody_would_answer(manifest, gateway, wanted, words):
    scene = Scene(MANIFEST + manifest)
    scene.gateway = gateway
    status = scene.summarize()
    assert told(status, "FallbackReady") == wanted
    assert words in get_condition(status, "FallbackReady")["message"]
    assert scene.summarize(status, LATER) == status


def test_what_serves_does_not_hang_on_it():
    scene = Scene(MANIFEST + ANOTHER)
    scene.gateway = {"fallback_problem": "there is none"}
    assert told(scene.summarize()) == ("True", "Ready")


def test_nothing_is_told_of_one_that_has_none():
    assert "FallbackReady" not in {each["type"] for each in Scene(MANIFEST).summarize()["conditions"]}
