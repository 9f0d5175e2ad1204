"""One container of a pod, as the kubelet tells of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from forebay.observation import Json
from forebay.plan.names import COMPONENT_LABEL, SCRIPT_DIR, SCRIPT_FILE, Role
from forebay.status.lines import hide_values

DOWNLOAD, QUEUE = "download", "queue"
# What brings a script that lies at an address, and its libraries.
SCRIPT, ENVIRONMENT = "script", "environment"


@dataclass(frozen=True, kw_only=True)
class Container:
    """A container: what was asked for (`spec`), what became of it (`status`), and the pod around it.

    `log` is the end of its log, where somebody read it; else its last lines stand in the status.
    """

    pod: Json
    spec: Json
    status: Json
    is_init: bool
    log: str = ""

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return str(self.spec["name"])

    @property
    def role(self) -> Role:
        """The component that it belongs to."""
        return role_of(self.pod)

    @property
    def is_server(self) -> bool:
        """Whether it is the model server, or the transformer."""
        return self.name == self.role

    @property
    def is_sidecar(self) -> bool:
        """Whether it is an init container that goes on running."""
        return self.is_init and self.spec.get("restartPolicy") == "Always"

    @property
    def where(self) -> str:
        """The pod and the container, as a message begins."""
        return f"pod {name_of(self.pod)}, container {self.name}"

    @property
    def logs_command(self) -> str:
        """What shows more of its last run."""
        previous = " --previous" if self.restarts else ""
        return f"kubectl logs -n {self.pod['metadata']['namespace']} {name_of(self.pod)} -c {self.name}{previous}"

    @property
    def state(self) -> Json:
        """Its state: waiting, running or terminated."""
        return dict(self.status.get("state") or {})

    @property
    def waiting(self) -> Json:
        """Why it waits, where it does."""
        return dict(self.state.get("waiting") or {})

    @property
    def restarts(self) -> int:
        """How often it was started again."""
        return int(self.status.get("restartCount") or 0)

    @property
    def is_done(self) -> bool:
        """Whether it ended as it should: an init container that is no sidecar."""
        ended = self.state.get("terminated")
        return bool(self.is_init and not self.is_sidecar and ended and ended.get("exitCode") == 0)

    @property
    def failure(self) -> Json:
        """How it ended when it shouldn't have: now, or before the start that isn't through yet. Empty where it didn't.

        It is the same while the kubelet waits, and while it tries again.
        """
        if self.is_done:
            return {}
        # The kubelet calls an init container started as soon as it runs.
        is_up = "running" in self.state and bool(self.status.get("started")) and (self.is_sidecar or not self.is_init)
        last = None if is_up else (self.status.get("lastState") or {}).get("terminated")
        ended = self.state.get("terminated") or last or {}
        return {} if ended.get("reason") == "ContainerStatusUnknown" else dict(ended)

    @property
    def is_triton(self) -> bool:
        """Whether Triton runs in it."""
        return self.is_server and _command(self.spec)[:1] == ["tritonserver"]

    @property
    def is_script(self) -> bool:
        """Whether a script runs in it."""
        return self.is_server and _command(self.spec)[:3] == ["python", "-m", "forebay.serving"]

    @property
    def script_path(self) -> str:
        """Where the script lies that runs in it."""
        found = (str(each) for each in self.spec.get("args") or [] if str(each).startswith("--script="))
        return next(found, f"{SCRIPT_DIR}/{SCRIPT_FILE}").removeprefix("--script=")

    @property
    def last_words(self) -> str:
        """The end of the log of the run that failed, with the names of variables for their values."""
        return self.hide(self.log or str(self.failure.get("message") or ""))

    def hide(self, text: str) -> str:
        """The text without the values of variables."""
        every = [*self.pod["spec"].get("initContainers", []), *self.pod["spec"].get("containers", [])]
        values = {each["name"]: str(each.get("value") or "") for spec in every for each in spec.get("env", [])}
        return hide_values(text, values)


def list_containers(pod: Json, log: str = "") -> Iterator[Container]:
    """A pod's containers in the order in which they start. `log` is that of the model server."""
    for kind, is_init in (("initContainers", True), ("containers", False)):
        found = pod.get("status", {}).get("initContainerStatuses" if is_init else "containerStatuses") or []
        statuses: Mapping[str, Any] = {each["name"]: each for each in found}
        for spec in pod["spec"].get(kind) or []:
            its = log if spec["name"] == role_of(pod) else ""
            yield Container(pod=pod, spec=spec, status=statuses.get(spec["name"], {}), is_init=is_init, log=its)


def name_of(item: Json) -> str:
    """The name of an object."""
    return str(item["metadata"]["name"])


def role_of(item: Json) -> Role:
    """The component that an object belongs to, by its label."""
    return Role(item["metadata"].get("labels", {}).get(COMPONENT_LABEL, Role.PREDICTOR))


def _command(spec: Json) -> list[str]:
    return [str(each) for each in spec.get("command") or []]
