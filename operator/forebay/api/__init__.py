"""The API: pydantic models, from which the CRDs are generated."""

from forebay.api.access import Access, ApiKeys, RateLimit
from forebay.api.autoscaling import Autoscaling, Target
from forebay.api.base import GROUP, VERSION, Kind, Metadata, Model, Rule
from forebay.api.image_build import ImageBuild, ImageBuildSpec
from forebay.api.model_deployment import (
    Component,
    Custom,
    Gpu,
    ModelDeployment,
    ModelDeploymentSpec,
    Predictor,
    Queue,
    Resources,
    Transformer,
    Triton,
)
from forebay.api.model_source import Credentials, ModelSource
from forebay.api.model_version import Lineage, ModelVersion, ModelVersionSpec, Tensor
from forebay.api.packages import IndexCredentials, PackageIndex
from forebay.api.pod_template import ContainerPatch, EnvVar, PodPatchMetadata, PodPatchSpec, PodTemplate
from forebay.api.status import (
    ComponentStatus,
    Condition,
    ImageBuildStatus,
    ModelDeploymentStatus,
    ModelInUse,
    ModelState,
    ModelVersionStatus,
    Traffic,
)

__all__ = [
    "GROUP",
    "VERSION",
    "Access",
    "ApiKeys",
    "Autoscaling",
    "Component",
    "ComponentStatus",
    "Condition",
    "ContainerPatch",
    "Credentials",
    "Custom",
    "EnvVar",
    "Gpu",
    "ImageBuild",
    "ImageBuildSpec",
    "ImageBuildStatus",
    "IndexCredentials",
    "Kind",
    "Lineage",
    "Metadata",
    "Model",
    "ModelDeployment",
    "ModelDeploymentSpec",
    "ModelDeploymentStatus",
    "ModelInUse",
    "ModelSource",
    "ModelState",
    "ModelVersion",
    "ModelVersionSpec",
    "ModelVersionStatus",
    "PackageIndex",
    "PodPatchMetadata",
    "PodPatchSpec",
    "PodTemplate",
    "Predictor",
    "Queue",
    "RateLimit",
    "Resources",
    "Rule",
    "Target",
    "Tensor",
    "Traffic",
    "Transformer",
    "Triton",
]  # fmt: skip
