"""What a plain word of YAML means: as kubectl takes it (YAML 1.1 as Go reads it), not as PyYAML does."""

import math
import re

WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)")
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
SPECIAL = re.compile(r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))")


def resolve_scalar(text: str) -> str | int | float | bool | None:
    """The value of a word without quotes. A number with no fraction is an integer: JSON knows no other."""
    if text in WORDS:
        return WORDS[text]
    if SPECIAL.fullmatch(text):
        return math.nan
    if text[0] in "+-.0123456789" and len(text) <= 64:
        digits = text.replace("_", "")
        if INTEGER.fullmatch(digits):
            return _integer(digits)
        if FLOAT.fullmatch(digits):
            number = float(digits)
            if math.isfinite(number):
                return int(number) if number == int(number) else number
    return text


def _integer(digits: str) -> int:
    sign = -1 if digits[0] == "-" else 1
    body = digits.lstrip("+-")
    if body[:2].lower() in ("0x", "0b", "0o"):
        return sign * int(body, 0)
    return sign * int(body, 8 if body[0] == "0" else 10)
