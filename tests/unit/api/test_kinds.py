"""Manifests as the loader reads them. tests/api/test_kinds.py asks a real apiserver the same."""

from typing import Any

from forebay.api.load import load_text
from forebay.api.problems import InvalidManifest, Problem
from tests.unit.api.kinds import HERE, Sample, each_case


@each_case
def test_loader_says_what_is_wrong_and_no_more(sample: Sample, case: dict[str, Any]) -> None:
    problems: tuple[Problem, ...] = ()
    try:
        load_text(sample.write_case(case), file="case.yaml", folder=HERE)
    except InvalidManifest as invalid:
        problems = invalid.problems
    found = {problem.path: problem.message for problem in problems}
    wanted = case.get("refused", {})
    assert found.keys() == wanted.keys(), found
    for path, words in wanted.items():
        assert words in found[path]
