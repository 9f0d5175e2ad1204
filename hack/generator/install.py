"""The chart's defaults as plain manifests: what `forebay install` applies and the Kustomize base is made of."""

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from forebay.api.dump import dump_documents
from generator.chart import CHART, HEADER

NAMESPACE = "forebay-system"
INSTALL = Path("operator/forebay/install")
# What only Helm has a use for.
HELM_KEYS = {"helm.sh/chart", "helm.sh/resource-policy", "app.kubernetes.io/managed-by"}
HELM_S = 60


def render_install() -> dict[Path, str]:
    manifests = [without_helm(each) for each in yaml.load_all(run_helm(), yaml.CSafeLoader) if each]
    kinds = ("CustomResourceDefinition", "ServiceAccount")
    # What others need comes first.
    manifests.sort(key=lambda each: kinds.index(each["kind"]) if each["kind"] in kinds else len(kinds))
    return {INSTALL / "manifests.yaml": HEADER.format(source=CHART) + dump_documents([build_namespace(), *manifests])}


def run_helm() -> str:
    helm = shutil.which("helm", path=Path(sys.executable).parent) or shutil.which("helm")
    if not helm:
        raise SystemExit("error: hack/generate needs helm 3.17 or newer, and found none on PATH")
    command = [helm, "template", "forebay", str(CHART), "--namespace", NAMESPACE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=HELM_S)
    if done.returncode:
        raise SystemExit(f"error: {' '.join(command)}\n{done.stderr}")
    return done.stdout


def build_namespace() -> dict[str, Any]:
    labels = {"app.kubernetes.io/name": "forebay", "pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def without_helm(data: Any) -> Any:
    """What is there, in every mapping of it but the keys above, and no mapping that is empty for the lack of them."""
    if isinstance(data, list):
        return [without_helm(each) for each in data]
    if not isinstance(data, dict):
        return data
    kept = {key: without_helm(value) for key, value in data.items() if key not in HELM_KEYS}
    return {key: value for key, value in kept.items() if value != {} or data[key] == {}}
