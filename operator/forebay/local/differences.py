"""What a manifest says that holds on a cluster only: whoever runs it here is told, once, before anything starts."""

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from forebay.api import Access, Resources
from forebay.local.errors import LocalError
from forebay.plan.model_volume import is_mounted
from forebay.plan.names import build_route_name
from forebay.plan.resolve import Server, Serving, Workload
from forebay.plan.strategy import Strategy


class Difference(NamedTuple):
    """A line about it. It is `grave` where what is served may behave otherwise than on a cluster."""

    text: str
    grave: bool = False


def find_differences(serving: Serving, *, beside: Collection[str] = ()) -> Iterator[Difference]:
    """What is not as it would be on a cluster. `beside` are the names of what else is served here."""
    if serving.suspended:
        yield Difference("suspend is for a cluster: here it is served all the same", grave=True)
    if serving.idle_s:
        yield Difference(
            "predictor: autoscaling.min: 0 is for a cluster: here nothing sleeps, and no request waits for a start"
        )
    if serving.strategy != Strategy():
        yield Difference("rollout is for a cluster: here there is one revision, which gets all requests")
    if serving.drill:
        yield Difference("drill is for a cluster: here nothing is broken on purpose")
    if serving.shadow:
        yield Difference(f"shadow is for a cluster: here {serving.shadow} gets no copies, and nothing is compared")
    yield from _of_fallback(serving, beside)
    yield from _of_access(serving.access)
    for workload in serving.workloads:
        yield from _of_resources(workload)
        yield from _of_scaling(workload, sleeps=bool(serving.idle_s))
        yield from _of_pods(workload)


def take_variables(workload: Workload, environment: Mapping[str, str]) -> dict[str, str]:
    """The variables with valueFrom, from forebay's own environment. Raises LocalError where one isn't set."""
    missing = [name for name, source in workload.env_from.items() if name not in environment and _is_needed(source)]
    if missing:
        exports = " ".join(f"{name}=..." for name in missing)
        comes, is_ = ("comes", "it isn't") if len(missing) == 1 else ("come", "they aren't")
        raise LocalError(
            f"{workload.role}: {_list(missing)} {comes} from the cluster (valueFrom). Here that is the environment of "
            f"`forebay serve`, in which {is_} set: export {exports}"
        )
    return {name: environment[name] for name in workload.env_from if name in environment}


def require_processes(workload: Workload) -> None:
    """Raise LocalError where something can only run in a container."""
    if workload.server is Server.IMAGE:
        raise LocalError(
            f"{workload.role}.custom.image needs a cluster: `forebay serve` runs processes, not containers. "
            "Write custom.script to serve it here"
        )

    if is_mounted(workload.model.uri):
        raise LocalError(
            f"model.uri {workload.model.uri} is a volume that pods mount, which `forebay serve` can't: mount or "
            "unpack it yourself, and write file:PATH to serve it here"
        )


def _is_needed(source: Mapping[str, object]) -> bool:
    """Whether a pod would not start without it."""
    return not any(isinstance(each, Mapping) and each.get("optional") is True for each in source.values())


def _of_fallback(serving: Serving, beside: Collection[str]) -> Iterator[Difference]:
    named = serving.fallback and serving.fallback.name
    if named and build_route_name(namespace=serving.namespace, deployment=named) not in beside:
        told = f"fallback: {named} is not served here, so there is none: give this command its manifest, too"
        yield Difference(told, grave=True)


def _of_access(access: Access) -> Iterator[Difference]:
    if access.api_keys:
        yield Difference(
            "access.apiKeys is for a cluster: here no key is asked for, and nobody but this machine can connect",
            grave=True,
        )
    if access.rate_limit:
        yield Difference("access.rateLimit is for a cluster: here every request is let in", grave=True)


def _of_resources(workload: Workload) -> Iterator[Difference]:
    wanted = workload.resources
    if wanted.gpu_count or wanted.gpu_claim:
        here = "every GPU of this machine" if Path("/dev/nvidiactl").exists() else "none, since this machine has none"
        asked = wanted.gpu_resource or wanted.gpu_claim
        yield Difference(f"{workload.role}: {asked} is for a cluster: an instance here sees {here}", grave=True)
    if (wanted.cpu, wanted.memory) != (Resources().cpu, Resources().memory):
        yield Difference(f"{workload.role}: cpu and memory are for a cluster: an instance here takes what it needs")
    for secret_name in _list_secrets(workload):
        yield Difference(f"Secret {secret_name} is for a cluster: here the environment's credentials are used")


def _list_secrets(workload: Workload) -> list[str]:
    all_ = (workload.model.secret_name, workload.script_files.secret_name, workload.packages.secret_name)
    return [each for each in dict.fromkeys(all_) if each]


def _of_scaling(workload: Workload, *, sleeps: bool) -> Iterator[Difference]:
    scaling = workload.scaling
    if scaling.automatic:
        run = "1 instance runs" if scaling.least == 1 else f"{scaling.least} instances run"
        why = "" if sleeps else ", which is its min"
        yield Difference(f"{workload.role}: autoscaling is for a cluster: here {run}{why}")


def _of_pods(workload: Workload) -> Iterator[Difference]:
    patch = workload.pod_patch
    containers = {each["name"]: each for each in patch.spec.get("containers", [])}
    own = _written(containers.pop(workload.role, {})) - {"name"}
    of_pod = _written(patch.spec) - {"containers", "initContainers"}
    of_pod |= {name for name in ("labels", "annotations") if getattr(patch, name)}
    others = [*containers, *_names_in(patch.spec.get("initContainers"))]
    role = workload.role
    if of_pod:
        yield Difference(f"{role}: for the pods of a cluster only: {_list(sorted(of_pod))}")
    if own:
        told = f"{role}: for the container of a cluster only: {_list(sorted(own))}; env and args are used here, too"
        yield Difference(told, grave=True)
    if others:
        noun = "container" if len(others) == 1 else "containers"
        told = f"{role}: for a cluster only: the {noun} {_list(others)}; here the model's process runs alone"
        yield Difference(told, grave=True)


def _written(fields: Mapping[str, object]) -> set[str]:
    return {name for name, value in fields.items() if value is not None}


def _names_in(containers: object) -> list[str]:
    """Names of containers that nothing has checked yet."""
    listed = containers if isinstance(containers, list) else []
    return [str(each.get("name")) for each in listed if isinstance(each, Mapping)]


def _list(names: list[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last
