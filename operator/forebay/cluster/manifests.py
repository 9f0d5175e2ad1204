"""The manifests that `forebay install` applies: those of the chart, in the namespace and with the images asked for."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from forebay.cluster.errors import ClusterError
from forebay.cluster.kinds import CRD, NAMESPACE, SYSTEM_NAMESPACE

Json = dict[str, Any]

IMAGES = ("operator", "runtime", "triton", "envoy")
_VARIABLE = "FOREBAY_IMAGE_"
# Where a namespace stands in a manifest.
_NAMESPACES = ("namespace", "kubernetes.io/metadata.name")
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def build_manifests(*, namespace: str = SYSTEM_NAMESPACE, images: Mapping[str, str] | None = None) -> list[Json]:
    """What is to be applied, in this order."""
    shipped = read_manifests()
    defaults = find_images(shipped)
    changed = {defaults[name]: image for name, image in (images or {}).items()}
    return [_replace(_move(each, namespace), changed) for each in shipped]


def read_manifests() -> list[Json]:
    """The manifests as they are shipped."""
    text = files("forebay").joinpath("install/manifests.yaml").read_text()
    return [each for each in yaml.load_all(text, _LOADER) if each]


def find_crds(manifests: Sequence[Json]) -> list[Json]:
    """The CustomResourceDefinitions among them."""
    return [each for each in manifests if each["kind"] == CRD.kind]


def find_images(manifests: Sequence[Json]) -> dict[str, str]:
    """The images that the manifests name, by what they are for."""
    containers = [each for manifest in manifests for each in _find_containers(manifest)]
    found = {
        variable["name"].removeprefix(_VARIABLE).lower(): variable["value"]
        for each in containers
        for variable in each.get("env", [])
        if variable["name"].startswith(_VARIABLE) and "value" in variable
    }
    operators = [each["image"] for each in containers if each["name"] == "operator"]
    images = {"operator": operators[0], **found}
    return {name: images[name] for name in IMAGES}


def read_images(file: Path | None, given: Sequence[str]) -> dict[str, str]:
    """Images from a file with `images: {operator: ...}`, and from NAME=REFERENCE, which counts more."""
    images = _read_file(file) if file else {}
    for each in given:
        name, equals, reference = each.partition("=")
        if not equals or not reference:
            raise ClusterError(f"--image {each}: write NAME=REFERENCE, as operator=registry.example.com/operator:1")
        images[name] = reference
    for name in images:
        if name not in IMAGES:
            raise ClusterError(f"there is no image {name}: there are {', '.join(IMAGES)}")
    return images


def _read_file(file: Path) -> dict[str, str]:
    how = f"{file}: write `images:`, and below it any of {', '.join(IMAGES)}, each with a reference"
    try:
        found = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ClusterError(f"{how} ({error})") from None
    images = found.get("images") if isinstance(found, dict) else None
    if not isinstance(images, dict) or not all(isinstance(each, str) for each in images.values()):
        raise ClusterError(how)
    return dict(images)


def _find_containers(manifest: Json) -> Iterator[Json]:
    pod = manifest.get("spec", {}).get("template", {}).get("spec", {}) if manifest["kind"] == "Deployment" else {}
    yield from pod.get("initContainers", [])
    yield from pod.get("containers", [])


def _move(manifest: Json, namespace: str) -> Json:
    """Put it into another namespace. The Namespace itself, who is bound there, and who may call go along."""
    if namespace == SYSTEM_NAMESPACE:
        return manifest
    if manifest["kind"] == NAMESPACE.kind:
        return {**manifest, "metadata": {**manifest["metadata"], "name": namespace}}
    moved: Json = _substitute(manifest, namespace)
    return moved


def _substitute(value: Any, namespace: str) -> Any:
    if isinstance(value, list):
        return [_substitute(each, namespace) for each in value]
    if not isinstance(value, dict):
        return value
    return {
        key: namespace if key in _NAMESPACES and each == SYSTEM_NAMESPACE else _substitute(each, namespace)
        for key, each in value.items()
    }


def _replace(manifest: Json, images: Mapping[str, str]) -> Json:
    """Name other images, for the containers and for those that the operator starts."""
    for container in _find_containers(manifest):
        container["image"] = images.get(container["image"], container["image"])
        for variable in container.get("env", []):
            if variable["name"].startswith(_VARIABLE):
                variable["value"] = images.get(variable["value"], variable["value"])
    return manifest
