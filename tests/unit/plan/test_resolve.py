"""Every default is decided, and what is set stays set."""

from pathlib import Path

import pytest

from forebay.api.load import load_text
from forebay.plan.depth import UNMEASURED_DEPTH
from forebay.plan.envoy import Address
from forebay.plan.names import MODEL_HTTP_PORT, Role
from forebay.plan.resolve import QueueLimits, Server, ServerResources, Serving, resolve
from forebay.plan.servers import ServerAddresses, build_server_args
from forebay.plan.site import Site
from forebay.plan.workloads import build_revision

HEAD = "apiVersion: forebay.dev/v1alpha1\nkind: ModelDeployment\nmetadata: {name: digits}\nspec:\n"
SCRIPT = '{script: "class A:\\n  def predict(self, i): return i\\n"}'
ADDRESSES = ServerAddresses(
    http=Address("127.0.0.1", 1), grpc=Address("127.0.0.1", 2), metrics=Address("127.0.0.1", 3),
    egress=Address("127.0.0.1", 4), model_dir="/m", script="/s.py", environment="/e",
)  # fmt: skip


def serving(spec: str) -> Serving:
    (made,) = load_text(HEAD + spec, file="m.yaml", folder=Path("/nowhere"))
    return resolve(made)


def test_defaults():
    made = serving("  model: {uri: 's3://a/b'}\n  predictor: {triton: {}}\n")
    workload = made.predictor
    assert (made.namespace, made.name, made.transformers, made.entry) == ("default", "digits", (), workload)
    assert (workload.role, workload.server, workload.replicas) == (Role.PREDICTOR, Server.TRITON, 1)
    assert workload.served_model == "digits"
    assert (workload.script, workload.image, workload.image_port) == ("", "", MODEL_HTTP_PORT)
    assert workload.resources == ServerResources(cpu="1", memory="1Gi", gpu_count=0, gpu_resource="")
    assert workload.limits == QueueLimits(slots=8, depth=UNMEASURED_DEPTH, depth_derived=True, timeout_s=30)
    assert (workload.env, workload.args) == ({}, ())
    assert (workload.model.uri, workload.model.secret_name) == ("s3://a/b", "")


def test_overrides():
    made = serving(
        "  model: {uri: 's3://a/b', credentials: {secretName: keys}}\n"
        "  predictor: {triton: {model: onnx}, replicas: 3, concurrency: 2, resources: {gpu: {}}}\n"
        f"  transformer: {{custom: {SCRIPT}, replicas: 2, concurrency: 5}}\n"
        "  queue: {depth: 7, timeout: 200ms}\n"
    )
    transformer, predictor = made.entry, made.predictor
    assert made.workloads == (predictor, transformer)
    assert (predictor.replicas, transformer.replicas) == (3, 2)
    assert predictor.limits == QueueLimits(slots=2, depth=7, depth_derived=False, timeout_s=0.2)
    assert transformer.limits == QueueLimits(slots=5, depth=7, depth_derived=False, timeout_s=0.2)
    assert (predictor.resources.gpu_count, predictor.resources.gpu_resource) == (1, "nvidia.com/gpu")
    assert (predictor.model.uri, predictor.model.secret_name) == ("s3://a/b", "keys")
    assert transformer.model.uri == "", "its files are the predictor's"
    assert predictor.served_model == transformer.served_model == "onnx"


def test_patches_go_to_their_own_role():
    made = serving(
        "  predictor:\n"
        f"    custom: {SCRIPT}\n"
        "    podTemplate: {spec: {containers: [{name: predictor, env: [{name: A, value: '1'}], args: [--x]}]}}\n"
        "  transformer:\n"
        f"    custom: {SCRIPT}\n"
        "    podTemplate: {spec: {containers: [{name: transformer, env: [{name: B}], args: [--y, --z]}]}}\n"
    )
    assert (made.predictor.env, made.predictor.args) == ({"A": "1"}, ("--x",))
    assert (made.entry.env, made.entry.args) == ({"B": ""}, ("--y", "--z"))


def test_an_image_s_port():
    assert serving("  predictor: {custom: {image: a}}\n").predictor.image_port == MODEL_HTTP_PORT
    assert serving("  predictor: {custom: {image: a, port: 9000}}\n").predictor.image_port == 9000


def test_triton_is_told_its_own_addresses_and_the_user_has_the_last_word():
    made = serving(
        "  model: {uri: 's3://a/b'}\n  predictor: {triton: {}, podTemplate: {spec: {containers: "
        "[{name: predictor, args: [--log-verbose=1]}]}}}\n"
    )
    args = build_server_args(made.predictor, ADDRESSES)
    assert args[-1] == "--log-verbose=1"
    assert {"--model-repository=/m", "--http-port=1", "--grpc-port=2", "--metrics-port=3"} <= set(args)
    listens = [arg for arg in args if "-address=" in arg]
    assert len(listens) == 3
    assert all(arg.endswith("=127.0.0.1") for arg in listens), "what is behind the queue is on loopback alone"


def test_instances_of_a_model_are_scaled_before_pods():
    made = serving(
        "  model: {uri: 's3://a/b'}\n  predictor: {triton: {instances: {min: 2, max: 4}}, concurrency: 10, "
        "autoscaling: {max: 3}}\n"
    ).predictor
    assert made.limits.slots == 20, "of the fewest: they grow with them"
    assert made.scaling.queue == pytest.approx(28), "70 percent of the slots of the most"
    assert {"--model-control-mode=explicit", "--load-model=*"} <= set(build_server_args(made, ADDRESSES))
    one = serving("  model: {uri: 's3://a/b'}\n  predictor: {triton: {}, concurrency: 10, autoscaling: {max: 3}}\n")
    assert (one.predictor.limits.slots, one.predictor.scaling.queue) == (10, pytest.approx(7))
    assert not any("model-control" in arg for arg in build_server_args(one.predictor, ADDRESSES))


def test_other_bounds_of_a_model_s_instances_start_no_pod_anew():
    spec = "  model: {uri: 's3://a/b'}\n  predictor: {triton: {instances: {min: %d, max: %d, cooldown: %s}}}\n"
    names = {build_revision(serving(spec % each), Site()).name for each in ((1, 2, "1m"), (2, 8, "5m"))}
    assert len(names) == 1


def test_scripts_are_told_who_they_are():
    made = serving(
        "  model: {uri: 's3://a/b'}\n  predictor: {triton: {model: onnx}, concurrency: 3}\n"
        f"  transformer: {{custom: {SCRIPT}, concurrency: 4}}\n"
    )
    args = build_server_args(made.entry, ADDRESSES)
    assert {"--name=digits", "--role=transformer", "--concurrency=4"} <= set(args)
    assert {"--predictor=127.0.0.1:4", "--predictor-model=onnx"} <= set(args)
    assert not any(arg.startswith("--model-dir") for arg in args)
    alone = serving(f"  model: {{uri: 's3://a/b'}}\n  predictor: {{custom: {SCRIPT}}}\n").predictor
    args = build_server_args(alone, ADDRESSES)
    assert {"--name=digits", "--role=predictor", "--model-dir=/m", "--script=/s.py"} <= set(args)
    assert not any(arg.startswith("--predictor") for arg in args)


def test_an_image_gets_the_user_s_arguments_alone():
    spec = "  predictor: {custom: {image: a}, podTemplate: {spec: {containers: [{name: predictor, args: [%s]}]}}}\n"
    assert build_server_args(serving(spec % "--mine").predictor, ADDRESSES) == ["--mine"]
    with pytest.raises(ValueError, match="args"):
        serving(spec % "''")
