"""How a script is named that isn't inline: by an address, as opposed to source, and to a path beside the manifest."""

from typing import NamedTuple
from urllib.parse import unquote

from forebay.api.base import Rule

_NAME = r"[^/ #?@]+"
_FILE = r"[^ #?&]+\\.py"
_FORMS = {
    "s3://BUCKET/KEY.py": rf"s3://{_NAME}/{_FILE}",
    "s3://BUCKET/PREFIX#path=FILE.py": rf"s3://{_NAME}/[^ #?]+#path={_FILE}",
    "git+https://HOST/REPOSITORY.git@REF#path=FILE.py": rf"git\\+https://{_NAME}/[^ #?@]+(@[^ #?@]+)?#path={_FILE}",
    "https://HOST/FILE.py[#sha256=HEX]": rf"https://{_NAME}/{_FILE}(#sha256=[0-9a-fA-F]{{64}})?",
}
SCRIPT_FORMS = f"{', '.join([*_FORMS][:-1])} or {[*_FORMS][-1]}"
SCHEMES = ("s3://", "git+https://", "https://")

SCRIPT_RULE = Rule(
    f"!has(self.script) || self.script.contains('\\n') || self.script.matches('^({'|'.join(_FORMS.values())})$')",
    "must be Python source of two lines or more, or an address: "
    f"{SCRIPT_FORMS}. A path, which ends in .py, is for the forebay command only: `forebay render FILE` puts the "
    "script inline for a cluster",
    ".script",
)


def is_address(script: str) -> bool:
    """Whether a script is the address of one, rather than source or a path."""
    return "\n" not in script and script.startswith(SCHEMES)


class ScriptAddress(NamedTuple):
    """What is downloaded, and where in it the script lies."""

    uri: str
    path: str


def parse_address(script: str) -> ScriptAddress:
    """Split the address of a script, which fits the rule, into what the download takes and the script's path in it."""
    uri, _, fragment = script.partition("#")
    if fragment.startswith("path="):
        return ScriptAddress(uri, fragment.removeprefix("path=").strip("/"))
    return ScriptAddress(
        script, unquote(uri.rpartition("/")[2]) if uri.startswith("https:") else uri.rpartition("/")[2]
    )
