"""Measured numbers for a person, and what to write where they don't fit what is written."""

from textwrap import indent

from forebay.local.advice import Written, advise, parse_memory_mib, write_proposals
from forebay.local.check_report import Report
from forebay.local.measuring import Measurement
from forebay.plan.names import Role


def report_measurement(
    report: Report, component: str, measured: Measurement, written: Written, *, is_stand_in: bool = False
) -> None:
    """Say what it took; then what is too small or far too large, with YAML to paste.

    `is_stand_in`: what serves on a cluster takes more, and is faster.
    """
    report.say(f"measured: {describe_measurement(measured, written)}")
    # Behind a transformer there is no predictor here: how many at once are worth while depends on that.
    proposals = advise(measured, written, compare_levels=component == Role.PREDICTOR)
    proposals = [each for each in proposals if each.is_vital or not is_stand_in]
    for each in proposals:
        report.warn(f"{component}.{each.field}: {each.why}")
    if proposals:
        report.say("write into the manifest:")
        report.say(indent(write_proposals(component, proposals), "  "))


def describe_measurement(measured: Measurement, written: Written) -> str:
    """The numbers in a line."""
    memory = f"{measured.memory_mib} MiB of memory at most ({parse_memory_mib(written.memory):.0f} are written)"
    parts = [f"ready after {measured.start_s:.1f} s", memory]
    if measured.rates:
        rate = measured.rates[written.concurrency]
        at_once = f"{rate:.0f} a second with {written.concurrency} at once, on {measured.cpus:.1f} CPUs"
        parts += [f"{measured.service_s * 1000:.0f} ms for a request alone", at_once]
    return ", ".join(parts)
