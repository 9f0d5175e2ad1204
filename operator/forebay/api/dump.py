"""Objects back to YAML, as `kubectl apply` takes it."""

from collections.abc import Iterable, Mapping
from typing import Any

import yaml

from forebay.api.base import Kind
from forebay.api.scalars import resolve_scalar


class Dumper(yaml.SafeDumper):
    """YAML as people write it: texts of several lines as blocks, nothing by reference."""

    def ignore_aliases(self, data: object) -> bool:
        """Spell everything out."""
        return True


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    # PyYAML leaves y, 1e3 and 0o17 without quotes, which kubectl then reads as a truth and two numbers.
    plain = isinstance(resolve_scalar(text), str)
    style = "|" if "\n" in text else None if plain else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


Dumper.add_representer(str, _represent_text)


def to_data(item: Kind, *, defaults: bool = True) -> dict[str, Any]:
    """The object in camelCase, without what is left out; `defaults=False` leaves out what wasn't written, too."""
    return item.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=not defaults)


def to_yaml(*items: Kind, defaults: bool = True) -> str:
    """The objects as YAML documents."""
    return dump_documents(to_data(item, defaults=defaults) for item in items)


def dump_documents(documents: Iterable[Mapping[str, Any]]) -> str:
    """Any objects as YAML documents."""
    dumped = [
        yaml.dump(dict(document), Dumper=Dumper, sort_keys=False, width=116, allow_unicode=True)
        for document in documents
    ]
    return "---\n".join(dumped)
