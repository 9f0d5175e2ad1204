"""The demo on a cluster: a real Kubernetes, Helm, an S3 server, and real pictures predicted through the gateway."""

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from demonstrate import EXAMPLES, console, predict_digits, prepare

from forebay.api.dump import dump_documents, to_data
from forebay.api.load import load_file

HACK = Path(__file__).parent
STATE = Path(os.environ.get("FOREBAY_CLUSTER_STATE") or Path.home() / ".local/state/forebay-cluster").absolute()
KUBECONFIG = STATE / "kubeconfig"
NAMESPACE = "forebay-demo"
MANIFEST = EXAMPLES / "digits/build/cluster.yaml"
STORE = HACK / "examples/store.yaml"
KEYS = {"AWS_ACCESS_KEY_ID": "demo", "AWS_SECRET_ACCESS_KEY": "demo-secret", "AWS_REGION": "us-east-1"}
WAIT_S = 240
FORWARDED = re.compile(r"Forwarding from 127\.0\.0\.1:(\d+)")


def main() -> int:
    parser = argparse.ArgumentParser(prog="hack/demo", description=__doc__)
    parser.add_argument("--cluster", action="store_true", help="this demo")
    parser.add_argument("--keep", action="store_true", help="leave the model served; hack/cluster down ends it all")
    keep = parser.parse_args().keep
    began = time.monotonic()
    for command in ("cluster up", "images"):
        name, *arguments = command.split()
        run(str(HACK / name), *arguments)
    install()
    prepare(EXAMPLES / "digits")
    kubectl("apply", "-f", "-", given=json.dumps(build_namespace()))
    fill_store()
    serve()
    console.print(f"[dim]• ready {time.monotonic() - began:.0f} s after the beginning[/]")
    kubectl("get", "md,pods", "-n", NAMESPACE)
    with forward("forebay-system", "svc/forebay-gateway", 80) as port:
        right = predict_digits(f"http://127.0.0.1:{port}/{NAMESPACE}/digits")
    show_what_next(keep=keep)
    if not keep:
        kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")
    return 0 if right else 1


def run(*command: str, given: str | None = None, quiet: bool = False) -> str:
    """The output of a command; what it says is shown."""
    console.print(f"[dim]$ {' '.join(Path(part).name if part.startswith('/') else part for part in command)}[/]")
    environment = {**os.environ, "KUBECONFIG": str(KUBECONFIG)}
    done = subprocess.run(
        command, input=given, stdout=subprocess.PIPE, text=True, check=False, timeout=3600, env=environment
    )
    if not quiet:
        sys.stdout.write(done.stdout)
    if done.returncode:
        sys.exit(f"{Path(command[0]).name} failed with status {done.returncode}")
    return done.stdout


def kubectl(*arguments: str, given: str | None = None, quiet: bool = False) -> str:
    return run(str(STATE / "bin/kubectl"), *arguments, given=given, quiet=quiet)


def install() -> None:
    helm = str(Path(sys.executable).with_name("helm"))
    chart = str(HACK.parent / "charts/forebay")
    run(
        helm, "upgrade", "--install", "forebay", chart, "--namespace", "forebay-system", "--create-namespace",
        "--values", str(STATE / "images.yaml"), "--wait", "--timeout", f"{WAIT_S}s", quiet=True,
    )  # fmt: skip


def build_namespace() -> dict[str, Any]:
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}}


def fill_store() -> None:
    """An S3 server in the cluster, with the model in a bucket and a Secret with its keys."""
    endpoint = {"AWS_ENDPOINT_URL": f"http://store.{NAMESPACE}.svc:8333"}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "models-s3", "namespace": NAMESPACE},
        "stringData": {**KEYS, **endpoint},
    }
    kubectl("apply", "-f", "-", given=json.dumps(secret))
    kubectl("apply", "-n", NAMESPACE, "-f", str(STORE))
    kubectl("rollout", "status", "-n", NAMESPACE, "deployment/store", f"--timeout={WAIT_S}s")
    with forward(NAMESPACE, "svc/store", 8333) as port:
        upload(EXAMPLES / "digits/build/repository", f"http://127.0.0.1:{port}")


def upload(folder: Path, endpoint: str) -> None:
    client = boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=KEYS["AWS_SECRET_ACCESS_KEY"],
        region_name=KEYS["AWS_REGION"],
        config=Config(proxies={}, retries={"total_max_attempts": 1}),
    )
    deadline = time.monotonic() + 60
    while True:  # the first volumes are still being made
        try:
            client.create_bucket(Bucket="models")
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                client.upload_file(str(path), "models", f"digits/{path.relative_to(folder)}")
        except (ClientError, BotoCoreError, boto3.exceptions.S3UploadFailedError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            console.print("[dim]• uploaded the model to s3://models/digits[/]")
            return


def serve() -> None:
    """The example's manifest, with the address that pods can read, and its script inline."""
    (md,) = load_file(EXAMPLES / "digits/digits.yaml")
    data = to_data(md, defaults=False)
    data["metadata"] = {"name": "digits", "namespace": NAMESPACE}
    for component in ("predictor", "transformer"):
        data["spec"][component]["resources"] = {"cpu": "200m", "memory": "512Mi"}  # a laptop's cluster is small
    data["spec"]["model"] = {"uri": "s3://models/digits", "credentials": {"secretName": "models-s3"}}
    MANIFEST.write_text(dump_documents([data]))
    kubectl("apply", "-f", str(MANIFEST))
    try:
        kubectl("wait", "-n", NAMESPACE, "--for=condition=Ready", f"--timeout={WAIT_S}s", "md/digits")
    except SystemExit:
        kubectl("describe", "md", "-n", NAMESPACE, "digits")
        raise


@contextlib.contextmanager
def forward(namespace: str, target: str, port: int) -> Iterator[int]:
    """A port of this machine that leads to the target's, while the context lasts."""
    command = [str(STATE / "bin/kubectl"), "port-forward", "-n", namespace, target, f":{port}"]
    environment = {**os.environ, "KUBECONFIG": str(KUBECONFIG)}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout
    try:
        line = process.stdout.readline()
        found = FORWARDED.search(line)
        if found is None:
            sys.exit(f"kubectl port-forward failed: {line}")
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(10)


def show_what_next(*, keep: bool) -> None:
    console.print(
        "\n[bold]Next:[/]\n"
        f"  export KUBECONFIG={KUBECONFIG}\n"
        + (
            f"  .venv/bin/forebay predict digits -n {NAMESPACE} hack/examples/digits/build/pictures/7-14.png\n"
            f"  .venv/bin/forebay status digits -n {NAMESPACE}\n"
            if keep
            else "  hack/demo --cluster --keep                         leave the model served\n"
        )
        + f"  less {MANIFEST.relative_to(HACK.parent)}\n"
        "  hack/cluster down                                  end the cluster",
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
