"""Reads the one thing that is needed of a config.pbtxt: the model's name."""

import re

# Strings and comments first, so that braces and names inside them don't count.
_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|#[^\n]*|[{}\[\]<>]|[A-Za-z_]\w*|:')


def read_config_name(text: str) -> str | None:
    """The top-level `name:` of a config.pbtxt, None where there is none (then the folder's name is the model's)."""
    depth = 0
    words = [word for word in _TOKEN.findall(text) if not word.startswith("#")]
    for index, word in enumerate(words):
        if word in ("{", "[", "<"):
            depth += 1
        elif word in ("}", "]", ">"):
            depth -= 1
        elif depth == 0 and word == "name" and words[index + 1 : index + 2] == [":"]:
            value = words[index + 2] if len(words) > index + 2 else ""
            return value[1:-1] if value[:1] in ("'", '"') else None
    return None
