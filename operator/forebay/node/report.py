"""What `kubectl get nodecaches` shows of a node: pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from forebay.node.catalog import Model
from forebay.serving.storage.cached import CACHED, DOWNLOADING, FAILED
from forebay.serving.storage.errors import show_bytes

Json = dict[str, Any]
# A large object is a burden to the apiserver: those used last are shown.
MOST_MODELS = 200
MOST_NAMED = 8
LONGEST_URI = 2048
# Every per cent would be a write.
_STEP_PCT = 5
_STATES = (FAILED, DOWNLOADING, CACHED)


@dataclass(frozen=True)
class Seen:
    """A volume: what people know it by, and what was told in it last."""

    uri: str
    state: Mapping[str, Any]


def build_status(models: Sequence[Model], volumes: Iterable[Seen], *, used_bytes: int) -> Json:
    """The status of a NodeCache."""
    told = [*volumes]
    in_use = [str(each.state.get("model")) for each in told if each.state.get("state") == CACHED]
    every = [*_describe_unfinished(told), *_describe_cached(models, in_use)]
    counts = {state: sum(each["state"] == state for each in every) for state in _STATES}
    return {
        "usedBytes": used_bytes,
        "used": show_bytes(used_bytes),
        "cached": counts[CACHED],
        "downloading": counts[DOWNLOADING],
        "failed": counts[FAILED],
        "summary": _summarize(every),
        "models": every[:MOST_MODELS],
    }


def _describe_cached(models: Sequence[Model], in_use: Sequence[str]) -> list[Json]:
    """Those that are there, the one used last first. One content of one address is one, whoever's server it is on."""
    found: dict[tuple[str, str], Json] = {}
    for model in models:
        used = datetime.fromtimestamp(model.used_s, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        entry = {"uri": model.uri[:LONGEST_URI], "state": CACHED, "bytes": model.bytes}
        entry |= {"digest": model.digest} if model.digest else {}
        shown = found.setdefault((model.uri, model.digest), {**entry, "pods": 0, "lastUsed": used})
        shown["pods"] += in_use.count(model.name)
    return [*found.values()]


def _describe_unfinished(volumes: Sequence[Seen]) -> list[Json]:
    """Each address that pods wait for, once in each state that it is in."""
    found: dict[tuple[str, str], Json] = {}
    for each in volumes:
        if each.state.get("state") == CACHED:
            continue
        # What is tried again has failed, until something comes.
        state = FAILED if "reason" in each.state else DOWNLOADING
        uri = each.uri[:LONGEST_URI]
        entry = found.setdefault((state, uri), {"uri": uri, "state": state, "pods": 0})
        entry["pods"] += 1
        if state == FAILED:
            entry["message"] = f"{each.state.get('reason')}: {each.state.get('message')}"[:2048]
        elif "message" in each.state:
            entry["message"] = str(each.state["message"])[:2048]
        elif "bytes" not in each.state or each.state.get("total"):
            # What libraries come to nobody knows before.
            entry["progressPct"] = max(entry.get("progressPct", 0), _find_pct(each.state))
    return [found[key] for key in sorted(found, key=lambda key: (_STATES.index(key[0]), key[1]))]


def _find_pct(state: Mapping[str, Any]) -> int:
    done, total = int(state.get("bytes") or 0), int(state.get("total") or 0)
    return min(100, done * 100 // total // _STEP_PCT * _STEP_PCT) if total > 0 else 0


def _summarize(shown: Sequence[Json]) -> str:
    more = f" and {len(shown) - MOST_NAMED} more" if len(shown) > MOST_NAMED else ""
    return ", ".join(_show(each) for each in shown[:MOST_NAMED]) + more


def _show(model: Json) -> str:
    extra = f" {model['progressPct']} %" if "progressPct" in model else ""
    if model["state"] == DOWNLOADING and "message" in model and not model.get("progressPct"):
        extra = f", {model['message']}"
    return f"{model['uri']}: {model['state']}{extra}"[:512]
