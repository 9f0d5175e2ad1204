"""A partial pod template: the one place to change the pods that Forebay makes."""

from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from forebay.api.base import (
    LABEL_KEY,
    LABEL_KEY_FORM,
    Form,
    FreeForm,
    LabelKey,
    LabelValue,
    Model,
    Name,
    NamedList,
    OpenModel,
    Rule,
)

EnvName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=253, pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$"),
    Form("letters, digits, `_`, `.` and `-`, with no digit in front"),
]
Argument = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class EnvVar(Model):
    """An environment variable of a container."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.valueFrom) || self.value.size() == 0",
            "write one of value and valueFrom: a variable has one source",
            ".value",
        ),
    )
    name: EnvName = Field(description="Name of the variable.")
    # repr=False: what may hold a secret is shown nowhere, neither in a log nor in a message about a bad manifest.
    value: str = Field(default="", max_length=32768, repr=False, description="Its value.")
    value_from: FreeForm | None = Field(
        default=None,
        repr=False,
        description="Where its value comes from instead, as in a Pod: a key of a Secret or ConfigMap, a field of the "
        "pod. `forebay serve` takes the variable from its own environment.",
    )


class ContainerPatch(OpenModel):
    """What is added to one of Forebay's containers, or a container of your own: any field that a container has."""

    name: Name = Field(description="The container: `predictor` or `transformer`, or another for one of your own.")
    image: str | None = Field(default=None, min_length=1, max_length=512, description="The container's image.")
    command: list[Argument] | None = Field(
        default=None, max_length=64, description="The container's entrypoint; only for custom.image and for your own."
    )
    env: NamedList[EnvVar] = Field(
        default=[], max_length=256, description="Environment variables, added to Forebay's own or put in their place."
    )
    args: list[Argument] = Field(
        default=[],
        max_length=256,
        repr=False,
        description="Arguments, added after Forebay's own, such as Triton's --log-verbose=1.",
    )


class PodPatchMetadata(Model):
    """What is added to the pod's metadata."""

    # A CRD's schema says nothing of a map's keys, so these rules do.
    rules: ClassVar[tuple[Rule, ...]] = tuple(
        Rule(
            f"self.{field}.all(key, key.matches('{LABEL_KEY}'))",
            f"the names must be written as {LABEL_KEY_FORM}",
            f".{field}",
        )
        for field in ("labels", "annotations")
    )
    labels: dict[LabelKey, LabelValue] = Field(default={}, max_length=64, description="Labels of the pods.")
    annotations: dict[LabelKey, Annotated[str, Field(max_length=16384)]] = Field(
        default={}, max_length=64, description="Annotations of the pods."
    )


class PodPatchSpec(OpenModel):
    """What is added to the pod's spec: any field that a Pod has."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.containers.all(c, c.name != 'queue' && c.name != 'download')",
            "`queue` and `download` are Forebay's own: give your container another name; to change them, write "
            "initContainers: [{name: queue, ...}]",
            ".containers",
        ),
    )
    containers: NamedList[ContainerPatch] = Field(
        default=[], max_length=8, description="Containers, matched with Forebay's own by name."
    )


class PodTemplate(Model):
    """A partial pod template, merged strategically over the one that Forebay makes."""

    metadata: PodPatchMetadata = Field(default=PodPatchMetadata(), description="Labels and annotations of the pods.")
    spec: PodPatchSpec = Field(
        default=PodPatchSpec(),
        description="Spec of the pod: nodeSelector, tolerations, affinity, volumes, runtimeClassName, "
        "priorityClassName, topologySpreadConstraints and any other field of a Pod. Lists merge by name, as with "
        "kubectl patch.",
    )
