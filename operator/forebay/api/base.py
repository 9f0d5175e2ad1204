"""What every kind shares: naming, strictness, cross-field rules and metadata."""

from typing import Annotated, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

GROUP = "forebay.dev"
VERSION = "v1alpha1"

Name = Annotated[
    str,
    StringConstraints(min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"),
]
Quantity = Annotated[
    str,
    StringConstraints(min_length=1, max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"),
]
Duration = Annotated[
    str,
    StringConstraints(min_length=2, max_length=32, pattern=r"^([0-9]{1,5}(h|m|s|ms)){1,4}$"),
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
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, extra="forbid", frozen=True
    )
    rules: ClassVar[tuple[Rule, ...]] = ()


class Metadata(Model):
    """The part of Kubernetes' ObjectMeta that Forebay reads; whatever else stands there is left alone."""

    model_config = ConfigDict(extra="ignore")

    name: Name = Field(description="Name of the object, unique in its namespace.")
    namespace: Name = Field(default="default", description="Namespace of the object.")
    labels: dict[str, str] = Field(default={}, description="Labels, copied to everything made for the object.")
