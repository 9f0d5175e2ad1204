"""Jobs that say whether a new revision is good."""

from typing import ClassVar

from pydantic import Field

from forebay.api.base import Cpu, Duration, Memory, Model, Name, NamedList, OpenModel, Rule
from forebay.api.pod_template import Argument, ContainerPatch, EnvVar, PodPatchMetadata

MAX_JOBS = 5


class JobResources(Model):
    """What a check's container is given."""

    cpu: Cpu = Field(default="100m", description='CPU requested, in cores: "2" or "500m".')
    memory: Memory = Field(default="256Mi", description='Memory requested, and the limit: "4Gi".')


class JobContainerPatch(ContainerPatch):
    """What is added to the check's container, or a container of your own: any field that a container has."""

    name: Name = Field(description="The container: `check`, or another for one of your own.")
    command: list[Argument] | None = Field(
        default=None, max_length=64, description="The container's entrypoint, in place of the check's."
    )
    args: list[Argument] = Field(
        default=[], max_length=256, repr=False, description="Arguments, in place of the check's."
    )


class JobPodSpec(OpenModel):
    """What is added to the pod's spec: any field that a Pod has."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "self.containers.all(c, c.name == 'check' || has(c.image))",
            "the container is called `check`: write name: check, or an image for a container of your own",
            ".containers",
        ),
    )
    containers: NamedList[JobContainerPatch] = Field(
        default=[], max_length=4, description="Containers, matched with the check's own, `check`, by name."
    )


class JobPodTemplate(Model):
    """A partial pod template, merged strategically over the one that Forebay makes."""

    metadata: PodPatchMetadata = Field(default=PodPatchMetadata(), description="Labels and annotations of the pod.")
    spec: JobPodSpec = Field(
        default=JobPodSpec(),
        description="Spec of the pod: serviceAccountName (with automountServiceAccountToken: true where it needs the "
        "token), volumes, nodeSelector, imagePullSecrets and any other field of a Pod. Lists merge by name, as with "
        "kubectl patch.",
    )


class JobCheck(Model):
    """A Job that is run in each step: the revision is good when it completes, and bad when it fails."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "duration(self.timeout) >= duration('1s') && duration(self.timeout) <= duration('24h')",
            'must lie between 1s and 24h: write "10m"',
            ".timeout",
        ),
    )
    name: Name = Field(description="What it is called in the status.")
    image: str = Field(
        min_length=1,
        max_length=512,
        description="The image that it runs. It runs as user 1000 with a read-only root, and may write to /tmp.",
    )
    command: list[Argument] | None = Field(
        default=None, max_length=64, description="In place of the image's entrypoint."
    )
    args: list[Argument] = Field(
        default=[],
        max_length=256,
        repr=False,
        description="Its arguments. $(FOREBAY_URL) stands for the address at which the new revision answers, whatever "
        "its share, $(FOREBAY_STABLE_URL) for that of the one that serves, and $(FOREBAY_MODEL), $(FOREBAY_NAMESPACE), "
        "$(FOREBAY_NAME), $(FOREBAY_REVISION), $(FOREBAY_STABLE) and $(FOREBAY_STEP) for what their names say. They "
        "are environment variables. Its requests count as clients' do, and need an API key where spec.access asks for "
        "one.",
    )
    env: NamedList[EnvVar] = Field(default=[], max_length=64, description="More environment variables.")
    resources: JobResources = Field(default=JobResources(), description="What it is given.")
    timeout: Duration = Field(default="10m", description="A Job that has not ended by then has failed.")
    pod_template: JobPodTemplate = Field(
        default=JobPodTemplate(), description="Whatever else is to be different about the pod."
    )
