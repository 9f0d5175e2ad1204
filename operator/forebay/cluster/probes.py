"""Requests that a command sends again and again, and what became of them."""

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp

from forebay.plan.names import FALLBACK_HEADER, REASON_HEADER

_TIMEOUT = aiohttp.ClientTimeout(total=60)
_JSON = "application/json"


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A request: a GET, or with a body a POST of JSON."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a probe. `code` 0 is no answer at all; `fallback` is who gave it in place of the model."""

    code: int
    reason: str
    fallback: str
    took_s: float

    @property
    def words(self) -> str:
        """Its code, and the reason where there is one."""
        return " ".join(filter(None, [str(self.code) if self.code else "none", self.reason]))


async def send_for(probe: Probe, *, lasts_s: float, every_s: float) -> list[Answer]:
    """Send it at a steady pace, whether or not answers come; returns when all have one."""
    deadline_s = time.monotonic() + lasts_s
    async with aiohttp.ClientSession(timeout=_TIMEOUT) as session, asyncio.TaskGroup() as tasks:
        sent = []
        while time.monotonic() < deadline_s:
            sent.append(tasks.create_task(_send(session, probe)))
            await asyncio.sleep(every_s)
    return [each.result() for each in sent]


async def _send(session: aiohttp.ClientSession, probe: Probe) -> Answer:
    begun_s = time.monotonic()
    method, kind = ("POST", {"content-type": _JSON}) if probe.body else ("GET", {})
    headers = {**probe.headers, **kind}
    try:
        async with session.request(method, probe.url, headers=headers, data=probe.body or None) as answer:
            await answer.read()
            told = answer.headers
            reason, fallback = told.get(REASON_HEADER, ""), told.get(FALLBACK_HEADER, "")
            code = answer.status
    except (aiohttp.ClientError, TimeoutError, OSError):
        code, reason, fallback = 0, "", ""
    return Answer(code=code, reason=reason, fallback=fallback, took_s=time.monotonic() - begun_s)


def describe_answers(when: str, answers: Sequence[Answer]) -> list[str]:
    """What there is to say of them, a line each."""
    if not answers:
        return [f"{when}: no request was sent"]
    codes = Counter(answer.words for answer in answers)
    stood_in = [answer.fallback for answer in answers if answer.fallback]
    took_ms = sorted(1000 * answer.took_s for answer in answers)
    p50, p95, p99 = (took_ms[min(len(took_ms) - 1, int(share * len(took_ms)))] for share in (0.5, 0.95, 0.99))
    lines = [
        f"{when}: {len(answers)} requests: {', '.join(f'{code}: {count}' for code, count in codes.most_common())}",
        f"  p50 {p50:.0f} ms, p95 {p95:.0f} ms, p99 {p99:.0f} ms",
    ]
    for name, count in Counter(stood_in).most_common():
        lines.append(f"  {100 * count / len(answers):.0f} % answered by the fallback ({name})")
    return lines
