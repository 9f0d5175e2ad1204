"""The API: pydantic models, from which the CRDs are generated."""

from forebay.api.base import GROUP, VERSION, Kind, Metadata, Model, Rule
from forebay.api.model_deployment import (
    Component,
    Credentials,
    Custom,
    Gpu,
    ModelDeployment,
    ModelDeploymentSpec,
    ModelSource,
    PodTemplate,
    Predictor,
    Queue,
    Resources,
    Transformer,
    Triton,
)

__all__ = [
    "GROUP", "VERSION", "Component", "Credentials", "Custom", "Gpu", "Kind", "Metadata", "Model", "ModelDeployment",
    "ModelDeploymentSpec", "ModelSource", "PodTemplate", "Predictor", "Queue", "Resources", "Rule", "Transformer",
    "Triton",
]  # fmt: skip
