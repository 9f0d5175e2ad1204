"""Who answers when a model can't: the spec's fallback, with every default decided."""

from forebay.api.fallback import Fallback as Written
from forebay.plan.envoy_fallback import Answer, Fallback
from forebay.plan.units import parse_duration_s


def resolve_fallback(written: Written | None) -> Fallback | None:
    """Decide what is left out. The model's name is the other deployment's to tell."""
    if written is None:
        return None
    fixed = written.response
    return Fallback(
        causes=frozenset(written.when),
        after_s=parse_duration_s(written.after) if written.after else 0.0,
        budget_pct=written.budget,
        answer=Answer(status=fixed.status, content_type=fixed.content_type, body=fixed.body) if fixed else None,
        name=written.deployment or "",
    )
