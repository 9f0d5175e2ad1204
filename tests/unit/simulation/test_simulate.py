"""A load on a virtual clock: what the command prints and draws, and what is true of every run."""

import json
import math
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from forebay.errors import UserError
from forebay.plan.resolve import Scaling
from forebay.simulation.arrivals import build_shape, read_trace
from forebay.simulation.doorway import Rest
from forebay.simulation.instances import ANSWERED, HELD_FULL, HELD_LATE, Shape
from forebay.simulation.run import Result, Simulation
from tests.commands import run

MANIFEST = """
apiVersion: forebay.dev/v1alpha1
kind: ModelDeployment
metadata: {name: halver}
spec:
  model: {uri: "s3://models/halver"}
  predictor:
    triton: {}
    concurrency: 4
    resources: {gpu: {count: 2}}
    autoscaling: {min: 1, max: 12, target: {queue: 4}}
"""
SHAPE = Shape(slots=4, depth=500, timeout_s=30, service_s=0.2, start_s=10)
FOLLOWS = Scaling(least=1, most=12, queue=4)


REST = Rest(idle_s=60, patience_s=120, most_held=1000)


def simulate(
    arrivals: list[float], scaling: Scaling = FOLLOWS, *, panics: bool = True, shape: Shape = SHAPE,
    rest: Rest | None = None,
) -> Result:  # fmt: skip
    return Simulation(scaling, shape, panics=panics, rest=rest).run(arrivals, duration_s=600)


def test_no_load_changes_nothing() -> None:
    result = simulate([])
    assert result.events == []
    assert result.instance_s == 600
    assert {(each.wanted, each.ready, each.requests) for each in result.points} == {(1, 1, 0)}


def test_every_request_ends_once_and_none_before_its_time() -> None:
    arrivals = build_shape("burst:5..900", duration_s=600, seed=2)
    result = simulate(arrivals)
    assert len(result.outcomes) == len(arrivals)
    assert sorted(each.came_s for each in result.outcomes) == pytest.approx(arrivals)
    answered = [each.latency_s for each in result.outcomes if each.how == ANSWERED]
    assert min(answered) == pytest.approx(0.2)
    assert max(answered) < 30
    assert result.count_failed() > 0


def test_a_step_is_met_sooner_with_panic_and_without_more_changes() -> None:
    arrivals = build_shape("step:5..100", duration_s=600, seed=1)
    ours, stock = simulate(arrivals), simulate(arrivals, panics=False)
    assert ours.events[0].decider == "panic"
    assert ours.events[0].at_s <= 123
    assert {each.decider for each in stock.events} == {"autoscaler"}
    assert ours.count_failed() < stock.count_failed()
    assert len(ours.events) <= len(stock.events)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rate", [12, 40, 100])
def test_a_noisy_steady_load_changes_scale_twice_at_most_in_ten_minutes(rate: int, seed: int) -> None:
    """From instances that are as many as the load asks for, by chance (Poisson) as noisy as independent clients are."""
    least = math.ceil(rate * 0.2 / 2.8)
    scaling = Scaling(least=1, most=40, queue=2.8)
    simulation = Simulation(scaling, SHAPE, seed=seed)
    simulation._instances.scale(least, 0.0, start_s=0.0)
    result = simulation.run(build_shape(f"constant:{rate}", duration_s=600, seed=seed), duration_s=600)
    assert len(result.events) <= 2, result.events


def test_without_autoscaling_the_number_stays() -> None:
    result = simulate(build_shape("step:5..100", duration_s=600, seed=1), Scaling(least=3, most=3))
    assert result.events == []
    assert {each.wanted for each in result.points} == {3}


def list_changes(result: Result) -> list[tuple[float, int, int, str]]:
    return [(each.at_s, each.before, each.after, each.decider) for each in result.events]


def test_what_nobody_needs_sleeps_and_the_next_request_waits_for_its_start() -> None:
    result = simulate([100.0, 100.5, 400.0], rest=REST)
    assert list_changes(result) == [
        (60, 1, 0, "idle"), (100, 0, 1, "wake"), (180, 1, 0, "idle"), (400, 0, 1, "wake"), (480, 1, 0, "idle"),
    ]  # fmt: skip
    assert [each.how for each in result.outcomes] == [ANSWERED] * 3
    # Ten seconds until an instance is ready.
    assert [each.latency_s for each in result.outcomes] == pytest.approx([10.2, 9.7, 10.2])
    assert result.instance_s == pytest.approx(60 + 80 + 80)
    assert max(each.held for each in result.points) == 2


def test_a_burst_from_nothing_is_held_and_all_of_it_answered() -> None:
    result = simulate([300 + number / 1000 for number in range(900)], rest=REST)
    assert {each.how for each in result.outcomes} == {ANSWERED}
    assert result.events[1].decider == "wake"
    assert max(each.wanted for each in result.points) > 4, "it scales on from there"


@pytest.mark.parametrize("is_entry", [True, False])
def test_those_that_wait_are_load_of_the_entry(is_entry: bool) -> None:
    rest = replace(REST, is_entry=is_entry)
    result = simulate([300 + number / 1000 for number in range(900)], rest=rest)
    found = [at_s for at_s, _, _, decider in list_changes(result) if decider == "panic" and at_s < 310]
    assert bool(found) is is_entry, "nobody is up before"


def test_more_than_may_wait_are_refused_and_none_waits_for_ever() -> None:
    few = Rest(idle_s=60, patience_s=5, most_held=2)
    result = simulate([300.0, 300.1, 300.2], rest=few)
    assert [(each.how, each.latency_s) for each in result.outcomes] == [
        (HELD_FULL, 0), (HELD_LATE, pytest.approx(5)), (HELD_LATE, pytest.approx(5)),
    ]  # fmt: skip


def test_to_sleep_costs_less_and_loses_nobody() -> None:
    arrivals = [at_s for at_s in build_shape("constant:0.5", duration_s=600, seed=1) if not 100 < at_s < 400]
    asleep, awake = simulate(arrivals, rest=REST), simulate(arrivals)
    assert asleep.count_failed() == awake.count_failed() == 0
    assert asleep.instance_s < 0.8 * awake.instance_s


def test_a_fixed_number_sleeps_and_comes_back_as_a_whole() -> None:
    result = simulate([100.0], Scaling(least=3, most=3), rest=REST)
    assert list_changes(result) == [(60, 3, 0, "idle"), (100, 0, 3, "wake"), (180, 3, 0, "idle")]


def test_shapes() -> None:
    step = build_shape("step:5..50", duration_s=1000, seed=1)
    count = lambda begin_s, end_s: sum(begin_s <= each < end_s for each in step)  # noqa: E731
    assert count(0, 200) == pytest.approx(1000, rel=0.15)
    assert count(200, 600) == pytest.approx(20_000, rel=0.05)
    assert count(600, 1000) == pytest.approx(2000, rel=0.15)
    assert step == build_shape("step:5..50", duration_s=1000, seed=1)
    assert step != build_shape("step:5..50", duration_s=1000, seed=2)
    assert build_shape("constant:0", duration_s=10, seed=1) == []


@pytest.mark.parametrize(
    ("name", "text", "times"),
    [
        ("counts.csv", "time,count\n2026-01-31T12:00:00Z,2\n2026-01-31T12:00:10Z,0\n2026-01-31T12:00:20Z,1\n", [3]),
        ("each.csv", "10\n10.5\n12\n", [0, 0.5, 2]),
        ("each.csv", "time\n2026-01-31T12:00:01+00:00\n2026-01-31T12:00:00Z\n", [0, 1]),
        ("lines.jsonl", '{"time": 5}\n\n{"time": 6.5, "count": 1}\n', [0, 1.5]),
    ],
)
def test_traces(name: str, text: str, times: list[float], tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    found = read_trace(tmp_path / name, seed=1)
    if len(times) > 1:
        assert found == pytest.approx(times)
        return
    assert len(found) == times[0]
    assert 0 <= found[0] <= found[1] < 10
    assert 20 <= found[2] < 30, "the last step is as long as the one before"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("bad.csv", "time,count\n5,many\n", "bad.csv:2: 'many' is no count: write a whole number of requests"),
        ("bad.csv", "5,1\nsoon,1\n", "bad.csv:2: 'soon' is no time"),
        ("bad.csv", "5,-1\n", "bad.csv:1: '-1' is no count"),
        ("bad.csv", "2,1\n1e999,1\n", "no time: write seconds"),
        ("bad.csv", "", "no requests: write lines of time,count"),
        ("bad.jsonl", '{"when": 5}\n', 'bad.jsonl:1: write {"time":'),
    ],
)
def test_traces_that_cannot_be_read(name: str, text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError) as error:
        read_trace(tmp_path / name, seed=1)
    assert message in str(error.value)


def forebay(*arguments: str) -> subprocess.CompletedProcess[str]:
    return run(list(arguments), environment=os.environ, timeout_s=60)


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    file = tmp_path / "halver.yaml"
    file.write_text(MANIFEST)
    return file


def test_the_command_is_deterministic_and_draws(manifest: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    lines = [json.dumps({"time": at_s, "count": 100 if 60 <= at_s < 180 else 5}) for at_s in range(300)]
    trace.write_text("\n".join(lines))
    options = ["--service-time", "200ms", "--start-time", "10s", "--gpu-hour-price", "3"]
    told = []
    for number in range(2):
        chart = tmp_path / f"chart-{number}.png"
        done = forebay("simulate", str(manifest), "--trace", str(trace), *options, "-o", str(chart))
        assert done.returncode == 0, done.stderr
        told.append((done.stdout, chart.read_bytes()))
    assert told[0] == told[1]
    text, image = told[0]
    assert image.startswith(b"\x89PNG")
    assert "1 → 12 panic" in text
    assert "GPU hours, cost" in text
    assert "P95" in text


def test_the_command_shows_what_sleep_saves(manifest: Path, tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("".join(f"{at_s},1\n" for at_s in (0, 1, 2, 1800, 1801, 3600)))
    told = []
    for least in ("min: 1", "min: 0, idle: 2m"):
        manifest.write_text(MANIFEST.replace("min: 1", least))
        done = forebay("simulate", str(manifest), "--trace", str(trace), "--service-time", "200ms")
        assert done.returncode == 0, done.stderr
        told.append(done.stdout)
    assert "HELD" not in told[0]
    assert "HELD" in told[1]
    assert "0:30:00 0 → 1 wake" in told[1]
    hours = [float(each.split(" GPU hours")[0].rpartition(" ")[2]) for each in told]
    assert hours[1] < hours[0] / 4, told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "exactly one of --trace FILE and --shape"),
        (["--shape", "stairs:1..2", "--service-time", "1s"], "write one of constant:20, step:5..50"),
        (["--shape", "step:5", "--service-time", "1s"], "write one of"),
        (["--shape", "step:1..2"], "--service-time"),
        (["--shape", "step:1..2", "--service-time", "0s"], "whole numbers with the units"),
        (["--shape", "step:1..2", "--service-time", "1s", "--component", "queue"], "has predictor"),
        (["--shape", "step:1..2", "--service-time", "1s", "-o", "chart.bmp"], "write a name that ends in .png"),
        (["--shape", "step:1..90000", "--service-time", "1s", "--duration", "9h"], "write a shorter --duration"),
    ],
)
def test_what_the_command_refuses(options: list[str], message: str, manifest: Path) -> None:
    done = forebay("simulate", str(manifest), *options)
    assert done.returncode == 1
    assert message in " ".join(done.stderr.split())


def test_a_target_that_cannot_be_simulated(manifest: Path) -> None:
    manifest.write_text(MANIFEST.replace("{queue: 4}", "{cpu: 70}"))
    done = forebay("simulate", str(manifest), "--shape", "constant:5", "--service-time", "1s")
    assert done.returncode == 1
    assert "doesn't follow the queue" in " ".join(done.stderr.split())


def test_targets_that_are_not_simulated_are_named(manifest: Path) -> None:
    options = ["--shape", "constant:5", "--duration", "1m", "--service-time", "1s"]
    assert "not simulated" not in forebay("simulate", str(manifest), *options).stdout
    manifest.write_text(
        MANIFEST.replace("{queue: 4}", "{queue: 4, queueTime: 1s, cpu: 70}, metrics: [{type: External}]")
    )
    told = forebay("simulate", str(manifest), *options).stdout
    named = "autoscaling.target.queueTime, autoscaling.target.cpu, autoscaling.metrics"
    assert f"not simulated: {named}, which may ask for more instances" in told


def test_a_price_of_gpus_that_are_claimed_is_refused(manifest: Path) -> None:
    manifest.write_text(MANIFEST.replace("{count: 2}", "{claim: shared}"))
    options = ["--shape", "constant:5", "--duration", "1m", "--service-time", "1s"]
    assert forebay("simulate", str(manifest), *options).returncode == 0
    done = forebay("simulate", str(manifest), *options, "--gpu-hour-price", "3")
    assert done.returncode == 1
    assert "leave the price out, or write gpu: {count: 1}" in " ".join(done.stderr.split())
