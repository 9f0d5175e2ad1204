"""Rules between fields, evaluated offline by the CEL engine that Google's own C++ services use."""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple, get_args

from cel_expr_python import cel
from cel_expr_python.ext import ext_strings
from pydantic import ValidationError

from forebay.api.base import Kind, Model, Rule

Path = tuple[str | int, ...]


class RuleError(RuntimeError):
    """A rule couldn't be evaluated: a bug in the rule, never the fault of the object."""


class Violation(NamedTuple):
    """A rule that an object breaks, and where."""

    path: Path
    rule: Rule


@cache
def compile_rule(expression: str) -> Any:
    """Compile an expression, once for the life of the process."""
    env = cel.NewEnv(variables={"self": cel.Type.DYN}, extensions=[ext_strings.ExtStrings()])
    try:
        return env.compile(expression)
    except Exception as error:
        raise RuleError(f"rule does not compile: {expression}: {error}") from error


def holds(rule: Rule, self: Mapping[str, Any]) -> bool:
    """Evaluate a rule over an object whose defaults are filled in."""
    # The engine answers an evaluation error as a value of type ERROR, which is truthy: only True and False count.
    value = compile_rule(rule.cel).eval(data={"self": self}).value()
    if not isinstance(value, bool):
        raise RuleError(f"rule does not evaluate: {rule.cel}: {value}")
    return value


def check_rules(
    model: type[Model], data: Mapping[str, Any], *, broken: frozenset[Path] = frozenset(), at: Path = ()
) -> Iterator[Violation]:
    """Evaluate the rules of `model` and of all below it over camelCase `data`, which has passed the schema.

    `broken` names the fields that were taken out of `data` because they don't fit the schema: objects that lack them
    are still checked, but not by the rules that read them, so that one mistake is reported once.
    """
    complete = fill_defaults(model, data)
    if complete is not None:
        for rule in model.rules:
            unreadable = any(_overlap(at + read, path) for read in fields_read(rule) for path in broken)
            if not unreadable and not holds(rule, complete):
                yield Violation(at, rule)
    for name, child in child_models(model).items():
        below = (data if complete is None else complete).get(name)
        items = enumerate(below) if isinstance(below, list) else [(None, below)]
        for index, item in items:
            if isinstance(item, Mapping):
                place = (*at, name) if index is None else (*at, name, index)
                yield from check_rules(child, item, broken=broken, at=place)


def check_object(item: Kind) -> list[Violation]:
    """All rules that an object breaks."""
    return list(check_rules(type(item), item.model_dump(mode="json", by_alias=True, exclude_none=True)))


def fill_defaults(model: type[Model], data: Mapping[str, Any]) -> dict[str, Any] | None:
    """The object as the apiserver would store it; None if it doesn't fit the schema."""
    try:
        made = model.model_validate(data, strict=True, by_alias=True, by_name=False)
    except ValidationError:
        return None
    return made.model_dump(mode="json", by_alias=True, exclude_none=True)


@cache
def child_models(model: type[Model]) -> dict[str, type[Model]]:
    """The fields, by their outside names, that hold objects or lists of objects."""
    found = {}
    for field in model.model_fields.values():
        for child in _models_in(field.annotation):
            found[str(field.alias)] = child
    return found


def _models_in(annotation: Any) -> Iterator[type[Model]]:
    if isinstance(annotation, type) and issubclass(annotation, Model):
        yield annotation
    for argument in get_args(annotation):
        yield from _models_in(argument)


def fields_read(rule: Rule) -> list[Path]:
    """The fields that a rule reads, relative to its object."""
    return [tuple(chain.split(".")) for chain in re.findall(r"self\.([A-Za-z]+(?:\.[A-Za-z]+)*)(?!\()\b", rule.cel)]


def _overlap(one: Path, other: Path) -> bool:
    shorter = min(len(one), len(other))
    return one[:shorter] == other[:shorter]
