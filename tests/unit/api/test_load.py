"""Files, what they point to, and what is said about those that can't be read."""

import io
import sys
from pathlib import Path

import pytest

from forebay.api import ModelDeployment
from forebay.api.document import MAX_BYTES
from forebay.api.dump import to_data, to_yaml
from forebay.api.load import load_file, load_text
from forebay.api.problems import InvalidManifest, Problem

HEADER = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: %s}\nspec:\n"
GOOD = HEADER % "digits" + "  model: {uri: s3://models/digits}\n  predictor: {triton: {}}\n"


@pytest.fixture
def write(tmp_path):
    def write_file(text: str | bytes, name: str = "md.yaml") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write_file


def problems_of(path: Path) -> list[Problem]:
    with pytest.raises(InvalidManifest) as caught:
        load_file(path)
    return list(caught.value.problems)


def test_several_documents_and_a_list(write):
    items = "apiVersion: v1\nkind: List\nitems:\n" + "".join(
        "- " + (HEADER % name + "  predictor: {custom: {image: x}}").replace("\n", "\n  ") + "\n" for name in "ab"
    )
    loaded = load_file(write(f"# a comment\n---\n{GOOD}---\n---\n{items}"))
    assert [each.metadata.name for each in loaded] == ["digits", "a", "b"]
    assert all(isinstance(each, ModelDeployment) for each in loaded)


def test_problem_in_a_list_is_found_in_it(write):
    text = "apiVersion: v1\nkind: List\nitems:\n- " + (HEADER % "a" + "  predictor: {}\n").replace("\n", "\n  ")
    (problem,) = problems_of(write(text))
    assert (problem.line, problem.path) == (8, "items[0].spec.predictor")


def test_standard_input(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(GOOD.encode())))
    assert load_file(Path("-"))[0].metadata.name == "digits"


def test_problems_of_all_documents_in_their_order(write):
    path = write(HEADER % "a" + "  predictor: {replicas: 0}\n---\n" + HEADER % "b" + "  {}\n---\nkind: Pod\n")
    with pytest.raises(InvalidManifest) as caught:
        load_file(path)
    assert str(caught.value).splitlines() == [
        f"{path}:5: spec.predictor.replicas: must be 1 or more",
        f"{path}:5: spec.predictor: write exactly one of triton and custom",
        f"{path}:10: spec.predictor: is required: what runs the model",
        f"{path}:13: apiVersion: is required: write apiVersion: forebay.dev/v1alpha1",
    ]


def test_duplicate_names(write):
    (problem,) = problems_of(write(GOOD + "---\n" + GOOD))
    assert (problem.line, problem.path) == (10, "metadata.name")
    assert "stands on line 3 already" in problem.message


def test_same_name_in_two_namespaces(write):
    other = GOOD.replace("{name: digits}", "{name: digits, namespace: prod}")
    assert len(load_file(write(GOOD + "---\n" + other))) == 2


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("", None, "is empty"),
        ("---\n# nothing\n", None, "is empty"),
        (b"\xff\xfe", 1, "is not UTF-8"),
        (b"a: 1\nb: \xff", 2, "is not UTF-8"),
        ("a:\n\tb: 1\n", 2, "a tab: YAML is indented with spaces only"),
        ("a: 1\n\tb: 2\n", 2, "a tab: YAML is indented with spaces only"),
        ("a: b: c\n", 1, "a second `: `"),
        ("a: @b\n", 1, "a character that no value can start with"),
        ("a:\n  b: 1\n c: 2\n", 3, "a line that fits nowhere"),
        ("- a\nb: 1\n", 2, "a line that fits nowhere"),
        ('a: "b\n', 2, "quotes that are not closed"),
        ("a: [1, 2\n", 2, "a bracket or brace that is not closed"),
        ("a: *b\n", 1, "an *alias that has no &anchor above"),
        ("a: &a [*a]\n", 1, "an *alias that stands inside itself"),
        ("a: !!python/object:os.system x\n", 1, "has a !tag"),
        ("? [a]\n: b\n", 1, "where the name of a field belongs"),
        ("a: 1\nb: \x01\n", 2, "it holds the character U+0001"),
        ("[" * 10_000, 1, "is nested more than 64 deep"),
        ("x\n", 1, "is not an object"),
        ('a: "\\d"\n', 1, "a backslash in double quotes"),
        ("{{ .Values.x }}\n", 1, "a template must be rendered first"),
        ("kind: [a]\napiVersion: x\n", 1, "must be text: write kind: ModelDeployment"),
        ("kind: InferenceService\napiVersion: 1\n", 2, "must be text: write apiVersion"),
        ("apiversion: forebay.dev/v1alpha1\nkind: ModelDeployment\n", 1, "did you mean apiVersion?"),
        (HEADER % "a" + "  predictor:\n  - triton: {}\n", 5, "must be an object, not a list: its fields are replicas"),
        (HEADER % "a" + "  predictor: {custom: {image: x}}\n  model: s3://a/b\n", 6, "write model: {uri: ...}"),
        ("a: {<<: 3}\n", 1, "merges"),
    ],
)
def test_what_cannot_be_read(write, text, line, words):
    (problem,) = problems_of(write(text))
    assert words in problem.message
    assert problem.line == line


def test_alias_bomb_ends_early(write):
    levels = [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    (problem,) = problems_of(write("\n".join(["a0: &a0 [x]", *levels])))
    assert "has more than 200000 values" in problem.message


def test_too_large(write):
    (problem,) = problems_of(write(b"#" * (MAX_BYTES + 1)))
    assert problem.message == "is larger than 4 MiB"


def test_no_such_file(write):
    path = write(GOOD)
    (problem,) = problems_of(path.with_name("nd.yaml"))
    assert str(problem) == f"{path.with_name('nd.yaml')}: no such file: did you mean md.yaml?"
    assert "there is no folder" in problems_of(path.parent / "x" / "md.yaml")[0].message
    assert "cannot be read" in problems_of(path.parent)[0].message


def test_script_beside_the_manifest(write, tmp_path):
    write("class T:\r\n    pass", "transformer.py")
    (made,) = load_file(write(GOOD + "  transformer: {custom: {script: transformer.py}}\n"))
    assert made.spec.transformer.custom.script == "class T:\n    pass\n"
    assert made.spec.transformer.custom.script_file == str(tmp_path / "transformer.py")
    (again,) = load_text(to_yaml(made), file="again", folder=tmp_path)
    assert again.spec.transformer.custom.script_file == ""
    assert again.model_dump() == made.model_dump()


@pytest.mark.parametrize(
    ("script", "content", "words"),
    [
        ("transfomer.py", b"", "did you mean transformer.py?"),
        ("scripts/transformer.py", b"", "there is no folder"),
        ("transformer.py", b"", "is empty"),
        ("transformer.py", b"a\n\xff", "is not UTF-8"),
        ("transformer.py", b"#" * 262_145, "is too large"),
        ("a" * 5000 + ".py", b"", "is no path"),
        ('"\\0.py"', b"", "is no path"),
        (".py", b"", "scripts there: transformer.py"),
    ],
)
def test_script_that_cannot_be_used(write, script, content, words):
    write(content, "transformer.py")
    (problem,) = problems_of(write(GOOD + f"  transformer: {{custom: {{script: {script}}}}}\n"))
    assert (problem.line, problem.path) == (7, "spec.transformer.custom.script")
    assert words in problem.message


def test_script_that_is_a_folder(write, tmp_path):
    (tmp_path / "t.py").mkdir()
    (problem,) = problems_of(write(GOOD + "  transformer: {custom: {script: t.py}}\n"))
    assert "cannot be read" in problem.message


@pytest.mark.parametrize("uri", ["file:model", "file:./model", "file:a/../model", "file:{folder}/model"])
def test_model_beside_the_manifest(write, tmp_path, uri):
    path = write(GOOD.replace("s3://models/digits", uri.format(folder=tmp_path)))
    assert load_file(path)[0].spec.model.uri == (tmp_path / "model").as_uri()


def test_model_folder_with_a_space(write, tmp_path):
    path = write(GOOD.replace("s3://models/digits", "file:my%20model"))
    assert load_file(path)[0].spec.model.uri == tmp_path.as_uri() + "/my%20model"


@pytest.mark.parametrize("uri", ["file://host/model", "file:%00"])
def test_model_that_is_no_path(write, uri):
    (problem,) = problems_of(write(GOOD.replace("s3://models/digits", uri)))
    assert problem.path == "spec.model.uri"


def test_secrets_are_never_repeated(write):
    values = [
        "12345678",
        "true",
        "[hunter2]",
        "{a: hunter2}",
        "hunter2, value: hunter3",
        "*hunter2",
        "!hunter2",
        '"hunter2',
    ]
    for value in values:
        text = (
            HEADER % "a"
            + "  predictor: {custom: {image: x}, podTemplate: {spec: {containers: [{name: predictor, args: [1234567], "
            + f"env: [{{name: A, value: {value}}}, {{name: A, value: hunter4}}]}}]}}}}}}\n"
        )
        said = "\n".join(map(str, problems_of(write(text))))
        assert "hunter" not in said
        assert "1234567" not in said


def test_secrets_are_not_in_the_repr(write):
    text = GOOD.replace(
        "{triton: {}}",
        "{triton: {}, podTemplate: {spec: {containers: [{name: predictor, env: [{name: A, value: xyzzy}]}]}}}",
    )
    assert "xyzzy" not in repr(load_file(write(text)))


def test_secrets_of_what_is_not_known_are_not_in_the_repr(write):
    spec = (
        "{initContainers: [{name: a, env: [{name: A, value: xyzzy}]}], containers: [{name: b, image: c, zzz: xyzzy}]}"
    )
    (made,) = load_file(write(GOOD.replace("{triton: {}}", f"{{triton: {{}}, podTemplate: {{spec: {spec}}}}}")))
    assert "xyzzy" not in repr(made)
    assert "xyzzy" in to_yaml(made)


def test_status_is_left_to_the_operator(write):
    assert load_file(write(GOOD + "status: {conditions: whatever, zzz: 1}\n")) == load_file(write(GOOD))
    assert load_file(write(GOOD + "status:\n")) == load_file(write(GOOD))


def test_nothing_in_a_patch_takes_away(write):
    spec = "{runtimeClassName: , volumes: [{name: a, emptyDir: }], containers: [{name: predictor, env: , lifecycle: }]}"
    (made,) = load_file(write(GOOD.replace("{triton: {}}", f"{{triton: {{}}, podTemplate: {{spec: {spec}}}}}")))
    assert load_file(write(to_yaml(made))) == [made]
    kept = to_data(made, defaults=False)["spec"]["predictor"]["podTemplate"]["spec"]
    assert kept == {
        "runtimeClassName": None,
        "volumes": [{"name": "a", "emptyDir": None}],
        "containers": [{"name": "predictor", "lifecycle": None}],
    }


def test_many_problems_are_cut(write):
    text = GOOD + "".join(f"  zzz{i}: 1\n" for i in range(60))
    with pytest.raises(InvalidManifest) as caught:
        load_file(write(text))
    assert len(caught.value.problems) == 60
    assert str(caught.value).splitlines()[-1] == "... and 10 more problems"


@pytest.mark.parametrize(
    "text", ["y", "N", "1e3", "0o17", "1_0", "on", "null", "~", "", "3", "1:30", "a: b", "# x", "0x1F"]
)
def test_to_yaml_is_read_by_kubectl_as_it_was_meant(write, text):
    env = f"[{{name: A, value: '{text}'}}]"
    (made,) = load_file(
        write(
            HEADER % "a" + "  predictor: {custom: {image: x}, podTemplate: {spec: {containers: "
            f"[{{name: predictor, env: {env}}}]}}}}}}"
        )
    )
    assert load_file(write(to_yaml(made))) == [made]
    assert load_file(write(to_yaml(made)))[0].spec.predictor.pod_template.spec.containers[0].env[0].value == text


def test_to_yaml_without_defaults(write):
    (made,) = load_file(write(GOOD))
    assert to_yaml(made, defaults=False) == (
        "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata:\n  name: digits\n"
        "spec:\n  model:\n    uri: s3://models/digits\n  predictor:\n    triton: {}\n"
    )
