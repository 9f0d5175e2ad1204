"""What an analysis is to look at, with every default decided."""

from yaml import safe_load

from forebay.api import Rollout
from forebay.plan.analysis import Analysis, Percentile, Query, Share, Webhook
from forebay.plan.strategy import Strategy, resolve_strategy

WRITTEN = """
canary:
  steps: [{weight: 5}]
  analysis:
    interval: 1m30s
    initialDelay: 10s
    minRequests: 7
    errorRate: {max: 0.5, maxRatio: 2}
    latency: [{percentile: 50, max: 20ms}, {percentile: 99.9, maxRatio: 1.2}]
    refusals: {max: 1}
    prometheus: [{name: a, query: "1", min: 3}, {name: b, query: "2", max: 4, address: "http://p.test"}]
    webhooks: [{name: c, url: "http://w.test/"}]
retry: {revision: abc, attempt: 3}
promote: {revision: abc}
"""


def resolve(text: str) -> Strategy:
    return resolve_strategy(Rollout.model_validate(safe_load(text)))


def test_what_is_left_out_compares_errors_and_latency_with_the_stable_one() -> None:
    assert resolve("{canary: {steps: [{weight: 5}], analysis: {}}}").analysis == Analysis()
    assert resolve("{canary: {steps: [{weight: 5}]}}").analysis is None


def test_everything_that_is_written() -> None:
    strategy = resolve(WRITTEN)
    assert strategy.analysis == Analysis(
        interval_s=90.0,
        delay_s=10.0,
        min_requests=7,
        errors=Share(max_pct=0.5, max_ratio=2.0),
        latency=(Percentile(percentile=50.0, max_ms=20.0), Percentile(percentile=99.9, max_ratio=1.2)),
        refusals=Share(max_pct=1.0),
        queries=(
            Query(name="a", address="", query="1", min=3.0),
            Query(name="b", address="http://p.test", query="2", max=4.0),
        ),
        webhooks=(Webhook(name="c", url="http://w.test/"),),
    )
    assert (strategy.retried, strategy.attempt) == ("abc", 3)
    assert (strategy.promoted, strategy.promoted_step, strategy.promoted_fully) == ("abc", 1, True)
    assert not resolve("{canary: {steps: [{weight: 5}]}, promote: {revision: abc, step: 1}}").promoted_fully
