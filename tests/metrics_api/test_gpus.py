"""The use of GPUs, through a real Prometheus that scrapes what DCGM's exporter would say."""

import contextlib
import subprocess
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
import yaml

from forebay.local.ports import find_free_ports
from forebay.local.process import die_with_parent
from forebay.metrics_api.prometheus import read_gpus
from tests import loopback
from tests.metrics_api.site import HOST, NAMESPACE, MetricsSite, answering, wait_for
from tests.programs import ensure_prometheus

GPU = "forebay_gpu_utilization"
# Two GPUs of one pod, one of another, one of a pod of another namespace, and one that nobody has.
USE = [
    ("g-0", NAMESPACE, "80"),
    ("g-0", NAMESPACE, "60"),
    ("g-1", NAMESPACE, "30"),
    ("g-0", "other", "99"),
    ("", "", "7"),
]


def write_dcgm() -> str:
    """As dcgm-exporter 4 does, with labels of Kubernetes."""
    lines = ["# HELP DCGM_FI_DEV_GPU_UTIL GPU utilization (in %).", "# TYPE DCGM_FI_DEV_GPU_UTIL gauge"]
    for number, (pod, namespace, value) in enumerate(USE):
        labels = {
            "gpu": number, "UUID": f"GPU-{number}", "pci_bus_id": f"0:0{number}:00.0", "device": f"nvidia{number}",
            "modelName": "NVIDIA H100 80GB HBM3", "Hostname": "node-1", "DCGM_FI_DRIVER_VERSION": "570.86.15",
            **({"container": "predictor", "namespace": namespace, "pod": pod} if pod else {}),
        }  # fmt: skip
        text = ",".join(f'{name}="{value}"' for name, value in labels.items())
        lines.append(f"DCGM_FI_DEV_GPU_UTIL{{{text}}} {value}")
    return "\n".join(lines) + "\n"


@contextlib.contextmanager
def prometheus(folder: Path, *, port: int, scraped: int, honor_labels: bool) -> Iterator[None]:
    job = {
        "job_name": "dcgm", "honor_labels": honor_labels,
        # As of a ServiceMonitor: the exporter's own pod.
        "static_configs": [{"targets": [f"{HOST}:{scraped}"], "labels": {"namespace": "gpus", "pod": "dcgm-x"}}],
    }  # fmt: skip
    config = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    folder.mkdir()
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    command = [str(ensure_prometheus()), f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/data",
               f"--web.listen-address={HOST}:{port}"]  # fmt: skip
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, preexec_fn=die_with_parent)  # noqa: PLW1509
    try:
        wait_for(lambda: loopback.get(f"http://{HOST}:{port}/-/ready", timeout=2).is_success)
        yield
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("honor_labels", [True, False])
def test_gpus_are_told_by_pod(site: MetricsSite, tmp_path: Path, honor_labels: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/plain; version=0.0.4")
        handler.end_headers()
        handler.wfile.write(write_dcgm().encode())

    app = f"g-{honor_labels}".lower()
    for number in range(3):
        site.plane.kubectl("delete", "pod", f"g-{number}", "-n", NAMESPACE, "--force", "--ignore-not-found")
        site.put_pod(f"g-{number}", f"127.0.2.{40 + number}", app=app)
    # Before there is a Prometheus nothing is known, which is not zero.
    path = f"/namespaces/{NAMESPACE}/pods/*/{GPU}"
    wait_for(lambda: "not known" in site.get(path, labelSelector=f"app={app}").text)
    (scraped,) = find_free_ports(1)
    with (
        answering(HOST, scraped, answer),
        prometheus(tmp_path / "p", port=site.prometheus_port, scraped=scraped, honor_labels=honor_labels),
    ):
        found = wait_for(lambda: site.values(GPU, selector=f"app={app}"))
    assert found == {"g-0": "70", "g-1": "30"}


@pytest.mark.parametrize("answer", [{}, [], None, {"data": {"result": [{"metric": {"pod": "a"}}]}}, "text"])
def test_nonsense_is_refused(answer: object) -> None:
    with pytest.raises(ValueError, match=r"answers without|could not convert"):
        read_gpus(answer)


def test_what_is_no_percentage_is_left_out() -> None:
    result = [{"metric": {"pod": pod}, "value": [0, pod]} for pod in ("5", "NaN", "+Inf", "-1", "101", "100")]
    assert read_gpus({"data": {"result": result}}) == {"5": 5.0, "100": 100.0}
