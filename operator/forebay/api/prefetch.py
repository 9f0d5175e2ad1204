"""Which nodes fetch a version before anybody serves it there."""

from typing import ClassVar

from pydantic import Field

from forebay.api.base import LABEL_KEY, LABEL_KEY_FORM, FreeForm, LabelKey, LabelValue, Model, Rule


class Prefetch(Model):
    """The nodes that keep the version in their cache."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            f"self.nodeSelector.all(key, key.matches('{LABEL_KEY}'))",
            f"the labels must be written as {LABEL_KEY_FORM}",
            ".nodeSelector",
        ),
    )
    node_selector: dict[LabelKey, LabelValue] = Field(
        default={},
        max_length=32,
        description="Labels of the nodes. Without any it is all nodes whose taints are tolerated.",
        examples=[{"nvidia.com/gpu.product": "NVIDIA-L40S"}],
    )
    tolerations: list[FreeForm] = Field(
        default=[],
        max_length=32,
        description="Taints that are tolerated, as in a Pod: nodes with GPUs often have one.",
        examples=[[{"key": "nvidia.com/gpu", "operator": "Exists"}]],
    )
