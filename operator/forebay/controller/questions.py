"""Asks Prometheus and webhooks about a revision, at addresses that others chose: see webhook.py."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode, urlsplit

from forebay.controller.webhook import FORM, Content, WebhookError, ask
from forebay.plan.analysis import Analysis, Query, Webhook
from forebay.rollout.analysis.outside import build_missing, read_result, read_value
from forebay.rollout.analysis.verdict import Finding


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Whom the installation lets be asked: `hosts`, by patterns, and its own Prometheus, wherever that is."""

    hosts: Sequence[str] = ("*",)
    prometheus_url: str = ""


async def ask_outside(analysis: Analysis, subject: Mapping[str, str | int], asked: Asked) -> list[Finding]:
    """What they all say of the subject: namespace, name, revision, stable and step."""
    queries = (_ask_prometheus(each, subject, asked) for each in analysis.queries)
    webhooks = (_ask_webhook(each, subject, asked.hosts) for each in analysis.webhooks)
    return list(await asyncio.gather(*queries, *webhooks))


async def _ask_prometheus(query: Query, subject: Mapping[str, str | int], asked: Asked) -> Finding:
    url = (query.address or asked.prometheus_url).rstrip("/")
    if not url:
        return build_missing(query.name, "write its address, or the chart's autoscaling.prometheusUrl")
    text = query.query
    for name, value in subject.items():
        text = text.replace("{{" + name + "}}", str(value))
    content = Content(urlencode({"query": text}).encode(), FORM)
    try:
        hosts = asked.hosts if query.address else _name_host(url)
        # The installation's own is asked as the metrics API asks it.
        return read_value(query, await _ask(f"{url}/api/v1/query", content, hosts, direct=not query.address))
    except WebhookError as error:
        return build_missing(query.name, str(error))


async def _ask_webhook(webhook: Webhook, subject: Mapping[str, str | int], hosts: Sequence[str]) -> Finding:
    try:
        return read_result(webhook.name, await _ask(webhook.url, Content(json.dumps(subject).encode()), hosts))
    except WebhookError as error:
        return build_missing(webhook.name, str(error))


async def _ask(url: str, content: Content, hosts: Sequence[str], *, direct: bool = False) -> Any:
    """The JSON of the answer. Raises WebhookError."""
    try:
        return json.loads(await ask(url, content, hosts, direct=direct))
    except (ValueError, RecursionError):
        raise WebhookError("it doesn't answer with JSON") from None


def _name_host(url: str) -> tuple[str, ...]:
    """The host of the installation's own address, which means it."""
    return ((urlsplit(url).hostname or "").rstrip("."),)
