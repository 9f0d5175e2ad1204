"""The ModelVersion kind: an entry of the model registry, which is Kubernetes itself."""

from collections.abc import Sequence
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints
from pydantic_core import PydanticCustomError

from forebay.api.base import LABEL_KEY, LABEL_KEY_FORM, Column, Form, Kind, LabelKey, Metadata, Model, Name, Rule
from forebay.api.model_source import Credentials, ModelFormat, ModelUri
from forebay.api.prefetch import Prefetch
from forebay.api.status import ModelVersionStatus

DIGEST = r"^sha256:[0-9a-f]{64}$"
VersionName = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
    ),
    Form('lower-case letters, digits, `-` and `.`, with a letter or digit at both ends: "3", "1.2.0"'),
]
ObjectName = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=127, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
    ),
    Form("MODEL-VERSION: digits-3"),
]
DataType = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BF16",
    "BYTES",
]  # fmt: skip
Text = Annotated[str, StringConstraints(min_length=1, max_length=2048)]


def check_unique(items: Sequence[str]) -> Sequence[str]:
    """Refuse an item that is there twice, as the apiserver does for a list of type set."""
    for index, item in enumerate(items):
        if item in items[:index]:
            raise PydanticCustomError("duplicate_item", "{item} is written twice: leave one", {"item": item})
    return items


class Tensor(Model):
    """An input or output of the model."""

    name: str = Field(min_length=1, max_length=253, description="Its name.")
    data_type: DataType = Field(description="The type of its elements, as the Open Inference Protocol calls it: FP32.")
    shape: list[Annotated[int, Field(ge=-1, le=2**31 - 1)]] = Field(
        default=[], max_length=16, description="Its shape, the batch's dimension included; -1 is any size."
    )


class Lineage(Model):
    """Who made it, and from what."""

    by: str = Field(default="", max_length=253, description="Who made it: a person, a team, a pipeline.")
    origins: list[Text] = Field(
        default=[],
        alias="from",
        max_length=32,
        description="What it was made from: addresses of data, a commit, another version.",
    )
    run: str = Field(default="", max_length=2048, description="The run that made it: an id, or an address.")


class ModelVersionSpec(Model):
    """What the version is. What its files are never changes: another content is another version."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.metrics.all(key, key.matches('{LABEL_KEY}'))",
            f"the names must be written as {LABEL_KEY_FORM}",
            ".metrics",
        ),
        Rule(
            "!has(self.prefetch) || !(self.uri.startsWith('pvc://') || self.uri.startsWith('nfs://') || "
            "self.uri.startsWith('file:'))",
            "is for what is downloaded: leave it out, as the files are used where they lie",
            ".prefetch",
        ),
        Rule(
            "!self.uri.startsWith('models:/')",
            "is a version in MLflow's registry, which needs no ModelVersion: write it into spec.model.uri of a "
            "ModelDeployment",
            ".uri",
        ),
    )
    changes: ClassVar[tuple[Rule, ...]] = (
        *(
            Rule(
                f"self.{field} == oldSelf.{field}",
                f"can't be changed: what has another {field} is another version, make a ModelVersion of its own",
                f".{field}",
            )
            for field in ("model", "version", "uri")
        ),
        Rule(
            "!has(oldSelf.digest) || (has(self.digest) && self.digest == oldSelf.digest)",
            "can't be changed: other content is another version, make a ModelVersion of its own",
            ".digest",
        ),
    )
    model: Name = Field(description="Name of the model, which all its versions share.", examples=["digits"])
    version: VersionName = Field(description="The version, unique for the model in its namespace.", examples=["3"])
    uri: ModelUri = Field(
        repr=False,
        description="Address of the files, written as spec.model.uri of a ModelDeployment.",
        examples=["s3://models/digits/3"],
    )
    digest: Annotated[str, Form("sha256: and 64 hexadecimal digits")] | None = Field(
        default=None,
        min_length=71,
        max_length=71,
        pattern=DIGEST,
        description="Digest of the content: sha256 of the lines `SHA256  PATH` of all files, sorted by path. `forebay "
        "push` computes it, and pods that find another content don't start (DigestMismatch). Once written it can't be "
        "changed.",
    )
    format: Literal["triton", ModelFormat] | None = Field(
        default=None,
        description="What the files are: triton (a model repository, or the folder of one model, which is also what is "
        "taken when this is left out), or as spec.model.format of a ModelDeployment, which need not say it then.",
        examples=["triton"],
    )
    credentials: Credentials | None = Field(
        default=None, description="Credentials for the storage, for who serves the version."
    )
    inputs: list[Tensor] = Field(default=[], max_length=64, description="What the model takes.")
    outputs: list[Tensor] = Field(default=[], max_length=64, description="What the model gives.")
    labels: list[Annotated[str, StringConstraints(max_length=256)]] = Field(
        default=[], max_length=10000, description="Class labels, in the order of the output's classes."
    )
    metrics: dict[LabelKey, Annotated[float, Field(ge=-1e18, le=1e18)]] = Field(
        default={},
        max_length=64,
        description="What was measured of it: name and number.",
        examples=[{"accuracy": 0.97}],
    )
    lineage: Lineage = Field(default=Lineage(), description="Who made it, and from what.")
    reference: Text | None = Field(
        default=None,
        description="Address of reference data: what the model saw in training, to compare live requests with.",
    )
    prefetch: Prefetch | None = Field(
        default=None,
        description="Nodes that fetch the version now, and keep it as long as this stands here. It needs the chart's "
        "nodeCache. An idle pod on each of these nodes holds it; `{}` is all nodes.",
        examples=[{"nodeSelector": {"nvidia.com/gpu.product": "NVIDIA-L40S"}}],
    )
    aliases: Annotated[
        list[Name], AfterValidator(check_unique), Field(json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(
        default=[],
        max_length=16,
        description="Names that move from version to version, such as champion: `forebay alias` moves one. An alias "
        "that two versions of a model claim names none of them.",
    )


class ModelVersionMetadata(Metadata):
    """As of every object; the name may hold dots, as versions do."""

    name: ObjectName = Field(description="Name of the object: MODEL-VERSION.")


class ModelVersion(Kind):
    """A version of a model: where its files are, what they are, and what is known of them."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.metadata.name == self.spec.model + '-' + self.spec.version",
            "must be MODEL-VERSION, as digits-3 for version 3 of digits: so that Kubernetes, where names are unique, "
            "has each version once",
            ".metadata.name",
        ),
    )
    plural: ClassVar[str] = "modelversions"
    short_names: ClassVar[tuple[str, ...]] = ("mv",)
    categories: ClassVar[tuple[str, ...]] = ("forebay",)
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Model", "string", ".spec.model"),
        Column("Version", "string", ".spec.version"),
        Column("Aliases", "string", ".spec.aliases"),
        Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Format", "string", ".spec.format", wide=True),
        Column("URI", "string", ".spec.uri", wide=True),
        Column("Digest", "string", ".spec.digest", wide=True),
        Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', wide=True),
    )
    status_model: ClassVar[type[Model] | None] = ModelVersionStatus

    api_version: Literal["forebay.dev/v1alpha1"] = Field(description="The API's group and version.")
    kind: Literal["ModelVersion"] = Field(description="The kind.")
    metadata: ModelVersionMetadata = Field(description="Standard object's metadata.")
    spec: ModelVersionSpec = Field(description="What the version is.")
