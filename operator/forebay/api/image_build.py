"""The ImageBuild kind: a serving script becomes a container image, in the cluster and with no daemon."""

from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field, StringConstraints

from forebay.api.base import Column, Cpu, Duration, Form, Kind, Memory, Model, Name, NamedList, OpenModel, Rule
from forebay.api.model_source import Credentials
from forebay.api.model_version import check_unique
from forebay.api.pod_template import ContainerPatch, PodPatchMetadata
from forebay.api.script_address import SCRIPT_FORMS, SCRIPT_RULE
from forebay.api.status import ImageBuildStatus

# A dot or a port, as without one Docker takes it for a folder of its own registry.
_HOST = r"([A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)*:[0-9]{1,5}|[A-Za-z0-9][A-Za-z0-9-]*(\.[A-Za-z0-9-]+)+|localhost)"
_PATH = r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*"
_TAG = r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
TARGET = rf"^{_HOST}/{_PATH}{_TAG}$"
BASE = rf"^{_HOST}/{_PATH}{_TAG}(@sha256:[0-9a-f]{{64}})?$"
_TARGET_FORM = "REGISTRY/NAME:TAG, the name in lower-case letters, digits, `-`, `_`, `.` and `/`"

Platform = Literal["linux/amd64", "linux/arm64"]
Requirement = Annotated[
    str,
    StringConstraints(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9][^\t\n\r]*$"),
    Form("a line of a requirements.txt that names a package: scikit-learn==1.7.2"),
]
Index = Annotated[
    str,
    StringConstraints(min_length=1, max_length=2048, pattern=r"^https?://[^ \t\n\r]+$"),
    Form("https://HOST/simple"),
]


class BuildResources(Model):
    """What the build is given."""

    cpu: Cpu = Field(default="500m", description='CPU requested, in cores: "2" or "500m".')
    memory: Memory = Field(default="1Gi", description='Memory requested, and the limit: "4Gi".')


class BuildPodSpec(OpenModel):
    """What is added to the pod's spec: any field that a Pod has."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.containers.all(c, c.name == 'build' || has(c.image))",
            "the container is called `build`: write name: build, or an image for a container of your own",
            ".containers",
        ),
    )
    containers: NamedList[ContainerPatch] = Field(
        default=[], max_length=8, description="Containers, matched with Forebay's own, `build`, by name."
    )


class BuildPodTemplate(Model):
    """A partial pod template, merged strategically over the one that Forebay makes."""

    metadata: PodPatchMetadata = Field(default=PodPatchMetadata(), description="Labels and annotations of the pod.")
    spec: BuildPodSpec = Field(
        default=BuildPodSpec(),
        description="Spec of the pod: nodeSelector, tolerations, volumes (a certificate authority), imagePullSecrets "
        "and any other field of a Pod. Lists merge by name, as with kubectl patch.",
    )


class ImageBuildSpec(Model):
    """What is built, and where it goes. Each change is another build."""

    rules: ClassVar[tuple[Rule, ...]] = (
        SCRIPT_RULE,
        Rule(
            "!has(self.credentials) || !self.script.contains('\\n')",
            "goes with a script that is an address (s3://, git+https://, https://): leave it out",
            ".credentials",
        ),
        Rule(
            "duration(self.timeout) >= duration('1m') && duration(self.timeout) <= duration('24h')",
            'must lie between 1m and 24h: write "30m"',
            ".timeout",
        ),
    )
    script: str = Field(
        min_length=1,
        max_length=262144,
        repr=False,
        description="Python source with one class, as predictor.custom.script of a ModelDeployment; or the address of "
        f"such a file, which the build downloads, with the modules that it imports from beside it: {SCRIPT_FORMS}. Let "
        "it name what doesn't change, such as a tag or a digest: it is fetched once, and what it leads to later is "
        "built when the spec changes. The forebay command also takes the path of a .py file beside the manifest.",
    )
    credentials: Credentials | None = Field(
        default=None,
        description="Credentials for the script's address: for git GIT_USERNAME and GIT_PASSWORD (which may be a "
        "token), else as in model.credentials of a ModelDeployment.",
    )
    role: Literal["predictor", "transformer"] | None = Field(
        default=None, description="What the class is; when left out it follows from its methods."
    )
    requirements: list[Requirement] = Field(
        default=[],
        max_length=256,
        description="Lines of a requirements.txt. Only wheels are installed: nothing of them is run. Pin versions, so "
        "that a build anew is the same image.",
        examples=[["scikit-learn==1.7.2"]],
    )
    indexes: list[Index] = Field(
        default=[],
        max_length=4,
        description="Package indexes: the first in place of PyPI, the others beside it.",
    )
    image: Annotated[str, Form(_TARGET_FORM)] = Field(
        min_length=3,
        max_length=512,
        pattern=TARGET,
        description="Where the image is pushed to.",
        examples=["registry.example.com/models/digits:1"],
    )
    base: Annotated[str, Form("REGISTRY/NAME:TAG or REGISTRY/NAME@sha256:DIGEST")] | None = Field(
        default=None,
        min_length=3,
        max_length=512,
        pattern=BASE,
        description="The image below; Forebay's runtime when left out. Another must hold forebay.serving: build it "
        "from the runtime.",
    )
    platforms: Annotated[
        list[Platform], AfterValidator(check_unique), Field(json_schema_extra={"x-kubernetes-list-type": "set"})
    ] = Field(
        default=["linux/amd64"],
        min_length=1,
        max_length=2,
        description="For which platforms: linux/amd64, linux/arm64. The build itself runs on either.",
    )
    push_secret_name: Name | None = Field(
        default=None,
        description="Secret of type kubernetes.io/dockerconfigjson in the same namespace, with the login of the "
        "registry that is pushed to, and of the base's if it isn't public.",
    )
    insecure: bool = Field(default=False, description="Take registries without TLS, by http.")
    resources: BuildResources = Field(default=BuildResources(), description="What the build is given.")
    timeout: Duration = Field(default="30m", description="How long the build may take, tries again included.")
    pod_template: BuildPodTemplate = Field(
        default=BuildPodTemplate(), description="The one place to change the pod: merged over what Forebay makes."
    )


class ImageBuild(Kind):
    """A container image made of a serving script, by a Job that needs no daemon and no privilege."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "must be 40 characters at most, of lower-case letters, digits and `-`: the Job is called after it, with a "
            "suffix, and Kubernetes allows 63",
            ".metadata.name",
        ),
    )
    plural: ClassVar[str] = "imagebuilds"
    short_names: ClassVar[tuple[str, ...]] = ("ib",)
    categories: ClassVar[tuple[str, ...]] = ("forebay",)
    columns: ClassVar[tuple[Column, ...]] = (
        Column("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
        Column("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason'),
        Column("Image", "string", ".status.image"),
        Column("Message", "string", '.status.conditions[?(@.type=="Ready")].message', wide=True),
    )
    status_model: ClassVar[type[Model] | None] = ImageBuildStatus

    api_version: Literal["forebay.dev/v1alpha1"] = Field(description="The API's group and version.")
    kind: Literal["ImageBuild"] = Field(description="The kind.")
    spec: ImageBuildSpec = Field(description="What is built, and where it goes.")
