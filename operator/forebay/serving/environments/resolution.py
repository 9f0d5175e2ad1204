"""Why no versions could be found that fit: the package at fault, and what to write instead."""

import platform
import re
from collections.abc import Sequence

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from forebay.serving.environments.brought import find_brought
from forebay.serving.environments.errors import InstallError, Reason
from forebay.serving.source import PIP_NAMES

_LONGEST = 900
_PYTHON = f"Python {platform.python_version().rpartition('.')[0]}"
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_HEADLINE = re.compile(r"^error: No solution found when resolving dependencies:? ?(cause: )?")
_MISSING = re.compile(rf"\b({_NAME}) was not found in the (?:package registry|provided package locations)")
_WHEELLESS = re.compile(
    rf"({_NAME})((?:[<>=!~]=?|==)\S+)? has no (?:usable wheels|wheels with a matching)"
    rf"|all versions of ({_NAME}) have no (?:usable wheels|wheels with a matching)"
)
_VERSIONLESS = re.compile(
    rf"there is no version of ({_NAME})((?:[<>=!~]=?|==)\S+?)?(?: and|,|$)"
    rf"|only (?:the following versions of )?({_NAME})(?:[<>=]\S+)? (?:are|is) available"
)
# What uv advises about its own options, which nobody can give it here.
_OF_OPTIONS = re.compile(r"--no-build|--no-binary|--index-strategy|--prerelease|`--")


def explain_resolution(words: str, wanted: Sequence[Requirement]) -> InstallError | None:
    """The error for uv's reasoning, on one line; None where it speaks of something else."""
    if not _HEADLINE.match(words):
        return None
    reasoning = _HEADLINE.sub("", words.partition(" hint: ")[0])[:_LONGEST].rstrip(".")
    if found := _MISSING.search(words):
        return InstallError(Reason.NO_SUCH_PACKAGE, _advise_name(found[1], wanted))
    if found := _WHEELLESS.search(words):
        return _wheelless(found[1] or found[3], found[2] or "", _hints(words))
    if found := _VERSIONLESS.search(words):
        name = found[1] or found[3]
        message = f"the index has no version that fits {name}{found[2] or ''} ({reasoning}): write one that it has"
        return InstallError(Reason.NO_SUCH_VERSION, message, package=name)
    return InstallError(Reason.CONFLICT, _describe_conflict(reasoning))


def _advise_name(name: str, wanted: Sequence[Requirement]) -> str:
    written = next((each.name for each in wanted if canonicalize_name(each.name) == canonicalize_name(name)), name)
    modules = {canonicalize_name(module): (module, pip) for module, pip in PIP_NAMES.items()}
    if known := modules.get(canonicalize_name(name)):
        return f"the index has no package {written}: write {known[1]}, which `import {known[0]}` comes from"
    return f"the index has no package {written}: correct the name, or write the index that has it into custom.index"


def _wheelless(name: str, version: str, hints: str) -> InstallError:
    here = f"{_PYTHON} on {platform.system()} {platform.machine()}"
    there = f" ({hints})" if hints else ""
    message = (
        f"{name}{version} has no wheel for {here}{there}: write a version that has one; nothing is built from source "
        "here, so what has none belongs into an image of your own (custom.image)"
    )
    return InstallError(Reason.NO_WHEEL, message, package=name)


def _hints(words: str) -> str:
    """Which wheels are there, in uv's words."""
    _, *hints = words.split(" hint: ")
    return "; ".join(hint for hint in hints if not _OF_OPTIONS.search(hint))[:_LONGEST]


def _describe_conflict(reasoning: str) -> str:
    named = [f"{name} {version}" for name, version in find_brought().items() if f"{name}=={version}" in reasoning]
    ours = f"; Forebay itself brings {', '.join(named)}, and shares its process with the script" if named else ""
    return (
        f"the requirements don't go together ({reasoning}{ours}): write versions that do, or serve an image of your "
        "own (custom.image)"
    )
