"""What is told of a ModelDeployment's shadow."""

import pytest

from tests.unit.status.scene import LATER, MANIFEST, Scene, get_condition, told

SHADOWED = "  shadow: {deployment: other}\n"


@pytest.mark.parametrize(
    ("gateway", "wanted", "words"),
    [
        ({}, ("True", "Ready"), "other gets copies of requests: `forebay shadow "),
        ({"shadow_problem": "there is none"}, ("False", "ShadowMissing"), "nothing is compared: there is none"),
        ({"pods": 2, "answered": 1}, ("Unknown", "GatewayNotReady"), "doesn't tell whether other gets copies"),
    ],
)
def test_whether_it_gets_copies(gateway, wanted, words):
    scene = Scene(MANIFEST + SHADOWED)
    scene.gateway = gateway
    status = scene.summarize()
    assert told(status, "ShadowReady") == wanted
    assert words in get_condition(status, "ShadowReady")["message"]
    assert scene.summarize(status, LATER) == status


def test_what_serves_does_not_hang_on_it():
    scene = Scene(MANIFEST + SHADOWED)
    scene.gateway = {"shadow_problem": "there is none"}
    assert told(scene.summarize()) == ("True", "Ready")


def test_nothing_is_told_of_one_that_has_none():
    assert "ShadowReady" not in {each["type"] for each in Scene(MANIFEST).summarize()["conditions"]}
