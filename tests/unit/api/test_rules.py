"""The CEL engine behind the rules between fields."""

from typing import ClassVar

import pytest
from pydantic import Field

from forebay.api import ModelDeployment
from forebay.api.base import Model, Rule
from forebay.api.rules import RuleError, check_object, check_rules, compile_rule, fields_read, holds

SELF = {
    "text": "ab\ncd",
    "timeout": "1m30s",
    "items": [{"name": "a"}, {"name": "b"}],
    "count": 3,
    "labels": {"k": "v"},
    "umlaut": "ü",
}


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("has(self.text)", True),
        ("has(self.missing)", False),
        ("has(self.text) != has(self.missing)", True),
        ("duration(self.timeout) == duration('90s')", True),
        ("duration(self.timeout) <= duration('1h')", True),
        ("self.text.contains('\\n')", True),
        ("self.text.matches('^ab')", True),
        ("self.items.all(i, i.name != '')", True),
        ("self.items.exists_one(i, i.name == 'a')", True),
        ("size(self.items) == 2 && self.text.size() == 5", True),
        ("self.umlaut.size() == 1", True),
        ("self.text.split('\\n').map(l, l.upperAscii()).join('-') == 'AB-CD'", True),
        ("self.text.startsWith('ab') && self.text.endsWith('cd') && self.text.indexOf('c') == 3", True),
        ("'k' in self.labels && self.labels.k == 'v'", True),
        ("self.count > 2.5", True),
    ],
)
def test_engine(expression, expected):
    assert holds(Rule(expression, "message"), SELF) is expected


@pytest.mark.parametrize("expression", ["self.missing == 1", "self.count.contains('a')", "self.count"])
def test_rule_that_does_not_evaluate_is_a_bug(expression):
    with pytest.raises(RuleError, match="does not evaluate"):
        holds(Rule(expression, "message"), SELF)


def test_rule_that_does_not_compile_is_a_bug():
    with pytest.raises(RuleError, match="does not compile"):
        holds(Rule("self.", "message"), SELF)


def test_rule_is_compiled_once():
    assert compile_rule("self.a == 1") is compile_rule("self.a == 1")


def test_fields_read():
    rule = Rule("!has(self.predictor.triton) || self.name.size() < 3 && self.a.all(x, x)", "")
    assert fields_read(rule) == [("predictor", "triton"), ("name",), ("a",)]


class Inner(Model):
    rules: ClassVar[tuple[Rule, ...]] = (Rule("self.low <= self.high", "low first", ".low"),)
    low: int
    high: int = 5


class Outer(Model):
    rules: ClassVar[tuple[Rule, ...]] = (Rule("size(self.inners) > 0", "none"),)
    inners: list[Inner] = Field(default=[])


def test_rules_of_items_see_defaults():
    data = {"inners": [{"low": 1}, {"low": 6}]}
    assert [(found.path, found.rule.field) for found in check_rules(Outer, data)] == [(("inners", 1), ".low")]


def test_rules_are_checked_below_an_object_that_does_not_fit():
    data = {"inners": [{"low": 6}, {"low": "x"}]}
    assert [found.path for found in check_rules(Outer, data)] == [("inners", 0)]


def test_check_object_made_in_python():
    made = ModelDeployment.model_validate(
        {
            "apiVersion": "forebay.dev/v1alpha1",
            "kind": "ModelDeployment",
            "metadata": {"name": "a"},
            "spec": {"predictor": {"triton": {}}},
        }
    )
    assert [found.path for found in check_object(made)] == [("spec",)]
