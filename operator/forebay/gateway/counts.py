"""GET /counts: what Envoy counted of each revision's requests since it began, as their clients saw it.

A request counts once, by the answer that its client got: an instance that failed, where another one answered well, has
hurt nobody. What the gateway answers by itself (a wrong API key, a rate limit) is no revision's doing.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from forebay.gateway.admin import EnvoyAdmin
from forebay.gateway.metrics import find_http_code
from forebay.plan.envoy_counts import DURATION, REQUESTS, UPTIME
from forebay.plan.envoy_replies import GATEWAY_REPLIES, QUEUE_FULL, REPLIES, TIMEOUT

Json = dict[str, Any]

_REQUEST = re.compile(
    rf"^{re.escape(REQUESTS)}\.deployment\.([^.]*)\.cluster\.([^.]*)"
    r"\.code\.([^.]*)\.grpc\.([^.]*)\.reason\.(.*): (\d+)$"
)
_DURATION = re.compile(rf"^{re.escape(DURATION)}\.deployment\.([^.]*)\.cluster\.([^.]*):$")
_TOTALS = re.compile(r"^\s*totals=(.*)$")
_BUCKET = re.compile(r"([0-9.e+-]+),[0-9.e+-]+:(\d+)")
_UPTIME = re.compile(rf"^{re.escape(UPTIME)}: (\d+)$")
_ITS_OWN = {each.reason for each in GATEWAY_REPLIES} - {each.reason for each in REPLIES}


async def count_answers(admin: EnvoyAdmin, routes: Sequence[str]) -> Json:
    """Of these deployments, by the entry workload of a revision. Raises OSError without Envoy."""
    return read_counts(await admin.read_counts(routes), routes)


def read_counts(text: str, routes: Sequence[str]) -> Json:
    """What Envoy's admin interface tells: counters as `name: value`, histograms with their buckets in lines after."""
    requests: defaultdict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    times: dict[tuple[str, str], dict[str, int]] = {}
    uptime_s, histogram = 0, None
    for line in text.splitlines():
        if found := _REQUEST.match(line):
            route, cluster, code, grpc, reason, value = found.groups()
            requests[route, cluster].update(_classify(code, grpc, reason, int(value)))
        elif found := _DURATION.match(line):
            histogram = (found[1], found[2])
        elif histogram and (found := _TOTALS.match(line)):
            times[histogram] = {bound: int(count) for bound, count in _BUCKET.findall(found[1])}
        elif found := _UPTIME.match(line):
            uptime_s = int(found[1])
    counts: dict[str, Json] = {route: {} for route in routes}
    for (route, cluster), workload in _find_workloads([*requests, *times]):
        if route in counts:
            numbers = requests[route, cluster]
            each = {name: numbers[name] for name in ("requests", "errors", "timeouts", "refusals")}
            counts[route][workload] = {**each, "timesMs": times.get((route, cluster), {})}
    return {"counts": counts, "uptimeS": uptime_s}


def _find_workloads(keys: Sequence[tuple[str, str]]) -> Iterator[tuple[tuple[str, str], str]]:
    """The clusters are NAMESPACE/WORKLOAD; what no cluster answered is no revision's."""
    for key in dict.fromkeys(keys):
        namespace, _, workload = key[1].partition("/")
        if namespace and workload:
            yield key, workload


def _classify(code: str, grpc: str, reason: str, value: int) -> Mapping[str, int]:
    """As what requests count that were answered so."""
    if reason in _ITS_OWN:
        return {}
    if reason == QUEUE_FULL.reason:
        return {"requests": value, "refusals": value}
    if reason == TIMEOUT.reason:
        return {"requests": value, "errors": value, "timeouts": value}
    is_error = find_http_code(code, grpc).startswith("5")
    return {"requests": value, "errors": value} if is_error else {"requests": value}
