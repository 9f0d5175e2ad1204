"""The NodeCache kind: what a node's cache holds. The agent of the node writes it, and nobody else."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from forebay.api.base import Column, Kind, Memory, Metadata, Model

# As a CRD's numbers, which are float64, have them without gaps.
Bytes = Annotated[int, Field(ge=0, le=2**53 - 1)]
Count = Annotated[int, Field(ge=0, le=2**31 - 1)]


class CachedModel(Model):
    """A model of the node, or a script's libraries: there, on its way, or failed."""

    uri: str = Field(
        max_length=2048,
        description="Its address, without a signature; of a script's libraries `libraries pandas>=2 + six`.",
    )
    state: Literal["Cached", "Downloading", "Failed"] = Field(
        description="Cached (its files are there), Downloading, or Failed, for the pods that wait for it."
    )
    progress_pct: int | None = Field(default=None, ge=0, le=100, description="How much is downloaded, in percent.")
    message: str = Field(
        default="", max_length=2048, description="Why it failed, and what to do about it; or what it waits for."
    )
    digest: str = Field(default="", max_length=71, description="The digest of its content, as a ModelVersion has it.")
    bytes: Bytes | None = Field(default=None, description="Its size. What models share is counted in each of them.")
    pods: Count = Field(description="Pods of the node that use it, or wait for it. What is in use is never evicted.")
    last_used: str | None = Field(
        default=None,
        max_length=64,
        json_schema_extra={"format": "date-time"},
        description="When a pod began or ended to use it last.",
    )


class NodeCacheStatus(Model):
    """What is in the cache now."""

    used_bytes: Bytes = Field(description="Bytes on the disk, with downloads that aren't complete.")
    used: str = Field(max_length=32, description="The same for people.")
    cached: Count = Field(description="How many models are there.")
    downloading: Count = Field(description="How many are on their way.")
    failed: Count = Field(description="How many can't be had.")
    summary: str = Field(default="", max_length=8192, description="What is where, in a line.")
    models: list[CachedModel] = Field(
        default=[], max_length=200, description="The models: those that fail or come, then those that were used last."
    )


class NodeCacheSpec(Model):
    """How the cache is set up: by the chart's nodeCache."""

    size_limit: Memory = Field(description="The most that it may hold.", examples=["100Gi"])


class NodeCacheMetadata(Metadata):
    """As of every object; the name is the node's."""

    name: Annotated[str, Field(min_length=1, max_length=253)] = Field(description="Name of the node.")


class NodeCache(Kind):
    """The models that a node keeps for its pods. The node's agent writes it."""

    plural: ClassVar[str] = "nodecaches"
    short_names: ClassVar[tuple[str, ...]] = ("nc",)
    categories: ClassVar[tuple[str, ...]] = ("forebay",)
    namespaced: ClassVar[bool] = False
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Used", "string", ".status.used"),
        Column("Limit", "string", ".spec.sizeLimit"),
        Column("Cached", "integer", ".status.cached"),
        Column("Downloading", "integer", ".status.downloading"),
        Column("Failed", "integer", ".status.failed"),
        Column("Models", "string", ".status.summary"),
    )
    status_model: ClassVar[type[Model] | None] = NodeCacheStatus

    api_version: Literal["forebay.dev/v1alpha1"] = Field(description="The API's group and version.")
    kind: Literal["NodeCache"] = Field(description="The kind.")
    metadata: NodeCacheMetadata = Field(description="Standard object's metadata.")
    spec: NodeCacheSpec = Field(description="How the cache is set up.")
