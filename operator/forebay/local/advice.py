"""What measured numbers say of a manifest's, and its numbers of each other: pure. Only what is too small, or absurdly
large, is worth a word.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from forebay.local.measuring import Measurement
from forebay.plan.resolve import Serving

# Room for requests that are larger than the example.
_MEMORY_ROOM = 1.3
_LITTLE_MEMORY_MIB = 512
_MUCH_MEMORY_MIB = 2048
_TIMES_TOO_MUCH = 4
_CPU_NOISE = 1.3
# A level that gives this part of the most answers per second is as good.
_GOOD_ENOUGH = 0.9
_UNITS = {"k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15}
_BINARY_UNITS = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50}


@dataclass(frozen=True, kw_only=True)
class Written:
    """What a component is given, as its manifest has it."""

    memory: str
    cpu: str
    concurrency: int


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A field below the component, what to write there, and why. `is_vital`: without it, it won't run."""

    field: str
    value: str
    why: str
    is_vital: bool = False


def advise(measured: Measurement, written: Written, *, compare_levels: bool = True) -> list[Proposal]:
    """What to change. `compare_levels`: requests were answered in full, so that more or fewer at once would tell."""
    found = [*_advise_memory(measured, written), *_advise_cpu(measured, written)]
    return [*found, *_advise_concurrency(measured, written)] if compare_levels else found


def find_narrow(serving: Serving) -> str:
    """That transformers let too few requests through for as many predictors as there may be; empty where they don't."""
    predictor = serving.predictor.scaling
    for transformer in serving.transformers:
        slots, most = transformer.limits.slots, transformer.scaling.most
        reached = math.ceil(round(slots * most / predictor.queue, 9)) if predictor.queue else predictor.most
        if reached < predictor.most:
            enough = math.ceil(round(predictor.queue * predictor.most / most, 9))
            return (
                f"at most {slots * most} requests at once get through the transformer ({most} x concurrency {slots}), "
                f"and a predictor is to have {predictor.queue:.3g}: there will never be more than {reached} of "
                f"{predictor.most} predictors. Write transformer.concurrency: {enough}, or give it more instances"
            )
    return ""


def write_proposals(component: str, proposals: Sequence[Proposal]) -> str:
    """The proposals as YAML to paste."""
    lines = ["spec:", f"  {component}:"]
    lines += [f"    {each.field}: {each.value}" for each in proposals if "." not in each.field]
    nested = [each for each in proposals if each.field.startswith("resources.")]
    lines += ["    resources:"] if nested else []
    return "\n".join([*lines, *(f"      {each.field.removeprefix('resources.')}: {each.value}" for each in nested)])


def parse_memory_mib(text: str) -> float:
    """MiB of a quantity such as "512Mi" or "4G". The API has checked its form."""
    for unit, size in {**_BINARY_UNITS, **_UNITS}.items():
        if text.endswith(unit):
            return float(text.removesuffix(unit)) * size / 2**20
    return float(text) / 2**20


def parse_cpus(text: str) -> float:
    """CPUs of a quantity such as "500m" or "2"."""
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


def format_memory(mib: float) -> str:
    """A quantity that is not less: in steps of 64 MiB up to 1 GiB, then of half a GiB."""
    if mib <= 1024:
        steps = math.ceil(mib / 64) * 64
        return "1Gi" if steps == 1024 else f"{steps}Mi"
    halves = math.ceil(mib / 512)
    return f"{halves // 2}Gi" if halves % 2 == 0 else f"{halves * 512}Mi"


def _advise_memory(measured: Measurement, written: Written) -> Iterator[Proposal]:
    if not measured.memory_mib:
        return
    given, need = parse_memory_mib(written.memory), max(measured.memory_mib * _MEMORY_ROOM, 64)
    took = f"it took {measured.memory_mib} MiB of the {written.memory} that are written"
    if measured.memory_mib * 1.1 > given:
        why = f"{took}: the kernel would kill it"
        yield Proposal(field="resources.memory", value=format_memory(need), why=why, is_vital=True)
    elif given > _MUCH_MEMORY_MIB and given > _TIMES_TOO_MUCH * max(need, _LITTLE_MEMORY_MIB):
        value = format_memory(max(2 * need, _LITTLE_MEMORY_MIB))
        yield Proposal(field="resources.memory", value=value, why=f"{took}: nobody else can have the rest")


def _advise_cpu(measured: Measurement, written: Written) -> Iterator[Proposal]:
    given = parse_cpus(written.cpu)
    need = max(math.ceil(measured.cpus * 2) / 2, 0.5)
    value = f'"{need:g}"'
    busy = (
        f"{written.concurrency} requests at once keep {measured.cpus:.1f} CPUs busy, of {written.cpu} that are written"
    )
    if measured.cpus > given * _CPU_NOISE:
        yield Proposal(field="resources.cpu", value=value, why=f"{busy}: beside others it would be slower than here")
    elif measured.rates and given >= 2 and given > _TIMES_TOO_MUCH * need:
        yield Proposal(field="resources.cpu", value=value, why=f"{busy}: nobody else can have the rest")


def _advise_concurrency(measured: Measurement, written: Written) -> Iterator[Proposal]:
    rates = measured.rates
    if len(rates) < 2:
        return
    best = choose_concurrency(rates)
    given = written.concurrency
    here, there = rates[given], rates[best]
    numbers = f"{there:.0f} answers a second with {best} at once, {here:.0f} with {given}"
    if given >= _TIMES_TOO_MUCH * best:
        yield Proposal(field="concurrency", value=str(best), why=f"{numbers}: more at once only wait for each other")
    elif best >= 2 * given and there > 1.5 * here:
        yield Proposal(field="concurrency", value=str(best), why=f"{numbers}: it can work on more at once")


def choose_concurrency(rates: Mapping[int, float]) -> int:
    """The fewest requests at once that give about as many answers per second as any number."""
    most = max(rates.values())
    return min(level for level, rate in rates.items() if rate >= _GOOD_ENOUGH * most)
