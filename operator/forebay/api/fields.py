"""The fields of the API as their users know them: by path, in camelCase, with the words that explain them."""

import difflib
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from pydantic.fields import FieldInfo

from forebay.api.advice import find_advice
from forebay.api.base import Form, Model
from forebay.api.rules import Path, child_models


def show_path(path: Path) -> str:
    """The path as people write it: spec.containers[0].name."""
    shown = ""
    for step in path:
        shown += f"[{step}]" if isinstance(step, int) else f".{step}"
    return shown.removeprefix(".")


@cache
def fields_of(model: type[Model]) -> dict[str, FieldInfo]:
    """The fields of an object by their outside names."""
    return {str(field.alias): field for field in model.model_fields.values()}


def model_at(kind: type[Model], path: Path) -> type[Model] | None:
    """The model of the object (or of the list's items) at a path."""
    model: type[Model] | None = kind
    for step in path:
        if model is not None and not isinstance(step, int):
            model = child_models(model).get(step)
    return model


def field_at(kind: type[Model], path: Path) -> FieldInfo | None:
    """The field at a path; inside a map or a list of plain values, the field that holds it."""
    names = [step for step in path if not isinstance(step, int)]
    model: type[Model] | None = kind
    field = None
    for name in names:
        if model is None:
            break
        field = fields_of(model).get(name)
        model = child_models(model).get(name)
    return field


def form_of(field: FieldInfo, *, key: bool = False) -> str:
    """In words, how the field's text (or a key of the map that it is) is written."""
    forms = [each for each in field.metadata if isinstance(each, Form)] + list(_forms_in(field.annotation))
    if not forms:
        return ""
    return forms[0 if key else -1].text


def _forms_in(annotation: Any) -> Iterator[Form]:
    if get_origin(annotation) is Annotated:
        yield from (each for each in annotation.__metadata__ if isinstance(each, Form))
    for argument in get_args(annotation):
        yield from _forms_in(argument)


@cache
def maps_of(model: type[Model]) -> frozenset[str]:
    """The fields that are maps of names and texts."""
    return frozenset(name for name, field in fields_of(model).items() if _is_map(field.annotation))


def _is_map(annotation: Any) -> bool:
    return get_origin(annotation) is dict and get_args(annotation)[1] is not Any


def drop_nothing(model: type[Model], data: dict[str, Any]) -> None:
    """Leave out, in place, fields with nothing after their name (`transformer:`), as the apiserver does."""
    for name in [name for name, value in data.items() if value is None and name in fields_of(model)]:
        del data[name]
    for name in maps_of(model) & data.keys():
        if isinstance(data[name], dict):
            data[name] = {key: value for key, value in data[name].items() if value is not None}
    for name, child in child_models(model).items():
        below = data.get(name)
        for item in below if isinstance(below, list) else [below]:
            if isinstance(item, dict):
                drop_nothing(child, item)


@cache
def all_paths(kind: type[Model], at: tuple[str, ...] = ()) -> tuple[tuple[str, ...], ...]:
    """The path of every field, without list positions."""
    paths: list[tuple[str, ...]] = []
    for name in fields_of(kind):
        paths.append((*at, name))
        child = child_models(kind).get(name)
        if child is not None:
            paths += all_paths(child, (*at, name))
    return tuple(paths)


def nearest(name: str, known: list[str], cutoff: float = 0.7) -> str | None:
    """The known name that was most likely meant, however it was written."""
    plain = {each.lower(): each for each in known}
    found = difflib.get_close_matches(name.lower().replace("_", "").replace("-", ""), plain, n=1, cutoff=cutoff)
    return plain[found[0]] if found else None


def meant_here(kind: type[Model], path: Path) -> str | None:
    """The field of the same object that an unknown one was most likely meant to be."""
    model = model_at(kind, path[:-1])
    return None if model is None else nearest(str(path[-1]), list(fields_of(model)))


def advise_unknown(kind: type[Model], path: Path) -> str:
    """What to do about a field that doesn't exist."""
    name = str(path[-1])
    advice = find_advice(path)
    if advice:
        return advice
    near = meant_here(kind, path)
    if near is not None:
        return f"did you mean {near}?"
    elsewhere = places_of(kind, name, path)
    if elsewhere:
        return f"it belongs in {' or '.join(elsewhere)}"
    model = model_at(kind, path[:-1])
    known = [] if model is None else list(fields_of(model))
    return f"known here: {', '.join(known)}" if known else "nothing can be set here: write {}"


def places_of(kind: type[Model], name: str, path: Path) -> list[str]:
    """Where in the object a field of this name exists: the places closest to where it was written."""
    written = [step for step in path[:-1] if not isinstance(step, int)]
    found = [place for place in all_paths(kind) if place[-1] == name and place[0] == "spec"]
    steps = {place: _count_steps(written, list(place[:-1])) for place in found}
    least = min(steps.values(), default=0)
    return [_show_place(kind, place) for place in found if steps[place] == least][:3]


def _count_steps(one: list[str], other: list[str]) -> int:
    """How far apart two objects are: up to the first that holds both, and down again."""
    return len(one) + len(other) - 2 * len(_common(one, other))


def _show_place(kind: type[Model], place: tuple[str, ...]) -> str:
    """A path without positions: spec.containers[].name."""
    shown = []
    for end, name in enumerate(place, start=1):
        field = field_at(kind, place[:end])
        in_list = end < len(place) and field is not None and get_origin(field.annotation) is list
        shown.append(f"{name}[]" if in_list else name)
    return ".".join(shown)


def _common(one: list[str], other: list[str]) -> list[str]:
    return [a for i, (a, b) in enumerate(zip(one, other, strict=False)) if one[: i + 1] == other[: i + 1] and a == b]
