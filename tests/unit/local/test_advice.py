"""What measured numbers say of a manifest's."""

from pathlib import Path

import pytest
import yaml

from forebay.api.load import load_text
from forebay.local.advice import (
    Proposal,
    Written,
    advise,
    choose_concurrency,
    find_narrow,
    format_memory,
    parse_cpus,
    parse_memory_mib,
    write_proposals,
)
from forebay.local.measuring import Measurement
from forebay.plan.resolve import resolve

DEFAULTS = Written(memory="1Gi", cpu="1", concurrency=8)
CASES = {
    "fits": ({"memory_mib": 300, "cpus": 0.9}, DEFAULTS, {}),
    "nothing sent": ({"memory_mib": 90}, DEFAULTS, {}),
    "little memory": ({"memory_mib": 1000}, DEFAULTS, {"resources.memory": "1536Mi"}),
    "far too little": (
        {"memory_mib": 3000},
        Written(memory="256Mi", cpu="1", concurrency=8),
        {"resources.memory": "4Gi"},
    ),
    "absurdly much": (
        {"memory_mib": 100},
        Written(memory="16Gi", cpu="1", concurrency=8),
        {"resources.memory": "512Mi"},
    ),
    "much for much": ({"memory_mib": 3000}, Written(memory="8G", cpu="1", concurrency=8), {}),
    "busy": ({"cpus": 2.2}, DEFAULTS, {"resources.cpu": '"2.5"'}),
    "idle": (
        {"cpus": 0.1, "rates": {8: 5.0}},
        Written(memory="1Gi", cpu="16", concurrency=8),
        {"resources.cpu": '"0.5"'},
    ),
    "idle, nothing sent": ({"cpus": 0.0}, Written(memory="1Gi", cpu="16", concurrency=8), {}),
    "one at a time": ({"rates": {1: 10.0, 2: 10.1, 4: 10.3, 8: 10.0, 16: 9.0}}, DEFAULTS, {"concurrency": "1"}),
    "four do": ({"rates": {1: 10.0, 2: 20.0, 4: 38.0, 8: 39.0, 16: 40.0}}, DEFAULTS, {}),
    "waits for others": ({"rates": {4: 40.0, 8: 80.0, 16: 160.0, 32: 318.0}}, DEFAULTS, {"concurrency": "32"}),
    "not compared": ({"rates": {8: 400.0}}, DEFAULTS, {}),
}


@pytest.mark.parametrize("case", CASES)
def test_only_what_does_not_fit(case: str) -> None:
    numbers, written, expected = CASES[case]
    measured = Measurement(**{"start_s": 1.0, "memory_mib": 300, "cpus": 0.5, **numbers})
    assert {each.field: each.value for each in advise(measured, written)} == expected


def test_without_an_answer_nothing_is_said_of_concurrency() -> None:
    measured = Measurement(start_s=1.0, memory_mib=300, rates={1: 10.0, 8: 10.0})
    assert not advise(measured, DEFAULTS, compare_levels=False)


def test_what_is_proposed_can_be_pasted() -> None:
    proposals = [
        Proposal(field="resources.memory", value="1536Mi", why=""),
        Proposal(field="resources.cpu", value='"2.5"', why=""),
        Proposal(field="concurrency", value="2", why=""),
    ]
    text = write_proposals("predictor", proposals)
    head = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: a}\n"
    spec = yaml.safe_load(text)
    assert spec["spec"]["predictor"] == {"concurrency": 2, "resources": {"memory": "1536Mi", "cpu": "2.5"}}
    spec["spec"]["predictor"]["custom"] = {"image": "x"}
    (made,) = load_text(head + yaml.safe_dump(spec), file="m.yaml", folder=None)
    assert made.spec.predictor.concurrency == 2


@pytest.mark.parametrize(
    ("text", "mib"),
    [("512Mi", 512), ("1.5Gi", 1536), ("1G", 953.67), ("1048576", 1), ("2Ti", 2 * 2**20), ("64k", 0.061)],
)
def test_quantities(text: str, mib: float) -> None:
    assert parse_memory_mib(text) == pytest.approx(mib, rel=0.01)


@pytest.mark.parametrize(
    ("mib", "text"), [(1, "64Mi"), (64, "64Mi"), (65, "128Mi"), (1000, "1Gi"), (1025, "1536Mi"), (3900, "4Gi")]
)
def test_quantities_are_never_less(mib: float, text: str) -> None:
    assert format_memory(mib) == text
    assert parse_memory_mib(text) >= mib


def test_cpus() -> None:
    assert (parse_cpus("500m"), parse_cpus("2"), parse_cpus("0.25")) == (0.5, 2.0, 0.25)


def test_the_fewest_that_do() -> None:
    assert choose_concurrency({1: 5.0, 2: 9.1, 4: 10.0}) == 2


NARROW = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: digits}
spec:
  model: {uri: "s3://models/digits"}
  predictor: {triton: {}, PREDICTOR}
  transformer: {custom: {image: a/b:1}TRANSFORMER}
"""


@pytest.mark.parametrize(
    ("predictor", "transformer", "words"),
    [
        ("autoscaling: {max: 8}", "", ("at most 8 requests at once", "(1 x concurrency 8)", "to have 5.6",
                                       "never be more than 2 of 8", "transformer.concurrency: 45,")),
        ("autoscaling: {max: 8, target: {queue: 4}}", ", replicas: 2, concurrency: 12",
         ("at most 24", "more than 6 of 8", "transformer.concurrency: 16,")),
        ("autoscaling: {max: 8, target: {queue: 4}}", ", replicas: 2, concurrency: 16", ()),
        ("autoscaling: {max: 8}", ", autoscaling: {max: 8}", ()),
        ("autoscaling: {max: 8, target: {cpu: 70}}", "", ()),
        ("replicas: 8", "", ()),
    ],
)  # fmt: skip
def test_a_transformer_that_is_too_narrow_for_the_predictors(
    predictor: str, transformer: str, words: tuple[str, ...]
) -> None:
    text = NARROW.replace("PREDICTOR", predictor).replace("TRANSFORMER", transformer)
    (made,) = load_text(text, file="m.yaml", folder=Path())
    told = find_narrow(resolve(made))
    assert bool(told) is bool(words), told
    assert all(each in told for each in words), told
