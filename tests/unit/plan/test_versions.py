"""References to ModelVersions: what each names, and what is said where it names none."""

from pathlib import Path

import pytest

from forebay.api import ModelDeployment
from forebay.api.load import load_text
from forebay.plan.names import DIGEST_ANNOTATION
from forebay.plan.resolve import resolve
from forebay.plan.site import Site
from forebay.plan.versions import (
    AmbiguousAliasError,
    UnknownVersionError,
    Version,
    VersionError,
    choose_version,
    pin,
    read_version,
    sort_versions,
)
from forebay.plan.workloads import build_revision

HEAD = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: digits}\nspec:\n"


def version(number: str, *aliases: str, model: str = "digits") -> Version:
    return Version(model, number, f"s3://models/{model}/{number}", aliases=frozenset(aliases))


KNOWN = [version("2"), version("10", "candidate"), version("9", "champion"), version("1", model="letters")]


def test_a_version_and_an_alias() -> None:
    assert choose_version("digits:2", KNOWN).uri == "s3://models/digits/2"
    assert choose_version("digits@champion", KNOWN).version == "9"
    assert choose_version("letters:1", KNOWN).model == "letters"


@pytest.mark.parametrize(
    ("reference", "known", "words"),
    [
        ("digits:3", KNOWN, "there is no ModelVersion digits:3: there are digits:10 (candidate), digits:9 (champion)"),
        ("digits:11", KNOWN, "digits:11: there are digits:10 (candidate), digits:9 (champion), digits:2"),
        ("digit:2", KNOWN, "there is no ModelVersion of digit here: did you mean digits?"),
        ("zzz:2", KNOWN, "there is no ModelVersion of zzz here: there are versions of digits, letters"),
        ("digits:1", [], "nor of any other model: `forebay push DIR digits` makes one"),
        ("digits@champoin", KNOWN, "the alias of digits@champoin: did you mean digits@champion (digits:9)?"),
        ("digits@x", KNOWN, "there are digits@candidate (digits:10), digits@champion (digits:9)"),
        ("letters@x", KNOWN, "give it to one of 1 by `forebay alias letters@x VERSION`"),
        ("digits:x", [version(str(n)) for n in range(9)], "digits:8, digits:7, digits:6, digits:5, digits:4 and 4"),
    ],
)  # fmt: skip
def test_what_names_nothing(reference: str, known: list[Version], words: str) -> None:
    with pytest.raises(UnknownVersionError) as error:
        choose_version(reference, known)
    assert words in str(error.value)


def test_an_alias_of_two_names_neither() -> None:
    with pytest.raises(AmbiguousAliasError, match="digits:9 and digits:2 both claim digits@champion"):
        choose_version("digits@champion", [*KNOWN[1:], version("2", "champion")])
    assert issubclass(AmbiguousAliasError, VersionError)


def test_the_latest_first() -> None:
    numbers = ["main", "1.9.0", "1.10.0", "2"]
    assert [each.version for each in sort_versions(map(version, numbers))] == ["2", "1.10.0", "1.9.0", "main"]


def test_what_is_read_of_an_object() -> None:
    spec = {"model": "digits", "version": "3", "uri": "s3://a/b", "digest": "sha256:1", "aliases": ["champion"]}
    read = read_version({"spec": spec | {"credentials": {"secretName": "keys"}, "format": "onnx"}})
    assert read == Version("digits", "3", "s3://a/b", "sha256:1", "keys", "onnx", frozenset({"champion"}))
    assert read_version({"spec": spec | {"format": "triton"}}).format == ""
    assert read.references == {"digits:3", "digits@champion"}


def load(model: str, *, predictor: str = "triton: {}") -> ModelDeployment:
    text = f"{HEAD}  model: {model}\n  predictor: {{{predictor}}}\n"
    (made,) = load_text(text, file="m.yaml", folder=Path("/nowhere"))
    assert isinstance(made, ModelDeployment)
    return made


def test_after_it_an_address_is_all_there_is() -> None:
    named = pin(load('{version: "digits:9"}'), KNOWN[2])
    assert build_revision(resolve(named), Site()) == build_revision(
        resolve(load("{uri: s3://models/digits/9}")), Site()
    )


def test_credentials_are_the_versions_unless_there_are_own() -> None:
    keys = KNOWN[2]._replace(secret_name="theirs")
    assert resolve(pin(load('{version: "digits:9"}'), keys)).predictor.model.secret_name == "theirs"
    own = load('{version: "digits:9", credentials: {secretName: own}}')
    assert resolve(pin(own, keys)).predictor.model.secret_name == "own"


def test_the_format_is_the_versions_unless_there_is_an_own() -> None:
    onnx = KNOWN[2]._replace(format="onnx")
    assert resolve(pin(load('{version: "digits:9"}'), onnx)).predictor.model.format == "onnx"
    own = load('{version: "digits:9", format: tensorrt}')
    assert resolve(pin(own, onnx)).predictor.model.format == "tensorrt"
    script = 'custom: {script: "class A:\\n  def predict(self, i): return i\\n"}'
    custom = load('{version: "digits:9"}', predictor=script)
    assert resolve(pin(custom, onnx)).predictor.model.format == ""


def test_other_content_is_another_revision() -> None:
    one, other = (KNOWN[2]._replace(digest=f"sha256:{each}") for each in "ab")
    revisions = [build_revision(resolve(pin(load('{version: "digits:9"}'), each)), Site()) for each in (one, other)]
    assert revisions[0].name != revisions[1].name
    template = revisions[0].workloads[0].template
    assert template["metadata"]["annotations"] == {DIGEST_ANNOTATION: "sha256:a"}
    assert "--digest=sha256:a" in template["spec"]["initContainers"][0]["args"], "and no other content is accepted"
