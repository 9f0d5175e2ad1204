"""An environment: which libraries are wanted, from where, and the digest that two equal ones share."""

import hashlib
import json
import platform
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from forebay.serving.environments.brought import find_brought
from forebay.serving.environments.errors import InstallError, Reason


@dataclass(frozen=True)
class Environment:
    """Requirements as pip has them, and the index that they come from; an empty URL is the one that uv is set to."""

    requirements: tuple[str, ...]
    index_url: str = ""

    def digest(self) -> str:
        """Names the content: requirements, index, what they are installed beside, this Python and this platform."""
        facts = [
            sorted({str(each) for each in parse_requirements(self.requirements)}),
            self.index_url,
            sorted(find_brought().items()),
            [sys.implementation.cache_tag, sysconfig.get_platform(), *platform.libc_ver()],
        ]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:32]


def parse_requirements(texts: Sequence[str]) -> list[Requirement]:
    """Read requirements. Raises InstallError(BadRequirement)."""
    parsed = []
    for text in texts:
        try:
            each = Requirement(text)
        except InvalidRequirement as error:
            why = str(error).splitlines()[0]
            message = f'{text!r} is no requirement ({why}): write pillow, or "torch>=2.1,<3"'
            raise InstallError(Reason.BAD_REQUIREMENT, message) from error
        if each.url:
            message = f"{text!r} has an address: write {each.name} and a version, and the index that has it into index"
            raise InstallError(Reason.BAD_REQUIREMENT, message)
        parsed.append(each)
    return parsed


def check_brought(requirements: Sequence[Requirement]) -> None:
    """Refuse what would replace a library that the server itself runs on. Raises InstallError(Conflict)."""
    brought = find_brought()
    for each in requirements:
        version = brought.get(canonicalize_name(each.name))
        applies = each.marker is None or each.marker.evaluate()
        if version and applies and not each.specifier.contains(version, prereleases=True):
            raise InstallError(
                Reason.CONFLICT,
                f"{each} can't be had: the script shares its process with Forebay, which brings {each.name} {version}: "
                f"leave {each.name} out, allow that version, or serve an image of your own (custom.image)",
            )
