"""What a pod's containers must agree on."""

import re
from pathlib import Path

import pytest
from yaml import safe_load

from forebay.api import ModelDeployment, ModelSource
from forebay.api.load import load_text
from forebay.plan import names
from forebay.plan.cluster import check_reachable
from forebay.plan.merge import merge
from forebay.plan.pods import build_pod_template
from forebay.plan.resolve import resolve
from forebay.plan.site import Site
from forebay.plan.versions import Version, pin
from forebay.serving.storage.__main__ import repository_beside

MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {{name: digits}}
spec: {{model: {{uri: {uri}}}, predictor: {predictor}}}
"""
SCRIPT = '{custom: {script: "class A:\\n  def predict(self, i): return i\\n"}}'


def load(uri: str = "s3://models/digits", predictor: str = "{triton: {}}") -> ModelDeployment:
    (made,) = load_text(MANIFEST.format(uri=f"'{uri}'", predictor=predictor), file="m.yaml", folder=Path("/nowhere"))
    return made


@pytest.mark.parametrize("predictor", ["{triton: {}}", SCRIPT])
def test_the_server_reads_what_the_download_wrote(predictor: str) -> None:
    serving = resolve(load(predictor=predictor))
    spec = build_pod_template(serving.predictor, Site(), predictors=())["spec"]
    to = next(arg for arg in spec["initContainers"][0]["args"] if arg.startswith("--to="))
    files = Path(to.removeprefix("--to="))
    served = repository_beside(files) if serving.predictor.server == "triton" else files
    option = "--model-repository" if serving.predictor.server == "triton" else "--model-dir"
    assert f"{option}={served}" in spec["containers"][0]["args"]
    assert files.is_relative_to(names.MODEL_DIR)


@pytest.mark.parametrize(("path", "there"), [("/models/", "/models"), ("/", "")])
def test_an_image_is_mounted_where_its_path_is_said(path: str, there: str) -> None:
    md = load("oci://registry.example.com/digits:v3", SCRIPT)
    assert md.spec.model
    model = md.spec.model.model_copy(update={"image_path": path})
    serving = resolve(md.model_copy(update={"spec": md.spec.model_copy(update={"model": model})}))
    spec = build_pod_template(serving.predictor, Site(), predictors=())["spec"]
    (volume,) = (each for each in spec["volumes"] if each["name"] == "model-source")
    assert volume["image"] == {"reference": "registry.example.com/digits:v3"}
    assert f"--model-dir={names.MODEL_SOURCE}{there}" in spec["containers"][0]["args"]
    assert all(each["name"] != "model" for each in spec["volumes"]), "nothing is downloaded"


def test_an_image_without_a_path_is_downloaded() -> None:
    serving = resolve(load("oci://registry.example.com/digits:v3", SCRIPT))
    spec = build_pod_template(serving.predictor, Site(), predictors=())["spec"]
    assert not any("image" in each for each in spec["volumes"])


@pytest.mark.parametrize("predictor", ["{triton: {}}", SCRIPT])
@pytest.mark.parametrize("uri", ["pvc://models/digits/3/", "nfs://server/models/digits/3"])
def test_a_volume_is_mounted_read_only_and_used_in_place(uri: str, predictor: str) -> None:
    serving = resolve(load(uri, predictor))
    spec = build_pod_template(serving.predictor, Site(), predictors=())["spec"]
    download, server = spec["initContainers"][0], spec["containers"][0]
    for container in (download, server):
        assert {"name": "model-source", "mountPath": names.MODEL_SOURCE, "readOnly": True} in container["volumeMounts"]
    (volume,) = (each for each in spec["volumes"] if each["name"] == "model-source")
    assert next(each["readOnly"] for key, each in volume.items() if key != "name")
    assert f"--mounted-at={names.MODEL_SOURCE}" in download["args"]
    there = f"{names.MODEL_SOURCE}/digits/3" if uri.startswith("pvc:") else names.MODEL_SOURCE
    triton = serving.predictor.server == "triton"
    assert (f"--model-repository={names.MODEL_REPOSITORY}" if triton else f"--model-dir={there}") in server["args"]
    assert any(each["name"] == "model" for each in spec["volumes"]) == triton, "room for links"


def test_the_download_is_told_the_format() -> None:
    text = 'output [{name: "$$ $(HOME)" data_type: TYPE_FP32 dims: [-1]}]'
    md = load()
    model = ModelSource(uri="s3://models/digits", format="onnx", config=text)
    spec = md.spec.model_copy(update={"model": model})
    pod = build_pod_template(resolve(md.model_copy(update={"spec": spec})).predictor, Site(), predictors=())["spec"]
    args = pod["initContainers"][0]["args"]
    assert "--format=onnx" in args
    config = next(arg for arg in args if arg.startswith("--config="))
    # As the kubelet reads it: $$ is a dollar, $(NAME) a variable.
    assert config.removeprefix("--config=").replace("$$", "$") == text
    assert not re.search(r"(?<!\$)(\$\$)*\$\(", config)
    plain = build_pod_template(resolve(load()).predictor, Site(), predictors=())["spec"]["initContainers"][0]["args"]
    assert not any(arg.startswith(("--format", "--config")) for arg in plain)


def test_pods_cannot_read_this_machine() -> None:
    message = check_reachable(resolve(load("file:digits")))
    assert "file:///nowhere/digits" in message
    assert "s3://BUCKET/digits" in message
    for uri in ("s3://models/digits", "https://host/digits.zip"):
        assert check_reachable(resolve(load(uri))) == ""
    no_model = safe_load(MANIFEST.format(uri="x", predictor=SCRIPT))
    del no_model["spec"]["model"]
    assert check_reachable(resolve(ModelDeployment.model_validate(no_model))) == ""


PATCHED = """
  custom: {script: "class A:\\n  def predict(self, i): return i\\n"}
  podTemplate:
    metadata: {labels: {team: vision}, annotations: {note: hello}}
    spec:
      nodeSelector: {gpu: a100}
      tolerations: [{key: nvidia.com/gpu, operator: Exists}]
      runtimeClassName: nvidia
      priorityClassName: high
      serviceAccountName: models
      topologySpreadConstraints: [{maxSkew: 1, topologyKey: zone, whenUnsatisfiable: DoNotSchedule}]
      volumes:
      - {name: data, persistentVolumeClaim: {claimName: data}}
      - {name: tmp, emptyDir: {sizeLimit: 1Gi}}
      initContainers: [{name: queue, resources: {requests: {cpu: 500m}}}]
      containers:
      - name: predictor
        env: [{name: A, value: "1"}, {name: B, valueFrom: {secretKeyRef: {name: s, key: k}}}]
        args: [--verbose]
        volumeMounts: [{name: data, mountPath: /data}]
        resources: {limits: {ephemeral-storage: 1Gi}}
      - {name: mine, image: example.com/mine:1}
"""


def test_a_pod_template_is_merged_as_kubectl_patches() -> None:
    predictor = safe_load("predictor:" + PATCHED)["predictor"]
    made = safe_load(MANIFEST.format(uri="s3://models/digits", predictor="x"))
    made["spec"]["predictor"] = predictor
    serving = resolve(ModelDeployment.model_validate(made))
    template = build_pod_template(serving.predictor, Site(), predictors=())
    assert template["metadata"]["labels"]["team"] == "vision"
    assert template["metadata"]["labels"]["app.kubernetes.io/instance"] == "digits"
    assert template["metadata"]["annotations"] == {"note": "hello"}
    spec = template["spec"]
    assert spec["nodeSelector"] == {"gpu": "a100"}
    assert spec["serviceAccountName"] == "models"
    assert spec["securityContext"]["runAsNonRoot"]
    volumes = {each["name"]: each for each in spec["volumes"]}
    assert volumes["tmp"] == {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}
    assert volumes["data"]["persistentVolumeClaim"] == {"claimName": "data"}
    (queue,) = (each for each in spec["initContainers"] if each["name"] == "queue")
    assert queue["resources"]["requests"] == {"cpu": "500m", "memory": "64Mi"}
    assert queue["restartPolicy"] == "Always"
    server, mine = spec["containers"]
    assert mine == {"name": "mine", "image": "example.com/mine:1"}
    assert server["command"] == ["python", "-m", "forebay.serving"]
    assert server["args"][-1] == "--verbose"
    assert server["env"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
    ]
    assert {"name": "data", "mountPath": "/data"} in server["volumeMounts"]
    assert server["resources"]["limits"] == {"memory": "1Gi", "ephemeral-storage": "1Gi"}


def test_a_source_takes_the_place_of_another() -> None:
    base = {"volumes": [{"name": "tmp", "emptyDir": {}}], "keep": 1, "drop": 2}
    patch = {"volumes": [{"name": "tmp", "hostPath": {"path": "/x"}}], "drop": None}
    assert merge(base, patch) == {"volumes": [{"name": "tmp", "hostPath": {"path": "/x"}}], "keep": 1}
    assert base["volumes"] == [{"name": "tmp", "emptyDir": {}}]


def test_an_address_from_mlflow_is_taken_as_it_is() -> None:
    source = "mlflow-artifacts:/1/$(MLFLOW_TRACKING_TOKEN)/model"
    pinned = pin(load("models:/digits@champion"), Version("digits", "3", source, registry="mlflow"))
    site = Site(mlflow_uri="http://mlflow:5000")
    download = build_pod_template(resolve(pinned).predictor, site, predictors=())["spec"]["initContainers"][0]
    assert download["args"][0] == "--uri=mlflow-artifacts:/1/$$(MLFLOW_TRACKING_TOKEN)/model", "no variable of the pod"
    assert download["env"] == [{"name": "MLFLOW_TRACKING_URI", "value": "http://mlflow:5000"}]
    elsewhere = pin(load("models:/digits@champion"), Version("digits", "3", "s3://models/digits", registry="mlflow"))
    spec = build_pod_template(resolve(elsewhere).predictor, site, predictors=())["spec"]
    assert "env" not in spec["initContainers"][0]
