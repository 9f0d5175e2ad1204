"""What pydantic finds, in the words of the manifest's author: what is wrong, and what to write instead.

Values are never repeated: they may be secrets, and the line that is named shows them anyway.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin

from pydantic_core import ErrorDetails

from forebay.api.base import Model
from forebay.api.fields import advise_unknown, field_at, fields_of, form_of, model_at
from forebay.api.rules import Path

Say = Callable[[type[Model], Path, ErrorDetails], str]


def word(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    """The message for an error of pydantic's."""
    say = WORDS.get(error["type"])
    # An error of a type that has no words yet still says what is wrong: pydantic's messages hold no values.
    return say(kind, path, error) if say else error["msg"]


def type_of(value: Any) -> str:
    """What a value is, in YAML's terms."""
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "text"
    if isinstance(value, Mapping):
        return "an object"
    return "a list" if isinstance(value, list) else "nothing"


def _unknown(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    return f"unknown field: {advise_unknown(kind, path)}"


def _missing(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    field = field_at(kind, path)
    about = re.split(r"[.:](?: |$)", (field.description or "") if field else "")[0]
    return f"is required: {about[:1].lower()}{about[1:]}"


def _not_text(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    value = error["input"]
    if isinstance(value, bool):
        return "must be text, and YAML reads y, yes, on, n, no and off as true or false: put it in quotes"
    if isinstance(value, int | float):
        field = field_at(kind, path)
        form = form_of(field) if field else ""
        return f"must be text, not a number: put it in quotes{f' ({form})' if form else ''}"
    return f"must be text, not {type_of(value)}"


def _not_integer(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    value = error["input"]
    if isinstance(value, str) and value.strip().isdecimal():
        return "must be a number, not text: leave out the quotes"
    if isinstance(value, bool):
        return "must be a whole number, and YAML reads y, yes, on, n, no and off as true or false"
    return "must be a whole number" + ("" if isinstance(value, float) else f", not {type_of(value)}")


def _not_object(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    name = next((str(step) for step in reversed(path) if not isinstance(step, int)), "")
    is_ = type_of(error["input"])
    model = model_at(kind, path)
    field = field_at(kind, path)
    if model is None or (field is not None and get_origin(field.annotation) is dict):
        return f"must be an object of names and values, not {is_}"
    if not model.rules and not any(each.is_required() for each in fields_of(model).values()):
        return f"must be an object, not {is_}: write {name}: {{}}, or set {', '.join(fields_of(model))} in it"
    required = [alias for alias, each in fields_of(model).items() if each.is_required()]
    if not required and isinstance(error["input"], str):
        # A text is most likely the first of the fields that take one.
        required = [alias for alias, each in fields_of(model).items() if _takes_text(each.annotation)][:1]
    example = f"; write {name}: {{{required[0]}: ...}}" if len(required) == 1 and path[-1] == name else ""
    return f"must be an object, not {is_}: its fields are {', '.join(fields_of(model))}{example}"


def _not_list(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    return f"must be a list, not {type_of(error['input'])}: start each item with `- `"


def _form(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    key = bool(path) and path[-1] == "[key]"
    field = field_at(kind, path)
    form = form_of(field, key=key) if field else ""
    if key:
        return f"the name must be written as {form}"
    return f"must be written as {form}" if form else "is not written as it must be"


def _too_long(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    context = error["ctx"]
    unit = "characters" if error["type"].startswith("string") else "items"
    length = context.get("actual_length", None if unit == "items" else len(error["input"]))
    has = f", and has {length}" if length is not None else ""
    return f"must have {context['max_length']} {unit} at most{has}"


def _duplicate(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    context = error["ctx"]
    return f"a second {context['name']} (the first is item {context['first']}): leave one of them"


def _literal(kind: type[Model], path: Path, error: ErrorDetails) -> str:
    return f"must be {error['ctx']['expected']}"


WORDS: dict[str, Say] = {
    "extra_forbidden": _unknown,
    "missing": _missing,
    "string_type": _not_text,
    "int_type": _not_integer,
    "model_type": _not_object,
    "model_attributes_type": _not_object,
    "dict_type": _not_object,
    "list_type": _not_list,
    "string_pattern_mismatch": _form,
    "string_too_short": lambda *_: "must not be empty",
    "string_too_long": _too_long,
    "too_long": _too_long,
    "greater_than_equal": lambda kind, path, error: f"must be {error['ctx']['ge']:.15g} or more",
    "less_than_equal": lambda kind, path, error: f"must be {error['ctx']['le']:.15g} or less",
    "duplicate_name": _duplicate,
    "literal_error": _literal,
}


def _takes_text(annotation: Any) -> bool:
    """Whether a field takes a text, be it among others."""
    if get_origin(annotation) in (list, dict):
        return False
    return annotation is str or any(_takes_text(each) for each in get_args(annotation))
