"""The demo: one `forebay serve` for both examples, real pictures predicted, right and wrong shown."""

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from forebay.local.errors import LocalError
from forebay.local.process import die_with_parent
from forebay.local.run_folder import Record, find_record

EXAMPLES = Path(__file__).parent / "examples"
MANIFESTS = [EXAMPLES / "digits/digits.yaml", EXAMPLES / "text-detector/text-detector.yaml"]
READY_S = 600
# A box counts as found when it and the true one share this much of what they cover together.
OVERLAP = 0.5
console = Console(highlight=False)
client = httpx.Client(timeout=60, trust_env=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="hack/demo", description=__doc__)
    parser.add_argument("--cluster", action="store_true", help="on a Kubernetes cluster of its own, made for it")
    parser.add_argument("--keep", action="store_true", help="stay up until Ctrl-C")
    keep = parser.parse_args().keep
    for manifest in MANIFESTS:
        prepare(manifest.parent)
    # In a session of its own: a Ctrl-C is passed on once, and so drains; a second would end it at once.
    server = subprocess.Popen(
        [sys.executable, "-m", "forebay.cli", "serve", *map(str, MANIFESTS)],
        start_new_session=True,
        preexec_fn=die_with_parent,  # noqa: PLW1509  (there are no threads)
    )
    try:
        digits, detector = wait_for(server, "digits"), wait_for(server, "text-detector")
        right = predict_digits(digits.url) & predict_texts(detector.url)
        show_what_next(digits)
        if keep:
            console.print("\n[dim]still serving: Ctrl-C stops[/]")
            server.wait()
    except KeyboardInterrupt:
        right = True
    finally:
        stop(server)
    return 0 if right else 1


def prepare(folder: Path) -> None:
    if not (folder / "build/repository").exists():
        console.print(f"[dim]•[/] preparing {folder.name}")
        subprocess.run([sys.executable, str(folder / "prepare.py")], check=True)


def wait_for(server: subprocess.Popen, name: str) -> Record:
    deadline = time.monotonic() + READY_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            record = find_record(name)
        except LocalError:
            time.sleep(0.1)
            continue
        if record.pid == server.pid:
            return record
        sys.exit(f"{name} is served by another `forebay serve` (process {record.pid}): end it first")
    sys.exit(server.returncode or "forebay serve did not get ready")


def stop(server: subprocess.Popen) -> None:
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
    server.wait(120)


def ask(url: str, picture: Path) -> tuple[dict, float]:
    """Answer, and the milliseconds that it took."""
    started = time.perf_counter()
    content, headers = picture.read_bytes(), {"content-type": "image/png"}
    answer = client.post(f"{url}/predict", content=content, headers=headers)
    answer.raise_for_status()
    return answer.json(), (time.perf_counter() - started) * 1000


def predict_digits(url: str) -> bool:
    """A digit a row. False when most are wrong."""
    table = Table("PICTURE", "TRUTH", "LABEL", "CONFIDENCE", "MS", "", box=None, header_style="dim", pad_edge=False)
    pictures = sorted((EXAMPLES / "digits/build/pictures").glob("*.png"))
    right = 0
    for picture in pictures:
        answer, ms = ask(url, picture)
        truth = int(picture.name.split("-")[0])
        good = answer["label"] == truth
        right += good
        mark = "[green]right[/]" if good else "[red]wrong[/]"
        table.add_row(picture.name, str(truth), str(answer["label"]), f"{answer['confidence']:.2f}", f"{ms:.0f}", mark)
    console.print("\n[bold]Digits that the model has not seen[/]", table)
    console.print(f"{right} of {len(pictures)} right")
    return right > len(pictures) / 2


def predict_texts(url: str) -> bool:
    """A page a row. False when most lines are missed."""
    table = Table(
        "PICTURE", "LINES", "FOUND", "EXTRA", "CONFIDENCE", "MS", box=None, header_style="dim", pad_edge=False
    )
    found = lines = 0
    for picture in sorted((EXAMPLES / "text-detector/build/pictures").glob("*.png")):
        answer, ms = ask(url, picture)
        truths = [surround(line["box"]) for line in json.loads(picture.with_suffix(".json").read_text())]
        boxes = [surround(detection["box"]) for detection in answer["detections"]]
        hits = sum(any(overlap(truth, box) >= OVERLAP for box in boxes) for truth in truths)
        extra = sum(all(overlap(truth, box) < OVERLAP for truth in truths) for box in boxes)
        confidences = [detection["confidence"] for detection in answer["detections"]] or [0.0]
        mean = sum(confidences) / len(confidences)
        table.add_row(picture.name, str(len(truths)), str(hits), str(extra), f"{mean:.2f}", f"{ms:.0f}")
        found, lines = found + hits, lines + len(truths)
    console.print("\n[bold]Lines of text on pages[/]", table)
    console.print(f"{found} of {lines} lines found")
    return found > lines / 2


def surround(box: list[list[float]]) -> tuple[float, float, float, float]:
    """The upright rectangle around a box: left, top, right, bottom."""
    xs, ys = zip(*box, strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def overlap(one: tuple[float, float, float, float], other: tuple[float, float, float, float]) -> float:
    """Intersection over union of two rectangles."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    areas = sum((each[2] - each[0]) * (each[3] - each[1]) for each in (one, other))
    return shared / (areas - shared)


def show_what_next(record: Record) -> None:
    console.print(
        "\n[bold]The onnxruntime backend here is Forebay's stand-in on Triton's Python backend:[/] "
        "same answers as NVIDIA's, not its speed.\n\n[bold]Next:[/]\n"
        "  hack/demo --keep                                   stay up, and in another terminal:\n"
        "  .venv/bin/forebay predict digits -f hack/examples/digits/build/pictures/7-14.png\n"
        f"  open {record.url}/docs\n"
        "  edit hack/examples/digits/transformer.py, then .venv/bin/forebay check hack/examples/digits/transformer.py\n"
        "  .venv/bin/forebay validate hack/examples/digits/digits.yaml",
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())
