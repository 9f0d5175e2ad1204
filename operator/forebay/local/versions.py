"""ModelVersions without a cluster: those that stand in the manifests, or in other files of the same folders."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from forebay.api import ModelDeployment, ModelVersion
from forebay.api.dump import to_data
from forebay.api.kinds import Loaded
from forebay.api.load import load_file
from forebay.local.errors import LocalError
from forebay.local.mlflow import pin_registered
from forebay.plan.versions import Version, VersionError, choose_version, pin, read_version


def pin_all(objects: Sequence[Loaded], files: Iterable[Path]) -> list[ModelDeployment]:
    """The ModelDeployments, with addresses for the versions that they name. Raises LocalError with what is missing."""
    given = [each for each in objects if isinstance(each, ModelVersion)]
    deployments = [each for each in objects if isinstance(each, ModelDeployment)]
    naming = [each for each in deployments if each.spec.model and each.spec.model.version]
    beside = [] if all(_find(each, given) for each in naming) else _load_beside(files)
    return pin_registered([_pin(each, given, beside) if each in naming else each for each in deployments])


def _pin(md: ModelDeployment, given: Sequence[ModelVersion], beside: Sequence[ModelVersion]) -> ModelDeployment:
    reference = _reference_of(md)
    # What was named on the command line counts before what lies beside it.
    found = _find(md, given)
    try:
        return pin(md, found or choose_version(reference, _of_namespace(md, [*given, *beside])))
    except VersionError as error:
        place = f"{md.metadata.namespace}/{md.metadata.name}: spec.model.version"
        raise LocalError(
            f"{place}: {error}. Without a cluster, the ModelVersion stands in the same file or in one beside it: "
            f"`kubectl get mv -n {md.metadata.namespace} -o yaml > versions.yaml` fetches them"
        ) from None


def _find(md: ModelDeployment, versions: Sequence[ModelVersion]) -> Version | None:
    try:
        return choose_version(_reference_of(md), _of_namespace(md, versions))
    except VersionError:
        return None


def _reference_of(md: ModelDeployment) -> str:
    return (md.spec.model and md.spec.model.version) or ""


def _of_namespace(md: ModelDeployment, versions: Sequence[ModelVersion]) -> list[Version]:
    there = [each for each in versions if each.metadata.namespace == md.metadata.namespace]
    return [read_version(to_data(each)) for each in there]


def _load_beside(files: Iterable[Path]) -> list[ModelVersion]:
    """The ModelVersions of the other YAML files in the folders of the manifests."""
    given = {file.absolute() for file in files if str(file) != "-"}
    folders = dict.fromkeys(file.parent for file in given)
    others = [each for folder in folders for each in sorted(folder.iterdir()) if each.suffix in (".yaml", ".yml")]
    holding = [each for each in others if each not in given and each.is_file() and _names_the_kind(each)]
    found = [item for each in holding for item in load_file(each)]
    return [item for item in found if isinstance(item, ModelVersion)]


def _names_the_kind(file: Path) -> bool:
    return "kind: ModelVersion" in file.read_text("utf-8", errors="replace")
