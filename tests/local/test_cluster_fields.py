"""Fields that a cluster needs, under `forebay serve`: each is honoured, or told of."""

from pathlib import Path

from tests import loopback
from tests.local.serving_session import forebay, serving

MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: m}
spec:
  suspend: true
  rollout: {canary: {steps: [{weight: 10}]}}
  access: {apiKeys: {secretName: callers}, rateLimit: {requests: 5, per: 1m}}
  predictor:
    custom:
      script: |
        import os
        from forebay.serving import Tensor

        class Environment:
          inputs = [Tensor("name", "BYTES", [-1])]
          outputs = [Tensor("value", "BYTES", [-1])]

          def predict(self, inputs):
            return {"value": [os.environ.get(name.decode(), "not set") for name in inputs["name"]]}
    autoscaling: {min: 2, max: 8, target: {cpu: 70}}
    podTemplate:
      metadata: {labels: {team: ml}}
      spec:
        nodeSelector: {gpu: a100}
        tolerations: [{key: gpu, operator: Exists}]
        containers:
        - name: predictor
          volumeMounts: [{name: data, mountPath: /data}]
          env:
          - {name: PLAIN, value: plain}
          - {name: TOKEN, valueFrom: {secretKeyRef: {name: tokens, key: t}}}
          - {name: MAYBE, valueFrom: {secretKeyRef: {name: tokens, key: m, optional: true}}}
        - {name: helper, image: busybox}
"""


def test_what_is_for_a_cluster_is_honoured_or_told(tmp_path: Path) -> None:
    names = ["PLAIN", "TOKEN", "MAYBE"]
    with serving(MANIFEST, tmp_path, TOKEN="from-here") as session:
        body = {"inputs": [{"name": "name", "shape": [3], "datatype": "BYTES", "data": names}]}
        for _ in range(6):  # no key is asked for, and the limit is another's
            answer = loopback.post(f"{session.url}/v2/models/m/infer", json=body)
            assert answer.status_code == 200, answer.text
        assert answer.json()["outputs"][0]["data"] == ["plain", "from-here", "not set"]
        assert len(session.pids("forebay.serving")) == 2
        assert session.stop() == 0
    told = session.output.read_text()
    for line in (
        "suspend is for a cluster: here it is served all the same",
        "rollout is for a cluster: here there is one revision, which gets all requests",
        "access.apiKeys is for a cluster",
        "access.rateLimit is for a cluster",
        "predictor: autoscaling is for a cluster: here 2 instances run, which is its min",
        "predictor: for the pods of a cluster only: labels, nodeSelector and tolerations",
        "predictor: for the container of a cluster only: volumeMounts",
        "predictor: for a cluster only: the container helper",
    ):
        assert told.count(line) == 1, told


def test_a_variable_that_is_nowhere(tmp_path: Path) -> None:
    (tmp_path / "m.yaml").write_text(MANIFEST)
    done = forebay("serve", str(tmp_path / "m.yaml"), state=tmp_path / "state")
    told = done.stdout + done.stderr
    assert done.returncode == 1, told
    assert "predictor: TOKEN comes from the cluster (valueFrom)" in told
    assert "export TOKEN=..." in told
    assert "Traceback" not in told
