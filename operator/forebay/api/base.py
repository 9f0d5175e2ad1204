"""What every kind shares: naming, strictness, cross-field rules and metadata."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticCustomError

GROUP = "forebay.dev"
VERSION = "v1alpha1"
# What a structural schema says of an object whose fields it doesn't know.
PRESERVE = "x-kubernetes-preserve-unknown-fields"


class Form(NamedTuple):
    """How a string is written, in words: what a reader is told instead of a regular expression."""

    text: str


# Patterns have no \s and \w: the apiserver's regexp takes them as ASCII, pydantic's as Unicode.
Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
    Form("lower-case letters, digits and `-`, with a letter or digit at both ends"),
]
Cpu = Annotated[
    str,
    StringConstraints(min_length=1, max_length=8, pattern=r"^([1-9][0-9]{0,5}m?|[0-9]{1,4}\.[0-9]{1,3})$"),
    Form('cores: "2", "0.5" or "500m"'),
]
Memory = Annotated[
    str,
    StringConstraints(min_length=1, max_length=20, pattern=r"^[1-9][0-9]{0,14}(\.[0-9]{1,3})?([kMGTP]|[KMGTP]i)?$"),
    Form('a size with its unit: "512Mi" or "4Gi"'),
]
Duration = Annotated[
    str,
    StringConstraints(min_length=2, max_length=32, pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"),
    Form('whole numbers with the units h, m, s, ms: "30s", "1m30s", "500ms"'),
]
# Of requests that wait for an instance.
MaxHeld = Annotated[
    int,
    Field(
        ge=1,
        le=10000,
        description="How many requests each pod of the gateway holds at once; more are answered with 503 and "
        "Retry-After.",
    ),
]
# What the operator itself asks, or tells.
HttpUrl = Annotated[
    str,
    StringConstraints(min_length=10, max_length=2048, pattern=r"^https?://[^/@?# \t\r\n]+([/?][^# \t\r\n]*)?$"),
    Form("https://HOST/PATH, with no user and password in it"),
]
LABEL_KEY = r"^([a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$"
LABEL_KEY_FORM = "up to 63 letters, digits, `-`, `_` and `.`, after an optional DNS name and `/`"
LabelKey = Annotated[str, StringConstraints(min_length=1, max_length=317, pattern=LABEL_KEY), Form(LABEL_KEY_FORM)]
LabelValue = Annotated[
    str,
    StringConstraints(max_length=63, pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$"),
    Form("letters, digits, `-`, `_` and `.`, with a letter or digit at both ends"),
]


class Named(Protocol):
    """An item of a list in which names are unique."""

    @property
    def name(self) -> str:
        """What tells the item from the others."""


def check_names_unique(items: Sequence[Named]) -> Sequence[Named]:
    """Refuse two items of one name, as the apiserver does for a list of type map."""
    names = [item.name for item in items]
    for index, name in enumerate(names):
        if name in names[:index]:
            first = names.index(name)
            message = "items {first} and {second} are both called {name}: leave one"
            raise PydanticCustomError("duplicate_name", message, {"first": first, "second": index, "name": name})
    return items


Item = TypeVar("Item", bound=Named)
NamedList = Annotated[
    list[Item],
    AfterValidator(check_names_unique),
    Field(json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
]


class Rule(NamedTuple):
    """A rule between fields, stated once: in the CRD the apiserver checks it, offline the CLI does.

    `cel` is evaluated with the object that declares the rule as `self`, after defaults are filled in.
    `message` says what to write instead. `field` names the field at fault, relative to `self`, as in `.script`.
    """

    cel: str
    message: str
    field: str = ""


class Model(BaseModel):
    """Base of all API objects: camelCase outside, snake_case inside, frozen, unknown fields refused."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # it may be a secret
    )
    rules: ClassVar[tuple[Rule, ...]] = ()
    # Rules of a change, which read oldSelf, too: only the apiserver knows what was there before.
    changes: ClassVar[tuple[Rule, ...]] = ()

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """Carry the rules into the schema, so that the CRD has the very ones that are checked offline."""
        made = handler(schema)
        if issubclass(cls, OpenModel):
            handler.resolve_ref_schema(made)[PRESERVE] = True
        if cls.rules or cls.changes:
            handler.resolve_ref_schema(made)["x-kubernetes-validations"] = [
                {"rule": rule.cel, "message": rule.message} | ({"fieldPath": rule.field} if rule.field else {})
                for rule in (*cls.rules, *cls.changes)
            ]
        return made


class Metadata(Model):
    """The part of Kubernetes' ObjectMeta that Forebay reads; whatever else stands there is left alone."""

    model_config = ConfigDict(extra="ignore")

    name: Name = Field(description="Name of the object, unique in its namespace.")
    namespace: Name = Field(default="default", description="Namespace of the object.")
    labels: dict[LabelKey, LabelValue] = Field(
        default={}, max_length=64, description="Labels, copied to everything made for the object."
    )


def to_json(value: Any) -> Any:
    """The value as Kubernetes reads it from JSON, where integers have 64 bits, and .nan and .inf don't exist."""
    if isinstance(value, dict):
        return {name: to_json(each) for name, each in value.items()}
    if isinstance(value, list):
        return [to_json(each) for each in value]
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticCustomError("no_json", "holds .nan or .inf, which JSON has not: put it in quotes")
    return value


# An object of another API, taken as it stands: Kubernetes itself checks it where it is used.
FreeForm = Annotated[dict[str, Any], AfterValidator(to_json), Field(json_schema_extra={PRESERVE: True})]


class OpenModel(Model):
    """An object of another API, of which a few fields are known here and the others are taken as they stand."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Annotated[Any, AfterValidator(to_json)]]

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        """Leave out what isn't known: it may hold secrets."""
        extra = self.__pydantic_extra__ or {}
        return ((name, value) for name, value in super().__repr_args__() if name not in extra)

    @model_serializer(mode="wrap")
    def _keep_nothing(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # In a patch, a field with nothing after it takes the field away; exclude_none would take it for left out.
        nothing = {name: None for name, value in (self.__pydantic_extra__ or {}).items() if value is None}
        return {**handler(self), **nothing}


class Column(NamedTuple):
    """A column of `kubectl get`; the less important are shown with -o wide only."""

    name: str
    type: str
    path: str
    wide: bool = False


class Scale(NamedTuple):
    """Where `kubectl scale` reads and writes: paths of the wanted replicas, the found ones, and the pods' selector."""

    spec: str
    status: str
    selector: str


class Kind(Model):
    """An object of the API that stands on its own: it has a name, and a CRD."""

    plural: ClassVar[str]
    short_names: ClassVar[tuple[str, ...]] = ()
    categories: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[Column, ...]] = ()
    # The status subresource; the operator writes it, so it is no field of what people write.
    status_model: ClassVar[type[Model] | None] = None
    scale: ClassVar[Scale | None] = None
    namespaced: ClassVar[bool] = True

    api_version: str = Field(description="The API's group and version.")
    kind: str = Field(description="The kind.")
    metadata: Metadata = Field(description="Standard object's metadata.")
