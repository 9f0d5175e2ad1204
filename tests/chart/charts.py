"""Helm on the chart of this checkout."""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/forebay"
HELM = shutil.which("helm", path=Path(sys.executable).parent) or shutil.which("helm") or "helm"
NAMESPACE = "forebay-system"
RELEASE = "forebay"
PROMETHEUS = [f"monitoring.coreos.com/v1/{kind}" for kind in ("PodMonitor", "PrometheusRule", "ServiceMonitor")]

Json = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([HELM, *arguments], capture_output=True, text=True, check=False, timeout=60)


def template(
    values: Mapping[str, Any] | None = None, *, apis: Iterable[str] = (), chart: Path = CHART, release: str = RELEASE
) -> subprocess.CompletedProcess[str]:
    if chart == CHART:
        return _template(json.dumps(values or {}), tuple(apis), release)
    return _run_template(json.dumps(values or {}), tuple(apis), release, chart)


@cache
def _template(values: str, apis: tuple[str, ...], release: str) -> subprocess.CompletedProcess[str]:
    """Many tests look at the same: this chart doesn't change while they run."""
    return _run_template(values, apis, release, CHART)


def _run_template(values: str, apis: tuple[str, ...], release: str, chart: Path) -> subprocess.CompletedProcess[str]:
    known = [f"--api-versions={api}" for api in apis]
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(values)
        file.flush()
        return helm("template", release, str(chart), "--namespace", NAMESPACE, "--values", file.name, *known)


def render(values: Mapping[str, Any] | None = None, *, apis: Iterable[str] = (), release: str = RELEASE) -> list[Json]:
    done = template(values, apis=apis, release=release)
    assert done.returncode == 0, done.stderr
    found: list[Json] = json.loads(_parse(done.stdout))
    return found


@cache
def _parse(text: str) -> str:
    """As JSON, of which each test gets a copy of its own."""
    return json.dumps([each for each in yaml.load_all(text, yaml.CSafeLoader) if each])


def refuse(values: Mapping[str, Any]) -> str:
    """What Helm says of values that it refuses."""
    done = template(values)
    assert done.returncode != 0, "it takes these values"
    return done.stderr


def nest(values: Mapping[str, Any]) -> Json:
    """`{"a.b": 1}` as `{"a": {"b": 1}}`."""
    nested: Json = {}
    for path, value in values.items():
        *parents, name = path.split(".")
        place = nested
        for parent in parents:
            place = place.setdefault(parent, {})
        place[name] = value
    return nested


def find(manifests: Iterable[Json], kind: str, name: str = "") -> Json:
    found = [each for each in manifests if each["kind"] == kind and each["metadata"]["name"].endswith(name)]
    assert len(found) == 1, f"{len(found)} of {kind} {name}"
    return found[0]


def of_kind(manifests: Iterable[Json], *kinds: str) -> list[Json]:
    return [each for each in manifests if each["kind"] in kinds]


def containers(manifest: Json) -> list[Json]:
    spec = manifest["spec"]["template"]["spec"]
    return [*spec.get("initContainers", []), *spec["containers"]]


def pod_labels(manifest: Json) -> dict[str, str]:
    labels: dict[str, str] = manifest["spec"]["template"]["metadata"]["labels"]
    return labels
