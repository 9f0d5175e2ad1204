"""Both versions answer the same inputs, one after the other: a machine that holds one model is enough."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from forebay.errors import UserError
from forebay.local.compare.contender import Answer, Contender, answer_all, running
from forebay.local.compare.judge import Row, Rules, compare_answers
from forebay.local.compare.samples import Sample, read_samples
from forebay.local.display import Display
from forebay.local.errors import LocalError
from forebay.serving.tensors import Tensor, describe


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What both are asked: files of inputs, how many requests at most, and what counts as equal."""

    files: Sequence[Path]
    limit: int
    whole: bool
    timeout_s: float
    tolerance: float | None = None


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What came of it. Latencies are of the requests that were answered, by version."""

    references: tuple[str, str]
    rows: Sequence[Row]
    latencies_s: tuple[Sequence[float], Sequence[float]]


async def compare(one: Contender, other: Contender, asked: Asked, console: Console) -> Comparison:
    """Ask both. Raises UserError where a version can't be served, or answers nothing, or the inputs don't fit."""
    display = Display(console)
    taken: tuple[Tensor, ...] = ()
    samples: list[Sample] = []
    answers: list[list[Answer]] = []
    for contender in (one, other):
        async with running(contender, display) as server:
            takes = await server.read_inputs()
            if not takes:
                raise LocalError(f"{contender.reference} declares no inputs: give its class `inputs = [Tensor(...)]`")
            if not samples:
                taken, samples = takes, read_samples(asked.files, takes, limit=asked.limit, whole=asked.whole)
            elif problem := describe_mismatch((one.reference, taken), (other.reference, takes)):
                raise UserError(problem)
            with console.status(f"{contender.reference} answers") as status:
                given = await answer_all(
                    server, samples, timeout_s=asked.timeout_s,
                    on_answer=lambda count, of=contender: status.update(f"{of.reference} answered {count}"),  # type: ignore[misc]
                )  # fmt: skip
        _require_answer(contender.reference, given)
        answers.append(given)
        display.say(f"{contender.reference} answered {sum(not each.refusal for each in given)} of {len(given)} inputs")
    rules = Rules(labels=(one.labels, other.labels), tolerance=asked.tolerance)
    return Comparison(
        references=(one.reference, other.reference),
        rows=[_judge(sample, pair, rules) for sample, *pair in zip(samples, *answers, strict=True)],
        latencies_s=(_list_latencies(answers[0]), _list_latencies(answers[1])),
    )


def describe_mismatch(one: tuple[str, Sequence[Tensor]], other: tuple[str, Sequence[Tensor]]) -> str:
    """Why the same inputs can't be for both, or nothing."""
    by_name = [{each.name: each for each in takes} for _, takes in (one, other)]
    fitting = by_name[0].keys() == by_name[1].keys() and all(
        tensor.agrees(by_name[1][name]) for name, tensor in by_name[0].items()
    )
    if fitting:
        return ""
    takes = ", and ".join(f"{reference} takes {describe(tensors)}" for reference, tensors in (one, other))
    return f"{takes}: no input is for both"


def _require_answer(reference: str, answers: Sequence[Answer]) -> None:
    if all(each.refusal for each in answers):
        raise LocalError(f"{reference} answers none of the inputs: {answers[0].refusal}")


def _judge(sample: Sample, pair: Sequence[Answer], rules: Rules) -> Row:
    one, other = pair
    refusals = (one.refusal, other.refusal)
    cells = {} if any(refusals) else compare_answers(one.outputs, other.outputs, rules)
    return Row(sample.name, cells, refusals)


def _list_latencies(answers: Sequence[Answer]) -> list[float]:
    return [each.latency_s for each in answers if not each.refusal]
