"""Which libraries a script imports that its pod would not have."""

import importlib.machinery
import importlib.metadata
import sys
from pathlib import Path

from packaging.utils import canonicalize_name

from forebay.serving.environments.brought import find_brought
from forebay.serving.source import Source, find_imports

# What the image of scripts holds beside what their server runs on: the dependency group `runtime` of pyproject.toml.
IN_THE_IMAGE = frozenset(
    {
        "azure-identity", "azure-storage-blob", "boto3", "dulwich", "google-cloud-storage", "httpx", "huggingface-hub",
        "pillow", "pydantic", "pyyaml", "uv", "zlib-ng",
    }
)  # fmt: skip


def find_unlisted(source: Source, environment: Path | None) -> dict[str, str]:
    """Modules that are installed here alone, with the requirement that brings each: {module: NAME==VERSION}."""
    there = {*find_brought(), *IN_THE_IMAGE}
    distributions = importlib.metadata.packages_distributions()
    found = {}
    for module in sorted(find_imports(source)):
        names = [canonicalize_name(name) for name in distributions.get(module, [])]
        if not names or there & set(names) or module in sys.stdlib_module_names:
            continue
        if environment and importlib.machinery.PathFinder.find_spec(module, [str(environment)]):
            continue
        found[module] = f"{names[0]}=={importlib.metadata.version(names[0])}"
    return found


def describe_unlisted(unlisted: dict[str, str]) -> str:
    """What to write so that pods have them, too."""
    modules, requirements = ", ".join(unlisted), ", ".join(sorted(set(unlisted.values())))
    are = "is" if len(unlisted) == 1 else "are"
    return f"{modules} {are} installed here, and not in a pod: write custom: {{requirements: [{requirements}]}}"
