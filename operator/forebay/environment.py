"""Settings from environment variables, checked. Not by pydantic: it would be a sixth of the pilot's memory."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple, TypeVar, get_args, get_origin, get_type_hints

PREFIX = "FOREBAY_"


class SettingsError(ValueError):
    """A variable of the environment that can't be used."""


class Range(NamedTuple):
    """The whole numbers that a setting may be."""

    least: int
    most: int


Port = Annotated[int, Range(0, 65535)]


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """What the operator and the pilot are both told. Each field is read from FOREBAY_<FIELD>.

    A field is text, a Path, a Literal, or a number with its Range.
    """

    # The operator's and the gateway's own.
    namespace: str = "forebay-system"
    # Namespaces to look after, separated by commas; empty is all.
    watch_namespaces: str = ""
    # The gateway's Service in `namespace`.
    gateway_service: str = "forebay-gateway"
    log_format: Literal["json", "text"] = "json"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    # Of /metrics, /healthz and /readyz.
    port: Port = 9090

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Namespaces to look after; none named is all."""
        return tuple(name.strip() for name in self.watch_namespaces.split(",") if name.strip())


AnySettings = TypeVar("AnySettings", bound=CommonSettings)


def read(kind: type[AnySettings], environ: Mapping[str, str] | None = None) -> AnySettings:
    """The settings of an environment; SettingsError names each variable that is wrong. Empty is the default."""
    environ = os.environ if environ is None else environ
    found, wrong = {}, []
    for name, hint in get_type_hints(kind, include_extras=True).items():
        variable = PREFIX + name.upper()
        if text := environ.get(variable, ""):
            try:
                found[name] = _parse(text, hint)
            except ValueError as error:
                wrong.append(f"{variable} is `{text}`: write {error}")
    if wrong:
        raise SettingsError("; ".join(wrong))
    return kind(**found)


def _parse(text: str, hint: Any) -> Any:
    """The value of a field; ValueError says what to write."""
    if get_origin(hint) is Literal:
        if text not in get_args(hint):
            raise ValueError(" or ".join(get_args(hint)))
        return text
    if get_origin(hint) is Annotated:
        least, most = get_args(hint)[1]
        with suppress(ValueError):
            if least <= int(text) <= most:
                return int(text)
        raise ValueError(f"a whole number from {least} to {most}")
    return hint(text)
