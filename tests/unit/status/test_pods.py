"""What is told of pods that were captured in each kind of trouble, and of some that a test cluster can't make."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from forebay.observation import Reason
from forebay.serving import server
from forebay.serving.environments.errors import Reason as InstallReason
from forebay.serving.storage.errors import Reason as StorageReason
from forebay.status import check_pod, failures, needs_log
from forebay.status.pods import check_end, check_stopping, is_live, is_ready
from tests.unit.status.scene import LATER, NOW, PODS, capture

TRITON_LOGS = Path(__file__).parents[1] / "triton_logs"
COMING = ["healthy", "startup", "not-ready", "download-runs", "evicted"]
# The reason, whether it is stalled, and what the message must hold.
TROUBLES: dict[str, tuple[Reason, bool, list[str]]] = {
    "image-missing": (Reason.IMAGE_PULL_FAILED, False, ["registry.invalid/team/nosuch:1", "no such host"]),
    "init-image-missing": (Reason.IMAGE_PULL_FAILED, False, ["container download", "registry.invalid/team/nosuch:1"]),
    "image-never": (Reason.IMAGE_PULL_FAILED, True, ["pull policy of Never", "load it onto the node"]),
    "image-name": (Reason.IMAGE_PULL_FAILED, True, ["must be lowercase", "REGISTRY/NAME:TAG"]),
    "secret-missing": (Reason.CONFIG_MISSING, True, ["kubectl create secret generic models-s3 -n status-probe"]),
    "secret-key-missing": (Reason.CONFIG_MISSING, True, ["the Secret kv has no key token"]),
    "configmap-missing": (Reason.CONFIG_MISSING, True, ["kubectl create configmap gone -n status-probe"]),
    "download-fails": (Reason.MODEL_DOWNLOAD_FAILED, True, ["(BucketNotFound): there is no bucket models"]),
    "crash": (Reason.CRASH_LOOP, True, ['status 1: its last line is "ValueError: no weights in /mnt/model"']),
    "crash-silent": (Reason.CRASH_LOOP, True, ["status 3", "kubectl logs -n status-probe crash-silent -c predictor"]),
    "segv later": (Reason.CRASH_LOOP, True, ["crashed with signal SIGSEGV"]),
    "ends": (Reason.CRASH_LOOP, True, ["must keep running"]),
    "no-command": (Reason.CRASH_LOOP, True, ['"/no/such/program"', "check the command"]),
    "liveness": (Reason.CRASH_LOOP, True, ["its probes fail", '"serving"']),
    "queue-fails": (Reason.CRASH_LOOP, True, ["container queue", "error initializing configuration: bad"]),
    "oom": (Reason.OUT_OF_MEMORY, True, ["16Mi", "raise predictor.resources.memory"]),
    "oom-init": (Reason.OUT_OF_MEMORY, True, ["16Mi", "initContainers: [{name: download, resources"]),
    "gpu": (Reason.WAITING_FOR_GPU, False, ["8 nvidia.com/gpu", "predictor.resources.gpu"]),
    "mig": (Reason.WAITING_FOR_GPU, False, ["1 nvidia.com/mig-1g.5gb"]),
    "cpu": (Reason.UNSCHEDULABLE, False, ["Insufficient cpu", "predictor.resources.cpu"]),
    "memory": (Reason.UNSCHEDULABLE, False, ["Insufficient memory", "predictor.resources.memory"]),
    "selector": (Reason.UNSCHEDULABLE, False, ["predictor.podTemplate.spec.nodeSelector"]),
    "pvc": (Reason.UNSCHEDULABLE, False, ["create the PersistentVolumeClaim"]),
    "gated": (Reason.UNSCHEDULABLE, False, ["example.com/quota"]),
}


@pytest.mark.parametrize("kind", TROUBLES)
def test_captured_troubles(kind: str) -> None:
    trouble = check_pod(capture(kind))
    assert trouble
    reason, stalled, parts = TROUBLES[kind]
    assert (trouble.reason, trouble.stalled) == (reason, stalled)
    assert all(part in trouble.message for part in [f"pod {PODS[kind]['metadata']['name']}", *parts]), trouble.message


@pytest.mark.parametrize("kind", COMING)
def test_nothing_is_wrong_with_what_comes_up(kind: str) -> None:
    assert check_pod(capture(kind)) is None
    assert is_ready(capture(kind)) == (kind in ("healthy", "evicted")), "it was captured before its eviction"


@pytest.mark.parametrize("kind", [each for each in PODS if f"{each} later" in PODS and each != "evicted"])
def test_the_same_is_told_while_the_kubelet_tries_and_waits(kind: str) -> None:
    assert capture(kind)["status"] != capture(f"{kind} later")["status"]
    assert check_pod(capture(kind)) == check_pod(capture(f"{kind} later"))


def end(pod: dict[str, Any], *, restarts: int = 3, kind: str = "containerStatuses", **ended: Any) -> dict[str, Any]:
    """The pod, its server crashed so."""
    status = pod["status"][kind][0]
    status |= {"restartCount": restarts, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
    status["lastState"] = {"terminated": {"exitCode": 1, "reason": "Error", **ended}}
    return pod


def test_a_crash_is_told_while_it_runs_again_and_forgotten_when_it_is_up() -> None:
    pod = capture("crash later")
    before = check_pod(pod)
    server_status = pod["status"]["containerStatuses"][0]
    server_status |= {"state": {"running": {"startedAt": "2026-11-21T16:59:00Z"}}, "started": False}
    assert check_pod(pod) == before
    server_status["started"] = True
    assert check_pod(pod) is None


def test_a_first_crash_may_be_bad_luck() -> None:
    assert [check_pod(end(capture("crash"), restarts=count)).stalled for count in (0, 1, 2)] == [False, False, True]


WORDS = 'failed to pull and unpack image "r/x:1": failed to resolve reference "r/x:1": '


@pytest.mark.parametrize(
    ("words", "stalled", "advice"),
    [
        (f"{WORDS}r/x:1: not found", True, "check its name and its tag"),
        (
            f"{WORDS}unexpected status from HEAD request to https://r/v2/x/manifests/1: 401 Unauthorized",
            True,
            "name a Secret for",
        ),
        (
            f"{WORDS}pull access denied, repository does not exist or may require authorization",
            True,
            "name a Secret for",
        ),
        (f"rpc error: code = NotFound desc = {WORDS}r/x:1: not found", True, "check its name and its tag"),
        ("no match for platform in manifest: not found", True, "check its name and its tag"),
        (f"{WORDS}read udp 10.0.0.1:45678->10.96.0.10:53: i/o timeout", False, "whether the node reaches it"),
        ("429 Too Many Requests - toomanyrequests: You have reached your limit", False, "imagePullSecrets"),
        ("", False, "check the registry's name"),
    ],
)
def test_images(words: str, stalled: bool, advice: str) -> None:
    pod = capture("image-missing")
    waiting = pod["status"]["containerStatuses"][0]["state"]["waiting"]
    waiting |= {"reason": "ErrImagePull", "message": words}
    first = check_pod(pod)
    waiting |= {"reason": "ImagePullBackOff", "message": f'Back-off pulling image "r/x:1": ErrImagePull: {words}'}
    assert first == check_pod(pod)
    assert first.stalled == stalled
    assert advice in first.message
    assert "45678" not in first.message


@pytest.mark.parametrize(
    ("words", "reason", "part"),
    [
        (
            'container has runAsNonRoot and image will run as root (pod: "x_y(8d64dd1c-6f8f-4a1c-b5f1-0a5d2b1b8f63)", '
            "container: predictor)",
            Reason.INVALID_POD_TEMPLATE,
            "run as root: change predictor.podTemplate.spec.securityContext",
        ),
        ('failed to prepare subPath for volumeMount "x"', Reason.INVALID_POD_TEMPLATE, "predictor.podTemplate.spec"),
        ("failed to sync secret cache: timed out waiting for the condition", Reason.STARTING, "tried again"),
    ],
)
def test_containers_that_cannot_be_configured(words: str, reason: Reason, part: str) -> None:
    pod = capture("secret-key-missing")
    pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"] = words
    trouble = check_pod(pod)
    assert trouble.reason == reason
    assert part in trouble.message
    assert "8d64dd1c" not in trouble.message


def test_what_the_status_does_not_know_is_passed_on() -> None:
    pod = capture("image-missing")
    waiting = {"reason": "CreateContainerError", "message": f'name "x" is reserved for "{"ab" * 32}"'}
    pod["status"]["containerStatuses"][0]["state"]["waiting"] = waiting
    trouble = check_pod(pod)
    assert (trouble.reason, trouble.stalled) == (Reason.STARTING, False)
    assert 'CreateContainerError: name "x" is reserved for "…"' in trouble.message


@pytest.mark.parametrize("name", ["onnxgarbage", "pyinit", "pbtxt"])
def test_triton_s_own_reason(name: str) -> None:
    log = (TRITON_LOGS / f"{name}.log").read_text()
    pod = end(capture("crash"), message="error: creating server: Internal - failed to load all models\n")
    pod["spec"]["containers"][0]["command"] = ["tritonserver"]
    assert check_pod(pod).reason == Reason.CRASH_LOOP, "the pod's own status doesn't tell"
    assert [(each.pod, each.container, each.previous) for each in needs_log([pod])] == [("crash", "predictor", False)]
    trouble = check_pod(pod, log=log)
    assert (trouble.reason, trouble.stalled) == (Reason.MODEL_LOAD_FAILED, True)
    assert f"can't load the model: model {name}: " in trouble.message
    assert "\n" not in trouble.message


def test_a_triton_that_waits_for_ever() -> None:
    pod = capture("startup")
    pod["spec"]["containers"][0]["command"] = ["tritonserver"]
    assert [each.previous for each in needs_log([pod])] == [False]
    assert check_pod(pod) is None
    trouble = check_pod(pod, log=(TRITON_LOGS / "pynomodel.log").read_text())
    assert (trouble.reason, trouble.stalled) == (Reason.MODEL_LOAD_FAILED, True)
    assert "Python model file not found" in trouble.message


SCRIPT_LOG = """2026-11-21 16:43:25,123 ERROR forebay: load failed: the script's own exception follows
Traceback (most recent call last):
  File "/mnt/script/script.py", line 7, in load
    self.model = open(path)
FileNotFoundError: [Errno 2] No such file or directory: 'weights'
"""


@pytest.mark.parametrize(
    ("status", "log", "part"),
    [
        (failures.EXIT_LOAD, SCRIPT_LOG, "script.py:7: load failed: FileNotFoundError: [Errno 2] No such file"),
        (failures.EXIT_LOAD, SCRIPT_LOG[-70:], "FileNotFoundError"),
        (
            failures.EXIT_SCRIPT,
            "/mnt/script/script.py: there is no class\nwith predict\n",
            "script.py: there is no class with",
        ),
    ],
)
def test_a_script_that_fails(status: int, log: str, part: str) -> None:
    pod = end(capture("crash"), exitCode=status, message=log)
    pod["spec"]["containers"][0]["command"] = ["python", "-m", "forebay.serving"]
    trouble = check_pod(pod)
    assert trouble.reason == Reason.MODEL_LOAD_FAILED
    assert part in trouble.message
    assert "/mnt/script" not in trouble.message


def test_numbers_are_those_of_the_server_and_names_those_of_the_download() -> None:
    assert (failures.EXIT_SCRIPT, failures.EXIT_LOAD) == (server.EXIT_SCRIPT, server.EXIT_LOAD)
    assert set(failures.PASSING) <= {*StorageReason, *InstallReason}


@pytest.mark.parametrize(("reason", "stalled"), [("AccessDenied", True), ("EndpointUnreachable", False)])
def test_some_downloads_may_work_at_another_time(reason: str, stalled: bool) -> None:
    line = f'{{"event": "error", "reason": "{reason}", "message": "no"}}\n'
    assert check_pod(end(capture("download-fails"), kind="initContainerStatuses", message=line)).stalled == stalled


@pytest.mark.parametrize(
    ("container", "reason", "words"),
    [
        ("script", Reason.SCRIPT_DOWNLOAD_FAILED, "the script can't be downloaded (NoWheel): write another"),
        (
            "environment",
            Reason.ENVIRONMENT_FAILED,
            "the script's libraries can't be installed (NoWheel): write another",
        ),
    ],
)
def test_what_a_script_needs_cannot_be_had(container: str, reason: Reason, words: str) -> None:
    line = '{"event": "error", "reason": "NoWheel", "message": "write another"}\n'
    pod = end(capture("download-fails"), kind="initContainerStatuses", message=line)
    pod["spec"]["initContainers"][0]["name"] = pod["status"]["initContainerStatuses"][0]["name"] = container
    trouble = check_pod(pod)
    assert (trouble.reason, trouble.stalled, words in trouble.message) == (reason, True, True), trouble


def test_a_download_that_breaks_without_a_word() -> None:
    pod = end(capture("download-fails"), kind="initContainerStatuses", message="Traceback\nImportError: no boto3\n")
    trouble = check_pod(pod)
    assert trouble.reason == Reason.MODEL_DOWNLOAD_FAILED
    assert 'its last line is "ImportError: no boto3"' in trouble.message


def test_values_of_variables_and_passwords_are_not_told() -> None:
    pod = end(capture("crash"), message="cannot reach https://me:canary-1@host/x?sig=canary-2 with canary-3\n")
    pod["spec"]["containers"][0]["env"] = [{"name": "TOKEN", "value": "canary-3"}, {"name": "EMPTY"}]
    assert "cannot reach https://host/x?… with $TOKEN" in check_pod(pod).message


def disrupt(reason: str, message: str, at: str = "2026-11-21T16:46:28Z") -> dict[str, Any]:
    pod = capture("healthy")
    pod["metadata"] |= {"name": "old", "deletionTimestamp": "2026-11-21T16:47:00Z"}
    told = {"type": "DisruptionTarget", "status": "True", "reason": reason, "message": message}
    pod["status"]["conditions"].append({**told, "lastTransitionTime": at})
    return pod


@pytest.mark.parametrize(
    ("pod", "part"),
    [
        (capture("evicted later"), 'Usage of EmptyDir volume "d" exceeds the limit "1Mi".'),
        (
            disrupt("PreemptionByScheduler", "default-scheduler: preempting to accommodate a higher priority pod"),
            "preempting",
        ),
        (disrupt("DeletionByTaintManager", ""), "DeletionByTaintManager"),
    ],
)
def test_a_pod_that_was_taken_away(pod: dict[str, Any], part: str) -> None:
    new = capture("startup")
    new["metadata"]["creationTimestamp"] = "2026-11-21T16:46:30Z"
    trouble = check_end(pod, [new])
    assert (trouble.reason, trouble.stalled) == (Reason.EVICTED, False)
    assert part in trouble.message
    assert "startup takes its place" in trouble.message
    assert check_pod(pod) is None
    assert not is_live(pod)
    new["metadata"]["creationTimestamp"] = "2026-11-21T19:46:30Z"
    assert check_end(pod, [new]) is None, "that one has nothing to do with it"
    assert check_end(pod, []) is None


def test_a_pod_that_does_not_stop() -> None:
    pod = capture("healthy")
    assert check_stopping(pod, LATER) is None
    pod["metadata"]["deletionTimestamp"] = NOW.isoformat()
    assert check_stopping(pod, NOW + timedelta(seconds=30)) is None
    trouble = check_stopping(pod, LATER)
    assert "kubectl get node forebay-node" in trouble.message
    assert "kubectl delete pod -n status-probe healthy --force" in trouble.message


@pytest.mark.parametrize(("container_ready", "part"), [(False, "readiness probe"), (True, "node forebay-node may not")])
def test_a_pod_that_was_ready(container_ready: bool, part: str) -> None:
    pod = capture("healthy")
    ready = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
    ready |= {"status": "False", "lastTransitionTime": "2026-11-21T18:44:27Z"}
    pod["status"]["containerStatuses"][0]["ready"] = container_ready
    trouble = check_pod(pod)
    assert (trouble.reason, trouble.stalled) == (Reason.NOT_READY, False)
    assert part in trouble.message
    assert "since 2026-11-21 18:44:27 UTC" in trouble.message


def test_a_readiness_gate() -> None:
    pod = capture("healthy")
    pod["spec"]["readinessGates"] = [{"conditionType": "example.com/checked"}]
    ready = next(each for each in pod["status"]["conditions"] if each["type"] == "Ready")
    ready |= {"status": "False", "lastTransitionTime": "2026-11-21T18:44:27Z"}
    assert "its readiness gate example.com/checked is not open" in check_pod(pod).message


TAINT = "{nvidia.com/gpu: true, a: b}"


@pytest.mark.parametrize(
    ("message", "reason", "parts"),
    [
        (
            f"0/9 nodes are available: 2 Insufficient nvidia.com/gpu, 3 node(s) had untolerated taint {TAINT}, 4 "
            "Insufficient cpu. preemption: 0/9 nodes are available: 9 Preemption is not helpful.",
            Reason.WAITING_FOR_GPU,
            [f"(of the other nodes: Insufficient cpu; node(s) had untolerated taint {TAINT})"],
        ),
        (
            f"0/3 nodes are available: 3 node(s) had untolerated taint {TAINT}. preemption: ...",
            Reason.UNSCHEDULABLE,
            [f"(node(s) had untolerated taint {TAINT})", "predictor.podTemplate.spec.tolerations"],
        ),
        ("0/0 nodes are available: .", Reason.UNSCHEDULABLE, ["there is no node"]),
        ("no nodes available to schedule pods", Reason.UNSCHEDULABLE, ["no nodes available", "add a node"]),
        (
            "0/1 nodes are available: pod has unbound immediate PersistentVolumeClaims. preemption: ...",
            Reason.UNSCHEDULABLE,
            ["kubectl describe pvc -n status-probe"],
        ),
        ("running Reserve plugin failed", Reason.UNSCHEDULABLE, ["running Reserve plugin failed"]),
    ],
)  # fmt: skip
def test_the_scheduler_s_words(message: str, reason: Reason, parts: list[str]) -> None:
    pod = capture("gpu")
    told = next(each for each in pod["status"]["conditions"] if each["type"] == "PodScheduled")
    told["message"] = message
    trouble = check_pod(pod)
    assert (trouble.reason, trouble.stalled) == (reason, False)
    assert all(part in trouble.message for part in parts), trouble.message


def test_how_many_nodes_there_are_changes_nothing() -> None:
    pods = [capture("gpu"), capture("gpu")]
    for pod, words in zip(pods, ("0/7 nodes are available: 5 Insufficient cpu, 2 Insufficient nvidia.com/gpu.",
                                 "0/9 nodes are available: 3 Insufficient cpu, 6 Insufficient nvidia.com/gpu."),
                          strict=True):  # fmt: skip
        next(each for each in pod["status"]["conditions"] if each["type"] == "PodScheduled")["message"] = words
    assert check_pod(pods[0]) == check_pod(pods[1])


def test_several_containers_that_want_gpus() -> None:
    pod = capture("gpu")
    pod["spec"]["containers"].append({"name": "mine", "resources": {"limits": {"nvidia.com/gpu": "1k"}}})
    assert "waits for 8 + 1k nvidia.com/gpu" in check_pod(pod).message


def test_a_pod_of_which_nothing_is_known_yet() -> None:
    pod = capture("gpu")
    pod["status"] = {}
    assert check_pod(pod) is None
