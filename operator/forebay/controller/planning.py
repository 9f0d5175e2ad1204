"""The plan of a ModelDeployment, made once per generation for as long as it is being worked on."""

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from forebay.api import ModelDeployment
from forebay.observation import Unusable
from forebay.plan.cluster import UnreachableError, check_reachable
from forebay.plan.history import Record, RollbackError, build_data, list_titles, restore
from forebay.plan.manifests import build_manifests
from forebay.plan.providers import keep_awake
from forebay.plan.resolve import Serving, resolve
from forebay.plan.site import Site
from forebay.plan.strategy import without_steps
from forebay.plan.versions import Version, pin
from forebay.plan.workloads import Revision, build_revision
from forebay.rollout.progress import Phase

Json = dict[str, Any]
# A plan is made in milliseconds, but an object that begins is looked at several times within seconds.
_MOST = 64


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a ModelDeployment asks for. `version` is the ModelVersion that it names, if it does.

    `data` is what is kept of it in the history. Of what is served again `restored` is the revision, and `unwanted` that
    of the spec. `doubt` is why the version is the last that was known, `unusable` why this isn't what the spec asks
    for: then what serves is `restored`, in the place of none, unless somebody wants it so.
    """

    serving: Serving
    target: Revision
    manifests: Sequence[Json]
    data: Json
    version: Version | None = None
    restored: Record | None = None
    unwanted: str = ""
    doubt: str = ""
    unusable: Unusable | None = None


class Planner:
    """Makes plans, and remembers the last ones."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._made: OrderedDict[tuple[object, ...], Plan] = OrderedDict()

    def plan(self, body: Mapping[str, Any], version: Version | None = None) -> Plan:
        """The plan of an object as the apiserver keeps it, with the version that it names; pydantic's ValidationError
        if it can't be read.
        """
        metadata = body["metadata"]
        # Labels and the version are part of the plan, and change without a new generation.
        labels = str(sorted(metadata.get("labels", {}).items()))
        key = (metadata["uid"], metadata["generation"], labels, version and version.content)
        return self._remember(key, lambda: self._make(body, version))

    def choose(self, body: Mapping[str, Any], version: Version | None, records: Mapping[str, Record]) -> Plan:
        """The plan of an object, or of what is to be served again in its place. Raises ValidationError, RollbackError
        where that can't be, and UnreachableError.
        """
        plan = self.plan(body, version)
        strategy = plan.serving.strategy
        if not strategy.restored or not _is_unwanted(plan, records.get(strategy.unwanted)):
            if unreachable := check_reachable(plan.serving):
                raise UnreachableError(unreachable)
            return plan
        record = records.get(strategy.restored)
        if record is None:
            raise RollbackError(
                f"there is no revision {strategy.restored} in the history any more, as spec.rollout.rollback.to says: "
                f"there are {list_titles(records)}: name one of these, or take rollback away"
            )
        return self._restore(body, record, plan.target.name)

    def serve_on(self, body: Mapping[str, Any], records: Mapping[str, Record], unusable: Unusable) -> Plan | None:
        """The plan of what serves, or of what somebody wants to be served again, where the spec can't be used; None
        where neither is kept.
        """
        for name, unwanted in _list_usable(body):
            with suppress(KeyError, RollbackError):
                return replace(self._restore(body, records[name], unwanted), unusable=unusable)
        return None

    def _remember(self, key: tuple[object, ...], make: Callable[[], Plan]) -> Plan:
        if key not in self._made:
            self._made[key] = make()
            if len(self._made) > _MOST:
                self._made.popitem(last=False)
        self._made.move_to_end(key)
        return self._made[key]

    def _restore(self, body: Mapping[str, Any], record: Record, unwanted: str) -> Plan:
        metadata = body["metadata"]
        labels = str(sorted(metadata.get("labels", {}).items()))
        key = (metadata["uid"], metadata["generation"], labels, record.name, record.title, unwanted)
        return self._remember(key, lambda: self._make_restored(body, record, unwanted))

    def _make_restored(self, body: Mapping[str, Any], record: Record, unwanted: str) -> Plan:
        # The engine of the rules takes memory, and few need it.
        from forebay.api.fields import show_path  # noqa: PLC0415
        from forebay.api.rules import check_object  # noqa: PLC0415

        restored = {**body, "spec": restore(body["spec"], record.data)}
        try:
            broken = check_object(_read(restored))
            made = self._make(restored, record.version)
        except ValidationError as error:
            found = error.errors(include_url=False, include_input=False, include_context=False)[0]
            raise RollbackError(_explain(record, ".".join(map(str, found["loc"])), found["msg"])) from None
        if broken:
            field = show_path(broken[0].path) + broken[0].rule.field
            raise RollbackError(_explain(record, field, broken[0].rule.message))
        serving = replace(made.serving, strategy=without_steps(made.serving.strategy))
        return replace(made, serving=serving, restored=record, unwanted=unwanted)

    def _make(self, body: Mapping[str, Any], version: Version | None) -> Plan:
        read = _read(body)
        serving = keep_awake(resolve(pin(read, version) if version else read), self._site)
        target = build_revision(serving, self._site)
        manifests = build_manifests(serving, self._site, target)
        data = build_data(body["spec"], version, target)
        return Plan(serving=serving, target=target, manifests=manifests, data=data, version=version)


def _read(body: Mapping[str, Any]) -> ModelDeployment:
    spec_only = {name: value for name, value in body.items() if name != "status"}
    return ModelDeployment.model_validate(spec_only, strict=True, by_alias=True, by_name=False)


def _is_unwanted(plan: Plan, record: Record | None) -> bool:
    """Whether a plan is of the revision that isn't wanted: by another version of Forebay it has another name."""
    return plan.target.name == plan.serving.strategy.unwanted or (record is not None and record.is_same(plan.data))


def _list_usable(body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What may serve in place of a spec that can't be used, by what the status tells: a revision, and the one that
    somebody doesn't want for it.
    """
    status, rollout = body.get("status", {}), body["spec"].get("rollout") or {}
    told, rollback = status.get("rollout") or {}, rollout.get("rollback") or {}
    asked = (status.get("targetRevision"), (status.get("rollback") or {}).get("from"))
    if rollback and rollback["from"] in asked:
        yield rollback["to"], rollback["from"]
    if told.get("phase") in (Phase.ABORTED, Phase.FAILED) and not told.get("heldSince"):
        # Forgotten, it would be tried again as soon as the spec can be used.
        return
    yield status.get("activeRevision", ""), ""


def _explain(record: Record, field: str, wrong: str) -> str:
    return (
        f"revision {record.title}, as spec.rollout.rollback.to says, can't be served any more: {field}: {wrong}. Name "
        f"another one, or write what is wanted into the spec: `forebay diff` shows what it was"
    )
