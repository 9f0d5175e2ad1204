"""What a ModelVersion is told of its aliases."""

from forebay.plan.versions import Version
from forebay.status import summarize_version
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
