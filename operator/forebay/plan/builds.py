"""An ImageBuild's children, named by its spec: the sources in a ConfigMap, and the Job that builds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from forebay.api import ImageBuild
from forebay.api.script_address import is_address, parse_address
from forebay.plan import names, security
from forebay.plan.merge import merge
from forebay.plan.names import digest
from forebay.plan.site import Site
from forebay.plan.units import parse_duration_s

Json = dict[str, Any]

# Whose build an object is of. Not the label of ModelDeployments' instances: these are none.
BUILD_LABEL = "forebay.dev/image-build"
CONTAINER = "build"
# What python -m forebay.build exits with where it is of no use to try again.
EXIT_INPUT = 2
_TRIES_AGAIN = 2
# The init container that downloads a script; and what both call its volume.
SCRIPT = "script"
_KEPT_S = 24 * 3600
_SOURCES = "/etc/forebay/build"
_LOGIN = "/etc/forebay/login"
_TMP = "/tmp"  # noqa: S108  (the container's own)


@dataclass(frozen=True, kw_only=True)
class BuildPlan:
    """What an ImageBuild asks for. `job` is the name of its Job, and of the ConfigMap."""

    job: str
    manifests: Sequence[Json]


def plan_build(build: ImageBuild, site: Site) -> BuildPlan:
    """The children. The name follows from the spec alone: an operator of another version builds nothing anew."""
    # Nor does a field that it knows and this build doesn't use.
    spec = build.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    name = f"{build.metadata.name}-{digest(spec)}"
    return BuildPlan(job=name, manifests=[_build_sources(build, name), _build_job(build, name, site)])


def _build_sources(build: ImageBuild, name: str) -> Json:
    wanted = build.spec.requirements
    requirements = {"requirements.txt": "".join(f"{each}\n" for each in wanted)} if wanted else {}
    script = {} if is_address(build.spec.script) else {"script.py": build.spec.script}
    data = {**script, **requirements}
    return _build_object(build, "v1", "ConfigMap", name) | {"data": data, "immutable": True}


def _build_job(build: ImageBuild, name: str, site: Site) -> Json:
    patch = build.spec.pod_template
    labels = {**patch.metadata.labels, **_build_labels(build)}
    metadata: Json = {"labels": labels}
    if patch.metadata.annotations:
        metadata["annotations"] = dict(patch.metadata.annotations)
    changes = patch.spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_unset=True)
    spec = {
        "backoffLimit": _TRIES_AGAIN,
        "activeDeadlineSeconds": int(parse_duration_s(build.spec.timeout)),
        "ttlSecondsAfterFinished": _KEPT_S,
        "podFailurePolicy": {
            "rules": [
                {
                    "action": "FailJob",
                    "onExitCodes": {"containerName": CONTAINER, "operator": "In", "values": [EXIT_INPUT]},
                }
            ]
        },
        "template": {"metadata": metadata, "spec": merge(_build_pod_spec(build, name, site), changes)},
    }
    return _build_object(build, "batch/v1", "Job", name) | {"spec": spec}


def _build_pod_spec(build: ImageBuild, name: str, site: Site) -> Json:
    secret = build.spec.push_secret_name
    login = {"secretName": secret, "items": [{"key": ".dockerconfigjson", "path": "config.json"}]}
    downloads = is_address(build.spec.script)
    return {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security.POD,
        **({"initContainers": [_build_download(build, site)]} if downloads else {}),
        "containers": [_build_container(build, site)],
        "volumes": [
            {"name": "tmp", "emptyDir": {}},
            {"name": "sources", "configMap": {"name": name}},
            *([{"name": SCRIPT, "emptyDir": {}}] if downloads else []),
            *([{"name": "login", "secret": login}] if secret else []),
        ],
    }


def _build_download(build: ImageBuild, site: Site) -> Json:
    """Brings the script, as the init container of a ModelDeployment's pods does: its credentials stay in here."""
    address = parse_address(build.spec.script)
    args = [f"--uri={address.uri}", f"--to={names.SCRIPT_FILES}", f"--script={address.path}"]
    credentials = build.spec.credentials
    secret = {"secretRef": {"name": credentials.secret_name}} if credentials else None
    return {
        "name": SCRIPT,
        "image": site.images.runtime,
        "imagePullPolicy": site.pull_policy,
        "command": ["python", "-m", "forebay.serving.storage"],
        "args": [_escape(each) for each in args],
        "env": [{"name": "HOME", "value": _TMP}],
        **({"envFrom": [secret]} if secret else {}),
        "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}, "limits": {"memory": "512Mi"}},
        "securityContext": security.CONTAINER,
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": SCRIPT, "mountPath": names.SCRIPT_DIR}, {"name": "tmp", "mountPath": _TMP}],
    }


def _build_container(build: ImageBuild, site: Site) -> Json:
    resources = build.spec.resources
    script: Json = {"name": SCRIPT, "mountPath": names.SCRIPT_DIR, "readOnly": True}
    variables = {"HOME": _TMP, "UV_CACHE_DIR": f"{_TMP}/uv", "DOCKER_CONFIG": _LOGIN}
    return {
        "name": CONTAINER,
        "image": site.images.operator,
        "imagePullPolicy": site.pull_policy,
        "command": ["python", "-m", "forebay.build"],
        "args": _build_args(build, site),
        "env": [{"name": name, "value": value} for name, value in variables.items()],
        "resources": {
            "requests": {"cpu": resources.cpu, "memory": resources.memory},
            "limits": {"memory": resources.memory},
        },
        "securityContext": security.CONTAINER,
        # The image it pushed, or why not; where it ends without a word, its last lines.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [
            {"name": "tmp", "mountPath": _TMP},
            {"name": "sources", "mountPath": _SOURCES, "readOnly": True},
            *([script] if is_address(build.spec.script) else []),
            *([{"name": "login", "mountPath": _LOGIN, "readOnly": True}] if build.spec.push_secret_name else []),
        ],
    }


def _build_args(build: ImageBuild, site: Site) -> list[str]:
    spec = build.spec
    return [
        f"--script={_find_script(build)}",
        f"--name={build.metadata.name}",
        f"--image={spec.image}",
        f"--base={spec.base or site.images.runtime}",
        *([f"--role={spec.role}"] if spec.role else []),
        *([f"--requirements={_SOURCES}/requirements.txt"] if spec.requirements else []),
        *(f"--platform={each}" for each in spec.platforms),
        *(f"--index={_escape(each)}" for each in spec.indexes),
        *(["--insecure"] if spec.insecure else []),
    ]


def _find_script(build: ImageBuild) -> str:
    if not is_address(build.spec.script):
        return f"{_SOURCES}/script.py"
    return _escape(f"{names.SCRIPT_FILES}/{parse_address(build.spec.script).path}")


def _escape(argument: str) -> str:
    # In arguments Kubernetes takes $(NAME) for a variable, and $$ for a dollar.
    return argument.replace("$", "$$")


def _build_labels(build: ImageBuild) -> dict[str, str]:
    return {
        "app.kubernetes.io/name": "forebay",
        names.COMPONENT_LABEL: "build",
        "app.kubernetes.io/managed-by": "forebay",
        BUILD_LABEL: build.metadata.name,
    }


def _build_object(build: ImageBuild, api_version: str, kind: str, name: str) -> Json:
    labels = {**build.metadata.labels, **_build_labels(build)}
    metadata = {"name": name, "namespace": build.metadata.namespace, "labels": labels}
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata}
