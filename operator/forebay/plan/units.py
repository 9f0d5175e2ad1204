"""Units: the API's durations as seconds, seconds as Envoy writes them."""

import re

_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001}


def parse_duration_s(text: str) -> float:
    """Seconds of a duration such as "1m30s" or "200ms". The API has checked its form."""
    return sum(float(number) * _SECONDS[unit] for number, unit in re.findall(r"(\d+)(ms|h|m|s)", text))


def format_duration(seconds: float) -> str:
    """As people write it, in its two largest units: "5m", "1h30m"; less than a second is "0s"."""
    left = int(seconds)
    parts: list[tuple[int, str]] = []
    for unit, length in (("h", 3600), ("m", 60), ("s", 1)):
        number, left = divmod(left, length)
        if number or parts:
            parts.append((number, unit))
    return "".join(f"{number}{unit}" for number, unit in parts[:2] if number) or "0s"


def format_envoy_duration(seconds: float) -> str:
    """A protobuf Duration in JSON: "0.2s". The resolution is a millisecond."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
