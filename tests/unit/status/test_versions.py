"""What a ModelVersion is told of its aliases."""

from forebay.observation import Reason, Trouble
from forebay.plan.versions import Version
from forebay.status import summarize_version
from forebay.status.versions import add_prefetch
from tests.unit.status.scene import LATER, NOW, told

THREE = Version("digits", "3", "s3://a/3", aliases=frozenset({"champion", "stable"}))
FOUR = Version("digits", "4", "s3://a/4", aliases=frozenset({"candidate"}))


def test_its_own() -> None:
    status = summarize_version(THREE, [THREE, FOUR], 1, {}, NOW)
    assert told(status) == ("True", "Ready")
    message = "ModelDeployments may name it as digits:3, digits@champion, digits@stable"
    assert status["conditions"][0]["message"] == message
    assert summarize_version(THREE, [THREE, FOUR], 1, status, LATER) == status


def test_one_that_another_claims_is_told_to_both() -> None:
    claiming = FOUR._replace(aliases=frozenset({"champion"}))
    for each in (THREE, claiming):
        status = summarize_version(each, [THREE, claiming], 2, {}, NOW)
        assert told(status) == ("False", "AmbiguousAlias")
        assert "digits:4 and digits:3 both claim digits@champion" in status["conditions"][0]["message"]
        assert status["observedGeneration"] == 2


def test_nodes_that_are_to_have_it_are_a_condition_of_their_own() -> None:
    coming = Trouble(reason=Reason.DOWNLOADING, message="it is on 1 of 3 nodes")
    status = add_prefetch(summarize_version(THREE, [THREE], 1, {}, NOW), coming, {}, NOW)
    assert told(status) == ("True", "Ready")
    assert [(each["type"], each["status"]) for each in status["conditions"]] == [
        ("Ready", "True"),
        ("Prefetched", "False"),
    ]
    again = add_prefetch(summarize_version(THREE, [THREE], 1, status, LATER), coming, status, LATER)
    assert again == status
    there = Trouble(reason=Reason.READY, message="it is on 3 nodes")
    done = add_prefetch(summarize_version(THREE, [THREE], 1, status, LATER), there, status, LATER)
    assert done["conditions"][1]["status"] == "True"
    assert done["conditions"][1]["lastTransitionTime"] != status["conditions"][1]["lastTransitionTime"]
