"""Whatever a file holds, the loader answers with objects or with InvalidManifest."""

from pathlib import Path

import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from forebay.api import ModelDeployment
from forebay.api.dump import to_yaml
from forebay.api.fields import all_paths
from forebay.api.load import load_text
from forebay.api.problems import InvalidManifest

NAMES = sorted({step for path in all_paths(ModelDeployment) for step in path} | {"zzz", "on", "<<", "a.b"})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(["30s", "predictor", "x", "a\n", "t.py", "file:m", "s3://a/b", "1Gi", "500m", "", "\0"])
    | st.text(max_size=20)
)
VALUES = st.recursive(
    SCALARS,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.sampled_from(NAMES), children, max_size=4),
    max_leaves=12,
)


@st.composite
def specs(draw: st.DrawFn, path: tuple[str, ...] = ()) -> object:
    """Objects that mostly follow the schema, with something else here and there."""
    if draw(st.integers(0, 9)) == 0:
        return draw(VALUES)
    names = [each[-1] for each in all_paths(ModelDeployment) if each[:-1] == ("spec", *path)]
    if not names:
        return draw(SCALARS)
    made = {name: draw(specs(path=(*path, name))) for name in draw(st.sets(st.sampled_from(names), max_size=3))}
    return [made] if path and path[-1] in ("containers", "env", "metrics") else made


def load(text: str) -> list[ModelDeployment]:
    try:
        return load_text(text, file="fuzz.yaml", folder=Path("/nonexistent"))
    except InvalidManifest as invalid:
        said = str(invalid)
    assert said
    return []


@settings(max_examples=300, deadline=None)
@given(specs())
def test_objects(spec):
    data = {"apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment", "metadata": {"name": "a"}, "spec": spec}
    for made in load(yaml.safe_dump(data, allow_unicode=True)):
        assert load(to_yaml(made)) == [made]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(["apiVersion", "kind", "metadata", "spec", "items"]), VALUES))
def test_documents(data):
    load(yaml.safe_dump({"apiVersion": "forebay.dev/v1alpha1", "kind": "ModelDeployment"} | data))


@settings(max_examples=300, deadline=None)
@given(st.text() | st.text(alphabet="ab:-[]{}&*!|>'\"%@`,#?<\n\t 01.~"))
def test_texts(text):
    load(text)
