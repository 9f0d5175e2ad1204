"""The gateway's metrics: stable names, made of what its Envoy counts.

| name | type | meaning |
|---|---|---|
| forebay_requests_total | counter | requests answered, by whomever, by code. gRPC statuses count as their HTTP codes |
| forebay_request_duration_seconds | histogram | time from a request's first byte to its answer's last |
| forebay_requests_in_flight | gauge | requests that instances are working on |
| forebay_requests_rejected_total | counter | requests refused, by reason, by the gateway or by an instance's queue |
| forebay_fallbacks_total | counter | requests that a fallback was asked for, by who it is and its answer's code |
| forebay_shadow_answers_total | counter | answers to copies, by who got them and outcome: see gateway/comparisons.py |
| forebay_instances | gauge | instances that the gateway sends requests to |
| forebay_requests_held | gauge | requests that wait for a ModelDeployment to be awake |
| forebay_cold_starts_total | counter | how often one was asleep when a request came |
| forebay_cold_start_seconds | histogram | how long requests waited for that, by outcome: passed, refused, left |
| forebay_pilot_connected | gauge | Envoys that are connected to the pilot |
| forebay_pilot_pushes_total | counter | configs sent to Envoy, by kind |
| forebay_pilot_nacks_total | counter | configs that Envoy refused, by kind |
| forebay_pilot_watch_failures_total | counter | watches of the apiserver that broke |

Labels: namespace, deployment, revision; of cold starts and fallbacks, no revision. Where there is a fallback, what its
instances answer counts as its own requests, and what became of the first try as those of the one that it answers for.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping

from forebay.gateway.tally import Tally
from forebay.plan.envoy_fallback import is_passed_cluster
from forebay.plan.envoy_replies import NO_API_KEY, RATE_LIMIT, WRONG_API_KEY
from forebay.plan.names import split_route_name

Labels = tuple[str, str, str]
# Of what an Envoy metric is: the deployment, and the cluster that the request was sent to.
Owner = Callable[[str, str], Labels]

_LINE = re.compile(
    r"^envoy_(forebay_requests|forebay_fallbacks|forebay_duration_\w+|cluster_upstream_rq_active)\{(.*)\} (\S+)$"
)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
# How HTTP would have said it: https://github.com/googleapis/googleapis/blob/master/google/rpc/code.proto
_GRPC = {
    1: "499", 2: "500", 3: "400", 4: "504", 5: "404", 6: "409", 7: "403", 8: "429", 9: "400", 10: "409", 11: "400",
    12: "501", 13: "500", 14: "503", 15: "500", 16: "401",
}  # fmt: skip
# What it says itself, of whatever way on.
_AT_ENTRANCE = {NO_API_KEY.reason, WRONG_API_KEY.reason, RATE_LIMIT.reason}
_REASON = re.compile(r"[a-z-]{1,40}")


class RequestMetrics:
    """Reads the Prometheus text of Envoy's admin, and writes ours."""

    def __init__(self, find_owner: Owner) -> None:
        self._find_owner = find_owner
        self._requests: Counter[tuple[Labels, str]] = Counter()
        self._rejected: Counter[tuple[Labels, str]] = Counter()
        self._active: Counter[Labels] = Counter()
        # By the route it was asked for, what it is called, and the code.
        self._fallbacks: Counter[tuple[str, str, str]] = Counter()
        self._durations: defaultdict[Labels, list[tuple[str, float]]] = defaultdict(list)

    def read(self, text: str) -> None:
        """Take in what Envoy counted."""
        for line in text.splitlines():
            found = _LINE.match(line) if "forebay" in line or "rq_active" in line else None
            if found:
                name, labels, value = found.groups()
                self._add(name, dict(_LABEL.findall(labels)), float(value))

    def _add(self, name: str, labels: Mapping[str, str], value: float) -> None:
        if name == "cluster_upstream_rq_active":
            self._active[self._find_owner("", labels["envoy_cluster_name"])] += int(value)
            return
        if name == "forebay_fallbacks":
            if "/" in labels.get("deployment", ""):
                code = find_http_code(labels["code"], labels.get("grpc", ""))
                self._fallbacks[labels["deployment"], labels.get("fallback", ""), code] += int(value)
            return
        # Behind the entrance it is counted once more, with whoever answered, unless it never came there.
        if is_passed_cluster(labels.get("cluster", "")) and labels.get("reason") not in _AT_ENTRANCE:
            return
        owner = self._find_owner(labels.get("deployment", ""), labels.get("cluster", ""))
        if name == "forebay_requests":
            code = find_http_code(labels["code"], labels.get("grpc", ""))
            self._requests[owner, code] += int(value)
            # An answer of the model itself might have any text in this header.
            if _REASON.fullmatch(labels.get("reason", "")):
                self._rejected[owner, labels["reason"]] += int(value)
            return
        self._durations[owner].append((_build_duration(name, labels), _scale(name, value)))

    def write(self) -> Iterator[str]:
        """Our metrics, as lines of Prometheus' text format."""
        yield from write_head("forebay_requests_total", "counter", "Requests answered, by whomever.")
        for (owner, code), value in self._requests.items():
            yield f'forebay_requests_total{{{_join(owner)},code="{code}"}} {value}'
        yield from write_head("forebay_requests_rejected_total", "counter", "Requests refused.")
        for (owner, reason), value in self._rejected.items():
            yield f'forebay_requests_rejected_total{{{_join(owner)},reason="{reason}"}} {value}'
        yield from write_head("forebay_requests_in_flight", "gauge", "Requests that instances are working on.")
        for owner, active in self._active.items():
            if any(owner):
                yield f"forebay_requests_in_flight{{{_join(owner)}}} {active}"
        yield from write_head("forebay_fallbacks_total", "counter", "Requests that a fallback was asked for.")
        for (route, fallback, code), value in self._fallbacks.items():
            yield f'forebay_fallbacks_total{{{_name(route)},fallback="{fallback}",code="{code}"}} {value}'
        yield from write_head("forebay_request_duration_seconds", "histogram", "Time to the last byte of the answer.")
        for owner, samples in self._durations.items():
            for sample, seconds in samples:
                name, _, bound = sample.partition(" ")
                yield f"forebay_request_{name}{{{_join(owner)}{bound}}} {seconds:.10g}"


def find_http_code(code: str, grpc: str) -> str:
    """The HTTP code of an answer, which of gRPC is always 200: that of its status."""
    return _GRPC.get(int(grpc), code) if grpc.isascii() and grpc.isdigit() else code


def write_head(name: str, kind: str, text: str) -> Iterator[str]:
    """What stands before the samples of a metric."""
    yield f"# HELP {name} {text}"
    yield f"# TYPE {name} {kind}"


def write_instances(instances: Iterable[tuple[Labels, int]]) -> Iterator[str]:
    """How many instances each revision has in the gateway."""
    yield from write_head("forebay_instances", "gauge", "Instances that the gateway sends requests to.")
    for owner, count in instances:
        yield f"forebay_instances{{{_join(owner)}}} {count}"


def write_holds(held: Mapping[str, int], tally: Tally) -> Iterator[str]:
    """What is held now, by route, and what was."""
    yield from write_head("forebay_requests_held", "gauge", "Requests that wait for a ModelDeployment to be awake.")
    for route in sorted(held.keys() | tally.starts.keys()):
        yield f"forebay_requests_held{{{_name(route)}}} {held.get(route, 0)}"
    yield from write_head("forebay_cold_starts_total", "counter", "How often one was asleep when a request came.")
    for route, starts in sorted(tally.starts.items()):
        yield f"forebay_cold_starts_total{{{_name(route)}}} {starts}"
    yield from write_head("forebay_cold_start_seconds", "histogram", "How long requests waited for that.")
    for (route, outcome), waits in sorted(tally.waits.items()):
        labels = f'{_name(route)},outcome="{outcome}"'
        for bound, count in waits.accumulate():
            yield f'forebay_cold_start_seconds_bucket{{{labels},le="{bound}"}} {count}'
        yield f"forebay_cold_start_seconds_sum{{{labels}}} {waits.sum_s:.10g}"
        yield f"forebay_cold_start_seconds_count{{{labels}}} {waits.count}"


def write_comparisons(outcomes: Iterable[tuple[str, str, Mapping[str, int]]]) -> Iterator[str]:
    """What became of the copies of requests: by route and workload, how often each."""
    yield from write_head("forebay_shadow_answers_total", "counter", "Answers to copies of requests.")
    for route, workload, counts in outcomes:
        for outcome, count in counts.items():
            yield f'forebay_shadow_answers_total{{{_name(route)},shadow="{workload}",outcome="{outcome}"}} {count}'


def _name(route: str) -> str:
    namespace, deployment = split_route_name(route)
    return f'namespace="{namespace}",deployment="{deployment}"'


def _join(owner: Labels) -> str:
    namespace, deployment, revision = owner
    return f'namespace="{namespace}",deployment="{deployment}",revision="{revision}"'


def _build_duration(name: str, labels: Mapping[str, str]) -> str:
    part = name.removeprefix("forebay_duration_")
    if part != "bucket":
        return f"duration_seconds_{part} "
    bound = labels["le"]
    return f'duration_seconds_bucket ,le="{bound if bound == "+Inf" else f"{float(bound) / 1000:g}"}"'


def _scale(name: str, value: float) -> float:
    return value / 1000 if name.endswith("_sum") else value
