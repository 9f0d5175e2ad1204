"""How a changed model takes over from the one that serves."""

from typing import Annotated, ClassVar

from pydantic import Field

from forebay.api.analysis import Analysis
from forebay.api.base import Duration, Form, MaxHeld, Model, Rule
from forebay.api.notify import Notification

_MOST_STEPS = 20
# CEL has no index in its loops.
_RISING = " && ".join(
    f"(self.steps.size() <= {index} || (has(self.steps[{index}].weight) ? !has(self.steps[{index - 1}].weight) || "
    f"self.steps[{index}].weight > self.steps[{index - 1}].weight : !has(self.steps[{index - 1}].weight)))"
    for index in range(1, _MOST_STEPS)
)

RevisionName = Annotated[
    str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]+$"), Form("as status.targetRevision tells it")
]


HeaderName = Annotated[
    str,
    Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][-_A-Za-z0-9]*$"),
    Form("letters, digits, `-` and `_`"),
]
HeaderValue = Annotated[
    str,
    Field(min_length=1, max_length=1024, pattern=r"^[!-~]([ -~]*[!-~])?$"),
    Form("printable ASCII, with no space at its ends"),
]
_NOT_OURS = "is set after the revision was chosen: name a header that clients send, as x-api-key"


class HeaderMatch(Model):
    """A header, and the value that it is to have."""

    rules: ClassVar[tuple[Rule, ...]] = (Rule("!self.name.lowerAscii().startsWith('x-forebay-')", _NOT_OURS, ".name"),)
    name: HeaderName = Field(description="Its name, in upper or lower case; for gRPC that of the metadata.")
    value: HeaderValue = Field(description="Its value, as it stands.")


class CanaryMatch(Model):
    """Requests that a step sends to the new revision, whatever its weight."""

    headers: list[HeaderMatch] = Field(min_length=1, max_length=8, description="Headers that they all have.")


class StickyBy(Model):
    """What tells one client from another."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.header) != has(self.cookie)", "write exactly one of header and cookie"),
        Rule(
            "!has(self.header) || !self.header.lowerAscii().startsWith('x-forebay-')",
            _NOT_OURS,
            ".header",
        ),
    )
    header: HeaderName | None = Field(default=None, description="A header that clients send, as x-user or x-api-key.")
    cookie: HeaderName | None = Field(default=None, description="A cookie that clients have: none is set here.")


class CanaryStep(Model):
    """A share of the requests for the new revision, or copies of them, and for how long."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("has(self.weight) != has(self.shadow)", "write exactly one of weight and shadow"),
        Rule(
            "!has(self.pause) || (duration(self.pause) >= duration('1s') && duration(self.pause) <= duration('168h'))",
            'must lie between 1s and 168h: write "10m", or leave it out to wait for a person',
            ".pause",
        ),
    )
    weight: Annotated[int, Field(ge=1, le=99)] | None = Field(
        default=None, description="Share of the requests that the new revision gets, in percent."
    )
    shadow: Annotated[int, Field(ge=1, le=100)] | None = Field(
        default=None,
        description="Share of the requests that the new revision gets copies of, in percent: no client gets its "
        "answers, which are compared with those of the one that serves (analysis.agreement).",
    )
    pause: Duration | None = Field(
        default=None,
        description="For how long, from when the gateway gives it that share. Left out: until a person lets it go on "
        "(`forebay promote`, or rollout.promote).",
    )


class Canary(Model):
    """Requests go to a new revision step by step."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            _RISING, "must rise in weight from step to step: write those with shadow first, then the smallest", ".steps"
        ),
    )
    steps: list[CanaryStep] = Field(
        min_length=1,
        max_length=_MOST_STEPS,
        description="The steps. After the last the new revision gets all requests. The very first revision has none.",
    )
    analysis: Analysis | None = Field(
        default=None,
        description="Judge the new revision in each step by what the gateway counts: a step is over only when it "
        "passes, and one that fails is taken back at once. {} compares errors and latency with the one that serves.",
    )
    match: CanaryMatch | None = Field(
        default=None,
        description="Requests that go to the new revision in every step, beside its weight of all others.",
    )
    sticky_by: StickyBy | None = Field(
        default=None,
        description="Send a client to the same revision at all times: who came to the new one stays there in later "
        "steps. A request that lacks the header or cookie goes by the weights alone.",
    )


class BlueGreen(Model):
    """A new revision comes up whole beside the old one, can be looked at, and takes over as one."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "!has(self.pause) || duration(self.pause) <= duration('168h')",
            'must be 168h at most: write "10m", or leave it out to wait for a person',
            ".pause",
        ),
    )
    pause: Duration | None = Field(
        default=None,
        description="For how long it can be looked at (status.rollout.preview) before it takes over, from when it is "
        'up; "0s": it takes over at once. Left out: until a person lets it (`forebay promote`, or rollout.promote).',
    )


class Recreate(Model):
    """The instances that serve end before those of a new revision start: for GPUs of which there are no more."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "duration(self.hold) >= duration('1s') && duration(self.hold) <= duration('1h')",
            'must lie between 1s and 1h: write "2m"',
            ".hold",
        ),
        Rule(
            "duration(self.deadline) >= duration('10s') && duration(self.deadline) <= duration('24h')",
            'must lie between 10s and 24h: write "10m"',
            ".deadline",
        ),
    )
    hold: Duration = Field(
        default="2m",
        description="How long a request may wait in the gateway meanwhile before it is answered with 503.",
    )
    max_held: MaxHeld = 1000
    deadline: Duration = Field(
        default="10m",
        description="When the new revision isn't up after this time, it ends, and the one before comes back.",
    )


class Promote(Model):
    """Steps that need no waiting."""

    revision: RevisionName = Field(
        description="The revision that may go on, from status.targetRevision: of any other this says nothing."
    )
    step: int | None = Field(
        default=None,
        ge=1,
        le=_MOST_STEPS,
        description="The last step, from 1, that is passed without waiting; all when left out.",
    )


class Rollback(Model):
    """The content of a revision that was, in place of what the spec says."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("self.from != self.to", "must be another revision than from: `forebay history` lists them", ".to"),
    )
    unwanted: RevisionName = Field(
        alias="from",
        description="The revision that the spec asks for, and that isn't wanted. Of any other this says nothing, so "
        "that a changed spec goes on.",
    )
    to: RevisionName = Field(
        description="The revision whose model, predictor and transformer are served instead, with the present numbers "
        "of instances: a name that `forebay history` lists."
    )


class Retry(Model):
    """Another attempt at a revision that has failed."""

    revision: RevisionName = Field(
        description="The revision that is tried again, from status.targetRevision: of any other this says nothing."
    )
    attempt: int = Field(ge=2, le=1000, description="Which attempt is asked for: one more than status.rollout.attempt.")


class Rollout(Model):
    """How a changed model takes over from the one that serves."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "[has(self.canary), has(self.blueGreen), has(self.recreate)].filter(each, each).size() <= 1",
            "write one of canary, blueGreen and recreate, or none of them",
        ),
        Rule(
            "!has(self.promote) || has(self.canary) || has(self.blueGreen) || has(self.recreate)",
            "is of a rollout that waits, or has failed: write canary, blueGreen or recreate, too",
            ".promote",
        ),
        Rule(
            "!has(self.scaleDownDelay) || !has(self.recreate)",
            "is of no use with recreate, which ends the instances of the revision before first: leave it out",
            ".scaleDownDelay",
        ),
        Rule(
            "!has(self.scaleDownDelay) || duration(self.scaleDownDelay) <= duration('168h')",
            'must be 168h at most: write "10m"',
            ".scaleDownDelay",
        ),
    )
    canary: Canary | None = Field(
        default=None,
        description="Step by step. Left out, the new revision takes over as soon as all its instances are ready.",
    )
    blue_green: BlueGreen | None = Field(
        default=None, description="As one, after it could be looked at: write `blueGreen: {}` to wait for a person."
    )
    recreate: Recreate | None = Field(
        default=None,
        description="Never beside the old one: its instances end first, and the gateway holds the requests until those "
        "of the new one are ready. Write `recreate: {}`.",
    )
    scale_down_delay: Duration | None = Field(
        default=None,
        description="For how long the instances of the revision before are kept after another has taken over, so that "
        "a spec that goes back to it is served by them at once, with no steps and no pause. They end earlier when a "
        "third revision is on its way. Left out: 30s with blueGreen, else 0s.",
    )
    paused: bool = Field(
        default=False, description="Hold the rollout where it is. The time of a step runs on meanwhile."
    )
    promote: Promote | None = Field(
        default=None,
        description="Let a rollout go on that waits, or has time to wait; or, with no step, one that has failed.",
    )
    retry: Retry | None = Field(
        default=None,
        description="Try a revision again that has failed. Take a promote of it away as well: left over, it passes the "
        "steps without a look.",
    )
    history: int = Field(
        default=10,
        ge=1,
        le=100,
        description="How many revisions are kept, as ControllerRevisions, for `forebay history`, `diff` and "
        "`rollback`. What serves and what is wanted always is.",
    )
    rollback: Rollback | None = Field(
        default=None,
        description="Serve what was before: it takes over with no steps as soon as its instances are up, also where "
        "rollouts are paused.",
    )
    notify: list[Notification] = Field(
        default=[], max_length=8, description="Who is told how rollouts go. None of them waits for who doesn't listen."
    )
    abort: RevisionName | None = Field(
        default=None,
        description="The revision, from status.targetRevision, that is not to take over: all requests go to the one "
        "that serves, and its instances end. Of any other this says nothing.",
    )
